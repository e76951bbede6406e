#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Twins through the real gateway: what a device is wished to become reaches it when it comes, whatever happened meanwhile."""

import asyncio
import json
import signal
import unittest

from gateway_fixture import Gateway, GatewayTestCase, wait_for
from device_client import Device, pb

TAKES = ["desired"]


class TwinsTest(GatewayTestCase):
    def wish(self, gateway: Gateway, document: dict, method: str = "PUT") -> int:
        """The version that it is."""
        kind = {"Content_Type": "application/merge-patch+json"} if method == "PATCH" else {}
        answer = gateway.call(method, "/devices/pump/twin/desired", document, **kind)
        self.assertEqual(answer.status, 200, answer)
        return answer.json["desired"]["version"]

    def twin(self, gateway: Gateway) -> dict:
        answer = gateway.call("GET", "/devices/pump/twin")
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    async def until(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    async def killed(self, gateway: Gateway) -> None:
        gateway.process.signal(signal.SIGKILL)
        gateway.process.wait()
        gateway.check_log()
        await asyncio.to_thread(gateway.start)

    async def comes_and_takes(self, gateway: Gateway, version: int, document: dict) -> None:
        """The device connects, is told the whole document, and has it."""
        device = await Device.connect(gateway, "pump", capabilities=TAKES)
        desired = (await device.next("desired")).desired
        self.assertEqual((desired.version, desired.full, json.loads(desired.delta_json)), (version, True, document))
        await device.say(state=pb.State(reported_json=desired.delta_json, full=True))
        await device.acked(await device.say(desired_ack=pb.DesiredAck(version=version)))
        await self.until(lambda: self.twin(gateway)["acknowledged"]["version"] == version, "its word that it has it")
        twin = self.twin(gateway)
        self.assertEqual((twin["reported"]["document"], twin["delta"], twin["acknowledged"]["error"]), (document, {}, ""))
        await device.close()

    async def set_while_away(self, gateway: Gateway, *, kill: bool) -> None:
        self.assertEqual(gateway.call("PUT", "/devices/pump", {}).status, 201)
        # It has never been here.
        first = self.wish(gateway, {"interval": 30, "name": "left"})
        if kill:
            await self.killed(gateway)
        self.assertEqual(self.twin(gateway)["acknowledged"]["version"], 0)
        await self.comes_and_takes(gateway, first, {"interval": 30, "name": "left"})
        # It was here, and is away again: two wishes, of which it hears as they are together.
        self.wish(gateway, {"interval": 10, "mode": "eco"}, "PATCH")
        if kill:
            await self.killed(gateway)
        last = self.wish(gateway, {"name": None}, "PATCH")
        if kill:
            await self.killed(gateway)
        self.assertGreater(last, first)
        self.assertEqual(self.twin(gateway)["delta"], {"interval": 10, "mode": "eco", "name": None})
        await self.comes_and_takes(gateway, last, {"interval": 10, "mode": "eco"})

    async def test_what_was_wished_while_the_device_was_away_is_pushed_when_it_comes(self):
        await self.set_while_away(self.gateway(), kill=False)

    async def test_it_is_as_well_if_the_gateway_was_killed_in_between(self):
        await self.set_while_away(self.gateway(), kill=True)

    async def test_a_device_that_has_it_is_not_told_again(self):
        gateway = self.gateway()
        self.assertEqual(gateway.call("PUT", "/devices/pump", {}).status, 201)
        version = self.wish(gateway, {"interval": 30})
        await self.comes_and_takes(gateway, version, {"interval": 30})
        await self.killed(gateway)
        device = await Device.connect(gateway, "pump", capabilities=TAKES)
        later = await asyncio.to_thread(self.wish, gateway, {"interval": 5})
        desired = (await device.next("desired")).desired
        self.assertEqual((desired.version, json.loads(desired.delta_json)), (later, {"interval": 5}))
        await device.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
