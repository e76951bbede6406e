#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a message costs with more devices, more shards and more processes: flat is the goal.

CPU time, user and system, of the gateway per frame, at the same rate in all, with 100 to 15,000 devices and one and two
shards, in turns; instructions per frame of a shard at 100 and 1,000 devices, which no other work on the machine changes.
Single frames, acknowledged at FORWARDED through mosquitto, each with an Ack of its own: else fewer devices with more
frames each would share Acks, and that would be the difference. Then several gateways side by side, each with its own
devices from loopback addresses of their own: 60,000 in all.
"""

import contextlib
import sys
import time

from counted import gateway
from stage import Figures, arguments

RATE = 3_000  # frames a second in all: well within one shard's reach, so that no queue builds up
SHARD = r"net::DeviceSession::readable\("


EACH_ACKED = {"session": {"ack_every_frames": 1}}


def sources(devices: int, first: int = 1) -> tuple:
    """From so many loopback addresses that the ports of one do not run out."""
    return ("--first-source", first, "--source-addresses", max(1, devices // 5_000))


def cpu(figures: Figures, devices: int, shards: int, frames: int) -> None:
    with gateway(devices + 10, shards=shards, settings=EACH_ACKED) as server:
        load = server.load(*sources(devices))
        load.do("connect", devices)
        load.do("pace", RATE, max(2_000, devices))
        before = server.cpu_seconds()
        done = load.do("pace", RATE, frames)
        used = server.cpu_seconds() - before
        time.sleep(2)
        idle_from = server.cpu_seconds()
        time.sleep(10)
        idle = server.cpu_seconds() - idle_from
    key = f"gateway.devices_{devices}.shards_{shards}"
    figures.add(f"{key}.cpu_us_per_frame", used / done["frames"] * 1e6)
    figures.add(f"{key}.frames_per_s", done["frames"] / done["seconds"])
    figures.add(f"{key}.idle_cpu_us_per_device_s", idle / 10 / devices * 1e6)


def instructions(figures: Figures, devices: int, rounds: int) -> None:
    with gateway(devices + 10, callgrind=True, settings=EACH_ACKED) as server:
        load = server.load()
        load.do("connect", devices)
        load.do("send", rounds)
        server.counted()
        frames = load.do("send", rounds)["frames"]
        profile = server.counted()
    figures.add(f"gateway.devices_{devices}.shard_instructions", profile.thread(SHARD).total / frames)


def side_by_side(figures: Figures, processes: int, devices: int, frames: int) -> None:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(gateway(devices + 10, settings=EACH_ACKED | {"node": {"name": f"gateway-{i}"}}))
                   for i in range(processes)]
        loads = [server.load(*sources(devices, 1 + 10 * (i + 1))) for i, server in enumerate(servers)]
        began = time.monotonic()
        for load in loads:
            load.tell("connect", devices)
        connected = sum(load.hear()["connected"] for load in loads)
        figures.add("together.connect_s", time.monotonic() - began)
        before = [server.cpu_seconds() for server in servers]
        for load in loads:
            load.tell("pace", RATE / processes, frames)
        sent = [load.hear() for load in loads]
        used = sum(server.cpu_seconds() - was for server, was in zip(servers, before))
        sessions = sum(server.stage.metric("fieldgate_sessions") for server in servers)
    figures.update({"together.processes": processes, "together.connected": int(connected), "together.sessions": int(sessions),
                    "together.frames": int(sum(one["frames"] for one in sent)),
                    "together.cpu_us_per_frame": used / sum(one["frames"] for one in sent) * 1e6})


def main() -> int:
    options = arguments(__doc__, rounds=2, processes=4)
    figures = Figures("scale", options.quick)
    repeats = 1 if options.quick else options.rounds
    sizes = (100, 1_000) if options.quick else (100, 1_000, 5_000, 15_000)
    frames = 6_000 if options.quick else 45_000
    processes, each = (2, 500) if options.quick else (options.processes, 15_000)
    figures.update({"rate": RATE, "rounds": repeats, "frames": frames})
    for _ in range(repeats):
        for devices in sizes:
            for shards in (1, 2):
                cpu(figures, devices, shards, frames)
    for devices, rounds in ((100, 32),) if options.quick else ((100, 64), (1_000, 32)):
        instructions(figures, devices, rounds)
    side_by_side(figures, processes, each, 2_000 if options.quick else 30_000)
    for shards in (1, 2):
        few, many = (figures.median(f"gateway.devices_{devices}.shards_{shards}.cpu_us_per_frame")
                     for devices in (sizes[0], sizes[-1]))
        figures.add(f"ratio.shards_{shards}.cpu_most_to_fewest", many / few)
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
