#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory of a connected TLS device: the slope over the number of devices, from 2,000 to 15,000.

Resident and proportional bytes of the process (smaps_rollup), after Hello and after each device has sent telemetry of six
metrics twice and idles; by token, and by client certificate. What the kernel holds for the sockets: pages of TCP
(sockstat) and slabs, over all sockets of the machine, of which each device has two, one at each end: half of it is the
server's. Beside the gateway, in the same run: the floor, which remembers a device's last values and nothing else, and
plain Beast doing the same. Whose the gateway's heap is: massif, with fewer devices.
"""

import re
import sys
import time

from counted import bare_server, gateway
from heap import MASSIF, by_owner, snapshot
from stage import Figures, arguments

SLABS = ("TCP", "TCPv6", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq", "ep_head",
         "request_sock_TCP")
SETTLE_S = 4
PACE = 4_000  # frames a second


def resident(pid: int) -> dict[str, int]:
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    return {key.lower(): int(re.search(rf"^{key}:\s+(\d+)", rollup, re.M).group(1)) * 1024 for key in ("Rss", "Pss")}


def kernel() -> dict[str, int]:
    seen = {"tcp_pages": int(re.search(r"^TCP:.* mem (\d+)", open("/proc/net/sockstat").read(), re.M).group(1)) * 4096}
    try:
        slabs = open("/proc/slabinfo").read()
    except OSError:
        return seen  # root alone may look
    rows = {row.split()[0]: row.split() for row in slabs.splitlines()[2:]}
    return seen | {"slabs": sum(int(rows[name][1]) * int(rows[name][3]) for name in SLABS if name in rows)}


def sample(server) -> dict[str, int]:
    time.sleep(SETTLE_S)
    return resident(server.pid) | {f"kernel_{key}": value for key, value in kernel().items()}


def measure(figures: Figures, who: str, auth: str, few: int, many: int) -> None:
    token = auth == "token"
    with (gateway(many + 10) if who == "gateway" else bare_server(who)) as server:
        load = server.load(*(() if token else ("--certificates",)), token=token)
        load.do("connect", few)
        load.do("pace", PACE, 2 * few)
        before = sample(server)
        load.do("connect", many - few)
        hello = sample(server)
        load.do("pace", PACE, 2 * many)
        load.do("pace", PACE, 2 * many)
        after = sample(server)
    key = f"{who}.{auth}"
    figures.add(f"{key}.rss_few_bytes", before["rss"])
    figures.add(f"{key}.rss_many_bytes", after["rss"])
    for name, seen in (("after_hello", hello), ("after_telemetry", after)):
        for what in ("rss", "pss"):
            figures.add(f"{key}.{name}.{what}_bytes", (seen[what] - before[what]) / (many - few))
    for what in [name for name in after if name.startswith("kernel_")]:
        figures.add(f"{key}.{what}_bytes", (after[what] - before[what]) / (many - few) / 2)


def heap(figures: Figures, auth: str, few: int, many: int) -> None:
    token = auth == "token"
    with gateway(many + 10, wrap=MASSIF) as server:
        load = server.load(*(() if token else ("--certificates",)), token=token)
        taken = []
        for devices in (few, many - few):
            load.do("connect", devices)
            load.do("pace", 400, 4 * (few if not taken else many))
            time.sleep(SETTLE_S)
            taken.append(by_owner(snapshot(server.pid, server.folder / "snapshot")))
    for owner, size in taken[1].items():
        figures.add(f"gateway.{auth}.heap.{owner}_bytes", (size - taken[0][owner]) / (many - few))


def main() -> int:
    options = arguments(__doc__, few=2_000, many=15_000)
    figures = Figures("memory", options.quick)
    few, many = (200, 1_200) if options.quick else (options.few, options.many)
    heap_few, heap_many = (50, 250) if options.quick else (200, 1_200)
    figures.update({"devices_few": few, "devices_many": many, "heap_devices_few": heap_few, "heap_devices_many": heap_many})
    for auth in ("token", "cert"):
        for who in ("gateway", "floor", "beast"):
            measure(figures, who, auth, few, many)
        heap(figures, auth, heap_few, heap_many)
    figures.add("ratio.gateway_to_floor", figures.median("gateway.token.after_telemetry.rss_bytes") /
                figures.median("floor.token.after_telemetry.rss_bytes"))
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
