#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How many gateways a fleet of devices needs, reckoned from the committed results: the sizing in docs/operations.md.

  capacity.py [--devices N] [--period S] [...]   the plan for your own fleet, a line for each figure

What is not measured is assumed, and says so. Every formula is one line of pod() or plan() below.
"""

import argparse
import json
import math
import pathlib
import re
import sys
from dataclasses import dataclass, fields

HERE = pathlib.Path(__file__).resolve().parent
SCHEMA = HERE.parents[1] / "config/fieldgate.schema.json"
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

# One process has been measured with as many devices; the plan has no more on one, also while another is away.
MEASURED_DEVICES = 15_000
# A fleet is what shares a database, a broker and a prefix. Every gateway of it knows all of its devices, 200,000 at
# the most (and lists 250,000); half of that leaves room to grow.
FLEET_DEVICES = 100_000
FLEET_DEVICES_MAX = 200_000
DESCRIPTORS = 200  # that are no device's
RECORD_BYTES = 100  # of a record in log, spool and batch, beside its payload
SEGMENT_BYTES = 66  # Ethernet, IPv4 and TCP with time stamps; an empty one is a TCP acknowledgement
SEALED_BYTES = 35  # a TLS record and a WebSocket header
ACK_BYTES = 12
LINGER_LONG_S = 0.1
STAMPS_EVERY_S = 60  # last seen, of every connected device, into the database
QUERIES_PER_S = 12  # of a gateway that nobody asks anything
# What a gateway has of every device of its fleet, connected there or not: the API's index, the registry, retained
# presence; and of one that has been there, what its home shard remembers of it, last values among that. Owners of heap.py.
KNOWN = ("fleet_index", "registry", "presence", "home", "last_values")
LOG_SHARE = 0.8  # of its room; beyond that devices get no credit


@dataclass(frozen=True)
class Fleet:
    """What there is to carry. Defaults: as in the table."""

    devices: int = 10_000
    period: float = 10  # seconds between two frames of a device
    payload: int = 120  # bytes of a frame: six metrics
    heartbeat: float = 30  # seconds
    reconnects: float = 4  # of a device and day
    commands: float = 1  # to a device, a day
    outage: float = 12  # hours that the broker may be away


def default_of(key: str) -> float:
    """Of a setting, such as `limits.handshakes_per_second`, in s or bytes; of a list's elements: `mqtt[].partitions`."""
    node = json.loads(SCHEMA.read_text())
    for part in key.split("."):
        node = node["properties"][part.removesuffix("[]")]
        node = node["items"] if part.endswith("[]") else node
    value = node["default"]
    if isinstance(value, str):
        number, unit = re.fullmatch(r"(\d+)(\w+)", value).groups()
        return int(number) * UNITS[unit]
    return value


def known_bytes(memory: dict) -> float:
    """Of a device that is not connected here, and of what malloc adds to the heap its share."""
    head = "gateway.cert.heap."
    heap = {key: value for key, value in memory.items() if key.startswith(head)}
    mine = sum(size for key, size in heap.items() if key.removeprefix(head).removesuffix("_bytes") in KNOWN)
    added = heap[f"{head}overhead_bytes"]
    return mine * sum(heap.values()) / (sum(heap.values()) - added)


def dearest_frame(scale: dict) -> str:
    """The key of the case of the gateway in which a frame costs most, of those measured."""
    cases = [key for key in scale if key.startswith(("gateway.", "together.")) and key.endswith(".cpu_us_per_frame")]
    return max(cases, key=scale.__getitem__)


