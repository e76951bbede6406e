#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A device's data, from the example that the documentation prints to the broker's subscribers and the API."""

import asyncio
import json
import subprocess
import sys
import unittest

from gateway_fixture import API_TOKEN, PATIENCE, SOURCE, GatewayTestCase, Subscriber, wait_for
from device_client import GENERATED, Device, north, pb, telemetry

EXAMPLE = SOURCE / "docs/examples/device.py"


def batched(subscriber: Subscriber) -> list:
    """The records of all batches, in the order of their arrival."""
    records = []
    for topic, payload in subscriber.messages():
        if "/batches/" in topic:
            records += north.RecordBatch.FromString(payload).records
    return records


class DeviceTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway(start=False)
        cls.gateway_.add_tokens("boiler-7", "pump-1")
        cls.gateway_.start()
        cls.subscriber = Subscriber(cls.broker, "fieldgate/v1/#")

    def curl(self, path: str) -> dict:
        done = subprocess.run(["curl", "-sS", "--fail", "-H", f"Authorization: Bearer {API_TOKEN}",
                               f"http://127.0.0.1:{self.gateway_.api_port}{path}"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def frames_at_broker(self, device: str, count: int) -> list:
        """`count` records of the device, each under its own number, with their bytes as sent."""
        def all_there():
            records = [record for record in batched(self.subscriber) if record.device_id == device]
            return records if len(records) >= count else None

        records = wait_for(all_there, f"{count} records of {device} at the broker")
        self.assertEqual([record.seq for record in records], list(range(1, count + 1)))
        self.assertEqual([record.frame.seq for record in records], list(range(1, count + 1)))
        return records

    def test_the_example_as_printed_is_acknowledged_arrives_and_is_seen_by_curl(self):
        done = subprocess.run([sys.executable, EXAMPLE, self.gateway_.url, "boiler-7", "token-of-boiler-7", self.pki.ca, "20"],
                              env={"PYTHONPATH": str(GENERATED)}, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "20 frames acknowledged\n"), done.stderr)
        self.assertIn("ACK_STAGE_FORWARDED", done.stderr)

        records = self.frames_at_broker("boiler-7", 20)
        self.assertEqual(len({record.stream_id for record in records}), 1)
        metric = records[0].frame.telemetry.samples[0].metrics[0]
        self.assertEqual(metric.name, "temperature")
        self.assertTrue(15 <= metric.double_value <= 25)

        latest = self.curl("/api/v1/devices/boiler-7/telemetry/latest")["last_values"]
        self.assertEqual([(value["name"], value["type"]) for value in latest], [("temperature", "double")])
        self.assertEqual(latest[0]["value"], records[-1].frame.telemetry.samples[0].metrics[0].double_value)
        seen = wait_for(lambda: (d := self.curl("/api/v1/devices/boiler-7"))["online"] is False and d, "boiler-7 to be offline")
        self.assertEqual(seen["reason"], "bye")
        self.assertEqual(seen["streams"][0]["forwarded_through"], "20")

    async def test_a_client_certificate_serves_as_well(self):
        device = await Device.connect(self.gateway_, "meter-3", firmware_version="2.1.0", labels={"site": "berlin"})
        await device.send(20)
        await device.acked(20)
        self.frames_at_broker("meter-3", 20)

        seen = await asyncio.to_thread(self.curl, "/api/v1/devices/meter-3")
        self.assertTrue(seen["online"])
        self.assertEqual(seen["live"]["credential"], "certificate")
        self.assertEqual(seen["live"]["tls"]["version"], "TLSv1.3")
        self.assertEqual(seen["epoch"], str(device.welcome.epoch))
        self.assertEqual((seen["firmware"], seen["labels"]), ("2.1.0", {"site": "berlin"}))
        found = await asyncio.to_thread(self.curl, "/api/v1/devices?label=site=berlin&online=true")
        self.assertEqual([one["id"] for one in found["devices"]], ["meter-3"])
        await device.close()

    async def test_a_returning_device_is_told_where_its_stream_stands(self):
        device = await Device.connect(self.gateway_, "pump-1", stream_id=77)
        await device.send(5)
        await device.acked(5)
        await device.close()
        device = await Device.connect(self.gateway_, "pump-1", stream_id=77, oldest_seq=4, last_seq=8)
        self.assertEqual((device.welcome.acked_through, device.welcome.received_through), (5, 5))
        for seq in (6, 7, 8):
            await device.ws.send(telemetry(seq))
        await device.acked(8)
        self.frames_at_broker("pump-1", 8)
        await device.close()
        reused = await Device.socket(self.gateway_, token="token-of-pump-1")
        await reused.send(pb.DeviceFrame(hello=pb.Hello(device_id="pump-1", stream_id=77, last_seq=2)).SerializeToString())
        self.assertEqual(await Device(self.gateway_, "pump-1", reused, None).goodbye(),
                         (4004, pb.GOODBYE_REASON_STREAM_REUSED))

    async def test_a_bad_frame_is_rejected_before_the_ack_that_covers_it_and_the_session_goes_on(self):
        device = await Device.connect(self.gateway_, "meter-4")
        await device.send(1)
        await device.ws.send(pb.DeviceFrame(seq=2, telemetry=pb.Telemetry()).SerializeToString())
        device.seq = 2
        await device.send(1)
        reject = (await device.next("reject")).reject
        self.assertEqual((reject.seq, reject.code), (2, pb.REJECT_CODE_MALFORMED))
        await device.acked(3)
        await device.close()
        records = wait_for(lambda: len(r := [r for r in batched(self.subscriber) if r.device_id == "meter-4"]) == 2 and r,
                           "both good frames")
        self.assertEqual([record.seq for record in records], [1, 3])

    async def test_events_and_opaque_payloads_have_topics_of_their_own(self):
        device = await Device.connect(self.gateway_, "meter-5")
        event = pb.DeviceFrame(seq=1, event=pb.Event(name="door.open", severity=pb.SEVERITY_WARNING)).SerializeToString()
        await device.ws.send(event)
        await device.ws.send(pb.DeviceFrame(seq=2, opaque=pb.Opaque(schema_id="acme.v1", data=b"\0\1\2")).SerializeToString())
        await device.acked(2)
        await device.close()
        topic = "fieldgate/v1/devices/meter-5/events/door.open"
        self.assertIn((topic, event), wait_for(lambda: [m for m in self.subscriber.messages() if m[0] == topic], topic))
        records = wait_for(lambda: [r for r in batched(self.subscriber) if r.device_id == "meter-5"], "the opaque record")
        self.assertEqual((records[0].frame.opaque.schema_id, records[0].frame.opaque.data), ("acme.v1", b"\0\1\2"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
