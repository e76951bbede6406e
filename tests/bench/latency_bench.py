#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Device -> MQTT subscriber, and command round trip, at 10, 50 and 80 % of capacity, with 15,000 devices connected.

Frames of six metrics come evenly spaced from all devices in turn, one to a TLS record, acknowledged at FORWARDED, in
batches (linger 5 ms). Times are from the making of a frame to its arrival at the one consumer. `broker`: a message of 120
bytes from the consumer's own connection to mosquitto and back, QoS 1, 100 a second, at the same time: the broker alone.
`command`: an MQTT request to a device, until its last reply has come: ledger on disk, device and back. `added`: the
difference of the two quantiles, of devices and of the broker alone.

Capacity: the highest rate, found in the same run, that all goes through at for three seconds; from what the devices'
windows let through downwards, in steps of 10 %. Devices, gateway, broker and consumer share the cores.
"""

import sys
import time

from stage import Figures, arguments
from traffic import Tool, Traffic, traffic

PARTS = (10, 50, 80)
PROBES, COMMANDS = 100, 25  # a second
WINDOW = 8  # of each device, where the highest rate is looked for


def goes_through(load: Tool, sink: Tool, rate: float, seconds: float) -> bool:
    load.ask(f"rate {rate}")
    time.sleep(2)
    load.ask("mark"), sink.ask("mark")
    time.sleep(seconds)
    sent, taken = load.ask("mark"), sink.ask("mark")
    print(f"# {rate:.0f}/s: {taken['records'] / taken['seconds']:.0f}/s arrive, p99 {taken['latency_p99_ms']:.1f} ms, "
          f"{sent['withheld']} withheld", file=sys.stderr, flush=True)
    return taken["records"] / taken["seconds"] > 0.98 * rate and sent["withheld"] < 0.001 * rate and taken["latency_p99_ms"] < 250


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


def measure(run: Traffic, load: Tool, sink: Tool, rate: float, seconds: float) -> dict[str, float]:
    load.ask(f"rate {rate}")
    sink.ask(f"probe {PROBES}")
    sink.ask(f"command {COMMANDS}")
    time.sleep(2)
    load.ask("mark"), sink.ask("mark")
    before = run.cpu()
    time.sleep(seconds)
    sent, taken, after = load.ask("mark"), sink.ask("mark"), run.cpu()
    sink.ask("probe 0")
    sink.ask("command 0")
    figures = {"frames_per_s": rate, "records_per_s": taken["records"] / taken["seconds"]}
    for quantile in ("p50", "p99", "p999"):
        figures |= {f"device_{quantile}_ms": taken[f"latency_{quantile}_ms"], f"broker_{quantile}_ms": taken[f"probe_{quantile}_ms"],
                    f"command_{quantile}_ms": taken[f"command_{quantile}_ms"], f"ack_{quantile}_ms": sent[f"ack_{quantile}_ms"]}
        figures[f"added_{quantile}_ms"] = taken[f"latency_{quantile}_ms"] - taken[f"probe_{quantile}_ms"]
    figures |= {"devices_late_p99_ms": sent["late_p99_ms"], "commands": taken["commands_back"],
                "commands_refused": taken["commands_refused"], "withheld": sent["withheld"]}
    names = {"load": "devices", "sink": "consumer", "mosquitto": "broker", "gateway": "gateway"}
    return figures | {f"{names[name]}_cores": (cpu - before[name]) / taken["seconds"] for name, cpu in after.items()}


def main() -> int:
    options = arguments(__doc__, devices=15_000, seconds=15.0, rounds=3)
    devices, rounds, seconds = (1_000, 1, 4.0) if options.quick else (options.devices, options.rounds, options.seconds)
    figures = Figures("latency", options.quick)
    figures.update({"devices": devices, "rounds": rounds, "window_s": seconds, "batch_linger_ms": 5})
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
                taken = measure(run, load, sink, capacity * part / 100, seconds)
                figures.update({f"load_{part}.{key}": value for key, value in taken.items()})
                print(f"# {part} %: {taken}", file=sys.stderr, flush=True)
        online = load.ask("online")["online"]
        if online != devices:
            raise RuntimeError(f"{devices - online} devices have lost their connection")
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