def costs(results: dict[str, dict]) -> dict[str, float | str]:
    """What the plan counts with: KEY, and KEY_from: which bench has measured it, or that it is assumed."""
    figures = {name: result["figures"] for name, result in results.items()}
    found: dict[str, float | str] = {}

    def cost(key: str, bench: str, measured, assumed: float | None = None) -> None:
        if bench in figures:
            found[key], found[f"{key}_from"] = measured(figures[bench]), f"`./dev bench {bench}`"
        elif assumed is not None:
            found[key], found[f"{key}_from"] = assumed, f"assumed, for want of `./dev bench {bench}`"

    resident = "gateway.cert.after_telemetry.rss_bytes"
    cost("device_bytes", "memory", lambda f: f[resident], 19_000)
    cost("kernel_bytes", "memory", lambda f: max(0, f["gateway.cert.kernel_tcp_pages_bytes"]) +
         f.get("gateway.cert.kernel_slabs_bytes", 5_000), 5_000)
    cost("known_bytes", "memory", known_bytes, 1_000)
    cost("process_bytes", "memory", lambda f: f["gateway.cert.rss_few_bytes"] - f["devices_few"] * f[resident], 30_000_000)
    cost("handshake_us", "handshake", lambda f: f["gateway.full.certificate.cpu_us"], 700)
    cost("frame_us", "ingest", lambda f: f["cpu_us_per_record_memory"])
    cost("frame_case", "ingest", lambda f: "cpu_us_per_record_memory")
    cost("frame_us", "scale", lambda f: f[dearest_frame(f)])
    cost("frame_case", "scale", dearest_frame)
    cost("spool_us", "ingest", lambda f: f["cpu_us_per_record_spool"] - f["cpu_us_per_record_memory"])
    cost("message_us", "throughput", lambda f: f["gateway.forwarded_topics.broker_cpu_us"])
    cost("storm_factor", "storm", lambda f: f["cut.t99_over_ideal"])
    for what in ("claims", "presence", "timeline", "commands"):
        cost(f"{what}_per_s", "store", lambda f, what=what: f[f"postgres.{what}.by_256"])
    for key, setting in (("handshakes_per_second", "limits.handshakes_per_second"), ("log_bytes", "uplink.memory_bytes_max"),
                         ("linger_s", "mqtt[].batch_linger"), ("partitions", "mqtt[].partitions"),
                         ("batch_records", "mqtt[].batch_records_max"), ("batch_bytes", "mqtt[].batch_bytes_max"),
                         ("lease_s", "store.lease"), ("presence_events", "store.presence_events_max")):
        found[key] = default_of(setting)
    return found


def memory(cost: dict, connected: float, known: float) -> dict[str, float]:
    """`known`: all devices of the fleet, those connected here among them."""
    resident = cost["process_bytes"] + connected * cost["device_bytes"] + (known - connected) * cost["known_bytes"]
    return {"devices_memory_mb": resident / 1e6, "memory_mb": (resident + cost["log_bytes"]) / 1e6,
            "kernel_mb": connected * cost["kernel_bytes"] / 1e6}


def pod(cost: dict, devices: int, period: float = 10) -> dict[str, float]:
    """One gateway by itself, at the defaults."""
    return {"devices": devices, **memory(cost, devices, devices), "descriptors": devices + DESCRIPTORS,
            "cores": devices / period * cost["frame_us"] / 1e6, "frames_per_s": devices / period,
            "back_s": devices / cost["handshakes_per_second"] * cost["storm_factor"],
            "back_cores": cost["handshakes_per_second"] * cost["handshake_us"] / 1e6,
            "outage_s": LOG_SHARE * cost["log_bytes"] / (devices / period * (Fleet.payload + RECORD_BYTES))}


def messages(cost: dict, rate: float, linger: float, payload: int) -> float:
    """Batches a second of one gateway: a record begins the first, and `linger` later those of all partitions that have got
    one by then leave together; or each when it is full. `linger` is the most that a record waits: sooner makes more of them."""
    others = (cost["partitions"] - 1) * -math.expm1(-rate / cost["partitions"] * linger)
    full = min(cost["batch_records"], cost["batch_bytes"] / (payload + RECORD_BYTES))
    return max((1 + others) / (linger + 1 / rate), rate / full)


