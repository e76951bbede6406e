#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory of a connected TLS device: the slope over the number of devices, from 2,000 to 15,000.

Resident and proportional bytes of the process (smaps_rollup), after Hello and after each device has sent telemetry of six
metrics twice and idles; by token, and by client certificate. What the kernel holds for the sockets: pages of TCP
(sockstat) and slabs, over all sockets of the machine, of which each device has two, one at each end: half of it is the
server's. Beside the gateway, in the same run: the floor, which remembers a device's last values and nothing else, and
plain Beast doing the same; and the peers, from 1,000 to 5,000 devices: Debian's python3-tornado and Node's
`ws` doing the gateway's job, in one process each, and devices speaking MQTT over WSS straight to Debian's mosquitto.
The gateway's own slopes are taken several times, each in a new process.
Whose the gateway's heap is: massif, with fewer devices.
"""

import os
import re
import signal
import socket
import ssl
import sys
import time

import peers
from counted import bare_server, gateway
from heap import MASSIF, by_owner, snapshot
from stage import Figures, arguments, demo
from traffic import PREFIX, Tool, traffic

SLABS = ("TCP", "TCPv6", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq", "ep_head",
         "request_sock_TCP")
SETTLE_S = 4
PACE = 4_000  # frames a second
GOAL_BYTES = 15_500  # resident, after telemetry
PEERS = {"tornado": "token", "node": "token", "mosquitto": "anonymous"}  # and how they know a device
PEER_PACE = 2_000


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


def tls_version(port: int) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as secured:
        return secured.version()


def all_send(load: Tool, devices: int) -> None:
    """Two frames of each device, acknowledged."""
    load.ask(f"rate {PEER_PACE}")
    acked, deadline = 0, time.monotonic() + 2 * devices / PEER_PACE + 60
    while acked < 2 * devices:
        if time.monotonic() > deadline:
            raise demo.Failure(f"{acked} frames of {devices} devices are acknowledged, two of each are wanted")
        time.sleep(0.2)
        seen = load.ask("mark")
        acked += seen["acked"]
        if seen["withheld"] + seen["lost_online"] + seen["faults"] > 0:
            raise demo.Failure(f"not every device sent, or one was lost: {seen}")
    load.ask("rate 0")


def at_rest(who: str, pid: int) -> int:
    time.sleep(SETTLE_S)
    if who == "node":
        os.kill(pid, signal.SIGUSR2)  # collect what is garbage: by itself it does so at some time, which is chance
        time.sleep(SETTLE_S)
    return resident(pid)["rss"]


def peer(figures: Figures, who: str, few: int, many: int) -> None:
    """Resident bytes per device, as of the gateway, of a peer's one process."""
    with traffic(many) as run:
        run.sink()
        if who != "mosquitto":
            peers.start(run, who, PREFIX, processes=1)
        version = tls_version(run.wss if who == "mosquitto" else run.peer)
        if version != "TLSv1.3":
            raise demo.Failure(f"{who} speaks {version}, which is not what the others are measured with")
        pid, taken, first = run.pids()[who], [], 1
        for devices in (few, many - few):
            options = ("--first-index", first)
            name = f"load-{first}"
            load = (run.mqtt_fleet(devices, *options, name=name) if who == "mosquitto" else
                    run.fleet(devices, *options, port=run.peer, name=name))
            run.wait_online(load, devices, 120)
            taken.append(at_rest(who, pid))
            all_send(load, devices)
            taken.append(at_rest(who, pid))
            first += devices
    _, before, hello, after = taken
    key = f"{who}.{PEERS[who]}"
    figures.add(f"{key}.rss_few_bytes", before)
    figures.add(f"{key}.rss_many_bytes", after)
    figures.add(f"{key}.after_hello.rss_bytes", (hello - before) / (many - few))
    figures.add(f"{key}.after_telemetry.rss_bytes", (after - before) / (many - few))


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


def verdict(seen: list[float]) -> str:
    """On the goal, of the gateway's slopes."""
    if max(seen) <= GOAL_BYTES:
        return "met"
    return "not met" if min(seen) > GOAL_BYTES else "met in some of the rounds and not in others"


def main() -> int:
    options = arguments(__doc__, few=2_000, many=15_000, peer_few=1_000, peer_many=5_000, rounds=3)
    figures = Figures("memory", options.quick)
    few, many = (200, 1_200) if options.quick else (options.few, options.many)
    peer_few, peer_many = (50, 250) if options.quick else (options.peer_few, options.peer_many)
    heap_few, heap_many = (50, 250) if options.quick else (200, 1_200)
    rounds = 1 if options.quick else options.rounds
    figures.update({"rounds": rounds, "devices_few": few, "devices_many": many, "peer_devices_few": peer_few,
                    "peer_devices_many": peer_many, "heap_devices_few": heap_few, "heap_devices_many": heap_many})
    missing = {name: why for name, why in peers.available().items() if why}
    for round_ in range(rounds):
        for auth in ("token", "cert"):
            for who in ("gateway", "floor", "beast") if round_ == 0 else ("gateway",):
                measure(figures, who, auth, few, many)
    for who in PEERS:
        if who in missing:
            figures.add(f"{who}.left_out", missing[who])
        else:
            peer(figures, who, peer_few, peer_many)
    for auth in ("token", "cert"):
        heap(figures, auth, heap_few, heap_many)
    for auth in ("token", "cert"):
        figures.add(f"goal.{auth}", verdict(figures.values[f"gateway.{auth}.after_telemetry.rss_bytes"]))
    figures.add("goal.bytes", GOAL_BYTES)
    figures.add("ratio.gateway_to_floor", figures.median("gateway.token.after_telemetry.rss_bytes") /
                figures.median("floor.token.after_telemetry.rss_bytes"))
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
