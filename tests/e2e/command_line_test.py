#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The binary's commands and exit statuses, and two gateways that want the same thing."""

import asyncio
import os
import pathlib
import re
import subprocess
import unittest

import jsonschema
import yaml

from gateway_fixture import FIELDGATE, PATIENCE, SOURCE, GatewayTestCase, folder
from device_client import Device, pb

FIVE_MISTAKES = """\
node:
  shards: 300
devices:
  lisen: 127.0.0.1:8443
  tls:
    certificate_file: server.pem
    key_file: key.pem
session:
  heartbeat: soon
mqtt:
  - host: broker
    port: 1883
    port: 1884
tokens:
  file: ${FIELDGATE_TEST_UNSET}
api:
  enabled: false
"""


def fieldgate(*arguments, **environment) -> subprocess.CompletedProcess:
    keep = {name: value for name, value in os.environ.items() if not name.startswith("FIELDGATE_")}
    return subprocess.run([FIELDGATE, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE,
                          env={**keep, **environment}, cwd=folder("cwd"), check=False)


class CommandLineTest(unittest.TestCase):
    def test_check_config_lists_all_five_mistakes_with_their_places_and_exits_1(self):
        config = folder("config") / "bad.yaml"
        config.write_text(FIVE_MISTAKES)
        done = fieldgate("check-config", "--config", config)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        problems = [line for line in done.stdout.splitlines() if "warning:" not in line]
        places = [re.match(re.escape(str(config)) + r":(\d+):(\d+): ", line) for line in problems]
        self.assertTrue(all(places), done.stdout)
        self.assertEqual([(int(p[1]), int(p[2])) for p in places], [(2, 11), (4, 3), (9, 14), (13, 5), (15, 9)], done.stdout)
        for line, word in zip(problems, ("256", "did you mean", "soon", "port", "FIELDGATE_TEST_UNSET")):
            self.assertIn(word, line)

    def test_serve_with_a_bad_configuration_exits_78_and_lists_the_same(self):
        config = folder("config") / "bad.yaml"
        config.write_text(FIVE_MISTAKES)
        done = fieldgate("serve", "--config", config)
        self.assertEqual(done.returncode, 78)
        self.assertEqual(len(re.findall(r"^\S+bad\.yaml:\d+:\d+: (?!warning)", done.stderr, re.MULTILINE)), 5, done.stderr)

    def test_a_file_that_is_not_there_is_66(self):
        done = fieldgate("serve", "--config", "/no/such/file.yaml")
        self.assertEqual(done.returncode, 66)
        self.assertIn("/no/such/file.yaml", done.stderr)

    def test_an_unknown_command_or_option_is_64(self):
        done = fieldgate("serv")
        self.assertEqual(done.returncode, 64)
        self.assertIn("did you mean serve", done.stderr)
        self.assertEqual(fieldgate("serve", "--no-such-option").returncode, 64)
        self.assertEqual(fieldgate("serve").returncode, 64)

    def test_version_and_help(self):
        done = fieldgate("version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^fieldgate \d+\.\d+\.\d+\n$")
        self.assertIn("check-config", fieldgate("help").stdout)

    def test_print_config_shows_what_takes_effect_and_no_secret(self):
        config = folder("config") / "secret.yaml"
        config.write_text("devices:\n  tls: {enabled: false}\n  listen: 127.0.0.1:1\ntokens: {file: /t}\napi: {enabled: false}\n"
                          "mqtt:\n  - username: gw\n    password: ${BROKER_PASSWORD}\n")
        done = fieldgate("print-config", "--config", config, BROKER_PASSWORD="hunter2secret", FIELDGATE_NODE_NAME="from-env")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("hunter2secret", done.stdout + done.stderr)
        printed = yaml.safe_load(done.stdout)
        self.assertEqual(printed["mqtt"][0]["password"], "***")
        self.assertEqual(printed["node"]["name"], "from-env")
        self.assertEqual(printed["session"]["heartbeat"], "30s")

    def test_the_samples_match_the_schema_that_the_binary_prints(self):
        schema = yaml.safe_load(fieldgate("config-schema").stdout)
        jsonschema.Draft202012Validator.check_schema(schema)
        for sample in ("minimal", "production", "full"):
            jsonschema.validate(yaml.safe_load((SOURCE / f"config/{sample}.yaml").read_text()), schema)
        jsonschema.validate(yaml.safe_load(fieldgate("config-sample").stdout), schema)
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load("node: {shards: 300}"), schema)


