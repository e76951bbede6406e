#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The registry decides who is let in, the API who may decide that, and the timeline says why a device was away."""

import asyncio
import datetime
import hashlib
import json
import pathlib
import signal
import subprocess
import unittest

import websockets
import yaml

from gateway_fixture import COMMAND_TOKEN, FIELDGATE, READ_TOKEN, SOURCE, Answer, Gateway, GatewayTestCase, Subscriber, wait_for
from device_client import Device, RawDevice, hello, north, pb


class RegistryCase(GatewayTestCase):
    def make(self, gateway: Gateway, device_id: str, **entry) -> Answer:
        answer = gateway.call("PUT", f"/devices/{device_id}", entry)
        self.assertIn(answer.status, (200, 201), answer)
        return answer

    def new_token(self, gateway: Gateway, device_id: str, **body) -> dict:
        answer = gateway.call("POST", f"/devices/{device_id}/credentials", {"kind": "token", **body})
        self.assertEqual(answer.status, 201, answer)
        return answer.json

    def by_token(self, token: str) -> dict:
        return {"token": token, "context": self.pki.client_context()}

    async def refused(self, gateway: Gateway, device_id: str, *, says: str = "", **options) -> tuple[int, int]:
        """Close code and Goodbye's reason of one that has shown a good credential."""
        options.setdefault("context", self.pki.client_context(device_id))
        ws = await Device.socket(gateway, **options)
        await ws.send(hello(says or device_id))
        return await Device(gateway, device_id, ws, None).goodbye()

    async def unauthenticated(self, gateway: Gateway, token: str) -> None:
        with self.assertRaises(websockets.InvalidStatusCode) as refused:
            await Device.socket(gateway, **self.by_token(token))
        self.assertEqual(refused.exception.status_code, 401)

    def timeline(self, gateway: Gateway, device_id: str) -> list[dict]:
        """Newest first."""
        answer = gateway.call("GET", f"/devices/{device_id}/timeline?limit=100")
        self.assertEqual(answer.status, 200, answer)
        return answer.json["entries"]

    async def until_in_timeline(self, gateway: Gateway, device_id: str, kind: str, **fields) -> dict:
        def found():
            return [entry for entry in self.timeline(gateway, device_id)
                    if entry["kind"] == kind and all(entry["fields"].get(name) == value for name, value in fields.items())]

        return (await asyncio.to_thread(wait_for, found, f"{kind} {fields} in the timeline of {device_id}"))[0]


