#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Several gateways on one broker and one PostgreSQL: one owner for each device, and every one of them tells the truth of all."""

import asyncio
import contextlib
import json
import signal
import socket
import threading
import time
import unittest

from gateway_fixture import Gateway, GatewayTestCase, Subscriber, free_port, wait_for
from device_client import Device, hello, pb
from store_outage_test import PASSWORD, PROGRAMS, Postgres


class Road:
    """The way of one gateway to PostgreSQL, which can be cut: then nothing passes, and nobody is told."""

    def __init__(self, to: int):
        self.port, self.to, self.open = free_port(), to, True
        self.pairs: list[socket.socket] = []
        self.door = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.door.accept()
                self.pairs.append(near)
                if not self.open:
                    continue  # it is taken, and hears nothing
                try:
                    far = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    near.close()
                    continue
                self.pairs.append(far)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.open:
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.open = False

    def mend(self) -> None:
        """What was under way is lost, as on any road."""
        self.open = True
        pairs, self.pairs = self.pairs, []
        for end in pairs:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class ReplicasTestCase(GatewayTestCase):
    """Replicas on a database of their own for each test, and what can be asked of them and of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = Postgres()
        cls.addClassCleanup(cls.postgres.process.kill)

    def setUp(self):
        self.prefix = f"replicas/{self.id().rsplit('.', 1)[1][:40]}"
        self.database = self.postgres.make_database()

    def replica(self, name: str, road: Road | None = None, **node) -> Gateway:
        connection = self.postgres.connection(self.database)
        if road is not None:
            connection = connection.replace(f"port={self.postgres.port}", f"port={road.port}")
        return self.gateway({
            "node": {"name": name, **node},
            "mqtt": [{"host": "127.0.0.1", "port": self.broker.port, "backoff_min": "50ms", "backoff_max": "500ms",
                      "topic_prefix": self.prefix}],
            "store": {"kind": "postgres", "connection": connection, "password": PASSWORD, "statement_timeout": "1s",
                      "lease": "3s"}})

    async def until(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    def device(self, gateway: Gateway, device_id: str) -> dict:
        answer = gateway.call("GET", f"/devices/{device_id}")
        return answer.json if answer.status == 200 else {}

    def is_at(self, gateway: Gateway, device_id: str, node: str, epoch: int | None = None) -> bool:
        found = self.device(gateway, device_id)
        return (found.get("online"), found.get("node")) == (True, node) and epoch in (None, int(found["epoch"]))

    def stored(self, device_id: str) -> tuple:
        row = self.postgres.psql(f"SELECT online, node, epoch, reason FROM fieldgate.presence WHERE device_id = '{device_id}'",
                                 self.database)
        online, node, epoch, reason = row.split("|") if row else ("0", "", "0", "")
        return online == "1", node, int(epoch), reason

    def events(self, device_id: str) -> list[tuple]:
        """The presence log of the device, oldest first; checked for what must hold of any."""
        rows = self.postgres.psql("SELECT online, node, epoch, reason FROM fieldgate.presence_log "
                                  f"WHERE device_id = '{device_id}' ORDER BY number", self.database)
        events = []
        for row in rows.splitlines():
            online, node, epoch, reason = row.split("|")
            events.append((online == "1", node, int(epoch), reason))
        for before, after in zip(events, events[1:]):
            self.assertGreaterEqual(after[2], before[2], "epochs only rise")
            if after[2] == before[2]:
                self.assertEqual((before[0], after[0]), (True, False), "one online, then one offline in an epoch")
        return events


class ReplicasTest(ReplicasTestCase):
    async def test_a_device_that_comes_to_another_replica_is_there_alone(self):
        a, b = self.replica("gw-a"), self.replica("gw-b")
        first = await Device.connect(a, "pump")
        await self.until(lambda: self.is_at(b, "pump", "gw-a", first.welcome.epoch), "the other replica to know")
        second = await Device.connect(b, "pump")
        self.assertGreater(second.welcome.epoch, first.welcome.epoch)
        self.assertEqual(await first.goodbye(), (4014, pb.GOODBYE_REASON_TAKEN_OVER))
        for gateway in (a, b):
            await self.until(lambda g=gateway: self.is_at(g, "pump", "gw-b", second.welcome.epoch), "both to tell the same")
        third = await Device.connect(a, "pump")
        self.assertEqual(await second.goodbye(), (4014, pb.GOODBYE_REASON_TAKEN_OVER))
        await self.until(lambda: self.stored("pump")[:3] == (True, "gw-a", third.welcome.epoch), "the store to know")
        self.events("pump")
        topic = f"{self.prefix}/devices/pump/presence"
        await self.until(lambda: (p := self.broker.retained(topic)) and p["epoch"] == str(third.welcome.epoch), "the retained view")
        self.assertTrue(self.broker.retained(topic)["online"])
        await third.ask_time()
        await third.close()

    async def test_every_replica_tells_of_every_device_and_node(self):
        a, b, c = self.replica("gw-a"), self.replica("gw-b"), self.replica("gw-c")
        devices = [await Device.connect(gateway, f"{name}-{i}", firmware_version="7.1", labels={"site": name})
                   for gateway, name in ((a, "a"), (b, "b"), (c, "c")) for i in range(3)]
        await devices[0].send(5)
        await devices[0].acked()
        for gateway in (a, b, c):
            await self.until(lambda g=gateway: g.call("GET", "/devices?online=true&count=true&limit=1").json["count"] == 9,
                             "all devices in each list")
            page = gateway.call("GET", "/devices?node=gw-b&sort=-since&limit=2&count=true").json
            self.assertEqual(page["count"], 3)
            self.assertIn("as_of", page)
            self.assertEqual(len(gateway.call("GET", f"/devices?node=gw-b&sort=-since&limit=2&cursor={page['next_cursor']}")
                                 .json["devices"]), 1)
            self.assertEqual({one["id"] for one in gateway.call("GET", "/devices?label=site=c&firmware=7.1").json["devices"]},
                             {"c-0", "c-1", "c-2"})
            self.assertEqual(len(gateway.call("GET", "/devices?format=ndjson&online=true").lines), 9)
            nodes = gateway.call("GET", "/nodes").json["known"]
            self.assertEqual([(node["name"], node["live"], node["devices"]) for node in nodes],
                             [("gw-a", True, 3), ("gw-b", True, 3), ("gw-c", True, 3)])
        # What only its own node has.
        found = await self.until(lambda: (d := self.device(b, "a-0")).get("live") and d, "live data from the owner")
        self.assertEqual((found["node"], found["live"]["frames_received"] > 0), ("gw-a", True))
        self.assertEqual([value["name"] for value in found["last_values"]], ["temperature"])
        self.assertEqual(found["streams"][0]["received_through"], "5")
        latest = b.call("GET", "/devices/a-0/telemetry/latest")
        self.assertEqual([value["name"] for value in latest.json["last_values"]], ["temperature"])
        for device in devices:
            await device.close()
        await self.until(lambda: c.call("GET", "/devices?online=false&count=true&limit=1").json["count"] == 9, "that they left")

    async def test_a_kick_reaches_the_replica_that_has_the_device(self):
        a, b = self.replica("gw-a"), self.replica("gw-b")
        device = await Device.connect(a, "pump")
        await self.until(lambda: self.is_at(b, "pump", "gw-a"), "the other replica to know")
        answer = await asyncio.to_thread(b.call, "DELETE", "/devices/pump/session")
        self.assertEqual(answer.status, 204, answer)
        self.assertEqual(await device.goodbye(), (4015, pb.GOODBYE_REASON_KICKED))
        await self.until(lambda: not self.device(a, "pump")["online"] and not self.device(b, "pump")["online"], "both to know")
        self.assertEqual(self.events("pump")[-1][3], "kicked")
        self.assertEqual((await asyncio.to_thread(b.call, "DELETE", "/devices/pump/session")).problem, "device-offline")

    async def test_peers_end_what_a_killed_replica_left_online(self):
        a, b, c = self.replica("gw-a"), self.replica("gw-b"), self.replica("gw-c")
        subscriber = Subscriber(self.broker, f"{self.prefix}/devices/+/presence/events")
        devices = [await Device.connect(a, f"pump-{i}") for i in range(20)]
        stays = await Device.connect(b, "stays")
        moves = await Device.connect(a, "moves")
        await self.until(lambda: b.call("GET", "/devices?node=gw-a&online=true&count=true&limit=1").json["count"] == 21, "them")
        a.process.signal(signal.SIGKILL)
        await asyncio.to_thread(a.process.wait)
        moved = await Device.connect(c, "moves")
        for gateway in (b, c):
            await self.until(lambda g=gateway: g.call("GET", "/devices?node=gw-a&online=true&count=true&limit=1").json["count"] == 0,
                             "no one to be online at a dead node")
        await self.until(lambda: not any(self.stored(f"pump-{i}")[0] for i in range(20)), "the store to say so")
        for i, device in enumerate(devices):
            self.assertEqual(self.events(f"pump-{i}"), [(True, "gw-a", device.welcome.epoch, ""),
                                                        (False, "gw-a", device.welcome.epoch, "node_lost")])
        lines = b.call("GET", "/devices/pump-3/timeline").json["entries"]
        self.assertIn(("disconnected", "node_lost"), [(line["kind"], line["fields"].get("reason")) for line in lines])

        def told() -> bool:
            events = [(topic.split("/")[-3], json.loads(payload)) for topic, payload in subscriber.messages()]
            lost = [(device, event["epoch"]) for device, event in events if event.get("reason") == "node_lost"]
            return len(set(lost)) == len(lost) == 20

        await self.until(told, "each end to be told northbound, once")
        self.assertTrue(self.is_at(b, "moves", "gw-c", moved.welcome.epoch))
        self.assertTrue(self.is_at(c, "stays", "gw-b", stays.welcome.epoch))
        self.assertEqual({n["name"]: n["live"] for n in b.call("GET", "/nodes").json["known"]},
                         {"gw-a": False, "gw-b": True, "gw-c": True})
        a.start()
        again = await Device.connect(a, "pump-1")
        self.assertGreater(again.welcome.epoch, devices[1].welcome.epoch)
        await self.until(lambda: self.is_at(c, "pump-1", "gw-a", again.welcome.epoch), "it to be known as it comes back")
        for device in (stays, moved, again):
            await device.ask_time()
            await device.close()

    async def test_a_replica_that_was_cut_off_from_the_store_comes_back_to_its_devices(self):
        road = Road(self.postgres.port)
        a, b = self.replica("gw-a", road), self.replica("gw-b")
        stays, moves = await Device.connect(a, "stays"), await Device.connect(a, "moves")
        await self.until(lambda: self.is_at(b, "stays", "gw-a") and self.is_at(b, "moves", "gw-a"), "them")
        road.cut()
        await self.until(lambda: self.stored("stays")[0] is False, "the peer to end what it cannot see")
        self.assertFalse(self.device(b, "stays")["online"])
        moved = await Device.connect(b, "moves")
        await stays.send(3)
        await stays.acked()  # it goes on all the while
        ws = await Device.socket(a, context=self.pki.client_context("new"))
        await ws.send(hello("new"))
        self.assertEqual(await Device(a, "new", ws, None).goodbye(), (1013, pb.GOODBYE_REASON_RETRY))

        road.mend()
        self.assertEqual(await moves.goodbye(), (4014, pb.GOODBYE_REASON_TAKEN_OVER))
        await self.until(lambda: self.stored("stays")[:2] == (True, "gw-a"), "it to be online anew")
        epoch = self.stored("stays")[2]
        self.assertGreater(epoch, stays.welcome.epoch)
        for gateway in (a, b):
            await self.until(lambda g=gateway: self.is_at(g, "stays", "gw-a", epoch), "both to tell the same")
            await self.until(lambda g=gateway: self.is_at(g, "moves", "gw-b", moved.welcome.epoch), "both to tell the same")
        self.assertEqual([e[0] for e in self.events("stays")], [True, False, True])
        self.events("moves")
        await stays.send(3)
        await stays.acked()  # on the same connection, and what it says carries the new epoch
        await stays.close()
        await self.until(lambda: self.stored("stays") == (False, "gw-a", epoch, "bye"), "its end")
        await moved.close()

    async def test_nobody_is_given_up_when_the_store_was_away_from_all(self):
        a, b = self.replica("gw-a"), self.replica("gw-b")
        devices = [await Device.connect(a, "a"), await Device.connect(b, "b")]
        await self.until(lambda: self.is_at(b, "a", "gw-a") and self.is_at(a, "b", "gw-b"), "them")
        leased_until = int(self.postgres.psql("SELECT max(lease_until_unix_ms) FROM fieldgate.nodes", self.database)) / 1000
        self.postgres.stop()
        for gateway in (a, b):
            await self.until(lambda g=gateway: g.events("store_unavailable"), "the outage to be noticed")
        await self.until(lambda: time.time() > leased_until + 4, "every lease to run out")
        for device in devices:
            await device.send(2)
            await device.acked()
        self.postgres.start()
        for gateway in (a, b):
            await self.until(lambda g=gateway: g.events("store_available"), "it to be back")
        late = await self.let_in(a, "late")
        for gateway in (a, b):
            await self.until(lambda g=gateway: self.is_at(g, "a", "gw-a", devices[0].welcome.epoch)
                             and self.is_at(g, "b", "gw-b", devices[1].welcome.epoch) and self.is_at(g, "late", "gw-a"), "all three")
        for name in ("a", "b"):
            self.assertEqual([event[0] for event in self.events(name)], [True], "nobody has ended it")
        for device in (*devices, late):
            await device.ask_time()
            await device.close()

    async def let_in(self, gateway: Gateway, device_id: str) -> Device:
        """As a device does it: again and again, until it is."""
        for _ in range(400):
            with contextlib.suppress(Exception):  # of which kind it is depends on when the refusal is read
                return await Device.connect(gateway, device_id)
            await asyncio.sleep(0.1)
        raise AssertionError("never let in")


if __name__ == "__main__":
    unittest.main()
