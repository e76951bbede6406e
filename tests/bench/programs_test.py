#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Of the benches that take seconds: a quick run writes every figure that the pages show of them.

  programs_test.py BIN    where the programs are
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import report

BIN = pathlib.Path()


class Program(unittest.TestCase):
    def writes_what_is_shown(self, name: str, *command) -> None:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([sys.executable, *map(str, command), "--quick"], capture_output=True, text=True, check=False,
                                  env=os.environ | {"BENCH_OUT": folder, "BENCH_BIN": str(BIN)})
            self.assertEqual(done.returncode, 0, done.stderr)
            written = json.loads((pathlib.Path(folder) / f"{name}.json").read_text())
            self.assertEqual((written["bench"], written["quick"]), (name, True))
            self.assertEqual([line for line in done.stdout.splitlines() if "=" in line][0].partition("=")[0],
                             next(iter(written["figures"])), "the lines are the figures")
            report.attempt([name], pathlib.Path(folder))

    def launched(self, name: str) -> None:
        self.writes_what_is_shown(name, report.HERE / "figures.py", name, BIN / f"fieldgate_bench_{name}")

    def test_fleet(self):
        self.launched("fleet")

    def test_spool(self):
        self.launched("spool")

    @unittest.skipUnless(pathlib.Path("/usr/lib/postgresql/15/bin/postgres").exists(), "postgresql-15 is not installed")
    def test_store(self):
        self.launched("store")

    @unittest.skipUnless(shutil.which("valgrind"), "valgrind is not installed")
    def test_decode(self):
        self.writes_what_is_shown("decode", report.HERE / "decode_bench.py")


if __name__ == "__main__":
    BIN = pathlib.Path(sys.argv.pop(1))
    unittest.main()
