# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: the demo's broker and gateway."""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/sim"))
import demo  # noqa: E402  (found through the path above)
from figures import Figures, arguments, report  # noqa: E402,F401  (for the benches)

TOKEN_SEED = "bench"
# Another build of the gateway and its companions, to be held against this one.
BIN = pathlib.Path(os.environ.get("BENCH_BIN", ROOT / "build/release/bin"))


def merged(base, more):
    """`more` over `base`: mappings by key, lists by place, all else as a whole."""
    if isinstance(base, dict) and isinstance(more, dict):
        return base | {key: merged(base.get(key), value) for key, value in more.items()}
    if isinstance(base, list) and isinstance(more, list):
        return [merged(old, new) for old, new in zip(base, more)] + base[len(more):] + more[len(base):]
    return more


class Stage(demo.Run):
    """A broker and a gateway.

    `wrap` goes before the gateway's command line ({folder}: the run's own); `settings` are merged into the demo's
    configuration; so many devices get tokens by the seed TOKEN_SEED.
    """

    def __init__(self, devices: int, folder: pathlib.Path, wrap: tuple = (), shards: int = 0, spool: bool = False,
                 settings: dict | None = None, tokens: int = 0):
        super().__init__(argparse.Namespace(preset="release", devices=devices, bin=BIN, spool=spool), folder)
        self.wrap, self.settings, self.tokens = wrap, settings or {}, tokens
        if shards:
            self.settings = merged(self.settings, {"node": {"shards": shards}})

    def make_credentials(self):
        super().make_credentials()
        if self.tokens:
            self.call(self.bin / "fieldgate-sim", "tokens", "--devices", self.tokens, "--secret-seed", TOKEN_SEED,
                      "--out", self.folder / "device-tokens")

    def start(self, name, *command):
        if name == "gateway":
            if self.settings:
                self.config.write_text(yaml.safe_dump(merged(yaml.safe_load(self.config.read_text()), self.settings)))
            command = (*(part.format(folder=self.folder) for part in self.wrap), *command)
        return super().start(name, *command)

    def pid(self, name: str) -> int:
        return next(process.pid for other, process in self.processes if other == name)

    def simulate(self, devices: int, *options) -> subprocess.Popen:
        log = open(self.folder / "simulator.log", "ab")
        process = subprocess.Popen(
            [str(part) for part in (self.bin / "fieldgate-sim", "run", "--devices", devices, "--gateway",
                                    f"127.0.0.1:{self.devices}", "--pki", self.folder / "pki", *options)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(("simulator", process))
        return process

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        found = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                 if line.startswith(name + " ") or line.startswith(name + "{")]
        if not found:
            raise demo.Failure(f"no metric {name}")
        return sum(found)

    def reload_gateway(self) -> None:
        os.kill(self.pid("gateway"), signal.SIGHUP)
        time.sleep(1)

    def end_gateway(self) -> None:
        gateway = next(process for name, process in self.processes if name == "gateway")
        gateway.terminate()
        gateway.wait(timeout=120)

    def wait_metric(self, name: str, value: float, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.metric(name) < value:
            if time.monotonic() > deadline:
                raise demo.Failure(f"{name} stayed at {self.metric(name)}, wanted {value}")
            time.sleep(0.2)


# A bench that is told to end takes with it what it started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@contextlib.contextmanager
def stage(devices: int, **options):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fieldgate-bench-"))
    run = Stage(devices, folder, **options)
    try:
        demo.raise_descriptors(devices)
        run.start_broker()
        run.make_credentials()
        run.start_gateway()
        yield run
    finally:
        run.stop()
        shutil.rmtree(folder, ignore_errors=True)
