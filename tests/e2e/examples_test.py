#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/examples, each as a newcomer would start it: devices connect, send and obey; clients list, command and follow."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

from contract_proxy import ContractProxy
from device_client import GENERATED
from gateway_fixture import API_TOKEN, PATIENCE, SOURCE, GatewayTestCase, Process, folder, wait_for

EXAMPLES = SOURCE / "docs" / "examples"
NODE_MODULES = "/usr/share/nodejs"
NODE = shutil.which("node")
NEW_NODE = bool(NODE) and int(re.match(r"v(\d+)", subprocess.check_output([NODE, "--version"], text=True))[1]) >= 18
NODE_WS = NEW_NODE and pathlib.Path(NODE_MODULES, "ws").exists()
DEVICES = {"py": [sys.executable, "-B", EXAMPLES / "device.py"], "mjs": [NODE, EXAMPLES / "device.mjs"]}
CLIENTS = {"py": [sys.executable, "-B", EXAMPLES / "api_client.py"], "mjs": [NODE, EXAMPLES / "api_client.mjs"]}


class ExamplesTest(GatewayTestCase):
    def setUp(self):
        self.gw = self.gateway(start=False)
        self.gw.add_tokens("boiler-7")
        self.gw.start()
        self.proxy = ContractProxy(self.gw)
        self.addCleanup(self.proxy.close)
        self.environment = {**os.environ, "FIELDGATE_API": self.proxy.url, "NODE_PATH": NODE_MODULES,
                            "FIELDGATE_API_TOKEN": API_TOKEN, "PYTHONPATH": str(GENERATED), "PYTHONUNBUFFERED": "1"}

    def device(self, kind: str, *more) -> Process:
        command = [*DEVICES[kind], self.gw.url, "boiler-7", self.gw.tokens["boiler-7"], self.gw.dir / "ca.pem", *more]
        process = Process(f"device.{kind}", command, folder("device") / "log", self.environment)
        self.addCleanup(process.kill)
        return process

    def client(self, kind: str, *arguments) -> subprocess.CompletedProcess:
        return subprocess.run([*map(str, CLIENTS[kind]), *arguments], capture_output=True, text=True, timeout=PATIENCE * 2,
                              env=self.environment, check=False)

    def api(self, path: str) -> dict:
        return self.gw.api("/api/v1" + path)

    def change(self, method: str, path: str, *more) -> None:
        done = subprocess.run(["curl", "-sS", "--fail-with-body", "-X", method, "-H", f"Authorization: Bearer {API_TOKEN}", *more,
                               f"{self.environment['FIELDGATE_API']}/api/v1/devices/boiler-7{path}"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def patch_desired(self, document: dict) -> None:
        self.change("PATCH", "/twin/desired", "-H", "Content-Type: application/merge-patch+json", "-d", json.dumps(document))

    def check_device_that_counts(self, kind: str) -> None:
        device = self.device(kind, "20")
        self.assertEqual(device.wait(), 0, device.log())
        self.assertIn("20 frames acknowledged", device.log())
        values = self.api("/devices/boiler-7/telemetry/latest")["last_values"]
        self.assertEqual([value["name"] for value in values], ["temperature"])

    def check_device_that_obeys(self, kind: str, client: str) -> None:
        self.device(kind)
        wait_for(lambda: self.api("/devices?online=true")["devices"], "the device")
        echo = self.client(client, "command", "boiler-7", "echo", '{"rpm": [900, "ü"]}')
        self.assertEqual(echo.returncode, 0, echo.stderr)
        state, answer = echo.stdout.split(maxsplit=1)
        self.assertEqual((state, json.loads(answer)), ("succeeded", {"rpm": [900, "ü"]}))
        ping = self.client(client, "command", "boiler-7", "ping")
        self.assertEqual((ping.returncode, ping.stdout.split()[0]), (0, "succeeded"), ping.stderr)
        commands = {one["name"]: one for one in self.api("/devices/boiler-7/commands")["commands"]}
        self.assertEqual(commands["ping"]["result"]["text"], "pong")
        self.assertIn("acknowledged", [step["state"] for step in commands["ping"]["steps"]])
        unknown = self.client(client, "command", "boiler-7", "fly")
        self.assertEqual((unknown.returncode, unknown.stdout.split()[0]), (1, "rejected"), unknown.stderr)
        wait_for(lambda: self.api("/devices/boiler-7")["last_values"], "telemetry")

    def check_twin(self, kind: str) -> None:
        self.device(kind)

        def twin(good):
            seen = self.api("/devices/boiler-7/twin")
            return seen if good(seen) else None

        wait_for(lambda: self.api("/devices?online=true")["devices"], "the device")
        wait_for(lambda: twin(lambda seen: seen["reported"]["document"] == {"interval": 1}), "the first report")
        self.patch_desired({"interval": 0.5, "name": "left"})
        taken = wait_for(lambda: twin(lambda seen: seen["reported"]["document"].get("name") == "left"), "the desired document")
        self.assertEqual((taken["reported"]["document"], taken["delta"]), ({"interval": 0.5, "name": "left"}, {}))
        self.patch_desired({"interval": -1})
        refused = wait_for(lambda: twin(lambda seen: seen["acknowledged"]["error"]), "the refusal")
        self.assertIn("0.1 to 3600", refused["acknowledged"]["error"])
        self.assertEqual(refused["reported"]["document"]["interval"], 0.5)

    def check_list(self, client: str) -> None:
        self.device("py")
        wait_for(lambda: self.api("/devices?online=true")["devices"], "the device")
        listed = self.client(client, "list", "online=true")
        self.assertEqual((listed.returncode, listed.stdout.split()[:2]), (0, ["boiler-7", "online"]), listed.stderr)
        self.assertEqual(self.client(client, "list", "online=false").stdout, "")
        refused = self.client(client, "list", "onlin=true")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("online", refused.stderr)

    def check_follow(self, client: str) -> None:
        """It sees a device come; and goes on, of its own accord, after a restart of the gateway, which has forgotten the
        events of its earlier life and says so."""
        follower = Process("follow", [*CLIENTS[client], "follow", "presence"], folder("follow") / "log", self.environment)
        self.addCleanup(follower.kill)

        def events(kind: str) -> list[dict]:
            lines = follower.log().split("\n")[:-1]  # the last one may be half written
            return [json.loads(line.split(" ", 1)[1]) for line in lines if line.startswith(kind + " ")]

        def came() -> int:
            return sum(event["device"] == "boiler-7" and event["online"] for event in events("presence"))

        wait_for(lambda: events("hello"), "hello")
        self.device("py")
        wait_for(came, "the device to come")
        self.gw.stop()
        self.gw.start()
        wait_for(lambda: events("reset"), "the stream to go on")
        wait_for(lambda: self.api("/devices?online=true")["devices"], "the device")  # before the stream did, perhaps
        before = came()
        self.change("DELETE", "/session")
        wait_for(lambda: came() > before, "the device to come again")

    def test_device_py_sends_its_frames_and_ends(self):
        self.check_device_that_counts("py")

    @unittest.skipUnless(NODE_WS, "there is no node >= 18 with Debian's node-ws here")
    def test_device_mjs_sends_its_frames_and_ends(self):
        self.check_device_that_counts("mjs")

    def test_device_py_obeys_api_client_py(self):
        self.check_device_that_obeys("py", "py")

    @unittest.skipUnless(NODE_WS, "there is no node >= 18 with Debian's node-ws here")
    def test_device_mjs_obeys_api_client_mjs(self):
        self.check_device_that_obeys("mjs", "mjs")

    def test_device_py_keeps_a_twin(self):
        self.check_twin("py")

    @unittest.skipUnless(NODE_WS, "there is no node >= 18 with Debian's node-ws here")
    def test_device_mjs_keeps_a_twin(self):
        self.check_twin("mjs")

    def test_api_client_py_lists(self):
        self.check_list("py")

    @unittest.skipUnless(NEW_NODE, "there is no node >= 18 here")
    def test_api_client_mjs_lists(self):
        self.check_list("mjs")

    def test_api_client_py_follows_and_comes_back(self):
        self.check_follow("py")

    @unittest.skipUnless(NEW_NODE, "there is no node >= 18 here")
    def test_api_client_mjs_follows_and_comes_back(self):
        self.check_follow("mjs")


if __name__ == "__main__":
    unittest.main()
