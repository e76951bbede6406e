#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""clang-tidy with the checks of .clang-tidy, thread-safety analysis among them, over our own sources.

Usage: analyze.py --build build/dev [--jobs N] [FILE...]
Exits 1 if anything is found, or if the thread-safety analysis turns out to be blind.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TOOL = "clang-tidy-16"
ROOT = pathlib.Path(__file__).resolve().parents[2]

# Touches what a Mutex guards without holding it: the analysis must object.
UNGUARDED = """#include "gateway/core/mutex.h"
struct Counter {
  int read() { return value_; }
  fieldgate::Mutex mutex_;
  int value_ GUARDED_BY(mutex_) = 0;
};
int use(Counter& counter) { return counter.read(); }
"""


def sources_of(build: pathlib.Path, wanted: list[str]) -> list[str]:
    """The .cc files that ship: gateway/ and adapters/, without the one that is Asio and Beast themselves."""
    entries = json.loads((build / "compile_commands.json").read_text())
    paths = sorted({os.path.relpath(entry["file"], ROOT) for entry in entries})
    ours = [path for path in paths if path.startswith(("gateway/", "adapters/")) and not path.startswith("gateway/asio/")]
    return [path for path in ours if not wanted or path in wanted]


def run(command: list[str]) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    # What is not ours, and clang's count of what it has left out, is noise.
    lines = [line for line in (done.stdout + done.stderr).splitlines()
             if not line.endswith(("warnings generated.", "warning generated.", "errors generated.", "error generated."))
             and not line.startswith(("Suppressed ", "Use -header-filter=", "Error while processing"))]
    return done.returncode, "\n".join(lines)


def analyze(build: pathlib.Path, path: str) -> tuple[str, int, str, float]:
    began = time.monotonic()
    code, text = run([TOOL, "--quiet", "-p", str(build), "--extra-arg=-Wthread-safety", "--extra-arg=-Wno-error", path])
    return path, code, text, time.monotonic() - began


def analysis_sees() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        sample = pathlib.Path(folder) / "unguarded.cc"
        sample.write_text(UNGUARDED)
        code, text = run([TOOL, "--quiet", f"--config-file={ROOT}/.clang-tidy", str(sample), "--", "-std=c++20",
                          f"-I{ROOT}", "-Wthread-safety"])
        return code != 0 and "clang-diagnostic-thread-safety" in text


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    if not analysis_sees():
        print("analyze: the thread-safety analysis does not report an unguarded access", file=sys.stderr)
        return 1
    sources = sources_of(arguments.build.resolve(), arguments.files)
    if not sources:
        print("analyze: nothing to look at", file=sys.stderr)
        return 1
    failed = []
    slowest = ("", 0.0)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for path, code, text, seconds in pool.map(lambda path: analyze(arguments.build.resolve(), path), sources):
            slowest = max(slowest, (path, seconds), key=lambda entry: entry[1])
            if code != 0:
                failed.append(path)
                print(text, flush=True)
    print(f"{TOOL}: {len(sources)} files, {len(failed)} with findings; slowest {slowest[0]}: {slowest[1]:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
