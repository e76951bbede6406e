#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile clients, and what the others feel: 1,000 devices that send 2,000 frames a second in all, with and without them.

The gateway has its default limits. 50 hostile clients do one thing at a time, and come back within 0.2 s whenever they are
thrown out; a flood is up to 100 times 16 KB a second from each. They run on the same cores as everything else, so part of
what the others feel is the clients' own CPU, which is told as `hostile_cores`.

  silent_tcp       connect, and not a byte more             message_flood   data frames without regard for credit and rate
  half_hello       half a TLS ClientHello                   ping_flood      pings
  half_request     a request that never ends, byte by byte  fragment_flood  empty continuation frames
  no_hello         upgraded, and nothing more               oversize        frames of 2^40 bytes
  reconnect_loop   from Welcome into a new connection       slow_reader     asks and asks, and reads no answer

The first four are watched for longer: the gateway gives a client ten seconds for TLS. Devices' telemetry is timed to
the one consumer at the broker. `calm`: before each. `p99_gained_ms`: p99 with them, less p99 before. `handshakes_per_s`:
whoever is thrown out comes back with another TLS handshake; `cpu_us_per_handshake` is what the gateway takes more than in
the calm before, over these, whatever it was taken for. `*_waiting`: how many threads of whom were ready on average,
and had no core. `reconnect_loop_paced`: as reconnect_loop, with `limits.handshakes_per_second` at 100 instead of 1,000.
"""

import json
import sys
import time

from stage import Figures, arguments
from traffic import Tool, Traffic, memory_bytes, merged, traffic

HARMS = ("silent_tcp", "half_hello", "half_request", "no_hello", "message_flood", "ping_flood", "fragment_flood", "oversize",
         "reconnect_loop", "slow_reader")
# Seconds more: until the gateway gives them up.
LONG = {"silent_tcp": 9.0, "half_hello": 9.0, "half_request": 9.0, "no_hello": 9.0}
PACED, PACE, DEFAULT_PACE = "reconnect_loop_paced", 100, 1_000
RATE = 2_000
WHO = {"gateway": "gateway", "hostile": "hostile", "load": "devices", "mosquitto": "broker", "sink": "consumer"}
DEFAULTS = {"limits": {"handshakes_per_second": DEFAULT_PACE, "frames_per_second": 100, "frames_burst": 400,
                       "bytes_per_second": "256KiB", "bytes_burst": "1MiB"}}


def felt(run: Traffic, load: Tool, sink: Tool, seconds: float) -> dict[str, float]:
    load.ask("mark"), sink.ask("mark")
    before, gateway, handshakes = run.usage(), run.pid("gateway"), run.metric("fieldgate_tls_handshakes_total")
    deadline, memory = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        memory = max(memory, memory_bytes(gateway))
        time.sleep(0.25)
    sent, taken, after = load.ask("mark"), sink.ask("mark"), run.usage()
    figures = {"records_per_s": taken["records"] / taken["seconds"], "sessions_lost": sent["lost_online"],
               "memory_bytes": memory, "withheld": sent["withheld"],
               "handshakes_per_s": (run.metric("fieldgate_tls_handshakes_total") - handshakes) / taken["seconds"]}
    figures |= {f"device_{quantile}_ms": taken[f"latency_{quantile}_ms"] for quantile in ("p50", "p99", "p999")}
    return figures | after.since(before, {name: who for name, who in WHO.items() if name in after.cpu})


def attacked(run: Traffic, load: Tool, sink: Tool, harm: str, options, seconds: float) -> dict[str, float]:
    hostile = run.tool("hostile", "hostile", "--harm", harm, "--clients", options.clients, "--first-index", options.devices + 1,
                       "--server", f"127.0.0.1:{run.devices}", "--ca", run.folder / "pki/ca.pem", "--secret-seed", "bench",
                       "--first-source", 100)
    hostile.ask("go")
    time.sleep(1)
    hostile.ask("mark")
    figures = felt(run, load, sink, seconds)
    did = hostile.ask("mark")
    run.end("hostile")
    return figures | {key: did[key] for key in ("connects", "thrown_out", "bytes")}


def pace(run: Traffic, per_second: int) -> None:
    changed = {"limits": {"handshakes_per_second": per_second}}
    run.config.write_text(json.dumps(merged(json.loads(run.config.read_text()), changed)))
    run.reload_gateway()


def scene(run: Traffic, load: Tool, sink: Tool, harm: str, options, seconds: float) -> tuple[dict, dict]:
    """Calm, and then not."""
    calm = felt(run, load, sink, seconds)
    if harm == PACED:
        pace(run, PACE)
    taken = attacked(run, load, sink, harm.removesuffix("_paced"), options, seconds + LONG.get(harm, 0))
    if harm == PACED:
        pace(run, DEFAULT_PACE)
    taken |= {"p99_over_calm": taken["device_p99_ms"] / calm["device_p99_ms"],
              "p99_gained_ms": taken["device_p99_ms"] - calm["device_p99_ms"]}
    if taken["handshakes_per_s"] > 20:
        more = taken["gateway_cores"] - calm["gateway_cores"]
        taken["cpu_us_per_handshake"] = more / taken["handshakes_per_s"] * 1e6
    return calm, taken


def main() -> int:
    options = arguments(__doc__, devices=1_000, clients=50, seconds=5.0, rounds=3, only="")
    rounds, seconds = (1, 3.0) if options.quick else (options.rounds, options.seconds)
    figures = Figures("flood", options.quick)
    figures.update({"devices": options.devices, "clients": options.clients, "frames_per_s": RATE, "rounds": rounds,
                    "handshakes_per_second": DEFAULT_PACE, "paced_handshakes_per_second": PACE, "window_s": seconds,
                    "long_window_s": seconds + max(LONG.values())})
    with traffic(options.devices + options.clients) as run:
        run.start_gateway(DEFAULTS)
        sink = run.sink()
        load = run.fleet(options.devices)
        run.wait_online(load, options.devices, 120)
        load.ask(f"rate {RATE}")
        time.sleep(3)
        for _ in range(rounds):
            for harm in (name for name in (*HARMS, PACED) if options.only in name):
                calm, taken = scene(run, load, sink, harm, options, seconds)
                print(f"# {harm}: {taken}", file=sys.stderr, flush=True)
                figures.update({f"calm.{key}": value for key, value in calm.items()})
                figures.update({f"{harm}.{key}": value for key, value in taken.items()})
                time.sleep(1)
        figures.add("sessions_kept", load.ask("online")["online"])
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
