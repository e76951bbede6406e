# SPDX-License-Identifier: Apache-2.0
"""The proofs by name."""

from disk_proof import DiskFull, ReadOnly
from broker_proof import Brokers
from kill_proof import Kills
from link_proof import HalfOpen
from refusal_proof import Refusals
from slow_lane_proof import SlowLane
from takeover_proof import Flapping
from webhook_proof import Webhooks

PROOFS = {
    "kills": Kills,
    "half_open": HalfOpen,
    "brokers": Brokers,
    "refusals": Refusals,
    "flapping": Flapping,
    "webhooks": Webhooks,
    "slow_lane": SlowLane,
    "disk_full": DiskFull,
    "read_only": ReadOnly,
}
