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
OUTCOMES = ("forwarded", "filtered", "dead_lettered", "expired", "skipped")


def documented() -> set[str]:
    """Those of a gateway on its own store."""
    rows = re.findall(r"^\| `((?:fieldgate|process)_\w+)` \|(.*)$", (SOURCE / "docs/metrics.md").read_text(), re.MULTILINE)
    return {name for name, rest in rows if "PostgreSQL only" not in rest}


def exposed(text: str) -> set[str]:
    return set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))


def account(metrics: dict[str, float], lane: str) -> dict[str, float]:
    """A lane's figures in one scrape, after a look at whether they add up."""
    out = {outcome: metrics[f'fieldgate_lane_records_total{{lane="{lane}",outcome="{outcome}"}}'] for outcome in OUTCOMES}
    out["pending"] = metrics[f'fieldgate_lane_pending_records{{lane="{lane}"}}']
    records_in = metrics[f'fieldgate_lane_records_in_total{{lane="{lane}"}}']
    assert records_in == sum(out.values()), f"{lane}: {records_in} records in, but {out}"
    return {**out, "in": records_in}


def taken(metrics: dict[str, float]) -> float:
    return sum(value for name, value in metrics.items() if name.startswith("fieldgate_records_total"))


class MetricsTest(GatewayTestCase):
    async def talkative(self) -> Gateway:
        """Has something to tell of everything; of a broker and an endpoint that are not there, too."""
        lanes = [{"host": "127.0.0.1", "port": self.broker.port},
                 {"name": "away", "required": False, "host": "127.0.0.1", "port": 9}]
        hooks = [{"name": "hook", "url": "http://127.0.0.1:9/", "allowed_networks": ["127.0.0.0/8"]}]
        gateway = self.gateway({"mqtt": lanes, "webhooks": hooks, "uplink": {"spool": {"enabled": True}},
                                "limits": {"memory_bytes_max": "64GiB"}, "node": {"drain_period": "1s"}})
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

    async def test_a_hundred_thousand_devices_five_hundred_of_them_connected_make_no_more_series_than_one(self):
        names = [f"meter-{number:06}" for number in range(100_000)]
        gateway = self.gateway({"log": {"level": "info"}}, start=False)
        gateway.add_tokens(*names[:500])
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
        for begin in range(1, 500, 20):
            devices += await asyncio.gather(*(connect(name) for name in names[begin:min(begin + 20, 500)]))
        for begin in range(0, len(names), 2_000):
            lines = "".join(f'{{"id": "{name}", "labels": {{"name": "{name}"}}}}\n' for name in names[begin:begin + 2_000])
            answer = await asyncio.to_thread(gateway.call, "POST", "/devices/import", lines, Content_Type="application/x-ndjson")
            self.assertTrue(answer.lines[-1]["done"], answer.lines[-1])
        metrics = gateway.metrics()
        self.assertEqual(metrics["fieldgate_sessions"], 500)
        self.assertEqual((await asyncio.to_thread(gateway.api, "/api/v1/overview"))["devices"]["registered"], len(names))
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
        replayed = 0

        def main() -> dict:
            metrics = gateway.metrics()
            out = account(metrics, "main")
            # From a source of its own: what the shards took, and not what the log gave.
            self.assertEqual(out["in"], metrics["fieldgate_uplink_appended_records_total"])
            self.assertEqual(out["in"], taken(metrics) + replayed)
            return {**out, "kept": metrics['fieldgate_dead_letters{lane="main"}']}

        async def settled(condition, **expected) -> None:
            def reached():
                found = main()
                return condition(found) and found
            found = await asyncio.to_thread(wait_for, reached, "the account to settle")
            self.assertEqual(found, {"expired": 0, "skipped": 0, **expected})

        device = await Device.connect(gateway, "pump-1", ack_stage=pb.ACK_STAGE_ACCEPTED)
        await device.send(30)
        for seq in range(31, 36):
            await device.ws.send(pb.DeviceFrame(seq=seq, event=pb.Event(name="door")).SerializeToString())
        for seq in (36, 37):  # more than that broker takes in one message
            await device.ws.send(pb.DeviceFrame(seq=seq, opaque=pb.Opaque(schema_id="big", data=b"x" * 4_000)).SerializeToString())
        await device.acked(37)
        # The presence event and the five others go by no route.
        await settled(lambda a: a["pending"] == 0, forwarded=30, filtered=6, dead_lettered=2, pending=0, kept=2, **{"in": 38})
        broker.kill()
        device.seq = 37
        await device.send(10)
        await device.acked()
        await settled(lambda a: a["in"] == 48, forwarded=30, filtered=6, dead_lettered=2, pending=10, kept=2, **{"in": 48})
        broker.start()
        await settled(lambda a: a["pending"] == 0, forwarded=40, filtered=6, dead_lettered=2, pending=0, kept=2, **{"in": 48})

        # Sent again without a cure, a dead letter comes back as a new one.
        letters = (await asyncio.to_thread(gateway.api, "/api/v1/dead-letters?lane=main"))["dead_letters"]
        self.assertEqual([(letter["device"], letter["kind"], letter["seq"]) for letter in letters],
                         [("pump-1", "opaque", "36"), ("pump-1", "opaque", "37")])
        done = await asyncio.to_thread(gateway.api, "/api/v1/dead-letters/replay?lane=main&limit=1", "POST")
        self.assertEqual((done["done"], done["more"]), (1, True))
        replayed = 1
        await settled(lambda a: a["dead_lettered"] == 3, forwarded=40, filtered=6, dead_lettered=3, pending=0, kept=2,
                      **{"in": 49})
        done = await asyncio.to_thread(gateway.api, "/api/v1/dead-letters?lane=main", "DELETE")
        self.assertEqual((done["done"], done["more"]), (2, False))
        await settled(lambda a: a["kept"] == 0, forwarded=40, filtered=6, dead_lettered=3, pending=0, kept=0, **{"in": 49})

        lane = (await asyncio.to_thread(gateway.api, "/api/v1/lanes"))["lanes"][0]
        self.assertEqual({name: lane[name + "_records"] for name in (*OUTCOMES, "pending")} | {"in": lane["records_in"]},
                         {"forwarded": 40, "filtered": 6, "dead_lettered": 3, "expired": 0, "skipped": 0, "pending": 0, "in": 49})
        await device.close()
        gateway.stop()

    async def test_the_accounts_add_up_in_every_scrape_while_records_come_and_go(self):
        lanes = [{"host": "127.0.0.1", "port": self.broker.port},
                 {"name": "events", "required": False, "host": "127.0.0.1", "port": self.broker.port, "filter": {"kinds": ["event"]}},
                 {"name": "away", "required": False, "host": "127.0.0.1", "port": 9}]
        gateway = self.gateway({"mqtt": lanes, "node": {"drain_period": "1s"},
                                "limits": {"frames_per_second": 10_000, "frames_burst": 10_000}})
        devices = [await Device.connect(gateway, f"pump-{number}", ack_stage=pb.ACK_STAGE_ACCEPTED) for number in range(4)]
        names, rounds = ("main", "events", "away"), 30
        seen: dict[str, list[dict]] = {name: [] for name in names}

        def scrape() -> None:
            metrics = gateway.metrics()
            for name in names:
                seen[name].append(account(metrics, name))

        for _ in range(rounds):
            sending = [device.send(20) for device in devices]
            await asyncio.gather(asyncio.to_thread(scrape), *sending)
            await asyncio.gather(asyncio.to_thread(scrape), *(device.acked() for device in devices))
        frames = rounds * 20 * len(devices)
        for name in names:  # else nothing would have moved while we looked
            self.assertGreaterEqual(len({one["in"] for one in seen[name]}), rounds // 2, name)

        def at_rest() -> dict:
            metrics = gateway.metrics()
            found = {name: account(metrics, name) for name in names}
            self.assertEqual({one["in"] for one in found.values()}, {taken(metrics)})
            return found if found["main"]["pending"] == found["events"]["pending"] == 0 else {}

        found = await asyncio.to_thread(wait_for, at_rest, "the lanes that work to be done")
        everything = frames + len(devices)  # each has come online
        self.assertEqual(found["main"], {"forwarded": everything, "filtered": 0, "dead_lettered": 0, "expired": 0, "skipped": 0,
                                         "pending": 0, "in": everything})
        self.assertEqual((found["events"]["filtered"], found["away"]["pending"]), (everything, everything))
        await asyncio.gather(*(device.close() for device in devices))
        gateway.process.kill()


if __name__ == "__main__":
    unittest.main(verbosity=2)
