#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CPU of the whole gateway per record: log in memory against log on disk, in alternating runs.

Devices over TLS send frames of about 150 bytes as fast as the rate says; everything is forwarded to mosquitto in
batches at QoS 1. `memory`: acknowledged at FORWARDED. `spool`: acknowledged at SPOOLED, fsynced before that. What
counts is user and system CPU time of the process between two scrapes, over the records taken meanwhile.
"""

import statistics
import sys
import time

from stage import report, stage

DEVICES, RATE, SECONDS, ROUNDS = 400, 25, 12, 3


def measure(spool: bool) -> dict[str, float]:
    with stage(DEVICES + 10, spool=spool) as run:
        simulator = run.simulate(DEVICES, "--rate", RATE, "--metrics", 6, "--payload-bytes", 30, "--heartbeat", 600,
                                 "--time-every", 0, "--ack-stage", "spooled" if spool else "forwarded",
                                 "--seconds", SECONDS + 10)
        run.wait_metric("fieldgate_sessions", DEVICES, 60)
        time.sleep(3)  # past the handshakes
        names = ("process_cpu_seconds_total", "fieldgate_samples_total", "fieldgate_received_bytes_total")
        before, began = [run.metric(name) for name in names], time.monotonic()
        time.sleep(SECONDS)
        after, seconds = [run.metric(name) for name in names], time.monotonic() - began
        cpu, records, received = (late - early for late, early in zip(after, before))
        simulator.wait(timeout=120)
        return {"cpu_us": cpu / records * 1e6, "per_second": records / seconds, "bytes": received / records}


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    runs: dict[str, list[dict[str, float]]] = {"memory": [], "spool": []}
    for _ in range(rounds):
        for name, taken in runs.items():
            taken.append(measure(name == "spool"))
    figures = {"devices": DEVICES, "rounds": rounds}
    for name, taken in runs.items():
        figures |= {f"records_per_second_{name}": statistics.median(run["per_second"] for run in taken),
                    f"bytes_per_record_{name}": statistics.median(run["bytes"] for run in taken),
                    f"cpu_us_per_record_{name}": statistics.median(run["cpu_us"] for run in taken),
                    f"cpu_us_per_record_{name}_min": min(run["cpu_us"] for run in taken),
                    f"cpu_us_per_record_{name}_max": max(run["cpu_us"] for run in taken)}
    figures["spool_over_memory"] = f"{figures['cpu_us_per_record_spool'] / figures['cpu_us_per_record_memory']:.2f}"
    report("ingest", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
