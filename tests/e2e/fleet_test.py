#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three gateways behind a balancer, with devices on them that a subscriber checks: the scenes of `./dev bench rollout` that no
other test plays, at small size and without what depends on the clock. `./dev run --rolling-restart` has a test of its own."""

import argparse
import os
import pathlib
import signal
import sys
import unittest

BIN = pathlib.Path(os.environ["FIELDGATE_BIN"])
TESTS = pathlib.Path(os.environ["FIELDGATE_SOURCE"]) / "tests"
sys.path[:0] = [str(TESTS / "bench"), str(TESTS / "sim")]
from replica_scenes import Scene, replicas  # noqa: E402  (found through the path above)
from replicas import missing  # noqa: E402

DEVICES = 60


@unittest.skipIf(missing(), f"Debian's package {missing()} is missing: ./dev setup test")
class FleetTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        options = argparse.Namespace(preset="", bin=BIN, spool=False, devices=DEVICES, replicas=3)
        cls.fleet = cls.enterClassContext(replicas(options, lease_s=3, drain_period_s=4))

    def play(self, name: str) -> None:
        scene = Scene(self.fleet, DEVICES, frames_per_second=120, timed=False)
        getattr(scene, name)()
        self.assertEqual(scene.broken, [], scene.figures)

    def test_a_replica_that_is_cut_off_keeps_its_devices_and_each_has_one_owner_after_it_is_back(self):
        self.play("partition")

    def test_a_restarted_broker_costs_no_record_and_no_connection(self):
        self.play("broker")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    unittest.main(verbosity=2)
