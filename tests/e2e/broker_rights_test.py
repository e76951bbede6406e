#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The broker's configuration and ACL of docs/mqtt.md on a real mosquitto: they are enough, each line is needed, and who
lacks a right is told which. All that is set up here is taken out of that page."""

import asyncio
import json
import os
import re
import subprocess
import unittest

import yaml

from gateway_fixture import PATIENCE, SOURCE, Broker, Gateway, GatewayTestCase, Process, folder, free_port, wait_for
from device_client import Device, pb
from store_outage_test import PASSWORD, PROGRAMS, Postgres

PAGE = (SOURCE / "docs/mqtt.md").read_text(encoding="utf-8")
REFUSALS = ("mqtt_lane_paused", "mqtt_node_status_refused", "mqtt_presence_refused", "mqtt_reply_refused",
            "mqtt_peer_message_refused", "mqtt_subscribe_refused", "mqtt_subscription_silent")
NOT_AUTHORIZED = "not authorized (0x87): grant this client access in the broker's ACL"
DYNAMIC_SECURITY = "/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so"


def block(language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"docs/mqtt.md has {len(found)} blocks of {language}"
    return found[0]


def accounts() -> list[str]:
    """Those that the page makes passwords for."""
    return re.findall(r"^mosquitto_passwd (?:-c )?/etc/mosquitto/passwords (\S+)$", PAGE, re.MULTILINE)


class GuardedBroker(Broker):
    """With the files of the page; `acl` in place of the page's."""

    def __init__(self, acl: str):
        self.dir, self.port = folder("broker"), free_port()
        lines = block("conf").replace("/etc/mosquitto/", f"{self.dir}/").replace("listener 1883", f"listener {self.port} 127.0.0.1")
        lines += f"persistence_location {self.dir}/\n" + ("user root\n" if os.geteuid() == 0 else "")
        (self.dir / "mosquitto.conf").write_text(lines)
        for number, name in enumerate(accounts()):
            subprocess.run(["mosquitto_passwd", *(["-c"] if number == 0 else []), "-b", self.dir / "passwords", name, f"{name}'s"],
                           check=True, capture_output=True)
        (self.dir / "acl").write_text(acl)
        self.start()

    def allow(self, acl: str) -> None:
        (self.dir / "acl").write_text(acl)
        self.signal(1)  # SIGHUP

    def as_user(self, program: str, user: str, *options) -> list[str]:
        return [program, "-V", "mqttv5", "-p", str(self.port), "-u", user, "-P", f"{user}'s", *map(str, options)]

    def publish(self, user: str, topic: str, *options) -> str:
        """What the broker says to it."""
        done = subprocess.run(self.as_user("mosquitto_pub", user, "-d", "-q", 1, "-t", topic, "-m", "{}", *options), check=False,
                              capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout + done.stderr


class Listener(Process):
    """mosquitto_sub as one of the accounts; what it hears, by topic."""

    def __init__(self, broker: GuardedBroker, user: str, topic: str):
        command = broker.as_user("mosquitto_sub", user, "-q", 1, "-d", "-t", topic, "-F", "%t\t%x")
        super().__init__("mosquitto_sub", ["stdbuf", "-oL", *command], folder("sub") / "out")
        wait_for(lambda: "received SUBACK" in self.log(), "mosquitto_sub to listen")

    def heard(self) -> list[tuple[str, bytes]]:
        found = re.findall(r"^(\S+)\t((?:[0-9a-f]{2})*)$", self.log(), re.MULTILINE)
        return [(topic, bytes.fromhex(payload)) for topic, payload in found]

    def topics(self) -> set[str]:
        return {topic for topic, _ in self.heard()}


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class BrokerRightsTest(GatewayTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres = Postgres()
        cls.addClassCleanup(cls.postgres.process.kill)

    def setUp(self):
        self.database = self.postgres.make_database()

    def guarded(self, acl: str) -> GuardedBroker:
        broker = GuardedBroker(acl)
        self.addCleanup(broker.kill)
        return broker

    def replica(self, broker: Broker, name: str) -> Gateway:
        """With everything that it can want of a broker, as the page has it: one of two gateways with inboxes, that take commands."""
        lane = yaml.safe_load(block("yaml"))["mqtt"][0]
        password = folder("secret") / "broker-password"
        password.write_text(f"{name}'s\n")
        lane.update(host="127.0.0.1", port=broker.port, username=name, password_file=str(password), backoff_min="50ms",
                    backoff_max="500ms", routes=[{"kinds": ["telemetry"], "payload": "batch"},
                                                 {"kinds": ["event", "state", "opaque", "command_reply", "presence"], "payload": "json"}])
        return self.gateway({"node": {"name": name}, "mqtt": [lane], "store": {
            "kind": "postgres", "connection": self.postgres.connection(self.database), "password": PASSWORD, "lease": "5s"}})

    async def until(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    async def device(self, gateway: Gateway, name: str) -> Device:
        device = await Device.connect(gateway, name, capabilities=["command"], ack_stage=pb.ACK_STAGE_FORWARDED)
        self.addAsyncCleanup(device.close)
        return device

    def refused(self, gateway: Gateway) -> dict[str, list[dict]]:
        return {name: found for name in REFUSALS if (found := gateway.events(name))}

    async def ask(self, broker: GuardedBroker, device: Device, key: str, seconds: float = PATIENCE) -> list[dict]:
        """A commander's request until it is answered, as the page says; the final replies so far."""
        replies = Listener(broker, "commander", "app/replies/commander/#")
        self.addCleanup(replies.kill)
        serving = asyncio.create_task(device.serve([]))

        def answered() -> list[dict]:
            said = broker.publish("commander", f"fieldgate/v1/devices/{device.device_id}/commands/ping", "-D", "publish",
                                  "response-topic", "app/replies/commander/1", "-D", "publish", "correlation-data", key)
            self.assertNotIn("RC:135", said)
            # A gateway that hears the same request again may answer with an earlier state, behind the last reply.
            return [reply for reply in (json.loads(payload) for _, payload in replies.heard()) if reply["final"]]

        try:
            return await asyncio.to_thread(wait_for, answered, "the last reply", seconds)
        finally:
            serving.cancel()
            replies.kill()

    def test_the_page_gives_every_account_of_its_acl_a_password(self):
        self.assertEqual(re.findall(r"^user (\S+)$", block("acl"), re.MULTILINE), accounts())

    async def test_with_these_rights_everything_works_for_gateways_consumer_and_commander(self):
        broker = self.guarded(block("acl"))
        a, b = self.replica(broker, "gateway-a"), self.replica(broker, "gateway-b")
        for name, gateway in (("gateway-a", a), ("gateway-b", b)):
            await self.until(lambda g=gateway: g.events("mqtt_connected"), f"the lane of {name}")
        consumer = Listener(broker, "consumer", "fieldgate/v1/#")
        self.addCleanup(consumer.kill)
        device = await self.device(a, "pump")
        await device.send(3)
        await device.say(event=pb.Event(name="door"))
        await device.say(state=pb.State(reported_json='{"on":true}', full=True))
        await device.say(opaque=pb.Opaque(schema_id="raw", data=b"x"))
        await device.acked()  # the broker has taken all of it

        # Commands, whichever gateway gets them; what only the owner knows, from the other one: by way of the inboxes.
        replies = await self.ask(broker, device, "one")
        self.assertEqual(replies[-1]["state"], "succeeded", replies)
        await self.until(lambda: b.call("GET", "/devices/pump").json.get("live"), "live data from the owner")
        await device.close()

        # The consumer has heard of everything, and not what is between commander, gateways and devices.
        want = {"devices/pump/events/door", "devices/pump/state", "devices/pump/opaque/raw", "devices/pump/replies",
                "devices/pump/presence", "devices/pump/presence/events", "nodes/gateway-a", "nodes/gateway-b"}
        await self.until(lambda: {f"fieldgate/v1/{topic}" for topic in want} <= consumer.topics(), "everything at the consumer")
        rest = {topic.removeprefix("fieldgate/v1/") for topic in consumer.topics()} - want
        self.assertTrue(rest and all(re.fullmatch(r"batches/\d+", topic) for topic in rest), rest)

        # Who only reads can give no commands, nor say anything in a gateway's name.
        before = [gateway.metrics()['fieldgate_lane_commands_total{lane="main"}'] for gateway in (a, b)]
        for topic in ("devices/pump/commands/ping", "devices/pump/presence", "nodes/gateway-a", "nodes/gateway-a/inbox", "batches/1"):
            self.assertIn("RC:135", broker.publish("consumer", f"fieldgate/v1/{topic}"), topic)
        self.assertIn("RC:135", broker.publish("commander", "fieldgate/v1/nodes/gateway-a/inbox"))
        self.assertEqual([gateway.metrics()['fieldgate_lane_commands_total{lane="main"}'] for gateway in (a, b)], before)

        for gateway in (a, b):
            self.assertEqual(self.refused(gateway), {})
            self.assertEqual(gateway.metrics()['fieldgate_lane_refusals_total{lane="main",code="0x87"}'], 0)
            self.assertEqual(gateway.metrics()['fieldgate_peer_messages_dropped_total{reason="refused"}'], 0)

    def without(self, *lines: str, user: str = "gateway-a") -> str:
        """The page's ACL, in which that account lacks these lines."""
        before, own, after = re.fullmatch(rf"(.*)(user {user}\n.*?\n)(\n.*|)", block("acl"), re.DOTALL).groups()
        for line in lines:
            self.assertIn(f"{line}\n", own)
            own = own.replace(f"{line}\n", "")
        return before + own + after

    async def test_without_the_right_to_write_records_wait_and_the_log_says_where(self):
        broker = self.guarded(self.without("topic write fieldgate/v1/#"))
        gateway = self.replica(broker, "gateway-a")
        device = await self.device(gateway, "pump")
        await device.send(3)
        paused = await self.until(lambda: gateway.events("mqtt_lane_paused"), "the lane to pause")
        self.assertRegex(paused[0]["error"], r"refused a message on fieldgate/v1/\S+: " + re.escape(NOT_AUTHORIZED))
        for event, topic in (("mqtt_node_status_refused", "nodes/gateway-a"), ("mqtt_presence_refused", "devices/pump/presence"),
                             ("mqtt_peer_message_refused", "nodes/gateway-a/inbox")):
            said = (await self.until(lambda e=event: gateway.events(e), event))[0]
            self.assertEqual((said["topic"], said["error"]), (f"fieldgate/v1/{topic}", NOT_AUTHORIZED))
        lane = next(lane for lane in gateway.api("/api/v1/lanes")["lanes"] if lane["name"] == "main")
        self.assertEqual(lane["state"], "paused")
        self.assertIn(NOT_AUTHORIZED, lane["last_error"])
        self.assertGreater(gateway.metrics()['fieldgate_lane_refusals_total{lane="main",code="0x87"}'], 0)
        # Nothing is lost, and nothing need be done at the gateway.
        broker.allow(block("acl"))
        await device.acked()
        self.assertEqual(gateway.metrics()['fieldgate_dead_letters{lane="main"}'], 0)

    async def test_without_the_right_to_write_replies_commands_are_carried_out_and_the_log_says_that_nobody_hears_it(self):
        broker = self.guarded(self.without("topic write app/replies/#"))
        gateway = self.replica(broker, "gateway-a")
        device = await self.device(gateway, "pump")
        seen: list = []
        serving = asyncio.create_task(device.serve(seen))

        def carried_out() -> bool:
            broker.publish("commander", "fieldgate/v1/devices/pump/commands/ping", "-D", "publish", "response-topic",
                           "app/replies/commander/1", "-D", "publish", "correlation-data", "one")
            return bool(seen and gateway.events("mqtt_reply_refused"))

        await self.until(carried_out, "the command, and the refusal of its replies")
        serving.cancel()
        said = gateway.events("mqtt_reply_refused")[0]
        self.assertEqual((said["topic"], said["error"]), ("app/replies/commander/1", NOT_AUTHORIZED))
        self.assertEqual(len({command.id for command in seen}), 1)

    async def test_a_broker_that_hides_that_a_right_to_read_is_missing_is_found_out(self):
        topics = ["fieldgate/v1/nodes/gateway-a", "fieldgate/v1/devices/+/presence", "fieldgate/v1/nodes/gateway-a/inbox"]
        commands = "topic read fieldgate/v1/devices/+/commands/+"
        broker = self.guarded(self.without(*(f"topic read {topic}" for topic in topics), commands))
        gateway = self.replica(broker, "gateway-a")
        device = await self.device(gateway, "pump")
        await self.until(lambda: {said["topic"] for said in gateway.events("mqtt_subscription_silent")} == set(topics),
                         "each of the three to be named")
        for said in gateway.events("mqtt_subscription_silent"):
            self.assertEqual(said["hint"], "let this client read there, in the broker's ACL")
        self.assertEqual(list(self.refused(gateway)), ["mqtt_subscription_silent"])
        # Commands are the one thing that it cannot find out by itself. It has none, and gets them once it may.
        self.assertEqual(gateway.metrics()['fieldgate_lane_commands_total{lane="main"}'], 0)
        broker.allow(block("acl"))
        self.assertEqual((await self.ask(broker, device, "one"))[-1]["state"], "succeeded")

    @unittest.skipUnless(os.path.exists(DYNAMIC_SECURITY), "no " + DYNAMIC_SECURITY)
    async def test_a_broker_that_refuses_subscriptions_is_named_with_the_topic(self):
        rules = folder("rules") / "dynamic-security.json"
        rules.write_text(json.dumps({"defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "subscribe": False,
                                                          "unsubscribe": True}, "clients": [], "groups": [], "roles": []}))
        broker = Broker(f"plugin {DYNAMIC_SECURITY}", f"plugin_opt_config_file {rules}")
        self.addCleanup(broker.kill)
        gateway = self.gateway({"node": {"name": "gateway-a"}, "mqtt": [{"host": "127.0.0.1", "port": broker.port, "commands": True}],
                                "store": {"kind": "postgres", "connection": self.postgres.connection(self.database), "password": PASSWORD}})
        topics = {"fieldgate/v1/nodes/gateway-a", "fieldgate/v1/devices/+/presence", "fieldgate/v1/nodes/gateway-a/inbox",
                  "$share/fieldgate/fieldgate/v1/devices/+/commands/+"}
        await self.until(lambda: {said["topic"] for said in gateway.events("mqtt_subscribe_refused")} == topics, "each to be named")
        for said in gateway.events("mqtt_subscribe_refused"):
            self.assertEqual(said["error"], NOT_AUTHORIZED)
            self.assertIn("let this client read there", said["hint"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
