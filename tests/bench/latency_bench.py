#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Device -> MQTT subscriber, and command round trip, at 10, 50 and 80 % of capacity, with 15,000 devices connected.

Frames of six metrics come evenly spaced from all devices in turn, one to a TLS record, acknowledged at FORWARDED, in
batches (linger 5 ms). `device`: from the making of a frame, just before it is encrypted and sent, to its arrival at the one
consumer. The devices are one thread; that it makes a frame later than it was due is not in it, and told as
`devices_late`. `broker`: a message of 120 bytes from the consumer's own connection to mosquitto and back, QoS 1, 100 a
second, at the same time. `over_broker`: the difference of the two quantiles, which is not a quantile of any frame's
added time. `command`: an MQTT request to a device, until its last reply has come: ledger on disk, device and back.
`disk`: one block written and made durable beside the ledger, by the bench, 20 times a second.

The gateway's own: `record`, from the receipt of a frame to the broker's PUBACK; `publish`, from PUBLISH to PUBACK, which is
the broker's part of it (the rest is shard, log, the batch's linger and the lane's queue); `ack`, from receipt to where its
Ack may go. These are interpolated within the buckets of the metrics. `*_cores`: who had the cores; `*_waiting`: how many
threads of whom were ready on average, and had none; `acks_per_s`: Acks sent.

`load_50_acks_apart`: as load_50, with `session.ack_every` at 5 ms instead of 50: a tenth of the Acks at one time.
`tornado`, `mosquitto`: the peers at the rate of load_10 with as many devices: Debian's python3-tornado doing the gateway's
job, and devices that speak MQTT over WSS straight to the broker.

