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

Devices' telemetry is timed to the one consumer at the broker. `calm`: before the first, and again after each.
"""

import contextlib
import sys
import time

from stage import Figures, arguments
from traffic import Tool, Traffic, memory_bytes, traffic

HARMS = ("silent_tcp", "half_hello", "half_request", "no_hello", "message_flood", "ping_flood", "fragment_flood", "oversize",
         "reconnect_loop", "slow_reader")
RATE = 2_000
DEFAULTS = {"limits": {"frames_per_second": 100, "frames_burst": 400, "bytes_per_second": "256KiB", "bytes_burst": "1MiB"}}


def felt(run: Traffic, load: Tool, sink: Tool, seconds: float) -> dict[str, float]:
    load.ask("mark"), sink.ask("mark")
    before, gateway = run.cpu(), run.pid("gateway")
    deadline, memory = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        memory = max(memory, memory_bytes(gateway))
        time.sleep(0.25)
    sent, taken, after = load.ask("mark"), sink.ask("mark"), run.cpu()
    figures = {"records_per_s": taken["records"] / taken["seconds"], "sessions_lost": sent["lost_online"],
               "memory_bytes": memory, "withheld": sent["withheld"]}
    figures |= {f"device_{quantile}_ms": taken[f"latency_{quantile}_ms"] for quantile in ("p50", "p99", "p999")}
    for name in ("gateway", "hostile"):
        with contextlib.suppress(KeyError):
            figures[f"{name}_cores"] = (after[name] - before[name]) / taken["seconds"]
    return figures


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


def main() -> int:
    options = arguments(__doc__, devices=1_000, clients=50, seconds=8.0, rounds=3, only="")
    rounds, seconds = (1, 3.0) if options.quick else (options.rounds, options.seconds)
    figures = Figures("flood", options.quick)
    figures.update({"devices": options.devices, "clients": options.clients, "frames_per_s": RATE, "rounds": rounds})
    with traffic(options.devices + options.clients) as run:
        run.start_gateway(DEFAULTS)
        sink = run.sink()
        load = run.fleet(options.devices)
        run.wait_online(load, options.devices, 120)
        load.ask(f"rate {RATE}")
        time.sleep(3)
        for _ in range(rounds):
            for harm in (name for name in HARMS if options.only in name):
                calm = felt(run, load, sink, seconds)
                taken = attacked(run, load, sink, harm, options, seconds)
                print(f"# {harm}: {taken}", file=sys.stderr, flush=True)
                figures.update({f"calm.{key}": value for key, value in calm.items()})
                figures.update({f"{harm}.{key}": value for key, value in taken.items()})
                figures.add(f"{harm}.p99_over_calm", taken["device_p99_ms"] / calm["device_p99_ms"])
                time.sleep(1)
        figures.add("sessions_kept", load.ask("online")["online"])
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
