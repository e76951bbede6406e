#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records and frames a second, end to end, beside the peers: devices -> server -> mosquitto -> one consumer, QoS 1.

All devices send telemetry of six metrics as fast as their window of 64 unacknowledged frames lets them. Everything is on
the same cores: devices, server, broker, consumer; whose CPU it was is told by process. The devices are shared out over
so many processes as there are cores, so that no thread of theirs is what ends a run first. Variants follow each other in
each round, on one broker.

  gateway.forwarded_batches   acknowledged when the broker has, records in batches (the default)
  gateway.spooled_batches     acknowledged when durable on disk
  gateway.forwarded_topics    one MQTT message per frame, on the device's topic
  gateway.spooled_topics
  gateway.packed              as forwarded_batches, devices put 8 frames into a TLS record
  mosquitto.direct            devices speak MQTT over WSS straight to the broker, QoS 1
  mosquitto.packed            the same, 8 PUBLISH packets in a TLS record
  tornado.forwarded_batches   Debian's python3-tornado and paho-mqtt doing the gateway's job, a process per core
  tornado.packed
  node.forwarded_batches      Node, ws, mqtt and protobufjs doing it, a process per core
  node.packed
  floor.single                a bare loop on epoll and OpenSSL: checks, reads, keeps last values, acknowledges; forwards
                              nothing, so there is no broker and no consumer in it; a process for each of the devices'
  floor.packed
  beast.single                the same on Beast
  beast.packed
  ..._gathering               the same, with the server's threads under the policy that the gateway's own shards and lanes
                              have (SCHED_BATCH, a slice of 300 us): what of the difference is that alone
