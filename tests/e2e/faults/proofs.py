# SPDX-License-Identifier: Apache-2.0
"""The proofs by name."""

from broker_proof import Brokers
from disk_proof import DiskFull, FsyncError, ReadOnly
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
    "fsync_error": FsyncError,
    "read_only": ReadOnly,
}