class RegistryTest(RegistryCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway({"registry": {"auto_register": False}})

    async def test_a_device_that_nobody_registered_is_refused_until_somebody_does(self):
        gateway = self.gateway_
        self.assertEqual(await self.refused(gateway, "stranger"), (4003, pb.GOODBYE_REASON_POLICY))
        self.assertEqual(gateway.call("GET", "/devices/stranger").status, 404)
        created = self.make(gateway, "stranger", note="found in the cellar")
        self.assertEqual((created.status, created.json["automatic"]), (201, False))
        device = await Device.connect(gateway, "stranger")
        await device.send(1)
        await device.acked()
        # What happened before it was known is told as well.
        await self.until_in_timeline(gateway, "stranger", "refused", reason="device_unknown")
        shown = gateway.call("GET", "/devices/stranger").json
        self.assertEqual((shown["registered"], shown["enabled"], shown["note"]), (True, True, "found in the cellar"))
        gone = gateway.call("DELETE", "/devices/stranger")
        self.assertEqual(gone.status, 204, gone)
        self.assertEqual((await device.end())[0], 4013)
        self.assertEqual((await self.refused(gateway, "stranger"))[0], 4003)

    async def test_a_token_of_the_registry_lets_its_device_in_and_no_other(self):
        gateway = self.gateway_
        self.make(gateway, "by-token")
        self.make(gateway, "another")
        made = self.new_token(gateway, "by-token", note="fitted today")
        self.assertRegex(made["token"], r"^[A-Za-z0-9_-]{43}$")
        self.assertEqual(made["sha256"], hashlib.sha256(made["token"].encode()).hexdigest())
        device = await Device.connect(gateway, "by-token", socket_options=self.by_token(made["token"]))
        await device.ask_time()
        await device.close()
        self.assertEqual((await self.refused(gateway, "by-token", says="another", **self.by_token(made["token"])))[0], 4002)
        listed = gateway.call("GET", "/devices/by-token/credentials")
        self.assertEqual([(one["id"], one["note"]) for one in listed.json["credentials"]], [(made["id"], "fitted today")])
        for text in (listed.text, gateway.call("GET", "/devices/export").text, gateway.process.log()):
            self.assertNotIn(made["token"], text)

    async def test_credentials_are_replaced_with_an_overlap_and_deleting_one_ends_the_session_that_stands_on_it(self):
        gateway = self.gateway_
        self.make(gateway, "rotates")
        first = self.new_token(gateway, "rotates")
        old = await Device.connect(gateway, "rotates", socket_options=self.by_token(first["token"]))
        second = self.new_token(gateway, "rotates", retire_others_in="1h")
        expiry = {one["id"]: one["expires"] for one in gateway.call("GET", "/devices/rotates/credentials").json["credentials"]}
        self.assertIsNone(expiry[second["id"]])
        left = datetime.datetime.fromisoformat(expiry[first["id"]]) - datetime.datetime.now(datetime.timezone.utc)
        self.assertLess(abs(left.total_seconds() - 3600), 120)
        await old.ask_time()  # it goes on, and may come again
        await old.close()
        old = await Device.connect(gateway, "rotates", socket_options=self.by_token(first["token"]))
        self.assertEqual(gateway.call("DELETE", f"/devices/rotates/credentials/{first['id']}").status, 204)
        self.assertEqual(await old.goodbye(), (4013, pb.GOODBYE_REASON_CREDENTIAL_REVOKED))
        await self.unauthenticated(gateway, first["token"])
        new = await Device.connect(gateway, "rotates", socket_options=self.by_token(second["token"]))
        third = self.new_token(gateway, "rotates", retire_others_in="0s")
        self.assertEqual((await new.goodbye())[0], 4013)
        await self.unauthenticated(gateway, second["token"])
        last = await Device.connect(gateway, "rotates", socket_options=self.by_token(third["token"]))
        await last.close()

    async def test_a_credential_ends_by_itself_and_the_session_with_it(self):
        gateway = self.gateway_
        self.make(gateway, "short")
        for lifetime in ("3s", "15s", "35s"):  # on a busy machine it may be over before it was shown
            token = self.new_token(gateway, "short", expires_in=lifetime)["token"]
            try:
                device = await Device.connect(gateway, "short", socket_options=self.by_token(token))
                break
            except websockets.InvalidStatusCode:
                pass
        self.assertEqual((await device.goodbye())[0], 4013)
        await self.unauthenticated(gateway, token)

    async def test_where_a_certificate_is_pinned_no_other_will_do(self):
        gateway = self.gateway_
        self.make(gateway, "pinned")
        certificate, _ = self.pki.device("pinned")
        live = await Device.connect(gateway, "pinned")
        pinned = gateway.call("POST", "/devices/pinned/credentials", {"kind": "certificate", "certificate_pem": certificate.read_text()})
        self.assertEqual(pinned.status, 201, pinned)
        await live.ask_time()
        self.assertEqual(gateway.call("POST", "/devices/pinned/credentials", {"kind": "certificate", "sha256": "ab" * 32}).status, 201)
        self.assertEqual(gateway.call("DELETE", f"/devices/pinned/credentials/{pinned.json['id']}").status, 204)
        self.assertEqual((await live.goodbye())[0], 4013)
        with self.assertRaises(websockets.InvalidStatusCode) as refused:
            await Device.connect(gateway, "pinned")
        self.assertEqual(refused.exception.status_code, 401)

    async def test_disabling_a_device_ends_its_session_and_refuses_the_next_until_it_is_enabled(self):
        gateway = self.gateway_
        self.make(gateway, "switched")
        device = await Device.connect(gateway, "switched")
        patch = {"Content_Type": "application/merge-patch+json"}
        self.assertEqual(gateway.call("PATCH", "/devices/switched", {"enabled": False}, **patch).status, 200)
        self.assertEqual(await device.goodbye(), (4016, pb.GOODBYE_REASON_POLICY))
        self.assertEqual(await self.refused(gateway, "switched"), (4016, pb.GOODBYE_REASON_POLICY))
        refused = await self.until_in_timeline(gateway, "switched", "refused")
        self.assertEqual(refused["fields"]["reason"], "device_disabled")
        await self.until_in_timeline(gateway, "switched", "disconnected", reason="device_disabled")
        self.assertEqual(gateway.call("PATCH", "/devices/switched", {"enabled": True}, **patch).status, 200)
        back = await Device.connect(gateway, "switched")
        self.assertGreater(back.welcome.epoch, device.welcome.epoch)
        await back.close()

    async def test_two_people_do_not_undo_each_others_work(self):
        gateway = self.gateway_
        etag = self.make(gateway, "shared", note="one").headers["ETag"]
        self.assertEqual(gateway.call("PUT", "/devices/shared", {"note": "two"}, If_Match=etag).status, 200)
        late = gateway.call("PUT", "/devices/shared", {"note": "three"}, If_Match=etag)
        self.assertEqual((late.status, late.problem), (412, "precondition-failed"))
        self.assertEqual(gateway.call("PUT", "/devices/shared", {}, If_None_Match="*").status, 412)
        self.assertEqual(gateway.call("GET", "/devices/shared").json["note"], "two")

    def lines_of(self, gateway: Gateway, what: list[dict | str]) -> list[dict]:
        body = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in what)
        answer = gateway.call("POST", "/devices/import", body, Content_Type="application/x-ndjson")
        self.assertEqual(answer.status, 200, answer)
        return answer.lines

    def test_two_thousand_lines_go_in_and_come_out_again_whatever_is_wrong_among_them(self):
        source, target = self.gateway_, self.gateway({"registry": {"auto_register": False}})
        good = [{"id": f"imported-{i:04}", "enabled": i % 7 != 0, "labels": {"site": f"s{i % 5}"}, "note": f"no. {i}",
                 "credentials": [{"kind": "token", "sha256": hashlib.sha256(b"token-%d" % i).hexdigest()}] if i % 2 else []}
                for i in range(1990)]
        bad = ["{", "[]", '{"id": "../x"}', '{"note": "no id"}', '{"id": "imported-x", "enabled": "yes"}', '{"id": "imported-x", "tags": {}}',
               '{"id": "imported-x", "credentials": [{"kind": "token", "sha256": "short"}]}', '{"id": "imported-x", "labels": {"a": 1}}',
               '{"id": "imported-x", "note": "' + "n" * 300 + '"}', '{"id": "imported-x", "credentials": [{"kind": "password"}]}']
        lines: list = list(good)
        for i, line in enumerate(bad):
            lines.insert(i * 190 + 5, line)
        told = self.lines_of(source, lines)
        self.assertEqual(told[-1], {"done": True, "lines": 2000, "created": 1990, "updated": 0, "unchanged": 0, "errors": 10})
        wrong = [entry for entry in told[:-1] if entry["outcome"] == "error"]
        self.assertEqual([entry["line"] for entry in wrong], [i * 190 + 6 for i in range(10)])
        self.assertTrue(all(entry["error"] for entry in wrong), wrong)
        self.assertEqual(source.call("GET", "/devices/imported-x").status, 404)

        exported = {line["id"]: line for line in source.call("GET", "/devices/export").lines if line["id"].startswith("imported-")}
        self.assertEqual(exported, {line["id"]: line for line in good})
        self.assertEqual(self.lines_of(target, list(exported.values()))[-1]["created"], 1990)
        again = self.lines_of(target, list(exported.values()))[-1]
        self.assertEqual((again["unchanged"], again["updated"], again["created"]), (1990, 0, 0))
        back = {line["id"]: line for line in target.call("GET", "/devices/export").lines}
        self.assertEqual(back, exported)
        self.assertEqual(target.call("GET", "/devices?registered=true&limit=1&count=true").json.get("count"), 1990)

    async def test_an_imported_hash_lets_its_device_in(self):
        self.lines_of(self.gateway_, [{"id": "brought", "credentials": [{"kind": "token", "sha256": hashlib.sha256(b"brought-along").hexdigest()}]}])
        device = await Device.connect(self.gateway_, "brought", socket_options=self.by_token("brought-along"))
        await device.close()

    async def test_labels_of_the_registry_win_in_lanes_and_in_queries(self):
        broker_port = self.broker.port
        timing = {"backoff_min": "50ms", "backoff_max": "500ms"}
        gateway = self.gateway({"registry": {"auto_register": True}, "mqtt": [
            {"name": "all", "host": "127.0.0.1", "port": broker_port, "topic_prefix": "all/v1", **timing},
            {"name": "north", "host": "127.0.0.1", "port": broker_port, "topic_prefix": "north/v1",
             "filter": {"labels": ["site=north"]}, **timing}]})
        everything, north_alone = Subscriber(self.broker, "all/v1/batches/#"), Subscriber(self.broker, "north/v1/batches/#")
        self.make(gateway, "placed", labels={"site": "north"})
        for device_id in ("placed", "claims", "elsewhere"):
            device = await Device.connect(gateway, device_id, labels={"site": "south" if device_id != "claims" else "north", "line": "7"})
            await device.send(3)
            await device.acked()
            await device.close()

        def senders(subscriber: Subscriber) -> set[str]:
            return {record.device_id for _, payload in subscriber.messages()
                    for record in north.RecordBatch.FromString(payload).records}

        await asyncio.to_thread(wait_for, lambda: senders(everything) >= {"placed", "claims", "elsewhere"}, "the records")
        await asyncio.to_thread(wait_for, lambda: senders(north_alone) >= {"placed", "claims"}, "the records of the north")
        self.assertNotIn("elsewhere", senders(north_alone))

        def found(selector: str) -> set[str]:
            return {device["id"] for device in gateway.call("GET", f"/devices?label={selector}").json["devices"]}

        await asyncio.to_thread(wait_for, lambda: found("site=north") == {"placed", "claims"}, "the query")
        self.assertEqual((found("site=south"), found("line=7")), ({"elsewhere"}, {"placed", "claims", "elsewhere"}))
        self.assertEqual(gateway.call("GET", "/devices/placed").json["labels"], {"line": "7", "site": "north"})

    async def test_who_shows_one_devices_credential_and_says_another_is_written_down_with_the_first(self):
        gateway = self.gateway_
        self.make(gateway, "mallory")
        self.make(gateway, "victim")
        self.assertEqual(await self.refused(gateway, "mallory", says="victim"), (4002, pb.GOODBYE_REASON_POLICY))
        entry = await self.until_in_timeline(gateway, "mallory", "refused", reason="hello_id_mismatch")
        self.assertTrue(entry["fields"]["address"].startswith("127.0.0.1:"), entry)
        self.assertEqual([line for line in self.timeline(gateway, "victim") if line["kind"] != "registry"], [])
        self.assertFalse(gateway.call("GET", "/devices/victim").json["online"])

    async def test_who_shows_no_good_credential_is_written_down_apart(self):
        await self.unauthenticated(self.gateway_, "no-such-token")
        refusals = await asyncio.to_thread(
            wait_for, lambda: [one for one in self.gateway_.call("GET", "/refusals").json["refusals"]
                               if one["reason"] == "unauthenticated"], "the refusal")
        self.assertTrue(refusals[0]["address"].startswith("127.0.0.1:"), refusals)


