#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""User-space instructions and system calls per telemetry frame: the gateway, the floor and the usual way.

100 devices over TLS 1.3 send frames of six metrics: one per TCP segment (single), eight records in a segment (segment),
eight frames in a record (record). Saturated: all devices' packs are there before the next are sent, and Acks come every
32 frames. Paced: few enough that nearly every frame is a turn of the loop, a batch and an Ack of its own.

The gateway has one shard, batches out to mosquitto at QoS 1, and acknowledges at FORWARDED. The floor is a bare loop
on epoll and OpenSSL that checks, reads and keeps the same, by the same code, and acknowledges alike, but asks nobody who
they are, has no limits, accounts or deadlines, and no log. `beast` does as the floor does, the usual way.

`allocations`: what a thread asks of the C library's heap, per frame. `linger`: paced, with batches that wait for more
and with ones that do not.

`store`: all threads of the gateway, with the store (SQLite: presence, commands, twins, timelines, and its lane) and
without; `idle` is of a second in which the same devices are connected and silent.
"""

import sys
import time

from counted import (ACK_BY_NUMBER_MS, LANE_ACCOUNT, LANE_BATCH, LANE_PUBLISH, LANE_SOCKET, LANE_TURNS, Profile, Thread, gateway,
                     server)
from stage import Figures, arguments

PACKINGS = ("single", "segment", "record")
LEVELS = ("tls", "frame", "decode", "values")
WHO = ("gateway", "floor", "beast")
ACKS_OF_FRAMES = 32  # session.ack_every_frames
PACED_PER_SECOND = 150
IDLE_S = 10
LINGERS_MS = (0, 5)
SETTLE_S = 15  # until the store has what came with the connects, under callgrind

READABLE = r"net::DeviceSession::readable\("
ON_MESSAGE = r"net::DeviceSession::on_message\("
INGEST = r"net::Shard::ingest\("
CODEC = r"fieldgate::WsCodec::feed\("
DECODE = r"wire::Decoder::decode\("
VALUES = r"fieldgate::LastValues::update\("
LOG = r"net::Shard::(ingest|flush)\("
ACKS = r"net::(Shard::(block_staged|send_acks)\(|DeviceSession::(ack_due|send_ack)\()"


def stages(shard: Thread) -> dict[str, float]:
    """What the shard's thread spends where. A stage whose functions were inlined away is left out, with all that
    is what remains after it."""
    cost = {}
    for name, pattern in {"readable": READABLE, "tls": r"^SSL_read_ex", "codec": CODEC, "on_message": ON_MESSAGE,
                          "decode": DECODE, "values": VALUES, "ingest": INGEST, "log": LOG, "acks": ACKS}.items():
        if not shard.knows(pattern):
            print(f"no function of the name {pattern}: no stages", file=sys.stderr)
            return {}
        cost[name] = shard.inclusive(pattern)
    return {"tls": cost["tls"], "websocket": cost["codec"] - cost["on_message"],
            "decode_and_checks": cost["decode"] - cost["values"], "last_values": cost["values"],
            "session": cost["readable"] - cost["tls"] - cost["codec"] + cost["on_message"] - cost["decode"] - cost["ingest"],
            "log": cost["log"], "acks": cost["acks"],
            "loop": shard.total - cost["readable"] - (cost["log"] - cost["ingest"]) - cost["acks"]}


def lane_stages(lane: Thread) -> dict[str, float]:
    """What the MQTT lane's thread spends where; `loop` is what remains: its reactor, timers and falling asleep."""
    cost = {"batch": lane.inclusive(LANE_BATCH), "socket": lane.inclusive(LANE_SOCKET), "account": lane.inclusive(LANE_ACCOUNT)}
    cost["turn"] = lane.inclusive(LANE_TURNS) - sum(cost.values())
    return cost | {"loop": lane.total - lane.inclusive(LANE_TURNS)}


def by_thread(who: str, profile: Profile) -> dict[str, Thread]:
    if who != "gateway":
        return {"loop": profile.threads[0]}
    shard = profile.thread(READABLE)
    return {"shard": shard, "lane": profile.thread(LANE_TURNS)}


