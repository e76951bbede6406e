#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Few or no file descriptors left: nobody is let in, accepting waits without spinning, and nobody who is in has to leave."""

import asyncio
import http.client
import socket
import time
import unittest

from gateway_fixture import FIELDGATE, PATIENCE, GatewayTestCase, wait_for
from device_client import Device

LIMIT = 64
# UBSan finds out by a pipe of its own whether memory can be read: without a descriptor it takes each object for none.
BLIND_SANITIZER = b"__ubsan_handle_dynamic_type_cache_miss" in FIELDGATE.read_bytes()


class DescriptorsTest(GatewayTestCase):
    @unittest.skipIf(BLIND_SANITIZER, "UBSan's check of virtual tables needs a descriptor itself")
    async def test_accepting_pauses_without_spinning_and_goes_on_when_sessions_leave(self):
        gateway = self.gateway({"node": {"shards": 1}, "log": {"level": "info"},
                                "limits": {"descriptors_high": 100},  # when there is none left
                                "session": {"deadlines": {"tls": "1m", "upgrade": "1m", "hello": "1m"}}}, start=False,
                               prefix=("prlimit", f"--nofile={LIMIT}:{LIMIT}"))
        names = [f"meter-{number}" for number in range(LIMIT)]
        gateway.add_tokens(*names)
        gateway.start()
        # Made before it is too late, and kept.
        admin = http.client.HTTPConnection("127.0.0.1", gateway.admin_port, timeout=PATIENCE)
        self.addCleanup(admin.close)

        def metrics() -> dict[str, float]:
            admin.request("GET", "/metrics")
            lines = admin.getresponse().read().decode().splitlines()
            return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}

        self.assertEqual(metrics()["process_max_fds"], LIMIT)
        context = {"context": self.pki.client_context()}
        waiting = {asyncio.create_task(Device.connect(gateway, name, socket_options=context)) for name in names}
        await asyncio.to_thread(gateway.wait_event, "accept_paused")

        def full() -> float:
            """How many are in, once nobody is half-way and there is room for no one."""
            now = metrics()
            return now["fieldgate_sessions"] if now["fieldgate_sessions"] == now["fieldgate_connections"] > 10 else 0

        async def settle(count: int) -> list[Device]:
            """The devices that are in, once there are so many."""
            deadline = time.monotonic() + PATIENCE
            while sum(task.done() for task in waiting) < count:
                self.assertLess(time.monotonic(), deadline, f"{sum(task.done() for task in waiting)} of {count} are in")
                await asyncio.sleep(0.02)
            done = {task for task in waiting if task.done()}
            waiting.difference_update(done)
            return [task.result() for task in done]

        room = int(await asyncio.to_thread(wait_for, full, "the last descriptor to be a session"))
        devices = await settle(room)
        self.assertEqual(metrics()["fieldgate_sessions"], room)
        self.assertEqual(metrics()["process_open_fds"], LIMIT)  # no descriptor is needed to say so
        paused = 'fieldgate_admission_paused{reason="descriptors"}'
        await asyncio.to_thread(wait_for, lambda: metrics()[paused] == 1, "the pause to be shown")

        # For three seconds it has nothing to do but not to spin; every device that is in is served.
        cpu, began = gateway.cpu_seconds(), time.monotonic()
        while time.monotonic() - began < 3:
            for device in devices:
                await device.ask_time()
                await device.send(1)
                await device.acked()
            await asyncio.sleep(1)
        self.assertLess(gateway.cpu_seconds() - cpu, 1.5)
        self.assertEqual(metrics()["fieldgate_sessions"], room)
        self.assertGreaterEqual(metrics()['fieldgate_sessions_ended_total{reason="descriptors"}'], 2)

        # Those who wait come in as others leave.
        leaving, devices = devices[:8], devices[8:]
        await asyncio.gather(*(device.close() for device in leaving))
        devices += await settle(8)
        for device in devices:
            await device.ask_time()
        while devices or waiting:
            await asyncio.gather(*(device.close() for device in devices))
            devices = await settle(min(len(waiting), room))
        await asyncio.to_thread(wait_for, lambda: metrics()["fieldgate_connections"] == 0, "all to be gone")
        await asyncio.to_thread(wait_for, lambda: metrics()[paused] == 0, "the pause to be over")
        self.assertEqual(gateway.stop(), 0)


class WatermarkTest(GatewayTestCase):
    async def test_above_the_high_mark_nobody_is_let_in_and_who_is_there_stays(self):
        limit = 200  # by default no one above 95 % of them, and until there are 90 %
        gateway = self.gateway({"node": {"shards": 1}, "session": {"deadlines": {"tls": "1m"}}}, start=False,
                               prefix=("prlimit", f"--nofile={limit}:{limit}"))
        gateway.add_tokens("meter-1", "meter-2")
        gateway.start()
        device = await Device.connect(gateway, "meter-1")
        open_now = int(gateway.metrics()["process_open_fds"])
        silent = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(limit * 97 // 100 - open_now)]
        self.addCleanup(lambda: [one.close() for one in silent])

        def reasons() -> list[str]:
            status, answer = gateway.readyz()
            self.assertEqual(status, 200, answer)
            return [reason["name"] for reason in answer["reasons"]]

        await asyncio.to_thread(wait_for, lambda: reasons() == ["descriptors_high"], "/readyz to say so")
        metrics = gateway.metrics()
        self.assertEqual(metrics['fieldgate_admission_paused{reason="descriptors"}'], 1)
        self.assertLess(metrics["process_open_fds"], limit, "there are some left")
        with self.assertRaises(Exception):  # noqa: B017 -- whatever the library calls a reset
            await Device.connect(gateway, "meter-2")
        self.assertGreaterEqual(await asyncio.to_thread(gateway.ended, "descriptors"), 1)
        await device.ask_time()

        for one in silent:
            one.close()
        await asyncio.to_thread(gateway.wait_event, "admission_resumed")
        self.assertEqual(reasons(), [])
        await (await Device.connect(gateway, "meter-2")).close()
        await device.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