class TimelineTest(RegistryCase):
    """Why was it offline?"""

    async def ended(self, gateway: Gateway, device: Device, reason: str) -> dict:
        """The line of the end of this connection, in the timeline and in the presence log."""
        epoch = str(device.welcome.epoch)
        entry = await self.until_in_timeline(gateway, device.device_id, "disconnected", reason=reason)
        self.assertEqual(entry["epoch"], epoch)
        events = await asyncio.to_thread(wait_for, lambda: [
            event for event in gateway.call("GET", f"/devices/{device.device_id}/presence?limit=100").json["events"]
            if event["epoch"] == epoch and not event["online"]], "the end in the presence log")
        self.assertEqual([event["reason"] for event in events], [reason])
        return entry

    async def test_each_end_is_answered_for(self):
        gateway = self.gateway()
        device = await Device.connect(gateway, "leaves", firmware_version="1.2")
        connected = await self.until_in_timeline(gateway, "leaves", "connected")
        self.assertEqual((connected["fields"]["firmware"], connected["fields"]["credential"]), ("1.2", "certificate"))
        self.assertRegex(connected["fields"]["tls"], r"^TLSv1\.[23]$")
        await device.ws.send(pb.DeviceFrame(bye=pb.Bye(reason=pb.Bye.REASON_SLEEP)).SerializeToString())
        await device.end()
        await self.ended(gateway, device, "bye")

        device = await Device.connect(gateway, "kicked")
        self.assertEqual(gateway.call("DELETE", "/devices/kicked/session", token=COMMAND_TOKEN).status, 204)
        self.assertEqual((await device.end())[0], 4015)
        await self.ended(gateway, device, "kicked")
        again = gateway.call("DELETE", "/devices/kicked/session")
        self.assertEqual((again.status, again.problem), (404, "device-offline"))

        first = await Device.connect(gateway, "twice")
        second = await Device.connect(gateway, "twice")
        await first.end()
        entry = await self.ended(gateway, first, "taken_over")
        taken = await self.until_in_timeline(gateway, "twice", "taken_over")
        self.assertTrue(taken["fields"]["by"].startswith("127.0.0.1:"), (taken, entry))
        await second.close()

        def silent() -> None:
            with RawDevice.welcomed(gateway, "silent", hello={"heartbeat_seconds": 1}) as raw:
                raw.wait_end()

        await asyncio.to_thread(silent)
        await self.until_in_timeline(gateway, "silent", "disconnected", reason="heartbeat_lost")

    async def test_a_killed_gateway_is_the_reason_once_there_is_one_again(self):
        gateway = self.gateway()
        device = await Device.connect(gateway, "orphan")
        await asyncio.to_thread(wait_for, lambda: [
            event for event in gateway.call("GET", "/devices/orphan/presence").json["events"] if event["online"]], "its presence")
        gateway.process.signal(signal.SIGKILL)
        gateway.process.wait()
        self.assertEqual((await device.end())[0], 1006)
        gateway.start()
        events = await asyncio.to_thread(wait_for, lambda: [
            event for event in gateway.call("GET", "/devices/orphan/presence").json["events"] if not event["online"]], "its end")
        self.assertEqual([(event["reason"], event["epoch"]) for event in events], [("node_lost", str(device.welcome.epoch))])
        await self.ended(gateway, device, "node_lost")
        shown = gateway.call("GET", "/devices/orphan").json
        self.assertEqual((shown["online"], shown["epoch"]), (False, str(device.welcome.epoch)))