def instructions(figures: Figures, who: str, packing: str, devices: int, rounds: int, level: str = "ack") -> None:
    acks = level == "ack"
    with server(who, devices + 10, ACK_BY_NUMBER_MS, level, callgrind=True) as one:
        load = one.load("--packing", packing, *(() if acks else ("--no-acks",)))
        load.do("connect", devices)
        load.do("send", ACKS_OF_FRAMES)
        one.counted()
        frames = load.do("send", rounds)["frames"]
        profile = one.counted()
    key = f"{who}.{packing}"
    if not acks:
        figures.add(f"{key}.{level}_level_instructions", profile.total / frames)
        return
    figures.add(f"{key}.instructions", profile.total / frames)
    if who != "gateway":
        return
    threads = by_thread(who, profile)
    note_threads(figures, key, threads, frames)
    for stage, cost in stages(threads["shard"]).items():
        figures.add(f"{key}.stage.{stage}_instructions", cost / frames)


def note_threads(figures: Figures, key: str, threads: dict[str, Thread], frames: float) -> None:
    for name, thread in threads.items():
        figures.add(f"{key}.{name}_instructions", thread.total / frames)
        figures.add(f"{key}.{name}_allocations", thread.allocations() / frames)
    figures.add(f"{key}.records_per_publish", frames / threads["lane"].entered(LANE_PUBLISH))
    for stage, cost in lane_stages(threads["lane"]).items():
        figures.add(f"{key}.lane_stage.{stage}_instructions", cost / frames)


def paced_instructions(figures: Figures, who: str, devices: int, frames: int) -> None:
    with server(who, devices + 10, callgrind=True) as one:
        load = one.load()
        load.do("connect", devices)
        load.do("pace", PACED_PER_SECOND, 200)
        one.counted()
        frames = load.do("pace", PACED_PER_SECOND, frames)["frames"]
        profile = one.counted()
    figures.add(f"{who}.paced.instructions", profile.total / frames)
    if who == "gateway":
        note_threads(figures, f"{who}.paced", by_thread(who, profile), frames)


def lingering(figures: Figures, linger_ms: int, devices: int, frames: int) -> None:
    """What a batch's waiting saves where hardly anything comes meanwhile."""
    settings = {"session": {"ack_every": "50ms"}, "mqtt": [{"batch_linger": f"{linger_ms}ms"}]}
    with gateway(devices + 10, callgrind=True, settings=settings) as one:
        load = one.load()
        load.do("connect", devices)
        load.do("pace", PACED_PER_SECOND, 200)
        one.counted()
        frames = load.do("pace", PACED_PER_SECOND, frames)["frames"]
        lane = by_thread("gateway", one.counted())["lane"]
    key = f"linger_{linger_ms}ms.paced"
    figures.add(f"{key}.lane_instructions", lane.total / frames)
    figures.add(f"{key}.records_per_publish", frames / lane.entered(LANE_PUBLISH))


def store_instructions(figures: Figures, kind: str, devices: int, rounds: int) -> None:
    settings = {"store": {"kind": kind}, "session": {"ack_every": f"{ACK_BY_NUMBER_MS}ms"}}
    if kind == "none":
        settings["registry"] = {"auto_register": False}
        settings["mqtt"] = [{"commands": False, "response_topics": []}]
    with gateway(devices + 10, callgrind=True, settings=settings) as one:
        load = one.load()
        load.do("connect", devices)
        load.do("send", ACKS_OF_FRAMES)
        time.sleep(SETTLE_S)
        one.counted()
        frames = load.do("send", rounds)["frames"]
        figures.add(f"store.{kind}.single_instructions", one.counted().total / frames)
        began = time.monotonic()
        # As many as are acknowledged by number: the run is to end with its last frame, not with a wait.
        frames = load.do("pace", PACED_PER_SECOND, devices * ACKS_OF_FRAMES)["frames"]
        figures.add(f"store.{kind}.paced_frames_per_s", frames / (time.monotonic() - began))
        profile = one.counted()
        figures.add(f"store.{kind}.paced_instructions", profile.total / frames)
        threads = by_thread("gateway", profile)
        for name, thread in threads.items():
            figures.add(f"store.{kind}.paced_{name}_instructions", thread.total / frames)
        others = profile.total - sum(thread.total for thread in threads.values())
        figures.add(f"store.{kind}.paced_others_instructions", others / frames)
        began = time.monotonic()
        time.sleep(IDLE_S)
        figures.add(f"store.{kind}.idle_instructions_per_s", one.counted().total / (time.monotonic() - began))


