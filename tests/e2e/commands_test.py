#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Commands through the real gateway: what the ledger says is what happened, whoever is killed or away meanwhile."""

import asyncio
import json
import signal
import subprocess
import unittest

from gateway_fixture import COMMAND_TOKEN, PATIENCE, READ_TOKEN, Gateway, GatewayTestCase, Subscriber, wait_for
from device_client import Device, pb
from command_storm import TAKES, CommandStorm, check_command


class CommandCase(GatewayTestCase):
    def make_gateway(self, settings: dict | None = None) -> Gateway:
        return self.gateway(settings or {})

    async def device(self, gateway: Gateway, device_id: str, **fields) -> Device:
        fields.setdefault("capabilities", TAKES)
        device = await Device.connect(gateway, device_id, **fields)
        self.epochs.setdefault(device_id, []).append(device.welcome.epoch)
        self.addAsyncCleanup(device.close)
        return device

    async def asyncSetUp(self) -> None:
        self.epochs: dict[str, list[int]] = {}

    async def submit(self, gateway: Gateway, device_id: str, name: str = "ping", *, wait: str = "", token: str = COMMAND_TOKEN,
                     key: str = "", **body):
        query = f"?wait={wait}" if wait else ""
        headers = {"Idempotency_Key": key} if key else {}
        return await asyncio.to_thread(gateway.call, "POST", f"/devices/{device_id}/commands{query}", {"name": name, **body},
                                       token=token, **headers)

    async def queue(self, gateway: Gateway, device_id: str, name: str = "ping", **options) -> str:
        """The id of a command that is in the ledger."""
        answer = await self.submit(gateway, device_id, name, **options)
        self.assertEqual(answer.status, 202, answer)
        self.assertEqual(answer.headers["Location"], "/api/v1/commands/" + answer.json["id"])
        return answer.json["id"]

    def look(self, gateway: Gateway, command: str) -> dict:
        answer = gateway.call("GET", f"/commands/{command}")
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    async def until(self, gateway: Gateway, command: str, *states: str) -> dict:
        def reached():
            found = self.look(gateway, command)
            return found if found["state"] in states else None

        return await asyncio.to_thread(wait_for, reached, f"{command} to be {' or '.join(states)}")

    def steps(self, entry: dict) -> list[tuple[str, int]]:
        """Without what only says that it is under way."""
        return [(step["state"], int(step["epoch"] or 0)) for step in entry["steps"]
                if step["state"] != "queued" or step is entry["steps"][0]]

    def check(self, entry: dict) -> dict:
        return check_command(self, entry, self.epochs.get(entry["device"], []))