class AdminTest(RegistryCase):
    """Nothing is open: every route wants a token, and one whose scope allows it."""

    ADMIN_ALONE = {("GET", "/devices/export"), ("GET", "/devices/{id}/credentials")}
    COMMANDS = {("DELETE", "/devices/{id}/session"), ("POST", "/devices/{id}/commands"), ("DELETE", "/commands/{command}"),
                ("PUT", "/devices/{id}/twin/desired"), ("PATCH", "/devices/{id}/twin/desired")}

    def routes(self) -> list[tuple[str, str]]:
        paths = json.loads((SOURCE / "adapters/http/openapi.json").read_text())["paths"]
        methods = ("get", "put", "post", "patch", "delete")
        return [(method.upper(), path.removeprefix("/api/v1")) for path, operations in paths.items() if path.startswith("/api/v1")
                for method in operations if method in methods]

    def test_every_route_wants_a_token_whose_scope_is_enough(self):
        gateway = self.gateway()
        self.make(gateway, "kept", note="as it was")
        routes = self.routes()
        self.assertGreater(len(routes), 25)
        for method, route in routes:
            path = route.replace("{id}", "kept").replace("{name}", "main").replace("{command}", "0abc").replace("{credential}", "0abc")
            with self.subTest(route=f"{method} {route}"):
                for token in (None, "wrong", ""):
                    answer = gateway.call(method, path, token=token)
                    self.assertEqual((answer.status, answer.problem), (401, "unauthenticated"))
                    self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Bearer"), answer.headers)
                if method != "GET" or (method, route) in self.ADMIN_ALONE:
                    self.assertEqual(gateway.call(method, path, token=READ_TOKEN).problem, "forbidden")
                    if (method, route) not in self.COMMANDS:
                        self.assertEqual(gateway.call(method, path, token=COMMAND_TOKEN).problem, "forbidden")
                elif route != "/stream":  # which has no end
                    self.assertNotIn(gateway.call(method, path, token=READ_TOKEN).status, (401, 403))
        shown = gateway.call("GET", "/devices/kept", token=READ_TOKEN).json
        self.assertEqual((shown["note"], shown["enabled"]), ("as it was", True))

    def test_writes_are_written_down_with_who_made_them(self):
        gateway = self.gateway()
        self.make(gateway, "audited")
        line = wait_for(lambda: gateway.events("api_write", path="/api/v1/devices/audited"), "the line of the write")[0]
        self.assertEqual((line["by"], line["outcome"], line["method"]), ("token:test", "done", "PUT"))

    def test_without_being_told_otherwise_nobody_outside_reaches_the_api_or_the_metrics(self):
        config = self.gateway(start=False).dir / "least.yaml"
        config.write_text("devices: {tls: {certificate_file: a.pem, key_file: b.pem}}\napi: {token_file: tokens}\n")
        done = subprocess.run([FIELDGATE, "print-config", "--config", config], capture_output=True, text=True, check=True)
        printed = yaml.safe_load(done.stdout)
        for door in ("admin", "api"):
            self.assertTrue(str(printed[door]["listen"]).startswith("127.0.0.1:"), printed[door])

    def test_a_listener_is_bound_where_the_configuration_says_and_nowhere_else(self):
        gateway = self.gateway()
        bound = {}
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            address, port = line.split()[1].split(":")
            if line.split()[3] == "0A":
                bound[int(port, 16)] = address
        for port in (gateway.admin_port, gateway.api_port, gateway.port):
            self.assertEqual(bound[port], "0100007F")

    def test_no_secret_is_printed(self):
        gateway = self.gateway({
            "store": {"password": "hidden-store"}, "mqtt": [{"password": "hidden-mqtt", "username": "shown-user", "port": self.broker.port}],
            "webhooks": [{"name": "w", "url": "https://example.org/in", "secret": "hidden-hmac",
                          "headers": [{"name": "Authorization", "value": "hidden-header"}]}]}, start=False)
        done = subprocess.run([FIELDGATE, "print-config", "--config", gateway.config], capture_output=True, text=True, check=True)
        self.assertIn("shown-user", done.stdout)
        self.assertEqual(done.stdout.count("***"), 4, done.stdout)
        self.assertNotIn("hidden", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
