#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the kernel is told of the gateway's threads: their names, and who leaves a core to whoever runs there."""

import os
import pathlib
import unittest

from gateway_fixture import GatewayTestCase

GATHERING = {"shard-0", "shard-1", "mqtt-lane", "store", "spool-writer", "spool-reader"}


class ThreadsTest(GatewayTestCase):
    def threads(self, **options) -> dict[str, int]:
        """The scheduling policy of each, by name."""
        gateway = self.gateway({"node": {"shards": 2}, "uplink": {"spool": {"enabled": True}},
                                "mqtt": [{"name": "main", "host": "127.0.0.1", "port": 9}]}, **options)
        self.addCleanup(gateway.stop)
        tasks = pathlib.Path(f"/proc/{gateway.process.pid}/task")
        return {(task / "comm").read_text().strip(): os.sched_getscheduler(int(task.name)) for task in tasks.iterdir()}

    def test_threads_that_take_what_has_gathered_do_not_take_a_core_from_who_runs(self):
        policies = self.threads()
        self.assertEqual({name for name, policy in policies.items() if policy == os.SCHED_BATCH}, GATHERING)
        self.assertIn("http-admin", policies)
        self.assertEqual({policies[name] for name in policies.keys() - GATHERING}, {os.SCHED_OTHER})

    def test_a_policy_that_the_operator_has_given_the_process_stays(self):
        self.assertEqual(set(self.threads(prefix=("chrt", "--idle", "0")).values()), {os.SCHED_IDLE})


if __name__ == "__main__":
    unittest.main()
