#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a fleet needs, reckoned from results: against figures worked out by hand."""

import subprocess
import sys
import unittest

import capacity
import heap
import report

COST = {"device_bytes": 20_000, "known_bytes": 1_000, "kernel_bytes": 5_000, "process_bytes": 30_000_000, "frame_us": 40, "spool_us": 10,
        "handshake_us": 500, "message_us": 20, "storm_factor": 1.2, "claims_per_s": 5_000, "presence_per_s": 4_000,
        "timeline_per_s": 5_000, "commands_per_s": 3_000, "handshakes_per_second": 1_000, "log_bytes": 100_000_000,
        "linger_s": 0.1, "partitions": 10, "batch_records": 500, "batch_bytes": 32_768, "lease_s": 15,
        "presence_events": 1_000_000}


class Plan(unittest.TestCase):
    def plan(self, **fleet) -> dict[str, float]:
        return capacity.plan(COST, capacity.Fleet(**fleet))

    def test_has_a_gateway_more_than_the_devices_need(self):
        for devices, replicas in ((1, 2), (15_000, 2), (15_001, 3), (100_000, 8)):
            with self.subTest(devices):
                figures = self.plan(devices=devices)
                self.assertEqual(figures["fleet_replicas"], replicas)
                self.assertLessEqual(figures["replica_devices_max"], capacity.MEASURED_DEVICES)

    def test_splits_what_is_too_large_for_one_database(self):
        whole, part = self.plan(devices=1_000_000), self.plan(devices=100_000)
        self.assertEqual((whole["fleets"], whole["replicas"], part["fleets"]), (10, 80, 1))
        self.assertEqual(whole["fleet_database_share"], part["fleet_database_share"])

    def test_counts_memory_of_devices_of_the_fleet_and_of_the_log(self):
        figures = self.plan(devices=30_000)  # three gateways; 15,000 on each of two
        self.assertAlmostEqual(figures["replica_memory_mb"], 30 + 15_000 * 0.02 + 15_000 * 0.001 + 100)
        self.assertAlmostEqual(figures["replica_kernel_mb"], 75)

    def test_counts_frames_and_the_pings_of_silent_devices(self):
        busy, silent = self.plan(devices=15_000, period=10, heartbeat=30), self.plan(devices=15_000, period=60, heartbeat=30)
        self.assertAlmostEqual(busy["replica_cores"], 1_500 * 40e-6)
        self.assertAlmostEqual(silent["replica_cores"], 2 * 250 * 40e-6)

    def test_lets_nobody_in_faster_than_the_database_gives_epochs(self):
        self.assertEqual(self.plan(devices=15_000)["all_admitted_per_s"], 2_000)
        self.assertEqual(self.plan(devices=100_000)["all_admitted_per_s"], 5_000)
        self.assertAlmostEqual(self.plan(devices=100_000)["all_back_s"], 100_000 / 5_000 * 1.2)

    def test_fills_batches_with_what_comes_while_they_linger(self):
        # All ten partitions have some; and nine of them one with a probability of 1 - 1/e, beside the one that began.
        self.assertAlmostEqual(capacity.messages(COST, 1_000, 0.1, 120), 10 / 0.101, places=1)
        self.assertAlmostEqual(capacity.messages(COST, 100, 0.1, 120), (1 + 9 * 0.6321206) / 0.11, places=4)
        self.assertAlmostEqual(capacity.messages({**COST, "partitions": 1}, 1_000, 0.1, 120), 1 / 0.101)
        self.assertAlmostEqual(capacity.messages(COST, 1_000, 0, 120), 1_000)
        self.assertAlmostEqual(capacity.messages(COST, 100_000, 0.1, 120), 100_000 / (32_768 / 220))

    def test_has_room_for_the_outage(self):
        figures = self.plan(devices=15_000, period=10, payload=100, outage=1)
        self.assertAlmostEqual(figures["replica_spool_gb"], 1_500 * 200 * 3_600 / 0.8 / 1e9)
        self.assertAlmostEqual(figures["replica_outage_s"], 0.8 * 100e6 / (1_500 * 200))


