#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Several lanes of one gateway: each gets what it wants at its own pace, and its account adds up."""

import asyncio
import base64
import os
import signal
import sys
import unittest

from gateway_fixture import SOURCE, Broker, Gateway, GatewayTestCase, Subscriber, wait_for
from device_client import Device, north, pb

sys.path.insert(0, os.fspath(SOURCE / "tests/support"))
from webhook_target import Target  # noqa: E402

STAGES = {"memory": (pb.ACK_STAGE_ACCEPTED, {}),
          "disk": (pb.ACK_STAGE_SPOOLED, {"uplink": {"spool": {"enabled": True, "bytes_max": "64MiB"}}})}


def in_batches(payloads: list) -> list[tuple[str, int]]:
    batches = [north.RecordBatch.FromString(payload) for payload in payloads]
    return [(record.device_id, record.seq) for batch in batches for record in batch.records]


def at_broker(subscriber: Subscriber) -> list[tuple[str, int]]:
    return in_batches([payload for _, payload in subscriber.messages()])


def at_target(target: Target) -> list[tuple[str, int]]:
    """Of what it took; without presence, which has no seq."""
    taken = [got for got in target.requests() if got["did"] == "answer" and got["status"] < 300]
    bodies = [base64.b64decode(got["body_base64"]) if "body_base64" in got else got["body"].encode() for got in taken]
    return [record for record in in_batches(bodies) if record[1] > 0]


class LanesTest(GatewayTestCase):
    def setUp(self):
        self.far = Broker()
        self.addCleanup(self.far.kill)
        self.target = Target()
        self.addCleanup(self.target.close)

    def lanes_gateway(self, spool: str, **webhook) -> Gateway:
        timing = {"backoff_min": "50ms", "backoff_max": "500ms"}
        return self.gateway({
            "mqtt": [{"name": "near", "port": self.broker.port, **timing},
                     {"name": "far", "port": self.far.port, **timing}],
            "webhooks": [{"name": "hook", "url": f"http://127.0.0.1:{self.target.port}/in", "payload": "protobuf",
                          "allowed_networks": ["127.0.0.0/8"], **timing, **webhook}], **STAGES[spool][1]})

    def account(self, gateway: Gateway, lane: str) -> dict:
        return next(entry for entry in gateway.api("/api/v1/lanes")["lanes"] if entry["name"] == lane)

    def settled(self, gateway: Gateway, records: int) -> list[dict]:
        """The lanes to far sides, once they are done with so many records: the last offline record comes after the device is gone."""
        def done():
            lanes = [lane for lane in gateway.api("/api/v1/lanes")["lanes"] if lane["type"] != "store"]
            return lanes if all(lane["pending_records"] == 0 and lane["records_in"] >= records for lane in lanes) else None

        return wait_for(done, f"every lane to be done with {records} records")

    async def send(self, gateway: Gateway, spool: str, devices: list[str], count: int) -> set:
        sent = set()
        for name in devices:
            device = await Device.connect(gateway, name, ack_stage=STAGES[spool][0])
            while device.seq < count:  # well within the credit
                await device.send(10)
                await device.acked()
            sent |= {(name, seq) for seq in range(1, count + 1)}
            await device.close()
        return sent

    async def everything_to_each(self, spool: str) -> None:
        gateway = self.lanes_gateway(spool)
        near, far = (Subscriber(broker, "fieldgate/v1/batches/#") for broker in (self.broker, self.far))
        before = await self.send(gateway, spool, ["pump-1", "pump-2"], 50)
        for name, arrived in (("near", lambda: at_broker(near)), ("far", lambda: at_broker(far)),
                              ("hook", lambda: at_target(self.target))):
            await asyncio.to_thread(wait_for, lambda: set(arrived()) == before, f"everything at {name}")
        # Now one broker stands still, and the webhook is gone.
        self.far.signal(signal.SIGSTOP)
        self.addCleanup(self.far.signal, signal.SIGCONT)
        self.target.down()
        during = await self.send(gateway, spool, ["pump-3", "pump-4"], 100)
        await asyncio.to_thread(wait_for, lambda: set(at_broker(near)) == before | during, "everything at the one that runs")
        self.assertGreaterEqual((await asyncio.to_thread(self.account, gateway, "far"))["pending_records"], 200)
        self.assertGreaterEqual((await asyncio.to_thread(self.account, gateway, "hook"))["pending_records"], 200)
        self.far.signal(signal.SIGCONT)
        self.target.up()
        await asyncio.to_thread(wait_for, lambda: set(at_broker(far)) == before | during, "the rest at the other broker")
        await asyncio.to_thread(wait_for, lambda: set(at_target(self.target)) == before | during, "the rest at the webhook")
        for lane in await asyncio.to_thread(self.settled, gateway, 308):
            ends = [lane[key + "_records"] for key in ("forwarded", "filtered", "dead_lettered", "expired", "skipped")]
            # 300 frames, and each of four devices online and offline.
            self.assertEqual((lane["records_in"], sum(ends)), (308, 308), lane)
            self.assertEqual(lane["forwarded_records"], 308, lane)

    async def test_each_lane_gets_everything_and_one_that_stands_still_delays_no_other(self):
        await self.everything_to_each("memory")

    async def test_the_same_with_the_records_on_disk(self):
        await self.everything_to_each("disk")

    async def test_a_lane_takes_what_its_filter_lets_through_and_counts_the_rest(self):
        gateway = self.lanes_gateway("memory", filter={"kinds": ["telemetry"], "devices": ["pump-*"], "labels": ["site=a"]})
        for name, site in (("pump-1", "a"), ("pump-2", "b"), ("meter-1", "a")):
            device = await Device.connect(gateway, name, labels={"site": site})
            await device.send(10)
            await device.acked()
            await device.close()
        lanes = {lane["name"]: lane for lane in await asyncio.to_thread(self.settled, gateway, 36)}
        self.assertEqual(set(at_target(self.target)), {("pump-1", seq) for seq in range(1, 11)})
        self.assertEqual((lanes["hook"]["forwarded_records"], lanes["hook"]["filtered_records"]), (10, 26))
        self.assertEqual((lanes["near"]["forwarded_records"], lanes["near"]["filtered_records"]), (36, 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