def system_calls(figures: Figures, who: str, packing: str, devices: int, rounds: int) -> None:
    with server(who, devices + 10, ACK_BY_NUMBER_MS) as one:
        load = one.load("--packing", packing)
        load.do("connect", devices)
        load.do("send", ACKS_OF_FRAMES)
        with one.traced() as calls:
            frames = load.do("send", rounds)["frames"]
    note_calls(figures, f"{who}.{packing}", calls, frames)


def paced_system_calls(figures: Figures, who: str, devices: int, frames: int) -> None:
    with server(who, devices + 10) as one:
        load = one.load()
        load.do("connect", devices)
        load.do("pace", PACED_PER_SECOND, 200)
        with one.traced() as calls:
            frames = load.do("pace", PACED_PER_SECOND, frames)["frames"]
    note_calls(figures, f"{who}.paced", calls, frames)


def note_calls(figures: Figures, key: str, calls: dict[str, dict[str, int]], frames: float) -> None:
    """Of the thread that the devices' sockets belong to (libmosquitto uses read()), and of all."""
    loop = max(calls.values(), key=lambda thread: thread.get("recvfrom", 0) + thread.get("recvmsg", 0))
    sends = sum(loop.get(name, 0) for name in ("sendto", "sendmsg", "write"))
    figures.add(f"{key}.loop_syscalls", sum(loop.values()) / frames)
    figures.add(f"{key}.loop_syscalls_but_sends", (sum(loop.values()) - sends) / frames)
    figures.add(f"{key}.all_syscalls", sum(sum(thread.values()) for thread in calls.values()) / frames)
    for name in ("recvfrom", "recvmsg", "epoll_wait", "epoll_ctl", "sendto", "sendmsg", "write", "futex", "timerfd_settime"):
        if loop.get(name, 0) / frames >= 0.005:
            figures.add(f"{key}.syscalls.{name}", loop[name] / frames)
    if key.startswith("gateway."):
        lane = max(calls.values(), key=lambda thread: thread.get("read", 0))
        figures.add(f"{key}.lane_syscalls", sum(lane.values()) / frames)
        figures.add(f"{key}.lane_syscalls.read", lane.get("read", 0) / frames)
        figures.add(f"{key}.wake_syscalls", sum(sum(thread.get(name, 0) for name in ("futex", "epoll_ctl"))
                                                for thread in calls.values()) / frames)


def add_store_shares(figures: Figures) -> None:
    """What is more with the store: of a paced frame, and what of that the time between two frames takes by itself."""
    of = {kind: [figures.median(f"store.{kind}.{key}") for key in ("paced_instructions", "idle_instructions_per_s")]
          for kind in ("none", "sqlite")}
    paced, idle = (with_store - without for with_store, without in zip(of["sqlite"], of["none"]))
    figures.add("store.paced_more_per_frame", paced)
    figures.add("store.idle_more_per_s", idle)
    figures.add("store.idle_more_per_frame", idle / figures.median("store.sqlite.paced_frames_per_s"))


def main() -> int:
    options = arguments(__doc__, rounds=2)
    figures = Figures("cpu", options.quick)
    devices, rounds, paced = (50, 32, 600) if options.quick else (100, 64, 1_500)
    repeats = 1 if options.quick else options.rounds
    figures.update({"devices": devices, "rounds": repeats})
    for _ in range(repeats):
        for packing in PACKINGS:
            for who in WHO:
                instructions(figures, who, packing, devices, rounds)
            for level in LEVELS:
                instructions(figures, "floor", packing, devices, rounds, level)
        for who in WHO:
            paced_instructions(figures, who, devices, paced)
        for linger_ms in LINGERS_MS:
            lingering(figures, linger_ms, devices, paced)
        for kind in ("none", "sqlite"):
            store_instructions(figures, kind, devices, rounds)
        for packing in PACKINGS:
            for who in WHO:
                system_calls(figures, who, packing, devices, rounds)
        for who in WHO:
            paced_system_calls(figures, who, devices, paced)
    for packing in PACKINGS:
        shard, floor, beast = (figures.median(f"{key}") for key in (
            f"gateway.{packing}.shard_instructions", f"floor.{packing}.instructions", f"beast.{packing}.instructions"))
        figures.add(f"ratio.{packing}.gateway_to_floor", shard / floor)
        figures.add(f"ratio.{packing}.beast_to_floor", beast / floor)
    for load in ("single", "paced"):
        without, with_store = (figures.median(f"store.{kind}.{load}_instructions") for kind in ("none", "sqlite"))
        figures.add(f"ratio.{load}.with_store_to_without", with_store / without)
    add_store_shares(figures)
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
