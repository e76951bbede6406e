#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Takeover and presence: who is online, told so that nothing that comes late can lie about it."""

import asyncio
import json
import signal
import unittest

from gateway_fixture import Broker, Gateway, GatewayTestCase, Subscriber, wait_for
from device_client import Device, pb


def events_of(subscriber: Subscriber, device: str) -> list[dict]:
    topic = f"fieldgate/v1/devices/{device}/presence/events"
    return [json.loads(payload) for at, payload in subscriber.messages() if at == topic]


def replayed(events: list[dict]) -> dict:
    """A consumer's rule: of two epochs the larger is right, within one offline is."""
    state = {"online": False, "epoch": 0}
    for event in events:
        key = (int(event["epoch"]), not event["online"])
        if key > (state["epoch"], not state["online"]) or state["epoch"] == 0:
            state = {"online": event["online"], "epoch": int(event["epoch"])}
    return state


class PresenceTest(GatewayTestCase):
    async def retained(self, device: str, condition) -> dict:
        topic = f"fieldgate/v1/devices/{device}/presence"

        def look():
            found = self.broker.retained(topic)
            return found if found is not None and condition(found) else None

        return await asyncio.to_thread(wait_for, look, f"{topic} to be as it ought to")

    async def test_a_newer_connection_takes_over_and_the_older_one_is_told(self):
        gateway = self.gateway()
        subscriber = Subscriber(self.broker, "fieldgate/v1/devices/#")
        first = await Device.connect(gateway, "pump-1", stream_id=5)
        await first.send(10)
        second = await Device.connect(gateway, "pump-1", stream_id=5, oldest_seq=1, last_seq=10)
        # What the first had sent was in the log before the second got its Welcome.
        self.assertEqual(second.welcome.received_through, 10)
        self.assertGreater(second.welcome.epoch, first.welcome.epoch)
        self.assertEqual(await first.goodbye(), (4014, pb.GOODBYE_REASON_TAKEN_OVER))
        if second.welcome.acked_through < 10:
            await second.acked(10)

        presence = await self.retained("pump-1", lambda p: p["epoch"] == str(second.welcome.epoch))
        self.assertTrue(presence["online"])
        events = await asyncio.to_thread(wait_for, lambda: len(e := events_of(subscriber, "pump-1")) >= 3 and e, "three events")
        told = [(event["online"], int(event["epoch"]), event.get("reason")) for event in events]
        self.assertEqual(told, [(True, first.welcome.epoch, None), (False, first.welcome.epoch, "taken_over"),
                                (True, second.welcome.epoch, None)])
        self.assertEqual(replayed(events), {"online": True, "epoch": second.welcome.epoch})
        await second.close()
        presence = await self.retained("pump-1", lambda p: not p["online"])
        self.assertEqual((presence["epoch"], presence["reason"]), (str(second.welcome.epoch), "bye"))
        await asyncio.to_thread(wait_for, lambda: not replayed(events_of(subscriber, "pump-1"))["online"], "the last event")

    async def test_two_devices_with_one_id_flap_until_the_rate_ends_it_and_leave_nothing_behind(self):
        gateway = self.gateway({"limits": {"takeovers_per_minute": 6}})
        subscriber = Subscriber(self.broker, "fieldgate/v1/devices/#")
        before = gateway.metrics()["process_open_fds"]
        last, epochs, refused = None, [], None
        for _ in range(12):
            ws = await Device.socket(gateway, context=self.pki.client_context("twin"))
            await ws.send(pb.DeviceFrame(hello=pb.Hello(device_id="twin", stream_id=9)).SerializeToString())
            frame = pb.GatewayFrame.FromString(await ws.recv())
            if frame.HasField("goodbye"):
                refused = await Device(gateway, "twin", ws, None).end()
                break
            epochs.append(frame.welcome.epoch)
            if last:
                self.assertEqual(await last.goodbye(), (4014, pb.GOODBYE_REASON_TAKEN_OVER))
            last = Device(gateway, "twin", ws, frame.welcome)
        self.assertEqual(refused[0], 4005)
        self.assertEqual(epochs, sorted(set(epochs)))
        await last.ask_time()  # the refused one has not hurt the owner
        await last.close()
        await self.retained("twin", lambda p: not p["online"] and p["epoch"] == str(epochs[-1]))
        await asyncio.to_thread(wait_for, lambda: len(events_of(subscriber, "twin")) == 2 * len(epochs), "all events")
        self.assertEqual(replayed(events_of(subscriber, "twin")), {"online": False, "epoch": epochs[-1]})
        await asyncio.to_thread(wait_for, lambda: gateway.metrics()["process_open_fds"] <= before + 1, "closed descriptors")
        await asyncio.to_thread(wait_for, lambda: gateway.metrics()["fieldgate_connections"] == 0, "closed connections")

    async def test_epochs_rise_across_kills_and_restarts(self):
        gateway = self.gateway()
        epochs = []
        for _ in range(3):
            for _ in range(2):
                device = await Device.connect(gateway, "pump-2")
                epochs.append(device.welcome.epoch)
            gateway.process.kill()
            gateway.start()
        self.assertEqual(epochs, sorted(set(epochs)))
        self.assertLess(max(epochs), 2**53)

    async def test_a_killed_gateway_takes_its_devices_offline_and_its_successor_sets_the_record_straight(self):
        broker = Broker()
        self.addCleanup(broker.kill)
        gateway = Gateway(self.pki, broker, {"mqtt": [{"host": "127.0.0.1", "port": broker.port, "will_delay": "1s",
                                                       "backoff_min": "50ms", "backoff_max": "500ms"}]})
        self.addCleanup(gateway.process.kill)

        async def retained(topic: str, condition) -> dict:
            return await asyncio.to_thread(
                wait_for, lambda: (f := broker.retained(topic)) is not None and condition(f) and f, topic)

        first = await Device.connect(gateway, "pump-3")
        stays = await Device.connect(gateway, "pump-4")
        was = await retained("fieldgate/v1/devices/pump-3/presence", lambda p: p["online"])
        await retained("fieldgate/v1/devices/pump-4/presence", lambda p: p["online"])
        node = await retained("fieldgate/v1/nodes/gw", lambda n: n["online"])
        self.assertEqual(node["boot_id"], was["boot_id"])
        gateway.process.signal(signal.SIGKILL)
        gateway.process.wait()
        for device in (first, stays):
            self.assertEqual((await device.end())[0], 1006)
        node = await retained("fieldgate/v1/nodes/gw", lambda n: not n["online"])
        self.assertEqual((node["boot_id"], node["reason"]), (was["boot_id"], "connection_lost"))
        # The device's own presence still says online: with the node's it does not count.
        self.assertTrue(broker.retained("fieldgate/v1/devices/pump-3/presence")["online"])

        gateway.start()
        again = await Device.connect(gateway, "pump-4")
        self.assertGreater(again.welcome.epoch, stays.welcome.epoch)
        gone = await retained("fieldgate/v1/devices/pump-3/presence", lambda p: not p["online"])
        self.assertEqual((gone["reason"], gone["epoch"]), ("node_restarted", str(first.welcome.epoch)))
        node = await retained("fieldgate/v1/nodes/gw", lambda n: n["online"])
        self.assertNotEqual(node["boot_id"], was["boot_id"])
        present = await retained("fieldgate/v1/devices/pump-4/presence", lambda p: p["epoch"] == str(again.welcome.epoch))
        self.assertEqual((present["online"], present["boot_id"]), (True, node["boot_id"]))
        await again.close()
        self.assertEqual(gateway.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
