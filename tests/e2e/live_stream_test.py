#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every kind of event that the live stream has: each comes, and is what openapi.json says it is."""

import asyncio
import json
import pathlib
import re
import time
import unittest

from gateway_fixture import CONTRACT, PATIENCE, SOURCE, Gateway, GatewayTestCase, wait_for
from device_client import Device, pb
from live_stream import Events, Stream

# Of the stream itself, and so not to be asked for.
ITS_OWN = {"hello", "reset", "missed"}
KINDS = sorted(set(CONTRACT.event_schemas) - ITS_OWN)


def telemetry() -> pb.Telemetry:
    """With a metric of each type, and what JSON has no numbers for."""
    sent = pb.Telemetry(uptime_ms=2 ** 60, historical=True)
    now = sent.samples.add(unix_ms=int(time.time() * 1000))
    for value in (20.5, -0.0, float("nan"), float("inf"), float("-inf"), 1e300):
        now.metrics.add(name="temperature", double_value=value)
    now.metrics.add(name="count", int_value=-7)
    now.metrics.add(name="large", int_value=-2 ** 62, quality=pb.QUALITY_BAD)
    now.metrics.add(name="open", bool_value=False)
    now.metrics.add(name="mode", string_value='grün "\n')
    now.metrics.add(name="serial", bytes_value=b"\0\xff", quality=pb.QUALITY_UNCERTAIN)
    sent.samples.add(at_uptime_ms=2 ** 55).metrics.add(name="temperature", double_value=1)
    sent.samples.add().metrics.add(name="temperature", double_value=2)
    return sent


def records() -> list[dict]:
    """What Device.say() takes: of each kind, what says much and what says little."""
    door = pb.Event(name="door", unix_ms=1_700_000_000_000, severity=pb.SEVERITY_WARNING, text="open\nagain")
    door.attributes.add(name="angle", double_value=12.5)
    least = pb.Telemetry()
    least.samples.add().metrics.add(name="temperature", double_value=3)
    return [{"telemetry": telemetry()}, {"telemetry": least}, {"event": door}, {"event": pb.Event(name="bell")},
            {"state": pb.State(reported_json='{"interval":\n30}', full=True)}, {"state": pb.State(reported_json='{"interval": null}')},
            {"opaque": pb.Opaque(schema_id="acme.v1", data=b"\0\1\2")}, {"opaque": pb.Opaque(schema_id="acme.v2")}]


class LiveStreamTest(GatewayTestCase):
    async def until(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    async def call(self, gateway: Gateway, method: str, path: str, body=None, status: int = 200) -> dict:
        answer = await asyncio.to_thread(gateway.call, method, path, body)
        self.assertEqual(answer.status, status, answer)
        return answer.json if answer.text else {}

    async def of_a_device(self, gateway: Gateway, device: Device, stream: Stream) -> None:
        deadline = time.monotonic() + PATIENCE
        while not {"telemetry", "event", "state", "opaque"} <= {kind for kind, _ in stream.events}:  # from a moment after hello on
            self.assertLess(time.monotonic(), deadline, stream.events)
            sent = [await device.say(**record) for record in records()]
            await device.acked(sent[-1])
            await asyncio.sleep(0.05)
        command = await self.call(gateway, "POST", "/devices/pump/commands", {"name": "ping"}, 202)
        await device.ack_command((await device.command()).id)
        await device.result(command["id"], text="done")
        await self.until(lambda: stream.states(command["id"])[-1:] == ["succeeded"], "the command's end")
        await self.call(gateway, "PUT", "/devices/pump/twin/desired", {"interval": 10})
        version = (await device.next("desired")).desired.version
        await device.say(desired_ack=pb.DesiredAck(version=version, error="too often"))
        await self.until(lambda: any(twin["acknowledged_error"] for twin in stream.of("twin")), "the twin")

    async def test_every_kind_is_what_the_document_says(self):
        gateway = self.gateway()
        stream = Stream(gateway, ",".join(KINDS), "pump")
        device = await Device.connect(gateway, "pump", capabilities=["command", "desired"], firmware_version="2.1")
        await self.of_a_device(gateway, device, stream)
        await self.call(gateway, "PUT", "/devices/pump", {"labels": {"site": "graz"}, "enabled": False})
        await self.call(gateway, "POST", "/lanes/main/pause")
        await self.until(lambda: any(lane["held"] for lane in stream.of("lane")), "the pause")
        await self.until(lambda: any(not one["online"] and one["reason"] for one in stream.of("presence")), "that it has left")
        await self.call(gateway, "DELETE", "/devices/pump", status=204)
        await self.until(lambda: any(not one["registered"] for one in stream.of("registry")), "that it is registered no more")
        back = Stream(gateway, "presence", last_id="gw.of-another-life.7")
        await self.until(lambda: back.of("reset"), "that nothing is known of that")
        seen = {kind for kind, _ in stream.events + back.events}
        self.assertEqual(seen, set(CONTRACT.event_schemas) - {"missed"})

    async def test_what_a_slow_reader_missed_is_told_as_the_document_says(self):
        gateway = self.gateway({
            "limits": {"bytes_per_second": "64MiB", "bytes_burst": "64MiB", "frames_burst": 10_000}, "session": {"credit_bytes": "1MiB"},
            "api": {"stream": {"history_events": 0, "history_bytes_max": "64KiB", "subscriber_bytes_max": "16KiB"}}})
        device = await Device.connect(gateway, "pump")
        stream = Stream(gateway, "opaque", "pump", held=True)
        room = int(pathlib.Path("/proc/sys/net/ipv4/tcp_wmem").read_text().split()[2])  # that the kernel may have for it
        sent = 0
        while sent < 2 * room:
            for _ in range(8):
                await device.say(opaque=pb.Opaque(schema_id="acme.v1", data=b"\0" * 49_152))
                sent += 65_536  # as base64
            await device.acked()
        stream.read_on()
        await self.until(lambda: stream.of("missed"), "what it missed")

    def test_each_kind_of_the_document_can_be_asked_for_but_those_of_the_stream_itself(self):
        gateway = self.gateway()
        for kind in (*KINDS, *ITS_OWN):
            answer = gateway.call("HEAD", f"/stream?kinds={kind}&device=pump")
            self.assertEqual(answer.status, 400 if kind in ITS_OWN else 200, kind)

    def test_what_the_document_and_the_page_show_of_it_is_true(self):
        page = (SOURCE / "docs/stream.md").read_text(encoding="utf-8")
        shown = [text for kind, text in re.findall(r"^```([^\n]*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if not kind]
        content = CONTRACT.document["paths"]["/api/v1/stream"]["get"]["responses"]["200"]["content"]["text/event-stream"]
        for text, events in ((shown[0], ["hello", "presence"]), (content["example"], ["presence"])):
            reader = Events("as shown")
            for line in text.split("\n"):
                reader.line(line)
            self.assertEqual([kind for kind, _ in reader.seen], events, json.dumps(text))

    def test_an_event_without_a_schema_or_against_it_is_a_fault(self):
        reader = Events("made up")
        for line in ("event: weather", 'data: {"sunny":true}', "", "event: hello", 'data: {"node":"gw"}', "", "event: hello", "data: {", ""):
            reader.line(line)
        faults = CONTRACT.take_faults()
        self.assertEqual(len(faults), 3, faults)
        self.assertIn("weather is not described", faults[0])
        self.assertIn("boot_id", faults[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
