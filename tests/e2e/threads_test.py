#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the kernel is told of the gateway's threads: their names, and who leaves a core to whoever runs there."""

import collections
import os
import pathlib
import subprocess
import unittest

from gateway_fixture import GatewayTestCase

GATHERING = {"shard-0", "shard-1", "mqtt-lane", "store", "spool-writer", "spool-reader"}
# Started by one of these, and gone when they have connected.
CONNECTING = {"mqtt-connect", "store-connect"}


MAY_SET_POLICY = subprocess.run(["chrt", "--batch", "0", "true"], capture_output=True, check=False).returncode == 0


@unittest.skipUnless(MAY_SET_POLICY, "scheduling policies cannot be set here")
class ThreadsTest(GatewayTestCase):
    def threads(self, **options) -> dict[str, set[int]]:
        """The scheduling policies of those that are there, by name."""
        gateway = self.gateway({"node": {"shards": 2}, "uplink": {"spool": {"enabled": True}},
                                "mqtt": [{"name": "main", "host": "127.0.0.1", "port": 9}]}, **options)
        self.addCleanup(gateway.stop)
        tasks = pathlib.Path(f"/proc/{gateway.process.pid}/task")
        policies = collections.defaultdict(set)
        for task in tasks.iterdir():
            try:
                name, policy = (task / "comm").read_text().strip(), os.sched_getscheduler(int(task.name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            policies[name].add(policy)
        return policies

    def test_threads_that_take_what_has_gathered_do_not_take_a_core_from_who_runs(self):
        policies = self.threads()
        self.assertLessEqual(GATHERING | {"http-admin"}, policies.keys())
        for name, found in policies.items():
            self.assertEqual(found, {os.SCHED_BATCH if name in GATHERING | CONNECTING else os.SCHED_OTHER}, name)

    def test_a_policy_that_the_operator_has_given_the_process_stays(self):
        self.assertEqual(set().union(*self.threads(prefix=("chrt", "--idle", "0")).values()), {os.SCHED_IDLE})


if __name__ == "__main__":
    unittest.main()