class Costs(unittest.TestCase):
    RESULTS = report.load(report.RESULTS)

    def test_are_measured_where_there_are_results_and_say_so_where_not(self):
        for there in (True, False):
            results = {name: result for name, result in self.RESULTS.items() if name not in ("memory", "scale")}
            if there:
                results["memory"] = {"figures": {
                    "devices_few": 2_000, "gateway.cert.rss_few_bytes": 60e6, "gateway.cert.after_telemetry.rss_bytes": 18_000,
                    "gateway.cert.kernel_tcp_pages_bytes": -3, "gateway.cert.kernel_slabs_bytes": 4_000,
                    "gateway.cert.heap.fleet_index_bytes": 400, "gateway.cert.heap.registry_bytes": 200,
                    "gateway.cert.heap.presence_bytes": 100, "gateway.cert.heap.home_bytes": 70,
                    "gateway.cert.heap.last_values_bytes": 30, "gateway.cert.heap.session_bytes": 200,
                    "gateway.cert.heap.control_bytes": 300, "gateway.cert.heap.store_bytes": 700,
                    "gateway.cert.heap.openssl_bytes": 6_000, "gateway.cert.heap.overhead_bytes": 800}}
                results["scale"] = {"figures": {"gateway.devices_15000.shards_2.cpu_us_per_frame": 33}}
            cost = capacity.costs(results)
            if there:
                self.assertEqual((cost["device_bytes"], cost["kernel_bytes"], cost["process_bytes"], cost["frame_us"]),
                                 (18_000, 4_000, 24e6, 33))
                # Nothing of a connection, nor of the store's cache; a tenth on top, as on all of the heap.
                self.assertAlmostEqual(cost["known_bytes"], 880)
                self.assertEqual((cost["device_bytes_from"], cost["frame_us_from"]), ("`./dev bench memory`", "`./dev bench scale`"))
            else:
                self.assertIn("assumed", cost["device_bytes_from"])
                self.assertEqual(cost["frame_us_from"], "`./dev bench ingest`")

    def test_of_a_frame_are_those_of_the_dearest_case_of_the_gateway(self):
        cases = {"gateway.devices_100.shards_1.cpu_us_per_frame": 60, "gateway.devices_5000.shards_2.cpu_us_per_frame": 78,
                 "gateway.devices_5000.shards_2.cpu_us_per_frame.max": 300, "gateway.devices_100.shards_1.lane_cpu_us_per_frame": 400,
                 "floor.devices_100.cpu_us_per_frame": 500}
        for more, dearest in (({}, "gateway.devices_5000.shards_2.cpu_us_per_frame"),
                              ({"together.cpu_us_per_frame": 160}, "together.cpu_us_per_frame"),
                              ({"together.cpu_us_per_frame": 77}, "gateway.devices_5000.shards_2.cpu_us_per_frame"),
                              ({"gateway.devices_15000.shards_1.slow.cpu_us_per_frame": 90},
                               "gateway.devices_15000.shards_1.slow.cpu_us_per_frame")):
            with self.subTest(more):
                cost = capacity.costs({**self.RESULTS, "scale": {"figures": cases | more}})
                self.assertEqual((cost["frame_case"], cost["frame_us"]), (dearest, (cases | more)[dearest]))

    def test_of_a_device_that_is_elsewhere_are_of_owners_that_the_bench_tells_apart(self):
        self.assertLessEqual(set(capacity.KNOWN), {name for name, _ in heap.OWNERS})

    def test_have_the_defaults_of_the_settings(self):
        self.assertEqual([capacity.default_of(key) for key in ("limits.sessions_max", "store.lease", "uplink.memory_bytes_max",
                                                               "mqtt[].batch_linger")], [18_000, 15, 2**28, 0.005])

    def test_are_enough_for_the_plan_of_a_fleet_of_ones_own(self):
        done = subprocess.run([sys.executable, capacity.HERE / "capacity.py", "--devices", "250000", "--period", "30"],
                              capture_output=True, text=True, check=True)
        self.assertIn("fleets=3\n", done.stdout)
        refused = subprocess.run([sys.executable, capacity.HERE / "capacity.py", "--devices", "0"], capture_output=True,
                                 text=True, check=False)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("too small: devices", refused.stderr)


if __name__ == "__main__":
    unittest.main()