"""

import contextlib
import ctypes
import os
import pathlib
import socket
import struct
import sys
import time

import peers
from stage import Figures, arguments
from traffic import PREFIX, Tool, Traffic, demo, idle_seconds, traffic

TOPICS = {"mqtt": [{"routes": [{"kinds": ["telemetry"], "payload": "protobuf"}]}]}
SPOOL = {"uplink": {"spool": {"enabled": True}}}
WARM_S = 2.0
SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}[os.uname().machine]

# Settings of the gateway, options of the devices.
GATEWAY = {
    "gateway.forwarded_batches": ({}, ()),
    "gateway.spooled_batches": (SPOOL, ("--stage", "spooled")),
    "gateway.forwarded_topics": (TOPICS, ()),
    "gateway.spooled_topics": (SPOOL | TOPICS, ("--stage", "spooled")),
    "gateway.packed": ({}, ("--per-record", 8)),
}
MQTT = {"mosquitto.direct": (), "mosquitto.packed": ("--per-record", 8)}
PEERS = {"tornado.forwarded_batches": ("tornado", ()), "tornado.packed": ("tornado", ("--per-record", 8)),
         "node.forwarded_batches": ("node", ()), "node.packed": ("node", ("--per-record", 8))}
FLOORS = {"floor.single": ("floor", ()), "floor.packed": ("floor", ("--per-record", 8)),
          "beast.single": ("beast", ()), "beast.packed": ("beast", ("--per-record", 8))}
BASE = "gateway.forwarded_batches"
GATHERING = "_gathering"
GATHERED = ("mosquitto.direct", "tornado.forwarded_batches", "node.forwarded_batches", "floor.single")
SLICE_NS = 300_000
CORES = os.cpu_count() or 1
RATIOS = {"gateway_over_mosquitto": (BASE, "mosquitto.direct"),
          "gateway_over_tornado": (BASE, "tornado.forwarded_batches"),
          "gateway_over_node": (BASE, "node.forwarded_batches"),
          "packed_over_mosquitto": ("gateway.packed", "mosquitto.packed"),
          "packed_over_tornado": ("gateway.packed", "tornado.packed"),
          "packed_over_node": ("gateway.packed", "node.packed"),
          "topics_over_mosquitto": ("gateway.forwarded_topics", "mosquitto.direct"),
          "spooled_over_forwarded": ("gateway.spooled_batches", BASE),
          "floor_over_gateway": ("floor.single", BASE),
          "floor_over_tornado": ("floor.single", "tornado.forwarded_batches"),
          "beast_over_gateway": ("beast.single", BASE),
          "gateway_over_mosquitto_gathering": (BASE, "mosquitto.direct" + GATHERING),
          "gateway_over_tornado_gathering": (BASE, "tornado.forwarded_batches" + GATHERING),
          "gateway_over_node_gathering": (BASE, "node.forwarded_batches" + GATHERING),
          "floor_gathering_over_gateway": ("floor.single" + GATHERING, BASE),
          "floor_packed_over_gateway": ("floor.packed", "gateway.packed"),
          "beast_packed_over_gateway": ("beast.packed", "gateway.packed")}
# At least so many times the frames a second.
GOALS = {"mosquitto": ("gateway_over_mosquitto", 3), "tornado": ("gateway_over_tornado", 8)}


class Load:
    """The devices of a variant, in several processes; `fleet(share, first, i)` starts the one of number `i`."""

    def __init__(self, devices: int, fleet):
        shares = [devices * (i + 1) // CORES - devices * i // CORES for i in range(CORES)]
        self.parts: list[tuple[int, Tool]] = [(share, fleet(share, 1 + sum(shares[:i]), i))
                                              for i, share in enumerate(shares)]

    def wait_online(self, run: Traffic) -> None:
        for share, tool in self.parts:
            run.wait_online(tool, share, 120)

    def ask(self, line: str) -> list[dict]:
        return [tool.ask(line) for _, tool in self.parts]


def start_floor(run: Traffic, who: str, i: int) -> int:
    """Returns its port."""
    name, port = f"{who}{i}", demo.free_port(18_500 + 10 * i)
    process = run.start(name, run.bin / f"fieldgate_bench_{who}", "--port", port, "--pki", run.folder / "pki")

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    run.wait_for(name, process, listens, 30)
    return port


def begin(run: Traffic, variant: str, devices: int) -> Load:
    """Starts the server and the devices."""
    def part(start, options: tuple, ports: list[int] | None = None):
        def fleet(share: int, first: int, i: int) -> Tool:
            where = {"port": ports[i]} if ports else {}
            return start(share, "--first-index", first, *options, name=f"load{i}", **where)
        return Load(devices, fleet)

    if variant in GATEWAY:
        settings, options = GATEWAY[variant]
        run.start_gateway(settings)
        return part(run.fleet, options)
    if variant in MQTT:
        return part(run.mqtt_fleet, MQTT[variant])
    if variant in FLOORS:
        name, options = FLOORS[variant]
        return part(run.fleet, options, [start_floor(run, name, i) for i in range(CORES)])
    name, options = PEERS[variant]
    peers.start(run, name, PREFIX)
    return part(run.fleet, options, [run.peer] * CORES)


def owner(process: str) -> str:
    if process.startswith("load"):
        return "devices"
    return {"sink": "consumer", "mosquitto": "broker"}.get(process, "server")


def set_policy(pid: int, policy: int, slice_ns: int) -> None:
    """Of all its threads. The C library has no call for it: sched_setattr(2)."""
    wanted = struct.pack("=IIQiIQQQ", 48, policy, 0, 0, 0, slice_ns, 0, 0)
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if ctypes.CDLL(None, use_errno=True).syscall(SCHED_SETATTR, int(task.name), wanted, 0) != 0:
            raise OSError(ctypes.get_errno(), f"the scheduling policy of {pid}")


@contextlib.contextmanager
def policies(run: Traffic, variant: str, others: set[str]):
    """Puts the server under the gateway's policy, where the variant says so; a broker that was there before, for so long."""
    gather = variant.endswith(GATHERING)
    broker = gather and variant.startswith("mosquitto.")
    for name, pid in run.pids().items():
        if gather and name not in others and owner(name) == "server":
            set_policy(pid, os.SCHED_BATCH, SLICE_NS)
    if broker:
        set_policy(run.pid("mosquitto"), os.SCHED_BATCH, SLICE_NS)
    try:
        yield
    finally:
        if broker:
            set_policy(run.pid("mosquitto"), os.SCHED_OTHER, 0)


