#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What an outage of the broker does to a gateway under load, a line of figures for each fault.

Exit status 1, and no results: something does not hold that tests/e2e/faults claims of a gateway in an outage.
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e/faults"))
from figures import Figures  # noqa: E402 (found beside this)
from outage import FAULTS, Outage, Settings  # noqa: E402 (found by the line above)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench outage", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", default=list(FAULTS),
                        help="; ".join(f"{name}: {what}" for name, what in FAULTS.items()))
    parser.add_argument("--quick", action="store_true", help="whether it works, in three minutes: 100 devices, 3 s; not for the page")
    parser.add_argument("--seconds", type=float, default=20, help="how long the broker is away (20)")
    parser.add_argument("--devices", type=int, default=1_000, help="(1000)")
    parser.add_argument("--rate", type=float, default=5, help="frames per second and device (5)")
    parser.add_argument("--payload-bytes", type=int, default=500, help="padding of a frame (500)")
    parser.add_argument("--memory-mib", type=int, default=4, help="uplink.memory_bytes_max (4)")
    parser.add_argument("--keep-alive", type=int, default=10, help="mqtt.keep_alive in seconds (10)")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.faults) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(unknown)}")
    if options.quick:
        options.seconds, options.devices, options.memory_mib, options.keep_alive = 3, 100, 1, 5
        options.rate, options.payload_bytes = 10, 1_000
    figures, broken = Figures("outage", options.quick), False
    for fault in options.faults:
        verdict = Outage(Settings(
            options.bin, fault, outage_s=options.seconds, devices=options.devices, rate=options.rate,
            payload_bytes=options.payload_bytes, memory_bytes_max=options.memory_mib << 20,
            keep_alive_s=options.keep_alive, connect_timeout_s=5, backoff_max_s=5, warm_up_s=5, patience_s=120)).run()
        run = {"outage_s": options.seconds, "devices": options.devices, "rate": options.rate, **verdict.figures}
        figures.update({f"{fault}.{name}": "never" if value is None else value for name, value in run.items()})
        print(f"{fault}: {'broken' if verdict.broken else 'holds'}", flush=True)
        for claim in verdict.broken:
            print(f"BROKEN: {claim}", flush=True)
        broken = broken or bool(verdict.broken)
    if broken:
        return 1
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
