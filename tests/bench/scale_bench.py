#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a message costs with more devices, more shards and more processes: flat is the goal.

CPU time, user and system, of the server per frame, at the same rate in all, with 100 to 15,000 devices: the gateway with
one and with two shards, and the floor, a bare loop on epoll and OpenSSL, in turns. A server is started once for all
numbers of devices: more connect, it settles, all are made to send, then it is measured. Single frames, acknowledged at
FORWARDED through mosquitto, each with an Ack of its own: else fewer devices with more frames each would share Acks, and
that would be the difference. The floor forwards nothing and acknowledges at once.

By the side of the cost, what explains it: CPU by thread, how often threads went to sleep and were woken, records in a
batch. Instructions per frame of a shard at 100 and 1,000 devices, which no other work on the machine changes.

Then several gateways side by side, each with its own broker and its own devices from loopback addresses of their own:
60,000 in all; and, to tell what of their cost is due to each having only a part of the frames, one gateway alone at
that part of the rate.
"""

import contextlib
import sys
import time

from counted import Server, Task, bare_server, gateway
from stage import Figures, arguments
from traffic import cpu_seconds

RATE = 3_000  # frames a second in all: well within one shard's reach, so that no queue builds up
WARM_RATE = 2 * RATE
WINDOWS = 2  # in which a number of devices is measured, one after the other
IDLE_S = 5.0
SETTLED_CORES = 0.03
SHARD = r"net::DeviceSession::readable\("
EACH_ACKED = {"session": {"ack_every_frames": 1}}
LANE = {"batches": "fieldgate_lane_batches_total", "records": "fieldgate_lane_batched_records_total"}
VARIANTS = ("gateway.shards_1", "gateway.shards_2", "floor")


def sources(devices: int, first: int = 1) -> tuple:
    """From so many loopback addresses that the ports of one do not run out."""
    return ("--first-source", first, "--source-addresses", max(1, devices // 5_000))


def settle(*servers: Server) -> None:
    """Until what connecting costs later is done: presence told, the store's batches written."""
    deadline = time.monotonic() + 60
    used = float("inf")
    while used > SETTLED_CORES * len(servers) and time.monotonic() < deadline:
        before = sum(server.cpu_seconds() for server in servers)
        time.sleep(0.5)
        used = (sum(server.cpu_seconds() for server in servers) - before) / 0.5


class Span:
    """What servers do from here to done()."""

    def __init__(self, *servers: Server):
        self.servers = servers
        self.before = [(server.tasks(), self.lane(server)) for server in servers]

    @staticmethod
    def lane(server: Server) -> dict[str, float]:
        return {what: server.stage.metric(name) for what, name in LANE.items()} if server.stage else {}

    def done(self, frames: float) -> dict[str, float]:
        """By frame."""
        used: list[Task] = []
        lane = dict.fromkeys(LANE, 0.0)
        for server, (tasks, counts) in zip(self.servers, self.before):
            used += [task.since(tasks.get(number)) for number, task in server.tasks().items()]
            for what, now in self.lane(server).items():
                lane[what] += now - counts[what]
        figures = {"cpu_us_per_frame": sum(task.cpu_s for task in used) / frames * 1e6,
                   "sleeps_per_frame": sum(task.slept for task in used) / frames,
                   "preempted_per_frame": sum(task.preempted for task in used) / frames}
        if lane["batches"]:
            for what, name in (("shards", "shard-"), ("lane", "mqtt-lane"), ("store", "store")):
                mine = [task for task in used if task.name.startswith(name)]
                figures[f"{what}_cpu_us_per_frame"] = sum(task.cpu_s for task in mine) / frames * 1e6
                figures[f"{what}_sleeps_per_frame"] = sum(task.slept for task in mine) / frames
            figures["records_per_batch"] = lane["records"] / lane["batches"]
        return figures


def start(stack: contextlib.ExitStack, variant: str, devices: int) -> Server:
    if variant == "floor":
        return stack.enter_context(bare_server("floor", "--ack-every-ms", 0))
    return stack.enter_context(gateway(devices + 10, shards=int(variant[-1]), settings=EACH_ACKED))