def window(run: Traffic, load: Load, sink: Tool | None, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """What was counted in so many seconds, and the cores that each process had."""
    load.ask("mark")
    if sink:
        sink.ask("mark")
    began, idle, before = time.monotonic(), idle_seconds(), run.cpu()
    time.sleep(seconds)
    took, idle, after = time.monotonic() - began, idle_seconds() - idle, run.cpu()
    sent, taken = load.ask("mark"), sink.ask("mark") if sink else None
    figures = {"frames_per_s": sum(part["acked"] / part["seconds"] for part in sent)}
    if taken:
        figures |= {"records_per_s": taken["records"] / taken["seconds"],
                    "records_per_message": taken["records"] / max(1, taken["messages"])}
    if 0 in figures.values() or any(part["faults"] for part in sent):
        raise RuntimeError(f"nothing arrived, or the server broke its protocol: {sent} {taken}")
    figures["idle_cores"] = idle / took
    return figures, {name: (cpu - before[name]) / took for name, cpu in after.items()}


def measure(run: Traffic, variant: str, devices: int, seconds: float) -> dict[str, float]:
    others = set(run.pids())
    served = variant.removesuffix(GATHERING)
    sink = None if served in FLOORS else run.sink()
    try:
        load = begin(run, served, devices)
        load.wait_online(run)
        with policies(run, variant, others):
            load.ask("max")
            time.sleep(WARM_S)
            figures, cores = window(run, load, sink, seconds)
    finally:
        for name in reversed([name for name in run.pids() if name not in others]):
            run.end(name)
    per_s = figures["records_per_s"] if sink else figures["frames_per_s"]
    for what in {owner(name) for name in cores}:
        figures[f"{what}_cores"] = sum(used for name, used in cores.items() if owner(name) == what)
        figures[f"{what}_cpu_us"] = figures[f"{what}_cores"] / per_s * 1e6
    # One of these near 1 would be what ends the run.
    figures["busiest_devices_cores"] = max(used for name, used in cores.items() if owner(name) == "devices")
    figures["all_cores"] = sum(cores.values())
    figures["all_cpu_us"] = figures["all_cores"] / per_s * 1e6
    figures["behind_devices_cpu_us"] = figures["all_cpu_us"] - figures["devices_cpu_us"]
    return figures


def compare(figures: Figures, taken: dict[str, dict[str, float]]) -> None:
    """One variant over another, of one round: frames a second, and the CPU of all that is behind the devices."""
    for name, (over, under) in RATIOS.items():
        if over in taken and under in taken:
            figures.add(f"ratio.{name}.frames", taken[over]["frames_per_s"] / taken[under]["frames_per_s"])
            figures.add(f"ratio.{name}.cpu", taken[under]["behind_devices_cpu_us"] / taken[over]["behind_devices_cpu_us"])


def judge(figures: Figures) -> None:
    for name, (ratio, aim) in GOALS.items():
        if f"ratio.{ratio}.frames" in figures.values:
            reached = figures.median(f"ratio.{ratio}.frames")
            figures.update({f"goal.{name}.times": aim, f"goal.{name}.verdict": "met" if reached >= aim else "not met"})


def main() -> int:
    options = arguments(__doc__, devices=400, seconds=6.0, rounds=3, only="")
    rounds, seconds = (1, 3.0) if options.quick else (options.rounds, options.seconds)
    figures = Figures("throughput", options.quick)
    figures.update({"devices": options.devices, "rounds": rounds, "window_s": seconds, "cores": CORES})
    missing = {name: why for name, why in peers.available().items() if why}
    for name, why in missing.items():
        figures.add(f"{name}.left_out", why)
    variants = [name for name in (*GATEWAY, *MQTT, *PEERS, *FLOORS, *(name + GATHERING for name in GATHERED))
                if name.split(".")[0] not in missing and options.only in name]
    with traffic(options.devices) as run:
        for _ in range(rounds):
            round_of = {}
            for variant in variants:
                round_of[variant] = taken = measure(run, variant, options.devices, seconds)
                figures.update({f"{variant}.{key}": value for key, value in taken.items()})
                print(f"# {variant}: {taken['frames_per_s']:.0f} frames/s, {taken['all_cpu_us']:.1f} us of CPU a record in all",
                      file=sys.stderr, flush=True)
            compare(figures, round_of)
    judge(figures)
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
