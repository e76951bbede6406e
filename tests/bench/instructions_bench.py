#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions of the gateway's device path per frame and per handshake, and whether they are as agreed.

The path runs alone, on one thread, in a process of its own (instructions/device_path.cc), so that the count is the same
each time but for the chance in handshakes. What a frame costs is the difference of two runs over the difference in frames.

  --check   fails if a count is more than 5 % above tests/bench/baseline.json
  --accept  makes the counts the baseline: for a change that is meant to cost that much, or to have saved it
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from figures import ROOT, Figures

PROGRAM = ROOT / "build/release/bin/fieldgate_bench_device_path"
BASELINE = ROOT / "tests/bench/baseline.json"
TOLERANCE = 0.05
# Frames (or handshakes) of a round, and the rounds of the shorter and the longer run.
CASES = {"single": (20, 40, 200), "segment": (160, 10, 40), "record": (160, 10, 60), "handshake": (1, 10, 50)}
# Nothing that only some processors have: neither in OpenSSL nor in the C library.
PLAIN_PROCESSOR = {"OPENSSL_ia32cap": ":0", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F,-ERMS,-BMI2"}


def count(case: str, rounds: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "counts"
        subprocess.run(["valgrind", "-q", "--tool=callgrind", "--toggle-collect=gateway_turn", f"--callgrind-out-file={out}",
                        PROGRAM, case, str(rounds)], check=True, stdout=subprocess.DEVNULL, stderr=sys.stderr,
                       env={**os.environ, **PLAIN_PROCESSOR})
        return int(re.search(r"^(?:totals|summary): (\d+)", out.read_text(errors="replace"), re.M).group(1))


def cost(case: str) -> float:
    each, few, many = CASES[case]
    return (count(case, many) - count(case, few)) / (each * (many - few))


def too_dear(counts: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """Why the check fails; empty: it does not."""
    wrong = [f"{case}: not in the baseline" for case in counts if case not in baseline]
    wrong += [f"{case}: in the baseline, and not counted" for case in baseline if case not in counts]
    for case in counts.keys() & baseline.keys():
        change = counts[case] / baseline[case] - 1
        if counts[case] > baseline[case] * (1 + TOLERANCE):
            wrong.append(f"{case}: {counts[case]:,.0f} instructions, {change:+.1%} of the {baseline[case]:,.0f} agreed on")
    return sorted(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--quick", action="store_true", help="as without: it takes a minute")
    options = parser.parse_args()
    figures = Figures("instructions", options.quick)
    counts = {case: round(cost(case)) for case in CASES}
    for case, instructions in counts.items():
        figures.add(f"gateway.{case}.instructions", instructions)
    figures.report()
    if options.accept:
        BASELINE.write_text(json.dumps(counts, indent=2) + "\n")
        return 0
    baseline = json.loads(BASELINE.read_text())
    wrong = too_dear(counts, baseline)
    for line in wrong:
        print(f"instructions: {line}", file=sys.stderr)
    if wrong and options.check:
        print("instructions: if that is meant, tests/bench/instructions_bench.py --accept, and commit the baseline with the "
              "change and its reason", file=sys.stderr)
        return 1
    for case, agreed in baseline.items():
        if case in counts and counts[case] < agreed * (1 - TOLERANCE):
            print(f"instructions: {case}: {counts[case]:,} instead of {agreed:,}: --accept would hold on to that", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