def grow(figures: Figures, variant: str, sizes: tuple, frames: int, part: float) -> None:
    """One server with ever more devices. `part`: of the rate, at the end, and what it takes when nothing is sent; 0: not."""
    who, _, shards = variant.partition(".")
    with contextlib.ExitStack() as stack:
        server = start(stack, variant, sizes[-1])
        load = server.load(*sources(sizes[-1]))
        connected = 0
        for devices in sizes:
            load.do("connect", devices - connected)
            connected = devices
            settle(server)
            load.do("pace", WARM_RATE, max(3_000, devices))
            key = ".".join(filter(None, (who, f"devices_{devices}", shards)))
            for _ in range(WINDOWS):
                measure(figures, key, server, load, RATE, frames)
            if part:
                began, before = time.monotonic(), server.cpu_seconds()
                time.sleep(IDLE_S)
                figures.add(f"{key}.idle_cpu_us_per_s", (server.cpu_seconds() - before) / (time.monotonic() - began) * 1e6)
        if part:
            measure(figures, f"{key}.slow", server, load, RATE * part, int(frames * part))


def measure(figures: Figures, key: str, server: Server, load, rate: float, frames: int) -> None:
    span = Span(server)
    done = load.do("pace", rate, frames)
    figures.update({f"{key}.{name}": value for name, value in span.done(done["frames"]).items()})
    figures.add(f"{key}.frames_per_s", done["frames"] / done["seconds"])


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

        def do_all(*command) -> list[dict[str, float]]:
            for load in loads:
                load.tell(*command)
            return [load.hear() for load in loads]

        began = time.monotonic()
        connected = sum(answer["connected"] for answer in do_all("connect", devices))
        figures.add("together.connect_s", time.monotonic() - began)
        settle(*servers)
        do_all("pace", WARM_RATE / processes, devices)
        others = {"devices": [load.process.pid for load in loads],
                  "brokers": [server.stage.pid("mosquitto") for server in servers],
                  "gateways": [server.pid for server in servers]}

        def cpu() -> dict[str, float]:
            return {who: sum(cpu_seconds(pid) for pid in pids) for who, pids in others.items()}

        span, before, began = Span(*servers), cpu(), time.monotonic()
        sent = sum(answer["frames"] for answer in do_all("pace", RATE / processes, frames))
        took, after = time.monotonic() - began, cpu()
        figures.update({f"together.{name}": value for name, value in span.done(sent).items()})
        figures.update({f"together.{who}_cores": (after[who] - before[who]) / took for who in others})
        sessions = sum(server.stage.metric("fieldgate_sessions") for server in servers)
    figures.update({"together.processes": processes, "together.connected": int(connected), "together.sessions": int(sessions),
                    "together.frames": int(sent)})


def judge(figures: Figures, sizes: tuple) -> None:
    """Flat: the dearest of all numbers of devices at most 10 % above the cheapest, by their medians."""
    for variant in VARIANTS:
        who, _, shards = variant.partition(".")
        head = shards or who
        cost = [figures.median(".".join(filter(None, (who, f"devices_{devices}", shards, "cpu_us_per_frame"))))
                for devices in sizes]
        figures.update({f"ratio.{head}.most_over_least": max(cost) / min(cost), f"ratio.{head}.last_over_first": cost[-1] / cost[0]})
        if who == "gateway":
            figures.add(f"goal.{head}.verdict", "met" if max(cost) <= 1.1 * min(cost) else "not met")
    few, many = (figures.median(f"gateway.devices_{devices}.shards_1.idle_cpu_us_per_s") for devices in (sizes[0], sizes[-1]))
    figures.add("gateway.shards_1.idle_cpu_us_per_device_s", (many - few) / (sizes[-1] - sizes[0]))


def main() -> int:
    options = arguments(__doc__, rounds=2, processes=4)
    figures = Figures("scale", options.quick)
    rounds = 1 if options.quick else options.rounds
    sizes = (100, 1_000) if options.quick else (100, 1_000, 5_000, 15_000)
    frames = 3_000 if options.quick else 12_000
    processes, each = (2, 500) if options.quick else (options.processes, 15_000)
    figures.update({"rate": RATE, "rounds": rounds, "windows": WINDOWS, "frames": frames, "idle_s": IDLE_S})
    for _ in range(rounds):
        for variant in VARIANTS:
            grow(figures, variant, sizes, frames, 1 / processes if variant == VARIANTS[0] else 0)
    for devices, sent in ((100, 32),) if options.quick else ((100, 64), (1_000, 32)):
        instructions(figures, devices, sent)
    side_by_side(figures, processes, each, 2_000 if options.quick else 7_500)
    judge(figures, sizes)
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
