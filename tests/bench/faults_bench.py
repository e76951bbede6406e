#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The proofs of the delivery contract in their long form, a line of figures each.

Exit status 1, and no results: something does not hold that docs/delivery.md promises.
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAULTS = ROOT / "tests/e2e/faults"
sys.path.insert(0, str(FAULTS))
from figures import Figures, read_lines  # noqa: E402 (found beside this)
from namespaces import SKIPPED  # noqa: E402 (found by the line above)
from proofs import PROOFS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench faults", description=__doc__)
    parser.add_argument("proofs", nargs="*", metavar="PROOF", default=list(PROOFS), help=", ".join(PROOFS))
    parser.add_argument("--seed", type=int, help="of what is left to chance, to see a run again; without it, another each time")
    parser.add_argument("--quick", action="store_true", help="the short form, which ./dev test runs; not for the page")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.proofs) - set(PROOFS):
        parser.error(f"no such proof: {', '.join(unknown)}; there are: {', '.join(PROOFS)}")
    figures, failed = Figures("faults", options.quick), []
    figures.add("preset", options.bin.parent.name)
    for name in options.proofs:
        command = [sys.executable, "-B", FAULTS / "faults_test.py", options.bin, name]
        command += [] if options.quick else ["--long"]
        command += [] if options.seed is None else ["--seed", str(options.seed)]
        # A process each: some start themselves anew in a namespace of their own.
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, end="", flush=True)
        lines = done.stdout.splitlines()
        words = [word for line in lines if line.startswith("proof=") for word in line.split()[1:]]
        taken, _ = read_lines("\n".join(words))
        if name == "brokers" and taken:  # of all that happens to the one
            taken |= {f"{what}_max": max(value for key, value in taken.items() if key.endswith(f"_{what}"))
                      for what in ("backlog", "caught_up_s")}
        figures.update({f"{name}.{key}": value for key, value in taken.items()})
        if done.returncode not in (0, SKIPPED):
            failed.append(name)
    print("all hold" if not failed else f"broken: {' '.join(failed)}")
    if failed:
        return 1
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
