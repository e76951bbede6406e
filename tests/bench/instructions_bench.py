#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Instructions and allocations of the gateway's path per frame, per handshake and per record of the MQTT lane, and
whether they are as agreed.

Each path runs alone, in a process of its own, so that the counts are the same each time but for the chance in
handshakes. The device path (instructions/device_path.cc) is one thread from the socket into the log and from the lane's
word to the Acks; the lane's path (instructions/lane_path.cc) is its thread from the log to libmosquitto, and from a
PUBACK to the shard: what libmosquitto does itself is counted apart. What one costs is the difference of two runs over
the difference in their number.

  --check   fails if a count is more than 5 % above tests/bench/baseline.json
  --accept  makes the counts the baseline: for a change that is meant to cost that much, or to have saved it
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from counted import LANE_ACCOUNT, LANE_BATCH, LANE_TURNS, Profile, Thread
from figures import ROOT, Figures

BIN = ROOT / "build/release/bin"
BASELINE = ROOT / "tests/bench/baseline.json"
TOLERANCE = 0.05
# Of allocations, a few in thousands of frames are by chance; one more a frame, or a turn of single frames, is not.
ALLOCATIONS_BY_CHANCE = 0.02
# Nothing that only some processors have: neither in OpenSSL nor in the C library.
PLAIN_PROCESSOR = {"OPENSSL_ia32cap": ":0", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F,-ERMS,-BMI2"}
LIBRARY = "library_instructions"  # not ours: told, not held


@dataclass
class Case:
    """Frames, handshakes or records of a round, and the rounds of the shorter and the longer run."""
    program: str
    words: tuple[str, ...]
    each: int
    few: int
    many: int


def device(name: str, *numbers: int) -> Case:
    return Case("fieldgate_bench_device_path", (name,), *numbers)


def lane(name: str, records: int, *rounds: int) -> Case:
    return Case("fieldgate_bench_lane_path", (name, str(records)), records, *rounds)


CASES = {
    "single": device("single", 20, 40, 200), "segment": device("segment", 160, 10, 40),
    "record": device("record", 160, 10, 60), "metrics_60": device("metrics_60", 20, 10, 40),
    "metrics_500": device("metrics_500", 20, 10, 30), "handshake": device("handshake", 1, 10, 50),
    "lane_batch_1": lane("batch", 1, 100, 400), "lane_batch_100": lane("batch", 100, 50, 150),
    "lane_topics": lane("topics", 20, 50, 150),
}


def device_counts(thread: Thread, said: str) -> dict[str, int]:
    return {"instructions": thread.total, "allocations": int(said.removeprefix("allocations="))}


def lane_counts(thread: Thread) -> dict[str, int]:
    """Of the turns alone: how often the thread falls asleep in between is not the same each time."""
    library = thread.across("^fieldgate::", "^mosquitto_")
    return {"instructions": thread.inclusive(LANE_TURNS) - library, LIBRARY: library,
            "batch_instructions": thread.inclusive(LANE_BATCH), "account_instructions": thread.inclusive(LANE_ACCOUNT),
            "allocations": thread.allocations()}


def count(case: Case, rounds: int) -> dict[str, int]:
    of_lane = case.program == "fieldgate_bench_lane_path"
    what = "--separate-threads=yes" if of_lane else "--toggle-collect=gateway_turn"
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(["valgrind", "-q", "--tool=callgrind", what, f"--callgrind-out-file={folder}/counts",
                              BIN / case.program, *case.words, str(rounds)], check=True, stdout=subprocess.PIPE,
                             stderr=sys.stderr, text=True, env={**os.environ, **PLAIN_PROCESSOR})
        threads = [Thread(file.read_text(errors="replace")) for file in pathlib.Path(folder).iterdir()]
    return lane_counts(Profile(threads).thread(LANE_TURNS)) if of_lane else device_counts(threads[0], run.stdout)


def cost(case: Case) -> dict[str, float]:
    few, many = (count(case, rounds) for rounds in (case.few, case.many))
    return {what: (many[what] - few[what]) / (case.each * (case.many - case.few)) for what in many}


def held(costs: dict[str, dict[str, float]]) -> dict[str, float]:
    """What the baseline agrees on."""
    return ({case: round(of["instructions"]) for case, of in costs.items()}
            | {f"{case}.allocations": round(of["allocations"], 3) for case, of in costs.items()})


def too_dear(counts: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """Why the check fails; empty: it does not."""
    wrong = [f"{case}: not in the baseline" for case in counts if case not in baseline]
    wrong += [f"{case}: in the baseline, and not counted" for case in baseline if case not in counts]
    for case in counts.keys() & baseline.keys():
        agreed = baseline[case]
        by_chance = ALLOCATIONS_BY_CHANCE if case.endswith(".allocations") else 0
        if counts[case] > agreed * (1 + TOLERANCE) + by_chance:
            change = f"{counts[case] / agreed - 1:+.1%} of" if agreed else "instead of"
            wrong.append(f"{case}: {counts[case]:,.6g}, {change} the {agreed:,.6g} agreed on")
    return sorted(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--quick", action="store_true", help="as without: it takes two minutes")
    options = parser.parse_args()
    figures = Figures("instructions", options.quick)
    costs = {name: cost(case) for name, case in CASES.items()}
    for case, of in costs.items():
        figures.update({f"gateway.{case}.{what}": round(value, 3) for what, value in of.items()})
    figures.report()
    counts = held(costs)
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
