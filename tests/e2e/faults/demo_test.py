#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev run --spool --kill-every` and `--replicas`: what they show to a person.

Usage: demo_test.py BIN_DIRECTORY
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

DEMO = pathlib.Path(__file__).resolve().parents[2] / "sim/demo.py"
BIN = pathlib.Path(sys.argv.pop(1)).resolve()
sys.path.insert(0, str(DEMO.parent))
from replicas import missing  # noqa: E402  (found through the path above)


def run(*options: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-B", DEMO, "--bin", BIN, "--environment", f"{folder}/env", *options]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


class DemoTest(unittest.TestCase):
    def test_tells_of_each_kill_and_loses_nothing(self):
        done = run("--spool", "--kill-every", "2s", "--devices", "30", "--seconds", "7")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        kills = re.findall(r"^kill (\d+): kill -9 after [\d.]+ s, ready again [\d.]+ s later$", done.stdout, re.MULTILINE)
        self.assertGreaterEqual(len(kills), 1, done.stdout)
        self.assertEqual(kills, [str(i + 1) for i in range(len(kills))])
        self.assertRegex(done.stdout.splitlines()[-1],
                         rf"^summary: devices=30 frames_sent=(\d+) frames_acked=\1 .* lost=0 .* kills={len(kills)}$")

    def test_runs_with_the_spool_alone(self):
        done = run("--spool", "--devices", "10", "--seconds", "2")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout.splitlines()[-1], r"^summary: devices=10 .* lost=0 duplicates=0 .*ms=[\d.]+$")

    @unittest.skipIf(missing(), f"Debian's package {missing()} is missing: ./dev setup test")
    def test_shows_a_rollout_of_replicas(self):
        done = run("--replicas", "2", "--devices", "40", "--rolling-restart")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        said = re.findall(r"^ *[\d.]+  (gw-\d): (\w+)", done.stdout, re.MULTILINE)
        self.assertEqual(said, [(name, what) for name in ("gw-1", "gw-2") for what in ("fieldgate", "not", "drained", "a")])
        self.assertRegex(done.stdout, r"(?m)^ +\d+ +(\d+↓?|-) +(\d+↓?|-) +\d+ +\d+ ")
        self.assertRegex(done.stdout.splitlines()[-1],
                         r"^summary: devices=40 .* lost=0 .* restarts=2 refused=0 peak_reconnects_per_s=\d+ "
                         r"admission_rate=\d+ offline_events=\d+ ")

    def test_refuses_a_rollout_of_one_and_what_does_not_go_with_it(self):
        for options, why in ((("--rolling-restart",), "needs --replicas 2 or more"),
                             (("--replicas", "1", "--rolling-restart"), "needs --replicas 2 or more"),
                             (("--replicas", "2", "--rolling-restart", "--seconds", "5"), "--seconds does not go with it"),
                             (("--replicas", "10"), "not a number from 1 to 9"),
                             (("--replicas", "2", "--spool", "--kill-every", "5s"), "does not go with --replicas")):
            done = run(*options)
            self.assertEqual(done.returncode, 2, options)
            self.assertIn(why, done.stderr)

    def test_refuses_to_kill_what_has_no_spool(self):
        done = run("--kill-every", "5s")
        self.assertEqual(done.returncode, 2)
        self.assertIn("--kill-every needs --spool", done.stderr)


if __name__ == "__main__":
    unittest.main()
