#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The proofs of the delivery contract in their long form, a line of figures each.

Exit status 1: something does not hold that docs/delivery.md promises.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAULTS = ROOT / "tests/e2e/faults"
sys.path.insert(0, str(FAULTS))
from namespaces import SKIPPED  # noqa: E402 (found by the line above)
from proofs import PROOFS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench faults", description=__doc__)
    parser.add_argument("proofs", nargs="*", metavar="PROOF", default=list(PROOFS), help=", ".join(PROOFS))
    parser.add_argument("--seed", type=int, help="of what is left to chance, to see a run again; without it, another each time")
    parser.add_argument("--short", action="store_true", help="the form that ./dev test runs")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.proofs) - set(PROOFS):
        parser.error(f"no such proof: {', '.join(unknown)}; there are: {', '.join(PROOFS)}")
    runs = []
    for name in options.proofs:
        command = [sys.executable, "-B", FAULTS / "faults_test.py", options.bin, name]
        command += [] if options.short else ["--long"]
        command += [] if options.seed is None else ["--seed", str(options.seed)]
        # A process each: some start themselves anew in a namespace of their own.
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, end="", flush=True)
        lines = done.stdout.splitlines()
        figures = dict(word.split("=", 1) for line in lines if line.startswith("proof=") for word in line.split() if "=" in word)
        broken = [line.removeprefix("BROKEN: ") for line in lines if line.startswith("BROKEN: ")]
        runs.append({"proof": name, **figures, "broken": broken, "status": done.returncode})
    results = ROOT / "build/bench/faults.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(runs, indent=1) + "\n")
    failed = [run["proof"] for run in runs if run["status"] not in (0, SKIPPED)]
    print("all hold" if not failed else f"broken: {' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