class SampleTest(GatewayTestCase):
    async def test_a_device_with_a_token_gets_in_with_the_least_that_runs(self):
        gateway = self.gateway(start=False)
        gateway.add_tokens("pump-7")
        text = (SOURCE / "config/minimal.yaml").read_text()
        for there, here in (("tls/server.crt", "server.pem"), ("tls/server.key", "server-key.pem"),
                            ("device-tokens", "device-tokens"), ("api-tokens", "api-tokens")):
            self.assertIn(f"/etc/fieldgate/{there}\n", text)
            text = text.replace(f"/etc/fieldgate/{there}\n", f"{gateway.dir / here}\n")
        gateway.config.write_text(text)
        # What a machine has but once: its ports, and the place for what lasts.
        here = {"NODE_STATE_DIR": gateway.dir / "state", "DEVICES_LISTEN": f"127.0.0.1:{gateway.port}",
                "API_LISTEN": f"127.0.0.1:{gateway.api_port}", "ADMIN_LISTEN": f"127.0.0.1:{gateway.admin_port}",
                "MQTT_0_PORT": self.broker.port, "LOG_FORMAT": "json"}
        gateway.prefix = ("env", *(f"FIELDGATE_{name}={value}" for name, value in here.items()))
        gateway.start()
        device = await Device.connect(gateway, "pump-7")
        await device.send(3)
        await device.acked()
        self.assertIsNotNone(gateway.api("/api/v1/devices/pump-7")["registry"])
        await device.close()


class SecondGatewayTest(GatewayTestCase):
    async def test_a_second_gateway_on_the_same_port_is_refused_and_the_first_is_unharmed(self):
        first = self.gateway()
        device = await Device.connect(first, "pump-1")
        second = self.gateway({"devices": {"listen": f"127.0.0.1:{first.port}"}, "node": {"name": "second"}}, start=False)
        second.start(ready=False)
        self.assertEqual(second.process.wait(), 69)
        error = second.wait_event("start_failed")["error"]
        self.assertIn(f"cannot listen on 127.0.0.1:{first.port}", error)
        self.assertIn("another process has it", error)
        await device.send(3)
        await device.acked(3)
        for number in range(8):  # none of these may have gone to the other one's backlog
            other = await Device.connect(first, f"meter-{number}")
            await other.close()
        await device.close()

    async def test_a_second_gateway_on_the_same_state_folder_is_refused_and_the_first_is_unharmed(self):
        first = self.gateway()
        device = await Device.connect(first, "pump-2")
        second = self.gateway({"node": {"state_dir": first.settings["node"]["state_dir"]}}, start=False)
        second.start(ready=False)
        self.assertEqual(second.process.wait(), 69)
        self.assertIn("another gateway uses node.state_dir", second.wait_event("start_failed")["error"])
        await device.send(3)
        await device.acked(3)
        await device.close()

    async def test_a_second_gateway_on_the_same_spool_is_refused_and_the_first_is_unharmed(self):
        folder_of_both = folder("spool") / "both"
        spool = {"uplink": {"spool": {"enabled": True, "dir": str(folder_of_both), "bytes_max": "64MiB"}}}
        first = self.gateway(spool)
        device = await Device.connect(first, "pump-3", ack_stage=pb.ACK_STAGE_SPOOLED)
        second = self.gateway({"node": {"name": "second"}, **spool}, start=False)
        second.start(ready=False)
        self.assertEqual(await asyncio.to_thread(second.process.wait), 69)
        self.assertIn(str(folder_of_both), second.wait_event("start_failed")["error"])
        self.assertIn("another", second.events("start_failed")[0]["error"])
        await device.send(3)
        await device.acked(3)
        await device.close()


class SpoolStartTest(GatewayTestCase):
    def refused(self, spool: pathlib.Path) -> str:
        """What the gateway says of a spool that it does not take."""
        gateway = self.gateway({"uplink": {"spool": {"enabled": True, "dir": str(spool), "bytes_max": "64MiB"}}}, start=False)
        gateway.start(ready=False)
        self.assertEqual(gateway.process.wait(), 69)
        gateway.check_log()
        return gateway.wait_event("start_failed")["error"]

    def test_a_file_that_is_no_spool_is_refused_and_left_as_it_is(self):
        spool = folder("spool")
        (spool / "data.mdb").write_bytes(b"somebody else's\n" * 1000)
        self.assertIn(str(spool), self.refused(spool))
        self.assertEqual((spool / "data.mdb").read_bytes(), b"somebody else's\n" * 1000)

    def test_a_folder_that_cannot_be_made_is_named(self):
        path = folder("spool") / "file"
        path.write_text("not a folder")
        self.assertIn(str(path / "spool"), self.refused(path / "spool"))

    def test_the_spool_is_in_the_state_folder_unless_it_is_told_where(self):
        gateway = self.gateway({"uplink": {"spool": {"enabled": True, "bytes_max": "64MiB"}}})
        self.assertTrue((gateway.dir / "state/spool/data.mdb").exists())
        self.assertEqual(gateway.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
