#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus sees: well-formed, documented, of a bounded size, and true."""

import asyncio
import os
import re
import shutil
import subprocess
import unittest

from gateway_fixture import SOURCE, Broker, Gateway, GatewayTestCase, wait_for
from device_client import Device, pb

PROMTOOL = os.environ.get("FIELDGATE_PROMTOOL") or shutil.which("promtool")
LANE = "fieldgate_lane_records_total"


def documented() -> set[str]:
    return set(re.findall(r"^\| `((?:fieldgate|process)_\w+)` \|", (SOURCE / "docs/metrics.md").read_text(), re.MULTILINE))


def exposed(text: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


class MetricsTest(GatewayTestCase):
    async def talkative(self) -> Gateway:
        """Has something to tell of everything, a broker that is not there too."""
        lanes = [{"host": "127.0.0.1", "port": self.broker.port},
                 {"name": "away", "required": False, "host": "127.0.0.1", "port": 9}]
        gateway = self.gateway({"mqtt": lanes, "node": {"drain_period": "1s"}})
        device = await Device.connect(gateway, "pump-1")
        await device.send(3)
        await device.acked()
        await device.close()
        await asyncio.to_thread(gateway.api, "/api/v1/devices")
        return gateway

    async def test_every_documented_metric_is_there_and_every_metric_is_documented(self):
        gateway = await self.talkative()
        await asyncio.to_thread(wait_for, lambda: gateway.readyz()[1]["reasons"], "the lane that is away to be noticed")
        self.assertEqual(exposed(gateway.metrics_text()), documented())
        gateway.process.kill()

    @unittest.skipUnless(PROMTOOL, "no promtool: neither FIELDGATE_PROMTOOL nor one on PATH (Debian package prometheus)")
    async def test_promtool_has_no_complaint(self):
        gateway = await self.talkative()
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=gateway.metrics_text(), capture_output=True, text=True,
                              check=False)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        gateway.process.kill()

    async def test_five_hundred_devices_make_no_more_series_than_one(self):
        names = [f"meter-{number:03}" for number in range(500)]
        gateway = self.gateway({"log": {"level": "info"}}, start=False)
        gateway.add_tokens(*names)
        gateway.start()
        context = self.pki.client_context()
        options = {"context": context}

        async def connect(name: str) -> Device:
            device = await Device.connect(gateway, name, socket_options=options, labels={"name": name}, firmware_version=name)
            await device.ws.send(pb.DeviceFrame(seq=1, telemetry=pb.Telemetry(samples=[pb.Sample(metrics=[
                pb.Metric(name="metric-of-" + name, double_value=1)])])).SerializeToString())
            await device.acked(1)
            return device

        devices = [await connect(names[0])]
        one = set(gateway.metrics())
        for begin in range(1, len(names), 20):
            devices += await asyncio.gather(*(connect(name) for name in names[begin:begin + 20]))
        metrics = gateway.metrics()
        self.assertEqual(metrics["fieldgate_sessions"], 500)
        self.assertEqual(set(metrics), one)
        self.assertNotIn("meter-", gateway.metrics_text())
        await asyncio.gather(*(device.close() for device in devices))

    async def test_records_in_are_forwarded_filtered_dead_lettered_or_pending_and_none_is_missing(self):
        broker = Broker("max_packet_size 3000")
        self.addCleanup(broker.kill)
        gateway = Gateway(self.pki, broker, {"mqtt": [{
            "host": "127.0.0.1", "port": broker.port, "backoff_min": "50ms", "backoff_max": "500ms",
            "routes": [{"kinds": ["telemetry", "opaque"], "payload": "batch"}]}]})
        self.addCleanup(gateway.process.kill)

        def account() -> dict:
            metrics = gateway.metrics()
            out = {outcome: metrics[f'{LANE}{{lane="main",outcome="{outcome}"}}']
                   for outcome in ("forwarded", "filtered", "dead_lettered")}
            out["pending"] = metrics['fieldgate_lane_pending_records{lane="main"}']
            out["in"] = metrics["fieldgate_uplink_appended_records_total"]
            taken = sum(value for name, value in metrics.items() if name.startswith("fieldgate_records_total"))
            self.assertEqual(taken, out["in"])
            return out

        def settled(condition) -> dict:
            return wait_for(lambda: condition(a := account()) and a, "the account to settle")

        device = await Device.connect(gateway, "pump-1", ack_stage=pb.ACK_STAGE_ACCEPTED)
        await device.send(30)
        for seq in range(31, 36):
            await device.ws.send(pb.DeviceFrame(seq=seq, event=pb.Event(name="door")).SerializeToString())
        for seq in (36, 37):  # more than that broker takes in one message
            await device.ws.send(pb.DeviceFrame(seq=seq, opaque=pb.Opaque(schema_id="big", data=b"x" * 4_000)).SerializeToString())
        await device.acked(37)
        # The presence event and the five others go by no route.
        self.assertEqual(await asyncio.to_thread(settled, lambda a: a["pending"] == 0),
                         {"forwarded": 30, "filtered": 6, "dead_lettered": 2, "pending": 0, "in": 38})
        broker.kill()
        device.seq = 37
        await device.send(10)
        await device.acked()
        self.assertEqual(await asyncio.to_thread(settled, lambda a: a["in"] == 48),
                         {"forwarded": 30, "filtered": 6, "dead_lettered": 2, "pending": 10, "in": 48})
        broker.start()
        self.assertEqual(await asyncio.to_thread(settled, lambda a: a["pending"] == 0),
                         {"forwarded": 40, "filtered": 6, "dead_lettered": 2, "pending": 0, "in": 48})
        lane = (await asyncio.to_thread(gateway.api, "/api/v1/lanes"))["lanes"][0]
        self.assertEqual((lane["forwarded_records"], lane["filtered_records"], lane["dead_lettered_records"],
                          lane["pending_records"]), (40, 6, 2, 0))
        await device.close()
        gateway.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
