#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the configuration, devices and callers confide is told to nobody: not in the log at its most talkative, not by the API."""

import asyncio
import base64
import os
import subprocess
import sys
import unittest
import urllib.parse

from gateway_fixture import API_TOKEN, COMMAND_TOKEN, CONTRACT, FIELDGATE, READ_TOKEN, SOURCE, Broker, Gateway, GatewayTestCase, folder, wait_for
from device_client import Device, pb
from store_outage_test import PASSWORD, PROGRAMS, Postgres

sys.path.insert(0, os.fspath(SOURCE / "tests/support"))
from webhook_target import Target  # noqa: E402

MQTT, MQTT_LATER, SIGNING, HEADER, HEADER_LATER, WRONG, OF_QUERY = (f"hidden-{what}-5up3r" for what in (
    "broker", "broker-later", "signing", "header", "header-later", "wrong", "query"))


def disguises(secret: str) -> set[str]:
    """How else it might come to be written."""
    quoted = secret.replace("'", "\\'")
    return {secret, quoted, urllib.parse.quote(secret), base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex()}


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class SecretsTest(GatewayTestCase):
    def setUp(self):
        self.postgres = Postgres()
        self.addCleanup(self.postgres.process.kill)
        self.target = Target()
        self.addCleanup(self.target.close)
        passwords = folder("passwords") / "file"
        passwords.touch()
        subprocess.run(["mosquitto_passwd", "-b", passwords, "gateway", MQTT], check=True)
        passwords.chmod(0o644)
        self.strict = Broker("allow_anonymous false", f"password_file {passwords}")
        self.addCleanup(self.strict.kill)

    def lanes(self, password: str, header: str) -> dict:
        timing = {"backoff_min": "50ms", "backoff_max": "200ms"}
        return {"mqtt": [{"port": self.strict.port, "username": "gateway", "password": password, **timing}],
                "webhooks": [{"name": "hook", "url": f"http://127.0.0.1:{self.target.port}/in?key={OF_QUERY}", "secret": SIGNING,
                              "headers": [{"name": "Authorization", "value": f"Bearer {header}"}],
                              "allowed_networks": ["127.0.0.0/8"], **timing}]}

    def secretive(self, password: str = PASSWORD) -> Gateway:
        gateway = self.gateway({**self.lanes(MQTT, HEADER), "store": {
            "kind": "postgres", "connection": self.postgres.connection(self.postgres.make_database()), "password": password}}, start=False)
        gateway.add_tokens("pump")
        gateway.start()
        return gateway

    def answers(self, gateway: Gateway, **places: str) -> str:
        """Of everything that can be looked at."""
        texts = []
        for path, item in CONTRACT.document["paths"].items():
            if "get" in item and path.startswith("/api/v1") and path != "/api/v1/stream":
                texts.append(gateway.call("GET", path.removeprefix("/api/v1").format(**places)).text)
        self.assertGreater(len(texts), 15)
        return "\n".join(texts)

    def check(self, text: str, *secrets: str) -> None:
        for secret in secrets:
            for written in disguises(secret):
                at = text.find(written)
                self.assertEqual(at, -1, f"{secret}: {text[max(at - 200, 0):at + 200]}")

    def everywhere(self, gateway: Gateway, **places: str) -> str:
        printed = subprocess.run([FIELDGATE, "print-config", "--config", gateway.config], capture_output=True, text=True, check=False)
        return "\n".join((self.answers(gateway, **places), gateway.metrics_text(), str(gateway.readyz()), gateway.process.log(),
                          printed.stdout.replace(OF_QUERY, ""), printed.stderr))  # a URL is shown there, as docs/configuration.md says

    async def until(self, condition, what: str):
        return await asyncio.to_thread(wait_for, condition, what)

    async def test_nothing_that_was_confided_is_in_the_log_or_in_an_answer(self):
        gateway = self.secretive()
        self.target.behave(status=400, body="I do not want that")
        device = await Device.connect(gateway, "pump", capabilities=["command"])
        await device.say(event=pb.Event(name="door"))
        await device.acked()
        letter = (await self.until(lambda: gateway.api("/api/v1/dead-letters")["dead_letters"], "a dead letter"))[0]
        sent = self.target.requests()[0]["headers"]
        self.assertEqual(sent["authorization"], f"Bearer {HEADER}")
        self.assertTrue(any("signature" in name for name in sent), sent)
        self.target.behave(status=500)  # to be tried again, and written down
        await device.say(event=pb.Event(name="window"))
        command = (await asyncio.to_thread(gateway.call, "POST", "/devices/pump/commands", {"name": "ping"}, token=COMMAND_TOKEN)).json["id"]
        made = await asyncio.to_thread(gateway.call, "POST", "/devices/pump/credentials", {"kind": "token"})
        self.assertEqual(made.status, 201, made)
        self.assertEqual((await asyncio.to_thread(gateway.call, "GET", "/nodes", token=READ_TOKEN)).status, 200)
        self.assertEqual((await asyncio.to_thread(gateway.call, "GET", "/nodes", token=WRONG)).status, 401)
        for change in (self.lanes(MQTT_LATER, HEADER_LATER), {"store": {"password": WRONG}}, {"webhooks": [{"secret": {"a": WRONG}}]},
                       {"mqtt": [{"password": [WRONG]}]}, {**self.lanes(MQTT, HEADER), "store": {"password": PASSWORD}}):
            gateway.write_config(change)
            await asyncio.to_thread(gateway.reload)
        self.assertTrue(gateway.events("reload_refused"))
        # The other ends have gone, and are spoken to again.
        self.strict.kill()
        self.postgres.stop()
        await self.until(lambda: gateway.readyz()[1]["reasons"], "the gateway to notice")
        self.strict.start()
        self.postgres.start()
        await self.until(lambda: gateway.call("GET", f"/commands/{command}").status == 200, "the store")
        places = {"id": "pump", "name": "hook", "command": command, "credential": made.json["id"]}
        text = await asyncio.to_thread(self.everywhere, gateway, **places)
        letters = await asyncio.to_thread(gateway.call, "GET", f"/dead-letters/{letter['id']}")
        self.assertEqual(letters.status, 200)
        self.assertIn("http_request", text)  # so it is the log of level debug
        self.check(text + letters.text, MQTT, MQTT_LATER, SIGNING, HEADER, HEADER_LATER, WRONG, OF_QUERY, PASSWORD, API_TOKEN,
                   READ_TOKEN, COMMAND_TOKEN, gateway.tokens["pump"], made.json["token"])
        await device.close()

    async def test_a_password_that_the_database_refuses_is_not_told_either(self):
        gateway = self.secretive(WRONG)
        reasons = await self.until(lambda: gateway.readyz()[1]["reasons"], "the gateway to notice")
        self.assertIn("store_down", [reason["name"] for reason in reasons])
        text = "\n".join((gateway.call("GET", "/overview").text, gateway.call("GET", "/nodes").text, gateway.process.log()))
        self.assertIn("password authentication failed", text)
        self.check(text, WRONG, PASSWORD)


if __name__ == "__main__":
    unittest.main(verbosity=2)
