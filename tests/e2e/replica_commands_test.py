#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Commands with two gateways on one broker and one PostgreSQL: whichever is asked, the device has it once, and the answer comes back."""

import asyncio
import json
import signal
import subprocess
import unittest

from gateway_fixture import Broker, Gateway, Subscriber, wait_for
from device_client import Device
from live_stream import Stream
from commands_test import CommandCase
from store_outage_test import PASSWORD, PROGRAMS, Postgres


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class ReplicaCommandsTest(CommandCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = Postgres()
        cls.addClassCleanup(cls.postgres.process.kill)

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.prefix = f"pair/{self.id().rsplit('.', 1)[1][:40]}"
        self.database = self.postgres.make_database()
        self.a, self.b = self.replica("node-a"), self.replica("node-b")

    def replica(self, name: str, broker: Broker | None = None) -> Gateway:
        return self.gateway({
            "node": {"name": name},
            "mqtt": [{"host": "127.0.0.1", "port": (broker or self.broker).port, "backoff_min": "50ms", "backoff_max": "500ms",
                      "topic_prefix": self.prefix, "commands": True, "response_topics": ["app/replies/#"]}],
            "store": {"kind": "postgres", "connection": self.postgres.connection(self.database), "password": PASSWORD,
                      "statement_timeout": "5s", "lease": "5s"},
            "commands": {"resend_after": "60s"}})

    async def until_true(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    async def at(self, gateway: Gateway, device_id: str) -> Device:
        """Connected there, and the store knows."""
        device = await self.device(gateway, device_id)
        name = "node-a" if gateway is self.a else "node-b"
        row = f"SELECT node FROM fieldgate.presence WHERE device_id = '{device_id}' AND online = 1"
        await self.until_true(lambda: self.postgres.psql(row, self.database) == name, f"{device_id} to be at {name}")
        return device

    async def carry_out(self, device: Device, name: str = "ping") -> str:
        command = await device.command()
        self.assertEqual(command.name, name)
        await device.ack_command(command.id)
        await device.result(command.id, text="done")
        return command.id

    async def test_a_caller_who_waits_at_one_gets_the_answer_of_a_device_at_the_other(self):
        device = await self.at(self.b, "pump")
        asked = asyncio.create_task(self.submit(self.a, "pump", wait="30s"))
        command = await self.carry_out(device)
        answer = await asked
        self.assertEqual(answer.status, 200, answer)
        entry = self.check(answer.json)
        self.assertEqual((entry["id"], entry["state"], entry["sends"]), (command, "succeeded", 1))
        self.assertEqual(self.look(self.b, command), entry)
        metrics = await asyncio.to_thread(self.a.metrics)
        self.assertGreater(metrics["fieldgate_peer_messages_sent_total"], 0)
        self.assertEqual(metrics["fieldgate_commands_issued_total"], 1)

    async def test_a_request_over_mqtt_is_answered_whichever_replica_takes_it(self):
        devices = {"at-a": await self.at(self.a, "at-a"), "at-b": await self.at(self.b, "at-b")}
        replies = Subscriber(self.broker, "app/replies/#")
        self.addCleanup(replies.kill)
        asked = []
        for i in range(6):  # the broker deals them out to both
            for name, device in devices.items():
                topic = f"app/replies/{name}-{i}"
                asked.append(topic)
                await asyncio.to_thread(
                    subprocess.run, ["mosquitto_pub", "-V", "mqttv5", "-p", str(self.broker.port), "-q", "1", "-m", "{}",
                                     "-t", f"{self.prefix}/devices/{name}/commands/ping", "-D", "publish", "response-topic", topic,
                                     "-D", "publish", "correlation-data", f"{name}-{i}"], check=True)
                await self.carry_out(device)

        def final() -> dict[str, list[str]]:
            states: dict[str, list[str]] = {}
            for topic, payload in replies.messages():
                states.setdefault(topic, []).append(json.loads(payload)["state"])
            return states

        await self.until_true(lambda: all("succeeded" in final().get(topic, ()) for topic in asked), "all to be answered")
        for topic, states in final().items():
            self.assertEqual(states.count("succeeded"), 1, topic)
            self.assertIn("queued", states, topic)

    async def test_a_queue_moves_with_its_device_and_nothing_of_it_comes_twice(self):
        first = await self.at(self.a, "roams")
        await first.close()
        queued = [await self.queue(gateway, "roams", f"n{i}", at_most_once=i % 2 == 0)
                  for i, gateway in enumerate((self.a, self.b, self.a, self.b))]
        device = await self.at(self.b, "roams")
        got = []
        for _ in queued:
            command = await device.command()
            got.append(command.id)
            await device.ack_command(command.id)
            await device.result(command.id)
        self.assertEqual(got, sorted(queued))
        for command in queued:
            entry = self.check(await self.until(self.a, command, "succeeded"))
            self.assertEqual(entry["sends"], 1)

    async def test_cancelling_at_one_reaches_the_device_at_the_other(self):
        device = await self.at(self.b, "pump")
        command = await self.queue(self.a, "pump")
        self.assertEqual((await device.command()).id, command)
        answer = await asyncio.to_thread(self.a.call, "DELETE", f"/commands/{command}")
        self.assertEqual(answer.status, 202, answer)
        self.assertEqual((await device.next("command_cancel")).command_cancel.id, command)

    async def test_the_owner_killed_in_the_middle_loses_nothing(self):
        device = await self.at(self.b, "pump")
        ordinary = await self.queue(self.a, "pump", "ordinary")
        single = await self.queue(self.a, "pump", "single", at_most_once=True)
        seen = {(await device.command()).id, (await device.command()).id}
        self.assertEqual(seen, {ordinary, single})
        self.b.process.kill()
        again = await self.at(self.a, "pump")
        got = await again.command()
        self.assertEqual(got.id, ordinary, "what is at most once does not come again")
        await again.result(single)
        await again.result(ordinary)
        for command in (ordinary, single):
            self.check(await self.until(self.a, command, "succeeded"))

    async def test_without_a_broker_between_them_it_takes_a_moment_longer(self):
        broker = Broker()
        self.addCleanup(broker.kill)
        self.prefix = "quiet"
        self.a, self.b = self.replica("node-a", broker), self.replica("node-b", broker)
        device = await self.at(self.b, "pump")
        broker.signal(signal.SIGSTOP)
        try:
            asked = asyncio.create_task(self.submit(self.a, "pump", wait="30s"))
            command = await device.command()
            await device.result(command.id)
            answer = await asked
            self.assertEqual((answer.status, answer.json["state"]), (200, "succeeded"))
        finally:
            broker.signal(signal.SIGCONT)

    async def test_a_broker_that_is_begun_anew_carries_them_again(self):
        broker = Broker()
        self.addCleanup(lambda: broker.kill())
        self.prefix = "again"
        self.a, self.b = self.replica("node-a", broker), self.replica("node-b", broker)
        device = await self.at(self.b, "pump")
        broker.kill()
        command = await self.queue(self.a, "pump", "while_away")
        broker.start()
        self.assertEqual((await device.command()).id, command)
        await device.result(command)
        await self.until(self.a, command, "succeeded")
        asked = asyncio.create_task(self.submit(self.a, "pump", wait="30s"))
        await self.carry_out(device)
        self.assertEqual((await asked).json["state"], "succeeded")

    async def test_what_is_done_to_the_registry_at_one_ends_sessions_at_the_other(self):
        device = await self.at(self.b, "pump")
        answer = await asyncio.to_thread(self.a.call, "PATCH", "/devices/pump", {"enabled": False},
                                         Content_Type="application/merge-patch+json")
        self.assertEqual(answer.status, 200, answer)
        await device.end()
        self.assertEqual(self.b.ended("device_disabled"), 1)

    async def watching(self, at: Gateway, other: Gateway, device_id: str) -> Stream:
        """A stream that tells already what the other writes."""
        stream = Stream(at, "presence,command,twin,registry")
        tried: list[str] = []

        async def shown() -> bool:
            tried.append(await self.queue(other, device_id, "probe", ttl="1h"))
            for _ in range(20):
                if any(stream.states(command) for command in tried):
                    return True
                await asyncio.sleep(0.1)
            return False

        for _ in range(30):
            if await shown():
                return stream
        self.fail(f"the stream never told of any of {tried}: {stream.events}")

    async def test_a_stream_at_one_tells_what_the_other_writes(self):
        self.assertEqual(self.b.call("PUT", "/devices/idle", {}).status, 201)
        stream = await self.watching(self.a, self.b, "idle")
        lost = stream.lost()
        own = Stream(self.b, "command")
        device = await self.at(self.b, "pump")
        asked = asyncio.create_task(self.submit(self.b, "pump", wait="30s"))
        command = await self.carry_out(device)
        entry = (await asked).json
        steps = [step["state"] for step in entry["steps"]]
        await self.until_true(lambda: stream.states(command) == steps, f"{steps} at the other")
        await self.until_true(lambda: own.states(command) == steps, "the same at the one that wrote them")
        last = [data for data in stream.of("command") if data["id"] == command][-1]
        self.assertEqual((last["final"], last["result_text"], last["sends"]), (True, "done", 1))
        self.assertEqual(self.b.call("PUT", "/devices/pump/twin/desired", {"rpm": 900}).status, 200)
        await self.until_true(lambda: any(twin["device"] == "pump" and twin["desired_version"] == 1 for twin in stream.of("twin")),
                              "the twin at the other")
        self.assertEqual(self.b.call("PUT", "/devices/new", {"labels": {"site": "graz"}}).status, 201)
        await self.until_true(lambda: any(one["device"] == "new" and one["labels"] == {"site": "graz"} for one in stream.of("registry")),
                              "the registry at the other")
        for online in (True, False):
            if not online:
                await device.close()
            await self.until_true(lambda: any(one["device"] == "pump" and one["online"] == online for one in stream.of("presence")),
                                  f"presence at the other: online is {online}")
        self.assertEqual(stream.lost(), lost)
        self.assertEqual(stream.states(command), steps, "and nothing twice")

    async def test_a_stream_says_so_while_it_cannot_hear_the_other(self):
        broker = Broker()
        self.addCleanup(broker.kill)
        self.prefix, self.database = "unheard", self.postgres.make_database()
        self.a, self.b = self.replica("node-a", broker), self.replica("node-b", broker)
        self.assertEqual(self.b.call("PUT", "/devices/idle", {}).status, 201)
        stream = await self.watching(self.a, self.b, "idle")
        before = stream.unheard()
        broker.signal(signal.SIGSTOP)
        try:
            await self.until_true(lambda: stream.unheard() > before, "that something may be missing")
        finally:
            broker.signal(signal.SIGCONT)
        self.a.wait_event("changes_not_heard", node="node-b")
        self.a.wait_event("changes_heard_again", node="node-b")
        command = await self.queue(self.b, "idle", "after")
        await self.until_true(lambda: stream.states(command) == ["queued"], "it to be told again")

    async def test_a_stream_says_so_when_the_other_is_killed(self):
        self.assertEqual(self.b.call("PUT", "/devices/idle", {}).status, 201)
        stream = await self.watching(self.a, self.b, "idle")
        before = stream.unheard()
        self.b.process.kill()
        await self.until_true(lambda: stream.unheard() > before, "that something may be missing")

    async def test_rubbish_in_an_inbox_is_dropped_and_counted(self):
        device = await self.at(self.b, "pump")
        inbox = f"{self.prefix}/nodes/node-b/inbox"
        for arguments in (["-m", "rubbish"], ["-n"], ["-m", "x" * 70_000], ["-r", "-m", "kept"]):
            await asyncio.to_thread(subprocess.run, ["mosquitto_pub", "-V", "mqttv5", "-q", "1", "-p", str(self.broker.port), "-t", inbox,
                                                     *arguments], check=True)
        name = 'fieldgate_peer_messages_dropped_total{reason="malformed"}'
        await self.until_true(lambda: self.b.metrics().get(name, 0) >= 2, "them to be counted")
        asked = asyncio.create_task(self.submit(self.a, "pump", wait="30s"))
        await self.carry_out(device)
        self.assertEqual((await asked).json["state"], "succeeded")


if __name__ == "__main__":
    unittest.main()
