#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: devices are sent away, what they sent arrives, and the exit status tells whether all of it did."""

import asyncio
import signal
import socket
import time
import unittest

from gateway_fixture import PATIENCE, Broker, Gateway, GatewayTestCase, Subscriber, wait_for
from device_client import Device, north, pb


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


STREAM = 77
PERIOD = 12
SPOOL = {"uplink": {"spool": {"enabled": True, "bytes_max": "64MiB"}}}


class EitherSpool:
    """What holds whatever the spool is."""

    settings: dict

    async def test_a_drain_says_goodbye_to_all_within_its_period_and_loses_nothing(self):
        gateway = self.gateway({"node": {"drain_period": f"{PERIOD}s"}, **self.settings})
        subscriber = Subscriber(self.broker, "fieldgate/v1/batches/#")
        devices = [await Device.connect(gateway, f"pump-{number}", ack_stage=pb.ACK_STAGE_ACCEPTED) for number in range(10)]
        self.assertEqual((await asyncio.to_thread(gateway.readyz))[0], 200)
        for device in devices:
            await device.send(20)
            await device.acked()
        began = time.monotonic()
        gateway.process.signal(signal.SIGTERM)

        status, answer = await asyncio.to_thread(wait_for, lambda: (r := gateway.readyz())[0] == 503 and r, "/readyz to turn")
        self.assertFalse(answer["ready"])
        self.assertIn("draining", [reason["name"] for reason in answer["reasons"]])
        await asyncio.to_thread(wait_for, lambda: refuses(gateway.port), "the device port to be closed")
        farewells = []
        for device in devices:
            code, frames = await device.end()
            farewells.append((code, frames[-1].goodbye.reason, frames[-1].goodbye.reconnect_after_ms > 0))
        self.assertEqual(set(farewells), {(1001, pb.GOODBYE_REASON_DRAIN, True)})
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 0)
        # All is taken, so it need not wait out its period; the rest is for a busy machine.
        self.assertLess(time.monotonic() - began, PERIOD)

        def at_broker() -> set:
            batches = [north.RecordBatch.FromString(payload) for _, payload in subscriber.messages()]
            return {(record.device_id, record.seq) for batch in batches for record in batch.records}

        wait_for(lambda: len(at_broker()) == 200, "every acknowledged frame at the broker")
        self.assertEqual(self.broker.retained("fieldgate/v1/nodes/gw")["reason"], "stopped")
        presence = self.broker.retained("fieldgate/v1/devices/pump-0/presence")
        self.assertEqual((presence["online"], presence["reason"]), (False, "drain"))
        gateway.check_log()

    async def test_frames_that_are_still_coming_in_while_it_drains_are_not_lost_either(self):
        gateway = self.gateway({"node": {"drain_period": "6s"}, **self.settings})
        subscriber = Subscriber(self.broker, "fieldgate/v1/batches/#")
        device = await Device.connect(gateway, "talker")
        code = None
        gateway.process.signal(signal.SIGTERM)
        acked = 0
        while code is None:
            try:
                await device.send(1)
                await asyncio.sleep(0.02)
                while device.ws.messages:
                    frame = await device.receive()
                    acked = max(acked, frame.ack.through)
            except Exception as closed:  # noqa: BLE001 -- whatever the library says of the end
                code = device.ws.close_code or closed
        for frame in (await device.end())[1]:
            acked = max(acked, frame.ack.through)
        self.assertEqual(code, 1001)
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 0)

        def highest() -> int:
            batches = [north.RecordBatch.FromString(payload) for _, payload in subscriber.messages()]
            return max((record.seq for batch in batches for record in batch.records if record.device_id == "talker"), default=0)

        wait_for(lambda: highest() >= acked, "what was acknowledged at the broker")

    def test_without_devices_it_is_gone_at_once(self):
        gateway = self.gateway({"node": {"drain_period": "1h"}, **self.settings})
        self.assertEqual(gateway.stop(), 0)


class MemoryShutdownTest(EitherSpool, GatewayTestCase):
    settings: dict = {}

    async def test_with_the_broker_down_it_exits_1_and_says_how_many_records_were_lost(self):
        broker = Broker()
        self.addCleanup(broker.kill)
        gateway = Gateway(self.pki, broker, {"node": {"drain_period": "2s"}})
        self.addCleanup(gateway.process.kill)
        device = await Device.connect(gateway, "pump-1", ack_stage=pb.ACK_STAGE_ACCEPTED)
        await device.send(1)
        await device.acked()
        await asyncio.to_thread(wait_for, lambda: gateway.api("/api/v1/lanes")["lanes"][0]["pending_records"] == 0, "an empty log")
        broker.kill()
        await device.send(7)
        await device.acked()
        ready, answer = await asyncio.to_thread(
            wait_for, lambda: (r := gateway.readyz())[1]["reasons"] and r, "/readyz to show the lane")
        self.assertEqual((ready, answer["ready"]), (200, True))  # a reason shown, not unready
        self.assertEqual(answer["reasons"][0]["name"], "lane_down")
        gateway.process.signal(signal.SIGTERM)
        self.assertEqual((await device.goodbye())[0], 1001)
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 1)
        # The device's going offline is a record as well.
        self.assertEqual(gateway.events("records_lost_at_stop")[0]["records"], 8)
        self.assertEqual(gateway.events("stopped")[0]["status"], 1)

    async def test_a_second_signal_cuts_the_wait_short(self):
        broker = Broker()
        self.addCleanup(broker.kill)
        gateway = Gateway(self.pki, broker, {"node": {"drain_period": "1h"}})
        self.addCleanup(gateway.process.kill)
        device = await Device.connect(gateway, "pump-1", ack_stage=pb.ACK_STAGE_ACCEPTED)
        broker.kill()
        await device.send(5)
        await device.acked()
        gateway.process.signal(signal.SIGTERM)
        gateway.wait_event("draining")
        gateway.process.signal(signal.SIGTERM)
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 1)  # what was pending is lost, and said so


