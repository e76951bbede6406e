#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The wall clock is set while the gateway runs: what counts by time goes on, and only what has a date by that clock ends.

libfaketime moves the gateway's wall clock, and that alone: the one that only rises stays the kernel's.
"""

import asyncio
import contextlib
import os
import pathlib
import random
import re
import subprocess
import time
import unittest

import websockets

from gateway_fixture import FIELDGATE, PATIENCE, Gateway, GatewayTestCase, Subscriber, folder, wait_for
from device_client import Device, pb
from presence_test import events_of, replayed

LIBRARY = next(iter(sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
HOUR = 3600


def is_sanitized() -> bool:
    return re.search(r"lib[at]san", subprocess.run(["ldd", FIELDGATE], capture_output=True, text=True, check=True).stdout) is not None


class WallClock:
    """That of a gateway: seconds ahead of the machine's."""

    def __init__(self):
        self.file = folder("clock") / "offset"
        self.set(0)

    def set(self, seconds: int) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        os.replace(fresh, self.file)

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("env", f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE={self.file}", "FAKETIME_NO_CACHE=1",
                "DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1")


@unittest.skipUnless(LIBRARY, "no libfaketime (Debian package libfaketime): nothing else moves one process's wall clock")
@unittest.skipIf(LIBRARY and is_sanitized(), "a sanitizer's runtime must be loaded before libfaketime")
class ClockTest(GatewayTestCase):
    async def ahead(self, device: Device) -> float:
        """How many seconds the gateway believes to be ahead of us."""
        token = random.getrandbits(60)
        await device.ws.send(pb.DeviceFrame(time_request=pb.TimeRequest(token=token)).SerializeToString())
        while (answer := (await device.next("time")).time).token != token:
            pass
        return answer.unix_ms / 1000 - time.time()

    async def moved(self, clock: WallClock, seconds: int, device: Device) -> None:
        clock.set(seconds)
        self.assertLess(abs(await self.ahead(device) - seconds), HOUR / 4)

    async def unharmed(self, gateway: Gateway, *devices: Device) -> None:
        for device in devices:
            await device.send(5)
            await device.acked()
            await device.ask_time()
            shown = await asyncio.to_thread(gateway.api, f"/api/v1/devices/{device.device_id}")
            self.assertEqual((shown["online"], shown["epoch"]), (True, str(device.welcome.epoch)), shown)
            topic, wanted = f"fieldgate/v1/devices/{device.device_id}/presence", (True, str(device.welcome.epoch))

            def as_it_is() -> bool:
                retained = self.broker.retained(topic)
                return retained is not None and (retained["online"], retained["epoch"]) == wanted

            await asyncio.to_thread(wait_for, as_it_is, f"{topic} to say {wanted}")
        self.assertEqual(gateway.readyz()[0], 200)

    async def test_sessions_acknowledgements_and_presence_go_on_when_the_clock_jumps_forth_and_back(self):
        clock = WallClock()
        gateway = self.gateway(prefix=clock.prefix, start=False)
        gateway.add_tokens("by-token")
        gateway.start()
        subscriber = Subscriber(self.broker, "fieldgate/v1/devices/#")
        by_certificate = await Device.connect(gateway, "by-certificate")
        by_token = await Device.connect(gateway, "by-token")
        await self.unharmed(gateway, by_certificate, by_token)
        epochs = [by_token.welcome.epoch]
        for seconds in (HOUR, -HOUR, 0):
            with self.subTest(seconds=seconds):
                await self.moved(clock, seconds, by_certificate)
                await self.unharmed(gateway, by_certificate, by_token)
                # Whoever leaves and comes back is taken for newer than before, whatever the clock says.
                await by_token.close()
                await asyncio.to_thread(wait_for, lambda: not gateway.api("/api/v1/devices/by-token")["online"], "offline")
                by_token = await Device.connect(gateway, "by-token")
                epochs.append(by_token.welcome.epoch)
                await self.unharmed(gateway, by_certificate, by_token)
        self.assertEqual(epochs, sorted(set(epochs)))
        self.assertEqual(gateway.metrics()["fieldgate_sessions"], 2)
        self.assertEqual(gateway.ended("heartbeat_lost"), 0)

        def told() -> list[dict]:
            return events_of(subscriber, "by-token")

        await asyncio.to_thread(wait_for, lambda: len(told()) >= 2 * len(epochs) - 1, "what was said of it")
        self.assertEqual([(event["online"], int(event["epoch"])) for event in told()],
                         [(online, epoch) for epoch in epochs for online in (True, False)][:-1])
        self.assertEqual(replayed(told()), {"online": True, "epoch": epochs[-1]})
        self.assertEqual([(event["online"], event["epoch"]) for event in events_of(subscriber, "by-certificate")],
                         [(True, str(by_certificate.welcome.epoch))])
        await by_token.close()
        await by_certificate.close()

    async def test_a_token_ends_by_the_wall_clock_and_is_good_again_when_that_is_set_back(self):
        clock = WallClock()
        gateway = self.gateway(prefix=clock.prefix)
        self.assertEqual(gateway.call("PUT", "/devices/dated", {}).status, 201)
        made = gateway.call("POST", "/devices/dated/credentials", {"kind": "token", "expires_in": "30m"})
        self.assertEqual(made.status, 201, made)
        options = {"token": made.json["token"], "context": self.pki.client_context()}
        undated = await Device.connect(gateway, "undated")
        dated = await Device.connect(gateway, "dated", socket_options=options, heartbeat_seconds=10)
        await self.moved(clock, HOUR, undated)
        end = asyncio.create_task(dated.end())
        deadline = time.monotonic() + 60 + PATIENCE  # it is looked at within a minute
        while not end.done():
            self.assertLess(time.monotonic(), deadline, "the session goes on")
            with contextlib.suppress(websockets.ConnectionClosed):
                await dated.ws.send(pb.DeviceFrame(time_request=pb.TimeRequest(token=1)).SerializeToString())
            await asyncio.sleep(0.5)
        code, frames = await end
        self.assertEqual(code, 4013, frames)
        with self.assertRaises(websockets.InvalidStatusCode) as refused:
            await Device.socket(gateway, **options)
        self.assertEqual(refused.exception.status_code, 401)
        await self.unharmed(gateway, undated)
        await self.moved(clock, 0, undated)
        again = await Device.connect(gateway, "dated", socket_options=options)
        await self.unharmed(gateway, undated, again)
        await again.close()
        await undated.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