Capacity: the highest rate, found in the same run, that all goes through at for three seconds; from what the devices'
windows let through downwards, in steps of 10 %. Devices, gateway, broker and consumer share the cores.
"""

import json
import os
import statistics
import sys
import threading
import time

import peers
from stage import Figures, arguments
from stream_bench import buckets, quantile
from traffic import PREFIX, Tool, Traffic, merged, traffic

PARTS = (10, 50, 80)
PROBES, COMMANDS, SYNCS = 100, 50, 20  # a second
WINDOW = 8  # of each device, where the highest rate is looked for
QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
OWN = {"record": "fieldgate_lane_record_seconds", "publish": "fieldgate_lane_publish_seconds", "ack": "fieldgate_ack_seconds"}
WHO = {"load": "devices", "sink": "consumer", "mosquitto": "broker", "gateway": "gateway", "tornado": "server"}
ACKS_APART = {"session": {"ack_every": "5ms"}}


def goes_through(load: Tool, sink: Tool, rate: float, seconds: float) -> bool:
    load.ask(f"rate {rate}")
    time.sleep(2)
    load.ask("mark"), sink.ask("mark")
    time.sleep(seconds)
    sent, taken = load.ask("mark"), sink.ask("mark")
    print(f"# {rate:.0f}/s: {taken['records'] / taken['seconds']:.0f}/s arrive, p99 {taken['latency_p99_ms']:.1f} ms, "
          f"{sent['withheld']} withheld", file=sys.stderr, flush=True)
    arrived = taken["records"] / taken["seconds"]
    return arrived > 0.98 * rate and sent["withheld"] < 0.001 * rate and taken["latency_p99_ms"] < 250


def find_capacity(load: Tool, sink: Tool) -> float:
    load.ask(f"max {WINDOW}")
    time.sleep(3)
    sink.ask("mark")
    time.sleep(3)
    taken = sink.ask("mark")
    rate = taken["records"] / taken["seconds"]
    load.ask("rate 0")
    time.sleep(3)
    while not goes_through(load, sink, rate, 3):
        load.ask("rate 0")
        time.sleep(2)
        rate *= 0.9
        if rate < 100:
            raise RuntimeError("no rate goes through")
    return rate


class Disk(threading.Thread):
    """How long the disk takes for one block, beside the ledger."""

    def __init__(self, run: Traffic):
        super().__init__(daemon=True)
        self.file, self.over, self.ms = run.folder / "state/probe", threading.Event(), []
        self.start()

    def run(self) -> None:
        descriptor = os.open(self.file, os.O_CREAT | os.O_WRONLY, 0o600)
        while not self.over.wait(1 / SYNCS):
            began = time.monotonic()
            os.pwrite(descriptor, b"x" * 4096, 0)
            os.fdatasync(descriptor)
            self.ms.append((time.monotonic() - began) * 1e3)
        os.close(descriptor)

    def quantiles(self) -> dict[str, float]:
        self.over.set()
        self.join()
        hundredths = statistics.quantiles(self.ms, n=100, method="inclusive")
        return {"disk_p50_ms": hundredths[49], "disk_p99_ms": hundredths[98], "disk_max_ms": max(self.ms)}


def window(run: Traffic, load: Tool, sink: Tool, seconds: float) -> dict[str, float]:
    """What devices, consumer and cores say of so many seconds."""
    load.ask("mark"), sink.ask("mark")
    before = run.usage()
    time.sleep(seconds)
    sent, taken, after = load.ask("mark"), sink.ask("mark"), run.usage()
    figures = {"records_per_s": taken["records"] / taken["seconds"], "withheld": sent["withheld"], "faults": sent["faults"]}
    for name in QUANTILES:
        figures |= {f"device_{name}_ms": taken[f"latency_{name}_ms"], f"broker_{name}_ms": taken[f"probe_{name}_ms"],
                    f"device_ack_{name}_ms": sent[f"ack_{name}_ms"], f"devices_late_{name}_ms": sent[f"late_{name}_ms"]}
    if taken["commands"]:
        figures |= {"commands": taken["commands_back"], "commands_refused": taken["commands_refused"]}
        figures |= {f"command_{name}_ms": taken[f"command_{name}_ms"] for name in (*QUANTILES, "max")}
    return figures | after.since(before, {name: WHO[name] for name in after.cpu if name in WHO})


def measure(run: Traffic, load: Tool, sink: Tool, rate: float, seconds: float) -> dict[str, float]:
    load.ask(f"rate {rate}")
    sink.ask(f"probe {PROBES}")
    sink.ask(f"command {COMMANDS}")
    time.sleep(2)
    own = {name: buckets(run, metric) for name, metric in OWN.items()}
    acks, disk = run.metric("fieldgate_acks_sent_total"), Disk(run)
    figures = {"frames_per_s": rate} | window(run, load, sink, seconds) | disk.quantiles()
    figures["acks_per_s"] = (run.metric("fieldgate_acks_sent_total") - acks) / seconds
    for name, metric in OWN.items():
        after = buckets(run, metric)
        figures |= {f"{name}_{of}_ms": quantile(own[name], after, q) for of, q in QUANTILES.items()}
    for of in QUANTILES:
        figures[f"over_broker_{of}_ms"] = figures[f"device_{of}_ms"] - figures[f"broker_{of}_ms"]
    sink.ask("probe 0")
    sink.ask("command 0")
    return figures


def acks_apart(run: Traffic) -> None:
    run.config.write_text(json.dumps(merged(json.loads(run.config.read_text()), ACKS_APART)))
    run.reload_gateway()


def peer(run: Traffic, name: str, devices: int, rate: float, seconds: float) -> dict[str, float]:
    """The gateway has ended."""
    sink = run.sink()
    if name == "mosquitto":
        load = run.mqtt_fleet(devices)
    else:
        peers.start(run, name, PREFIX)
        load = run.fleet(devices, port=run.peer)
    try:
        run.wait_online(load, devices, 60 + devices / 50)
        load.ask(f"rate {rate}")
        sink.ask(f"probe {PROBES}")
        time.sleep(2)
        return {"frames_per_s": rate} | window(run, load, sink, seconds)
    finally:
        for part in ("load", "sink", name):
            if part != "mosquitto":
                run.end(part)


def main() -> int:
    options = arguments(__doc__, devices=15_000, seconds=10.0, rounds=3)
    devices, rounds, seconds = (1_000, 1, 4.0) if options.quick else (options.devices, options.rounds, options.seconds)
    figures = Figures("latency", options.quick)
    figures.update({"devices": devices, "rounds": rounds, "window_s": seconds, "batch_linger_ms": 5})

    def take(name: str, taken: dict[str, float]) -> None:
        figures.update({f"{name}.{key}": value for key, value in taken.items()})
        print(f"# {name}: {taken}", file=sys.stderr, flush=True)

    missing = peers.available()["tornado"]
    with traffic(devices) as run:
        run.start_gateway()
        sink = run.sink("--devices", devices)
        load = run.fleet(devices, "--commands")
        run.wait_online(load, devices, 60 + devices / 50)
        time.sleep(2)  # the presence of all of them is out
        capacity = find_capacity(load, sink)
        figures.add("capacity_per_s", capacity)
        for _ in range(rounds):
            for part in PARTS:
                take(f"load_{part}", measure(run, load, sink, capacity * part / 100, seconds))
        acks_apart(run)
        take("load_50_acks_apart", measure(run, load, sink, capacity / 2, seconds))
        online = load.ask("online")["online"]
        if online != devices:
            raise RuntimeError(f"{devices - online} devices have lost their connection")
        for name in ("load", "gateway", "sink"):
            run.end(name)
        take("mosquitto", peer(run, "mosquitto", devices, capacity / 10, seconds))
        if missing:
            figures.add("tornado.left_out", missing)
        else:
            take("tornado", peer(run, "tornado", devices, capacity / 10, seconds))
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