class DiskShutdownTest(EitherSpool, GatewayTestCase):
    settings = SPOOL

    def setUp(self):
        self.own_broker = Broker()
        self.addCleanup(self.own_broker.kill)

    def own_gateway(self, period: str) -> Gateway:
        gateway = Gateway(self.pki, self.own_broker, {"node": {"drain_period": period}, **SPOOL})
        self.addCleanup(gateway.process.kill)
        return gateway

    async def send_while_the_broker_is_down(self, gateway: Gateway, frames: int) -> Device:
        """Acknowledged as SPOOLED; nothing from before is pending."""
        device = await Device.connect(gateway, "pump-1", ack_stage=pb.ACK_STAGE_SPOOLED, stream_id=STREAM)
        self.assertEqual(device.welcome.ack_stage, pb.ACK_STAGE_SPOOLED)
        await device.send(1)
        await device.acked()
        await asyncio.to_thread(wait_for, lambda: gateway.api("/api/v1/lanes")["lanes"][0]["pending_records"] == 0, "an empty log")
        self.own_broker.kill()
        await device.send(frames)
        await device.acked()
        return device

    def arrivals(self, subscriber: Subscriber) -> list[int]:
        batches = [north.RecordBatch.FromString(payload) for _, payload in subscriber.messages()]
        return [record.seq for batch in batches for record in batch.records if record.device_id == "pump-1"]

    async def test_with_the_broker_down_it_keeps_the_records_exits_0_and_delivers_them_after_the_next_start(self):
        gateway = self.own_gateway("2s")
        device = await self.send_while_the_broker_is_down(gateway, 7)
        gateway.process.signal(signal.SIGTERM)
        self.assertEqual((await device.goodbye())[0], 1001)
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 0)
        # The device's going offline is a record as well.
        self.assertEqual(gateway.events("records_kept")[0]["records"], 8)
        self.assertEqual(gateway.events("records_lost_at_stop"), [])
        self.assertEqual(gateway.events("stopped")[0]["status"], 0)
        gateway.check_log()

        self.own_broker.start()
        data = Subscriber(self.own_broker, "fieldgate/v1/batches/#")
        presence = Subscriber(self.own_broker, "fieldgate/v1/devices/pump-1/presence/events")
        gateway.start()
        await asyncio.to_thread(wait_for, lambda: len(self.arrivals(data)) >= 7, "what was kept, at the broker")
        self.assertEqual(self.arrivals(data), [2, 3, 4, 5, 6, 7, 8])
        await asyncio.to_thread(wait_for, lambda: any(b'"drain"' in payload for _, payload in presence.messages()), "the offline record")
        # The device goes on where it was: nothing is sent a second time.
        device = await Device.connect(gateway, "pump-1", ack_stage=pb.ACK_STAGE_SPOOLED, stream_id=STREAM, oldest_seq=1, last_seq=8)
        self.assertEqual(device.welcome.acked_through, 8)
        await device.close()
        self.assertEqual(await asyncio.to_thread(gateway.stop), 0)
        self.assertEqual(gateway.events("records_kept"), [])

    async def test_a_second_signal_cuts_the_wait_short_and_loses_nothing(self):
        gateway = self.own_gateway("1h")
        await self.send_while_the_broker_is_down(gateway, 5)
        gateway.process.signal(signal.SIGTERM)
        gateway.wait_event("draining")
        gateway.process.signal(signal.SIGTERM)
        self.assertEqual(await asyncio.to_thread(gateway.process.wait), 0)
        self.assertGreaterEqual(gateway.events("records_kept")[0]["records"], 5)

    async def test_a_paused_lane_is_not_waited_for_and_is_paused_after_the_next_start_too(self):
        gateway = self.own_gateway("1h")
        data = Subscriber(self.own_broker, "fieldgate/v1/batches/#")
        device = await Device.connect(gateway, "pump-1", ack_stage=pb.ACK_STAGE_SPOOLED)
        self.assertTrue((await asyncio.to_thread(gateway.api, "/api/v1/lanes/main/pause", "POST"))["held"])
        await device.send(3)
        await device.acked()
        await device.close()
        self.assertEqual(await asyncio.to_thread(gateway.stop), 0)
        self.assertGreaterEqual(gateway.events("records_kept")[0]["records"], 3)
        gateway.start()
        lane = (await asyncio.to_thread(gateway.api, "/api/v1/lanes"))["lanes"][0]
        self.assertTrue(lane["held"])
        self.assertGreaterEqual(lane["pending_records"], 3)
        self.assertIn("lane_held", [reason["name"] for reason in (await asyncio.to_thread(gateway.readyz))[1]["reasons"]])
        self.assertEqual(self.arrivals(data), [])
        await asyncio.to_thread(gateway.api, "/api/v1/lanes/main/resume", "POST")
        await asyncio.to_thread(wait_for, lambda: self.arrivals(data) == [1, 2, 3], "what was kept, at the broker")
        self.assertEqual(await asyncio.to_thread(gateway.stop), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
