#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CPU of the whole gateway per record: log in memory against log on disk, in alternating runs.

Devices over TLS send frames of about 150 bytes as fast as the rate says; everything is forwarded to mosquitto in
batches at QoS 1. `memory`: acknowledged at FORWARDED. `spool`: acknowledged at SPOOLED, fsynced before that. What
counts is user and system CPU time of the process between two scrapes, over the records taken meanwhile.
"""

import sys
import time

from stage import Figures, arguments, stage

DEVICES, RATE = 400, 25


def measure(spool: bool, seconds: int) -> dict[str, float]:
    with stage(DEVICES + 10, spool=spool) as run:
        simulator = run.simulate(DEVICES, "--rate", RATE, "--metrics", 6, "--payload-bytes", 30, "--heartbeat", 600,
                                 "--time-every", 0, "--ack-stage", "spooled" if spool else "forwarded",
                                 "--seconds", seconds + 10)
        run.wait_metric("fieldgate_sessions", DEVICES, 60)
        time.sleep(3)  # past the handshakes
        names = ("process_cpu_seconds_total", "fieldgate_samples_total", "fieldgate_received_bytes_total")
        before, began = [run.metric(name) for name in names], time.monotonic()
        time.sleep(seconds)
        after, passed = [run.metric(name) for name in names], time.monotonic() - began
        cpu, records, received = (late - early for late, early in zip(after, before))
        simulator.wait(timeout=120)
        return {"cpu_us_per_record": cpu / records * 1e6, "records_per_s": records / passed, "bytes_per_record": received / records}


def main() -> int:
    options = arguments(__doc__, rounds=3, seconds=12)
    if options.quick:
        options.rounds, options.seconds = 1, 3
    figures = Figures("ingest", options.quick)
    figures.update({"devices": DEVICES, "rate": RATE, "rounds": options.rounds})
    for _ in range(options.rounds):
        taken = {name: measure(name == "spool", options.seconds) for name in ("memory", "spool")}
        figures.update({f"{key}_{name}": value for name, run in taken.items() for key, value in run.items()})
        figures.add("spool_over_memory", taken["spool"]["cpu_us_per_record"] / taken["memory"]["cpu_us_per_record"])
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
