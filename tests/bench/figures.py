# SPDX-License-Identifier: Apache-2.0
"""What a bench hands out: key=value lines, and build/bench/NAME.json. The form is in README.md beside this.

  figures.py NAME PROGRAM [--quick] [--rounds N] [OPTIONS...]

runs a bench that is a program: it gets OPTIONS, and --quick where that is asked for, prints key=value lines, and ends
with 0. It is run N times, one after the other; lines of another form are passed on.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where NAME.json goes.
OUT = pathlib.Path(os.environ.get("BENCH_OUT", ROOT / "build/bench"))
KEY = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


class Figures:
    """What was measured, by key; of a key with several values, median and spread."""

    def __init__(self, name: str, quick: bool = False, said: list[str] | None = None):
        """`said`: the bench's options as they were given; by default those of this process."""
        self.name, self.quick, self.began = name, quick, time.monotonic()
        self.said = sys.argv[1:] if said is None else said
        self.values: dict[str, list] = {}

    def add(self, key: str, value: float | int | str) -> None:
        """One run's value. Numbers of several runs: add each."""
        if not KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a key: lower case, digits and _, in parts with . between them")
        self.values.setdefault(key, []).append(value)

    def update(self, values: dict) -> None:
        for key, value in values.items():
            self.add(key, value)

    def median(self, key: str) -> float:
        return statistics.median(self.values[key])

    def flat(self) -> dict[str, float | int | str]:
        flat = {}
        for key, values in self.values.items():
            if len(values) == 1 or isinstance(values[0], str):
                flat[key] = rounded(values[-1])
                continue
            flat |= {key: rounded(statistics.median(values)), f"{key}.min": rounded(min(values)),
                     f"{key}.max": rounded(max(values)), f"{key}.runs": len(values)}
        return flat

    def report(self) -> None:
        flat = self.flat()
        for key, value in flat.items():
            print(f"{key}={value}", flush=True)
        OUT.mkdir(parents=True, exist_ok=True)
        head = {"bench": self.name, "command": " ".join(["./dev bench", self.name, *self.said]), "quick": self.quick,
                "date": time.strftime("%Y-%m-%d"), "revision": revision(), "machine": machine(),
                "load_before": round(LOAD_BEFORE, 2), "seconds": round(time.monotonic() - self.began)}
        (OUT / f"{self.name}.json").write_text(json.dumps({**head, "figures": flat}, indent=2) + "\n")


LOAD_BEFORE = os.getloadavg()[0]  # of the machine, from others: how much the times can be trusted


def rounded(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def machine() -> str:
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=False).stdout.split()
    return (f"{os.cpu_count()} cores of {cpu}, Linux {platform.release().split('-')[0]}, "
            f"OpenSSL {openssl[1] if len(openssl) > 1 else '?'}")


def revision() -> str:
    asked = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"], capture_output=True,
                           text=True, check=False)
    return asked.stdout.strip() or "unknown"


def arguments(doc: str, **options) -> argparse.Namespace:
    """--quick, and NAME=DEFAULT for each option of the bench's own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="whether it works, in a minute or two; not for the page")
    for name, default in options.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default,
                            help=f"default: {default}")
    return parser.parse_args()


def report(name: str, figures: dict) -> None:
    """For a bench with one value for each key."""
    collected = Figures(name)
    collected.update(figures)
    collected.report()


def read_lines(text: str) -> tuple[dict[str, float | int | str], list[str]]:
    """The figures that a program printed, and its other lines."""
    figures, others = {}, []
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not equals or not KEY.fullmatch(key):
            others.append(line)
            continue
        try:
            figures[key] = float(value) if any(sign in value for sign in ".ena") else int(value)
        except ValueError:
            figures[key] = value
    return figures, others


def run_program(name: str, program: str, said: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=f"./dev bench {name}", allow_abbrev=False,
                                     epilog="Other options are the program's: see the head of its source.")
    parser.add_argument("--quick", action="store_true", help="whether it works, in seconds; not for the page")
    parser.add_argument("--rounds", type=int, default=3, help="how often it is run (3; 1 with --quick)")
    options, own = parser.parse_known_args(said)
    figures = Figures(name, options.quick, said)
    rounds = 1 if options.quick else options.rounds
    for _ in range(rounds):
        done = subprocess.run([program, *(["--quick"] if options.quick else []), *own], stdout=subprocess.PIPE, text=True,
                              check=False)
        found, others = read_lines(done.stdout)
        for line in others:
            print(line, flush=True)
        if done.returncode:
            print(f"{name}: {program} ended with {done.returncode}", file=sys.stderr)
            return 1
        figures.update(found)
    figures.add("rounds", rounds)
    figures.report()
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(run_program(sys.argv[1], sys.argv[2], sys.argv[3:]))
