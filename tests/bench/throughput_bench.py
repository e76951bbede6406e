#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records and frames a second, end to end, beside the peers: devices -> server -> mosquitto -> one consumer, QoS 1.

All devices send telemetry of six metrics as fast as their window of 64 unacknowledged frames lets them. Everything is on
the same cores: devices, server, broker, consumer; whose CPU it was is told by process. Variants follow each other in
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
"""

import sys
import time

import peers
from stage import Figures, arguments
from traffic import PREFIX, Traffic, traffic

TOPICS = {"mqtt": [{"routes": [{"kinds": ["telemetry"], "payload": "protobuf"}]}]}
SPOOL = {"uplink": {"spool": {"enabled": True}}}
WARM_S = 2.0

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
BASE = "gateway.forwarded_batches"
RATIOS = {"gateway_over_mosquitto": (BASE, "mosquitto.direct"),
          "gateway_over_tornado": (BASE, "tornado.forwarded_batches"),
          "gateway_over_node": (BASE, "node.forwarded_batches"),
          "packed_over_mosquitto": ("gateway.packed", "mosquitto.packed"),
          "packed_over_tornado": ("gateway.packed", "tornado.packed"),
          "packed_over_node": ("gateway.packed", "node.packed"),
          "topics_over_mosquitto": ("gateway.forwarded_topics", "mosquitto.direct"),
          "spooled_over_forwarded": ("gateway.spooled_batches", BASE)}


def begin(run: Traffic, variant: str, devices: int):
    """Starts the server and the devices; returns the devices and the server's name."""
    if variant in GATEWAY:
        settings, options = GATEWAY[variant]
        run.start_gateway(settings)
        return run.fleet(devices, *options), "gateway"
    if variant in MQTT:
        return run.mqtt_fleet(devices, *MQTT[variant]), ""
    name, options = PEERS[variant]
    peers.start(run, name, PREFIX)
    return run.fleet(devices, *options, port=run.peer), name


def measure(run: Traffic, variant: str, devices: int, seconds: float) -> dict[str, float]:
    sink = run.sink()
    load, server = begin(run, variant, devices)
    try:
        run.wait_online(load, devices, 120)
        load.ask("max")
        time.sleep(WARM_S)
        load.ask("mark"), sink.ask("mark")
        before = run.cpu()
        time.sleep(seconds)
        after, sent, taken = run.cpu(), load.ask("mark"), sink.ask("mark")
    finally:
        for name in filter(None, ("load", server, "sink")):
            run.end(name)
    figures = {"frames_per_s": sent["acked"] / sent["seconds"], "records_per_s": taken["records"] / taken["seconds"],
               "records_per_message": taken["records"] / max(1, taken["messages"])}
    if taken["records"] == 0 or sent["faults"] > 0:
        raise RuntimeError(f"{variant}: nothing arrived, or the server broke its protocol: {sent} {taken}")
    for name, cpu in after.items():
        what = {"load": "devices", "sink": "consumer", "mosquitto": "broker"}.get(name, "server")
        figures[f"{what}_cpu_us"] = (cpu - before[name]) / taken["records"] * 1e6
        figures[f"{what}_cores"] = (cpu - before[name]) / taken["seconds"]
    figures["all_cpu_us"] = sum(value for key, value in figures.items() if key.endswith("_cpu_us"))
    figures["behind_devices_cpu_us"] = figures["all_cpu_us"] - figures["devices_cpu_us"]
    return figures


def compare(figures: Figures, taken: dict[str, dict[str, float]]) -> None:
    """One variant over another, of one round: frames a second, and the CPU of all that is behind the devices."""
    for name, (over, under) in RATIOS.items():
        if over in taken and under in taken:
            figures.add(f"ratio.{name}.frames", taken[over]["frames_per_s"] / taken[under]["frames_per_s"])
            figures.add(f"ratio.{name}.cpu", taken[under]["behind_devices_cpu_us"] / taken[over]["behind_devices_cpu_us"])


def main() -> int:
    options = arguments(__doc__, devices=400, seconds=8.0, rounds=3, only="")
    rounds, seconds = (1, 3.0) if options.quick else (options.rounds, options.seconds)
    figures = Figures("throughput", options.quick)
    figures.update({"devices": options.devices, "rounds": rounds, "window_s": seconds})
    missing = {name: why for name, why in peers.available().items() if why}
    for name, why in missing.items():
        figures.add(f"{name}.left_out", why)
    variants = [name for name in (*GATEWAY, *MQTT, *PEERS) if name.split(".")[0] not in missing and options.only in name]
    with traffic(options.devices) as run:
        for _ in range(rounds):
            round_of = {}
            for variant in variants:
                round_of[variant] = taken = measure(run, variant, options.devices, seconds)
                figures.update({f"{variant}.{key}": value for key, value in taken.items()})
                print(f"# {variant}: {taken['frames_per_s']:.0f} frames/s, {taken['all_cpu_us']:.1f} us of CPU a record in all",
                      file=sys.stderr, flush=True)
            compare(figures, round_of)
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