def plan(cost: dict, fleet: Fleet) -> dict[str, float]:
    """The whole of it. `fleet_`: in each of the fleets that it is split into; `replica_`: at each gateway."""
    fleets = math.ceil(fleet.devices / FLEET_DEVICES)
    devices = fleet.devices / fleets
    replicas = math.ceil(devices / MEASURED_DEVICES) + 1
    most = devices / (replicas - 1)  # at each, while one is away
    frames = devices / fleet.period
    pings = devices / fleet.period * (math.ceil(fleet.period / fleet.heartbeat) - 1)
    reconnects = devices * fleet.reconnects / 86_400
    commands = devices * fleet.commands / 86_400
    admitted = replicas * cost["handshakes_per_second"]
    short = replicas * messages(cost, frames / replicas, cost["linger_s"], fleet.payload)
    long = replicas * messages(cost, frames / replicas, LINGER_LONG_S, fleet.payload)
    record = fleet.payload + RECORD_BYTES
    up = frames * (fleet.payload + SEALED_BYTES + 2 * SEGMENT_BYTES) + pings * (SEALED_BYTES + SEGMENT_BYTES)
    down = frames * (ACK_BYTES + SEALED_BYTES + 2 * SEGMENT_BYTES) + pings * (SEALED_BYTES + 2 * SEGMENT_BYTES)
    stamps = devices / STAMPS_EVERY_S
    spool = frames / (replicas - 1) * record * fleet.outage * 3600 / LOG_SHARE
    database = (stamps / cost["presence_per_s"] + reconnects / cost["claims_per_s"] + 2 * reconnects / cost["presence_per_s"] +
                2 * reconnects / cost["timeline_per_s"] + commands / cost["commands_per_s"])
    return {
        "devices": fleet.devices, "period_s": fleet.period, "frames_per_s": fleets * frames,
        "fleets": fleets, "fleet_devices": devices, "fleet_replicas": replicas, "replicas": fleets * replicas,
        "replica_devices": devices / replicas, "replica_devices_max": most, "replica_descriptors": most + DESCRIPTORS,
        "replica_frames_per_s": frames / (replicas - 1),
        "replica_cores": (frames + pings) / (replicas - 1) * cost["frame_us"] / 1e6,
        "replica_spool_cores": frames / (replicas - 1) * cost["spool_us"] / 1e6,
        **{f"replica_{key}": value for key, value in memory(cost, most, devices).items()},
        "replica_storm_cores": cost["handshakes_per_second"] * cost["handshake_us"] / 1e6,
        "lost_devices": devices / replicas,
        "lost_back_s": devices / replicas / ((replicas - 1) * cost["handshakes_per_second"]) * cost["storm_factor"],
        "all_back_s": devices / min(admitted, cost["claims_per_s"]) * cost["storm_factor"],
        "all_admitted_per_s": min(admitted, cost["claims_per_s"]),
        "all_presence_s": devices * (2 / cost["presence_per_s"] + 2 / cost["timeline_per_s"]),
        "replica_outage_s": LOG_SHARE * cost["log_bytes"] / (frames / (replicas - 1) * record),
        "replica_spool_gb": spool / 1e9, "replica_volume_gb": 1.5 * spool / 1e9,
        "fleet_messages_per_s": short, "fleet_records_per_message": frames / short, "fleet_broker_cores": short * cost["message_us"] / 1e6,
        "fleet_messages_long_per_s": long, "fleet_records_per_message_long": frames / long,
        "fleet_broker_long_cores": long * cost["message_us"] / 1e6,
        "fleet_presence_messages_per_s": 2 * reconnects * (2 + replicas),
        "fleet_stamps_per_s": stamps, "fleet_reconnects_per_s": reconnects, "fleet_reconnect_rows_per_s": 5 * reconnects,
        "fleet_commands_per_s": commands, "fleet_leases_per_s": replicas * 3 / cost["lease_s"],
        "fleet_reads_per_s": replicas * QUERIES_PER_S, "fleet_database_share": 100 * database,
        "fleet_presence_days": cost["presence_events"] / (2 * reconnects * 86_400),
        "replica_up_mbit": up / (replicas - 1) * 8 / 1e6, "replica_down_mbit": down / (replicas - 1) * 8 / 1e6,
        "replica_north_mbit": frames / (replicas - 1) * record * 8 / 1e6,
        "up_mbit": fleets * up * 8 / 1e6, "down_mbit": fleets * down * 8 / 1e6,
    }


def keyed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}.{key}": value for key, value in figures.items()}


def derived(results: dict[str, dict]) -> dict[str, dict]:
    """As results: `costs`, `pods` (devices on one gateway) and `plan` (devices, and seconds between frames)."""
    cost = costs(results)
    pods, plans = {}, {}
    for devices in (1_000, 5_000, MEASURED_DEVICES):
        pods |= keyed(f"d{devices}", pod(cost, devices))
    for devices in (10_000, 100_000, 1_000_000):
        for period in (10, 60):
            plans |= keyed(f"d{devices}_p{period}", plan(cost, Fleet(devices=devices, period=period)))
    constants = {"measured_devices": MEASURED_DEVICES, "fleet_devices": FLEET_DEVICES, "fleet_devices_max": FLEET_DEVICES_MAX,
                 "record_bytes": RECORD_BYTES, "sealed_bytes": SEALED_BYTES,
                 "segment_bytes": SEGMENT_BYTES, "queries_per_s": QUERIES_PER_S, "ack_bytes": ACK_BYTES, "descriptors": DESCRIPTORS,
                 "linger_long_s": LINGER_LONG_S, "stamps_every_s": STAMPS_EVERY_S, "log_share": LOG_SHARE}
    usual = {field.name: field.default for field in fields(Fleet)}
    return {name: {"figures": figures} for name, figures in
            (("costs", cost | constants | keyed("usual", usual)), ("pods", pods), ("plan", plans))}


def main() -> int:
    import report  # noqa: PLC0415, which takes this in itself
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    for field in fields(Fleet):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default, help=f"default: {field.default}")
    fleet = Fleet(**vars(parser.parse_args()))
    wrong = [field.name for field in fields(Fleet) if getattr(fleet, field.name) < (0 if field.name == "commands" else 1e-3)]
    if wrong:
        parser.error(f"too small: {', '.join(wrong)}")
    cost = costs(report.load(report.RESULTS))
    for key, value in {**cost, **plan(cost, fleet)}.items():
        print(f"{key}={value if isinstance(value, str) else format(value, '.6g')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