class CommandTest(CommandCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway({"commands": {"resend_after": "1s"}})

    async def offline(self, device_id: str) -> None:
        """A device that is registered and has never been here."""
        self.assertEqual(self.gateway_.call("PUT", f"/devices/{device_id}", {}).status, 201)

    async def test_a_command_is_answered_and_each_step_has_its_time_and_epoch(self):
        device = await self.device(self.gateway_, "answers")
        asked = asyncio.create_task(self.submit(self.gateway_, "answers", "read_meter", wait="30s", payload={"meter": 7}))
        command = await device.command()
        self.assertEqual((command.name, json.loads(command.payload)), ("read_meter", {"meter": 7}))
        self.assertGreater(command.deadline_ms, 0)
        await device.ack_command(command.id)
        await device.result(command.id, text="read", payload=b'{"kwh":12.5}')
        answer = await asked
        self.assertEqual(answer.status, 200, answer)
        entry, epoch = self.check(answer.json), device.welcome.epoch
        self.assertEqual((entry["id"], entry["state"], entry["final"], entry["source"]), (command.id, "succeeded", True, "token:commander"))
        self.assertEqual(entry["result"]["payload"], {"kwh": 12.5})
        self.assertEqual(entry["result"]["text"], "read")
        self.assertEqual(self.steps(entry), [("queued", 0), ("sent", epoch), ("acknowledged", epoch), ("succeeded", epoch)])
        self.assertEqual(self.look(self.gateway_, command.id), entry)

    async def test_what_the_device_says_of_it_is_its_state(self):
        device = await self.device(self.gateway_, "says")
        for outcome, state in ((pb.CommandResult.OUTCOME_FAILED, "failed"), (pb.CommandResult.OUTCOME_REJECTED, "rejected")):
            command = await self.queue(self.gateway_, "says")
            self.assertEqual((await device.command()).id, command)
            await device.result(command, outcome, "no")  # without CommandAck, which a result stands for
            entry = self.check(await self.until(self.gateway_, command, state))
            self.assertEqual(entry["result"]["text"], "no")

    async def test_a_waiting_call_gets_202_when_its_time_is_over_and_the_command_goes_on(self):
        device = await self.device(self.gateway_, "slow")
        answer = await self.submit(self.gateway_, "slow", wait="300ms")
        self.assertEqual(answer.status, 202, answer)
        self.assertFalse(answer.json["final"])
        await device.ack_command((await device.command()).id)
        await device.result(answer.json["id"])
        done = await asyncio.to_thread(self.gateway_.call, "GET", f"/commands/{answer.json['id']}?wait=30s")
        self.assertEqual(self.check(done.json)["state"], "succeeded")

    async def test_commands_for_a_device_that_is_away_come_in_order_when_it_is_back(self):
        await self.offline("away")
        commands = [await self.queue(self.gateway_, "away", f"step-{i}") for i in range(12)]
        for command in commands:
            entry = self.check(self.look(self.gateway_, command))
            self.assertEqual((entry["state"], entry["sends"], len(entry["steps"])), ("queued", 0, 1))
        device = await self.device(self.gateway_, "away")
        for i, command in enumerate(commands):  # more than are in flight at once
            got = await device.command()
            self.assertEqual((got.id, got.name), (command, f"step-{i}"))
            await device.ack_command(command)
            await device.result(command)
        for command in commands:
            entry = self.check(await self.until(self.gateway_, command, "succeeded"))
            self.assertEqual(self.steps(entry)[1], ("sent", device.welcome.epoch))
        listed = await asyncio.to_thread(self.gateway_.call, "GET", "/devices/away/commands?limit=100")
        self.assertEqual([entry["id"] for entry in listed.json["commands"]], commands[::-1])

    async def test_a_command_whose_time_to_live_is_over_is_never_sent(self):
        await self.offline("late")
        expired = await self.submit(self.gateway_, "late", ttl="1s", wait="30s")
        self.assertEqual((expired.status, self.check(expired.json)["state"]), (200, "expired"))
        self.assertIsNone(expired.json["steps"][-1]["epoch"])
        at_once = await self.submit(self.gateway_, "late", ttl="0s", wait="30s")
        self.assertEqual(self.check(at_once.json)["state"], "expired")
        device = await self.device(self.gateway_, "late")
        fence = await self.queue(self.gateway_, "late")
        self.assertEqual((await device.command()).id, fence)

    async def test_a_result_that_comes_after_the_timeout_is_the_truth_late(self):
        device = await self.device(self.gateway_, "tardy")
        command = await self.queue(self.gateway_, "tardy", timeout="500ms")
        self.assertEqual((await device.command()).id, command)
        entry = self.check(await self.until(self.gateway_, command, "timed_out"))
        self.assertIsNone(entry["result"])
        await device.result(command, payload=b"at last")
        entry = self.check(await self.until(self.gateway_, command, "succeeded"))
        self.assertEqual([state for state, _ in self.steps(entry)], ["queued", "sent", "timed_out", "succeeded"])
        self.assertEqual(entry["result"]["payload_base64"], "YXQgbGFzdA==")

    async def test_a_device_gets_it_again_by_the_same_id_until_it_acknowledges_and_not_after(self):
        first = await self.device(self.gateway_, "again")
        command = await self.queue(self.gateway_, "again")
        self.assertEqual((await first.command()).id, command)
        await first.close()
        second = await self.device(self.gateway_, "again")
        self.assertEqual((await second.command()).id, command)
        await second.ack_command(command)
        await self.until(self.gateway_, command, "acknowledged")
        await second.close()
        third = await self.device(self.gateway_, "again")
        fence = await self.queue(self.gateway_, "again", "fence")
        self.assertEqual((await third.command()).id, fence)
        await third.result(command)  # it remembers what it was told before
        entry = self.check(await self.until(self.gateway_, command, "succeeded"))
        sent = [epoch for state, epoch in self.steps(entry) if state == "sent"]
        self.assertEqual((sent, entry["sends"]), (self.epochs["again"][:2], 2))
        self.assertEqual(self.steps(entry)[-1], ("succeeded", third.welcome.epoch))

    async def test_it_is_repeated_on_a_live_connection_that_does_not_acknowledge_it(self):
        device = await self.device(self.gateway_, "deaf")
        command = await self.queue(self.gateway_, "deaf")
        once = await self.queue(self.gateway_, "deaf", at_most_once=True)
        seen = [(await device.command()).id for _ in range(4)]
        self.assertEqual((seen.count(command), seen.count(once)), (3, 1))
        await device.result(command)
        self.check(await self.until(self.gateway_, command, "succeeded"))

    async def test_the_newer_connection_gets_what_the_older_one_had(self):
        first = await self.device(self.gateway_, "moves")
        command = await self.queue(self.gateway_, "moves")
        self.assertEqual((await first.command()).id, command)
        second = await self.device(self.gateway_, "moves")
        self.assertEqual((await first.goodbye())[0], 4014)
        self.assertEqual((await second.command()).id, command)
        await second.ack_command(command)
        await second.result(command)
        entry = self.check(await self.until(self.gateway_, command, "succeeded"))
        self.assertEqual([epoch for state, epoch in self.steps(entry) if state in ("sent", "succeeded")],
                         [first.welcome.epoch, second.welcome.epoch, second.welcome.epoch])

    async def test_at_most_once_is_not_sent_to_the_next_connection(self):
        first = await self.device(self.gateway_, "once")
        done = await self.queue(self.gateway_, "once", at_most_once=True)
        unknown = await self.queue(self.gateway_, "once", at_most_once=True, timeout="2s")
        self.assertEqual([(await first.command()).id for _ in range(2)], [done, unknown])
        await first.close()
        second = await self.device(self.gateway_, "once")
        fence = await self.queue(self.gateway_, "once", "fence")
        self.assertEqual((await second.command()).id, fence)
        await second.result(done)
        self.assertEqual(self.check(await self.until(self.gateway_, done, "succeeded"))["sends"], 1)
        self.assertEqual(self.check(await self.until(self.gateway_, unknown, "timed_out"))["sends"], 1)

    async def cancel(self, command: str):
        return await asyncio.to_thread(self.gateway_.call, "DELETE", f"/commands/{command}", token=COMMAND_TOKEN)

    async def test_a_queued_command_is_cancelled_at_once_and_never_sent(self):
        await self.offline("recall")
        command = await self.queue(self.gateway_, "recall")
        answer = await self.cancel(command)
        self.assertEqual((answer.status, self.check(answer.json)["state"]), (200, "cancelled"))
        self.assertEqual((await self.cancel(command)).problem, "command-ended")
        device = await self.device(self.gateway_, "recall")
        fence = await self.queue(self.gateway_, "recall", "fence")
        self.assertEqual((await device.command()).id, fence)
        missing = await self.cancel("0" * 20)
        self.assertEqual((missing.status, missing.problem), (404, "command-not-found"))

    async def test_a_command_that_was_sent_is_cancelled_by_the_device_alone(self):
        device = await self.device(self.gateway_, "stops")
        for outcome, state in ((pb.CommandResult.OUTCOME_CANCELLED, "cancelled"), (pb.CommandResult.OUTCOME_SUCCEEDED, "succeeded")):
            command = await self.queue(self.gateway_, "stops")
            await device.ack_command((await device.command()).id)
            await self.until(self.gateway_, command, "acknowledged")
            answer = await self.cancel(command)
            self.assertEqual((answer.status, answer.json["state"], answer.json["cancel_wanted"]), (202, "acknowledged", True))
            self.assertEqual((await device.next("command_cancel")).command_cancel.id, command)
            self.assertEqual(self.look(self.gateway_, command)["state"], "acknowledged")
            await device.result(command, outcome)
            self.check(await self.until(self.gateway_, command, state))

    async def test_a_repeated_request_is_the_same_command_and_a_key_is_good_for_one_request(self):
        await self.offline("keys")
        first = await self.submit(self.gateway_, "keys", key="key-1", payload=[1])
        again = await self.submit(self.gateway_, "keys", key="key-1", payload=[1])
        self.assertEqual((first.status, again.status, again.json["id"]), (202, 202, first.json["id"]))
        self.assertEqual((first.headers["Idempotent-Replay"], again.headers["Idempotent-Replay"]), (None, "true"))
        other = await self.submit(self.gateway_, "keys", key="key-1", payload=[2])
        self.assertEqual((other.status, other.problem), (409, "idempotency-conflict"))
        await self.offline("keys-2")  # a key is one device's
        self.assertNotEqual((await self.submit(self.gateway_, "keys-2", key="key-1", payload=[1])).json["id"], first.json["id"])
        many = await asyncio.gather(*(self.submit(self.gateway_, "keys", key="key-2") for _ in range(8)))
        self.assertEqual(len({answer.json["id"] for answer in many}), 1)
        self.assertEqual(sum(answer.headers["Idempotent-Replay"] is None for answer in many), 1)
        device = await self.device(self.gateway_, "keys")
        self.assertEqual([(await device.command()).id for _ in range(2)], [first.json["id"], many[0].json["id"]])

    async def test_a_device_that_takes_no_commands_or_none_so_large_never_gets_one(self):
        silent = await self.device(self.gateway_, "mute", capabilities=[])
        answer = await self.submit(self.gateway_, "mute", wait="30s")
        self.assertEqual((answer.status, self.check(answer.json)["state"], answer.json["sends"]), (200, "rejected", 0))
        self.assertIn("capabilities", answer.json["steps"][-1]["detail"])
        await silent.ask_time()
        self.assertEqual(silent.passed, [])
        small = await self.device(self.gateway_, "small", receive_max_bytes=512)
        answer = await self.submit(self.gateway_, "small", wait="30s", payload="x" * 600)
        self.assertEqual((self.check(answer.json)["state"], answer.json["sends"]), ("rejected", 0))
        self.assertIn("receive_max_bytes", answer.json["steps"][-1]["detail"])
        fits = await self.queue(self.gateway_, "small", payload="x" * 100)
        self.assertEqual((await small.command()).id, fits)

    async def test_who_may_only_look_may_not_command(self):
        await self.offline("guarded")
        command = await self.queue(self.gateway_, "guarded")
        for token, status in ((READ_TOKEN, 403), (None, 401), ("wrong", 401)):
            answer = await self.submit(self.gateway_, "guarded", token=token)
            self.assertEqual(answer.status, status, answer)
            answer = await asyncio.to_thread(self.gateway_.call, "DELETE", f"/commands/{command}", token=token)
            self.assertEqual(answer.status, status, answer)
        seen = await asyncio.to_thread(self.gateway_.call, "GET", f"/commands/{command}", token=READ_TOKEN)
        self.assertEqual((seen.status, seen.json["state"]), (200, "queued"))
        listed = await asyncio.to_thread(self.gateway_.call, "GET", "/devices/guarded/commands", token=READ_TOKEN)
        self.assertEqual(len(listed.json["commands"]), 1)

    async def test_what_cannot_be_a_command_is_refused_by_name(self):
        await self.offline("strict")
        for body, status, word in (({}, 422, "name"), ({"name": "a b"}, 422, "name"), ({"name": "x", "tll": 3}, 422, "tll"),
                                   ({"name": "x", "ttl": "soon"}, 422, "ttl"), ({"name": "x", "timeout": "0s"}, 422, "timeout"),
                                   ({"name": "x", "timeout": "2d"}, 422, "timeout"),
                                   ({"name": "x", "payload": 1, "payload_base64": "AA=="}, 422, "payload_base64"),
                                   ({"name": "x", "payload": "x" * 20_000}, 413, "payload")):
            with self.subTest(body=str(body)[:60]):
                answer = await asyncio.to_thread(self.gateway_.call, "POST", "/devices/strict/commands", body)
                self.assertIn(answer.status, (status, 400), answer)
                self.assertIn(word, answer.text)
        self.assertEqual((await self.submit(self.gateway_, "nobody-knows")).problem, "device-not-found")
        listed = await asyncio.to_thread(self.gateway_.call, "GET", "/devices/strict/commands")
        self.assertEqual(listed.json["commands"], [])


class KillTest(CommandCase):
    """kill -9, and the same state_dir again."""

    def restart(self, gateway: Gateway) -> None:
        gateway.process.signal(signal.SIGKILL)
        gateway.process.wait()
        gateway.check_log()
        gateway.start()

    async def test_queued(self):
        gateway = self.make_gateway()
        self.assertEqual(gateway.call("PUT", "/devices/pump", {}).status, 201)
        commands = [await self.queue(gateway, "pump", f"step-{i}", key=f"key-{i}") for i in range(3)]
        await asyncio.to_thread(self.restart, gateway)
        for command in commands:
            self.assertEqual(self.check(self.look(gateway, command))["state"], "queued")
        self.assertEqual((await self.submit(gateway, "pump", "step-0", key="key-0")).json["id"], commands[0])
        device = await self.device(gateway, "pump")
        for command in commands:
            self.assertEqual((await device.command()).id, command)
            await device.ack_command(command)
            await device.result(command)
        for command in commands:
            self.assertEqual(self.check(await self.until(gateway, command, "succeeded"))["sends"], 1)

    async def sent_and_killed(self, *, in_ledger: bool) -> None:
        gateway = self.make_gateway()
        before = await self.device(gateway, "pump")
        command = await self.queue(gateway, "pump")
        done = await self.queue(gateway, "pump", at_most_once=True)
        unknown = await self.queue(gateway, "pump", at_most_once=True, timeout="3s")
        self.assertEqual([(await before.command()).id for _ in range(3)], [command, done, unknown])
        if in_ledger:
            for one in (command, done, unknown):
                await self.until(gateway, one, "sent", "timed_out")
        await asyncio.to_thread(self.restart, gateway)
        after = await self.device(gateway, "pump")
        self.assertGreater(after.welcome.epoch, before.welcome.epoch)
        fence = await self.queue(gateway, "pump", "fence")
        self.assertEqual([(await after.command()).id for _ in range(2)], [command, fence])
        for one in (command, done):
            await after.ack_command(one)
            await after.result(one)
        for one in (command, done):
            entry = self.check(await self.until(gateway, one, "succeeded"))
            self.assertEqual(self.steps(entry)[-1], ("succeeded", after.welcome.epoch))
        # Nobody knows what became of it: and that is what is said.
        entry = self.check(await self.until(gateway, unknown, "timed_out"))
        self.assertNotIn("expired", [state for state, _ in self.steps(entry)])

    async def test_sent_and_in_the_ledger(self):
        await self.sent_and_killed(in_ledger=True)

    async def test_sent_a_moment_ago(self):
        await self.sent_and_killed(in_ledger=False)

    async def test_acknowledged(self):
        gateway = self.make_gateway()
        before = await self.device(gateway, "pump")
        command = await self.queue(gateway, "pump")
        await before.ack_command((await before.command()).id)
        await self.until(gateway, command, "acknowledged")
        await asyncio.to_thread(self.restart, gateway)
        after = await self.device(gateway, "pump")
        fence = await self.queue(gateway, "pump", "fence")
        self.assertEqual((await after.command()).id, fence)
        await after.result(command)
        entry = self.check(await self.until(gateway, command, "succeeded"))
        self.assertEqual(self.steps(entry), [("queued", 0), ("sent", before.welcome.epoch), ("acknowledged", before.welcome.epoch),
                                             ("succeeded", after.welcome.epoch)])

    async def test_a_result_that_was_acknowledged_to_the_device_as_spooled(self):
        gateway = self.make_gateway({"uplink": {"spool": {"enabled": True}}})
        for round_ in range(3):
            device = await self.device(gateway, "pump", ack_stage=pb.ACK_STAGE_SPOOLED)
            self.assertEqual(device.welcome.ack_stage, pb.ACK_STAGE_SPOOLED)
            command = await self.queue(gateway, "pump", at_most_once=round_ == 1)
            self.assertEqual((await device.command()).id, command)
            await device.ack_command(command)
            await device.acked(await device.result(command, payload=b'"done"'))
            await asyncio.to_thread(self.restart, gateway)
            entry = self.check(await self.until(gateway, command, "succeeded"))  # the device need not be here
            self.assertEqual(entry["result"]["payload"], "done")
            self.assertEqual(self.steps(entry)[-1], ("succeeded", device.welcome.epoch))

    async def test_a_cancelled_command_stays_cancelled(self):
        gateway = self.make_gateway()
        self.assertEqual(gateway.call("PUT", "/devices/pump", {}).status, 201)
        command = await self.queue(gateway, "pump")
        self.assertEqual(gateway.call("DELETE", f"/commands/{command}").status, 200)
        await asyncio.to_thread(self.restart, gateway)
        device = await self.device(gateway, "pump")
        fence = await self.queue(gateway, "pump", "fence")
        self.assertEqual((await device.command()).id, fence)
        self.assertEqual(self.check(self.look(gateway, command))["state"], "cancelled")

    async def test_killed_again_and_again_at_whatever_moment(self):
        gateway = self.make_gateway(CommandStorm.SETTINGS)
        storm = CommandStorm(self, gateway)
        await storm.begin()
        for _ in range(5):
            await storm.more(storm.random.randrange(10, 40))
            await asyncio.to_thread(self.restart, gateway)
        await storm.more(10)
        await storm.settle()


class MqttCommandTest(CommandCase):
    def request(self, device: str, name: str, correlation: str, *options: str) -> list[dict]:
        """The replies, up to the last."""
        done = subprocess.run(["mosquitto_rr", "-V", "mqttv5", "-p", str(self.broker.port), "-q", "1", "-W", str(int(PATIENCE)),
                               "-t", f"fieldgate/v1/devices/{device}/commands/{name}", "-e", "app/replies/me", "-m", '{"a":1}',
                               "-D", "publish", "correlation-data", correlation, *options],
                              capture_output=True, text=True, check=False, timeout=PATIENCE + 5)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    async def test_a_request_over_mqtt_is_a_command_and_its_response_the_answer(self):
        gateway = self.gateway({"mqtt": [{"host": "127.0.0.1", "port": self.broker.port, "commands": True,
                                          "response_topics": ["app/replies/#"]}]})
        await asyncio.to_thread(wait_for, lambda: gateway.readyz()[0] == 200, "the lane")
        replies = Subscriber(self.broker, "app/replies/#")
        device = await self.device(gateway, "boiler")
        seen: list = []
        serving = asyncio.create_task(device.serve(seen))
        first = await asyncio.to_thread(self.request, "boiler", "ping", "one")
        # mosquitto_rr takes the first reply and leaves: the ledger has it.
        self.assertTrue(first, gateway.process.log())
        self.assertEqual((first[0]["device"], first[0]["command"]), ("boiler", "ping"))
        entry = self.check(await self.until(gateway, first[0]["id"], "succeeded"))
        self.assertEqual((entry["source"], entry["result"]["payload"]), ("mqtt:main", {"a": 1}))
        told = await asyncio.to_thread(wait_for, lambda: (r := [json.loads(text) for _, text in replies.messages()]) and r[-1]["final"] and r,
                                       "the last reply")
        self.assertEqual({reply["id"] for reply in told}, {first[0]["id"]})
        self.assertEqual((told[-1]["state"], told[-1]["epoch"], told[-1]["result"]["payload"]),
                         ("succeeded", str(device.welcome.epoch), {"a": 1}))
        # The same request again: the same command, and by now what became of it.
        again = await asyncio.to_thread(self.request, "boiler", "ping", "one")
        self.assertEqual((again[0]["id"], again[0]["state"], again[0]["final"]), (first[0]["id"], "succeeded", True))
        self.assertEqual([command.id for command in seen], [first[0]["id"]])
        refused = await asyncio.to_thread(self.request, "unknown-device", "ping", "two")
        self.assertEqual((refused[0]["state"], refused[0]["code"]), ("refused", "device_not_found"))
        other = await asyncio.to_thread(self.request, "boiler", "stop", "one")
        self.assertEqual((other[0]["state"], other[0]["code"]), ("refused", "correlation_data_reused"))
        serving.cancel()


if __name__ == "__main__":
    unittest.main(verbosity=2)
