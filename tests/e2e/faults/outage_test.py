#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The broker goes away under load, and comes back: devices notice no more than withheld credit, and nothing is lost.

Usage: outage_test.py BIN_DIRECTORY FAULT
"""

import pathlib
import sys

from outage import FAULTS, Outage, Settings, is_sanitized


def main() -> int:
    binaries, fault = pathlib.Path(sys.argv[1]), sys.argv[2]
    settings = Settings(binaries, fault)
    if fault == "stall":
        settings.outage_s = 8.5  # until it is taken for dead
    if is_sanitized(binaries / "fieldgate"):
        settings.connect_rate, settings.patience_s = 30, 90
    verdict = Outage(settings).run()
    print(f"{fault}: {FAULTS[fault]}")
    print(" ".join(f"{name}={value}" for name, value in verdict.figures.items()))
    for claim in verdict.broken:
        print(f"BROKEN: {claim}")
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
