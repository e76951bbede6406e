#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The real gateway with what the chart gives it: its configuration, its arguments, its probes, and the script of
`helm test`. What a pod would have mounted is made in a folder. Needs FIELDGATE_BIN and FIELDGATE_SOURCE."""

import base64
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import unittest
import urllib.request

import yaml

import chart

if "FIELDGATE_BIN" not in os.environ:
    raise unittest.SkipTest("no FIELDGATE_BIN: where the gateway was built; ctest says it")
sys.path.insert(0, str(chart.ROOT / "tests/e2e"))
from gateway_fixture import BIN, FIELDGATE, PATIENCE, Broker, Pki, Process, Subscriber, folder, free_port, wait_for  # noqa: E402
from store_outage_test import PASSWORD, PROGRAMS, Postgres  # noqa: E402

API_TOKEN = "the-api-token-of-this-test"
READ_TOKEN = "the-token-that-may-only-look"


def jwks(private_key: pathlib.Path) -> str:
    """The public half of a P-256 key, as a JSON Web Key Set."""
    der = subprocess.run(["openssl", "pkey", "-in", private_key, "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout
    x, y = (base64.urlsafe_b64encode(half).rstrip(b"=").decode() for half in (der[-64:-32], der[-32:]))
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "x": x, "y": y}]})


class Pod:
    """One gateway's container: the folders that it would have mounted, its environment and its arguments."""

    def __init__(self, pki: Pki, found: list[chart.Document]):
        self.found, self.container = found, chart.gateway(found)
        self.root = folder("pod")
        self.etc, self.state = self.root / "etc", self.root / "state"
        self.state.mkdir()
        texts = {
            "tls/tls.crt": pki.server.read_text(), "tls/tls.key": pki.server_key.read_text(),
            "api-tls/tls.crt": pki.server.read_text(), "api-tls/tls.key": pki.server_key.read_text(),
            "client-ca/ca.crt": pki.ca.read_text(), "client-ca/revoked.pem": pki.revocation_list(),
            "api-tokens/api-tokens": "".join(
                f"{name} sha256:{hashlib.sha256(token.encode()).hexdigest()} {scope}\n"
                for name, token, scope in (("ops", API_TOKEN, "admin"), ("looker", READ_TOKEN, "read"))), "device-tokens/device-tokens": "",
            "store-password/password": "secret\n", "files/broker/password": "secret\n", "files/broker/ca.crt": pki.ca.read_text(),
            "files/db-ca/ca.crt": pki.ca.read_text(), "files/jwks/jwks.json": jwks(pki.server_key),
        }
        mounted = {pathlib.Path(mount["mountPath"]) for mount in self.container["volumeMounts"]}
        for name, text in texts.items():
            if pathlib.Path("/etc/fieldgate", name).parent in mounted:
                (self.etc / name).parent.mkdir(parents=True, exist_ok=True)
                (self.etc / name).write_text(text)
        self.environment = {**os.environ, "FIELDGATE_NODE_NAME": "pod-0", "FIELDGATE_NODE_SHARDS": "1",
                            "ALARMS_SECRET": "secret", "BROKER_PASSWORD": "secret"}
        self.settings = json.loads(json.dumps(chart.configuration(found)).replace("/etc/fieldgate/", f"{self.etc}/")
                                   .replace("/var/lib/fieldgate", str(self.state)))
        (self.etc / "config").mkdir()
        self.write()

    def write(self) -> None:
        (self.etc / "config/fieldgate.yaml").write_text(yaml.safe_dump(self.settings))

    def arguments(self) -> list[str]:
        return [argument.replace("/etc/fieldgate/", f"{self.etc}/") for argument in self.container["args"]]


class Configuration(unittest.TestCase):
    def test_the_gateway_takes_every_configuration_that_the_chart_writes(self):
        pki = Pki()
        for name in chart.NAMES:
            with self.subTest(values=name):
                pod = Pod(pki, chart.golden(name))
                command, *rest = pod.arguments()
                self.assertEqual((pod.container["command"], command), (["fieldgate"], "serve"))
                done = subprocess.run([FIELDGATE, "check-config", *rest], env=pod.environment, capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Installed:
    """A gateway as the chart starts it: only addresses differ. And `helm test`, its script as the test pod has it."""

    values: str

    @classmethod
    def place_store(cls) -> None:
        """Makes the store that the configuration wants, and says where it is."""

    @classmethod
    def place_on_postgres(cls) -> None:
        postgres = Postgres()
        cls.addClassCleanup(postgres.stop)
        store = cls.pod.settings["store"]
        assert store["kind"] == "postgres"
        store["connection"] = postgres.connection(postgres.make_database())
        (cls.pod.etc / "store-password/password").write_text(PASSWORD)

    @classmethod
    def setUpClass(cls):
        cls.pki, cls.broker = Pki(), Broker()
        cls.pod = Pod(cls.pki, chart.golden(cls.values))
        cls.place_store()
        cls.ports = {"devices": free_port(), "api": free_port(), "admin": free_port()}
        for section, port in cls.ports.items():
            cls.pod.settings[section]["listen"] = f"127.0.0.1:{port}"
        cls.pod.settings["node"].update(drain_delay="0s", drain_period="1s")
        cls.pod.settings["mqtt"][0].update(host="127.0.0.1", port=cls.broker.port)
        cls.pod.settings["mqtt"][0].pop("tls", None)
        cls.pod.settings.pop("webhooks", None)
        cls.pod.write()
        cls.gateway = Process("fieldgate", [FIELDGATE, *cls.pod.arguments()], cls.pod.root / "log", cls.pod.environment)
        wait_for(lambda: cls.ready() or not cls.gateway.alive(), "the gateway to be ready")
        assert cls.gateway.alive(), cls.gateway.log()

    @classmethod
    def ready(cls) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{cls.ports['admin']}/readyz", timeout=PATIENCE) as answer:
                return answer.status == 200
        except OSError:  # and what urllib makes of an answer that is none of 200
            return False

    @classmethod
    def tearDownClass(cls):
        """As Kubernetes ends a pod: the preStop hook, then SIGTERM."""
        stop = [part.replace("/var/lib/fieldgate", str(cls.pod.state)) for part in cls.pod.container["lifecycle"]["preStop"]["exec"]["command"]]
        drained = subprocess.run([FIELDGATE, *stop[1:]], capture_output=True, text=True, check=False)
        status = cls.gateway.terminate()
        cls.broker.kill()
        assert (stop[0], drained.returncode, status) == ("fieldgate", 0, 0), f"{drained} {status}: {cls.gateway.log()}"

    def run_script(self, **values: str) -> subprocess.CompletedProcess:
        """With these in the place of the pod's variables, which must be the same ones."""
        container = chart.only(self.pod.found, "Pod")["spec"]["containers"][0]
        self.assertEqual({one["name"] for one in container["env"]}, set(values))
        environment = {"PATH": f"{BIN}:/usr/bin:/bin", "TMPDIR": str(folder("tmp")), **values}
        return subprocess.run([*container["command"], *container["args"]], env=environment, capture_output=True, text=True, check=False,
                              errors="replace", stdin=subprocess.DEVNULL, timeout=4 * PATIENCE)  # it shows frames that came

    def test_probes_ask_what_the_gateway_answers(self):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = self.pod.container[probe]["httpGet"]["path"]
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}{path}", timeout=PATIENCE) as answer:
                self.assertEqual(answer.status, 200, path)


class RegisteredDevice(Installed):
    """The test's device is registered through the API."""

    def round_trip(self, **over: str) -> subprocess.CompletedProcess:
        variables = chart.only(self.pod.found, "Pod")["spec"]["containers"][0]["env"]
        secret = next(one["valueFrom"]["secretKeyRef"] for one in variables if one["name"] == "FIELDGATE_API_TOKEN")
        self.assertEqual(secret, {"name": "fieldgate-api-tokens", "key": "token"})
        values = {"FIELDGATE_API": f"http://127.0.0.1:{self.ports['api']}", "FIELDGATE_API_TOKEN": API_TOKEN + "\n",
                  "TEST_GATEWAY": f"localhost:{self.ports['devices']}", "TEST_CA": str(self.pki.ca), "TEST_API_CA": "/nowhere/ca.crt"}
        return self.run_script(**{**values, **over})

    def registered(self) -> list[str]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['api']}/api/v1/devices",
                                         headers={"Authorization": f"Bearer {API_TOKEN}"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return [device["id"] for device in json.load(answer)["devices"] if device["registered"]]

    def test_a_device_gets_its_acknowledgements_over_tls_and_is_taken_out_again(self):
        heard = Subscriber(self.broker, "fieldgate/v1/#")
        done = self.round_trip()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("round trip: good", done.stdout)
        self.assertRegex(done.stdout, r"upgraded to WebSocket\nwelcome as helm-test-[0-9a-f]{8}\nacknowledged\n")
        topics = [topic for topic, _ in heard.messages() if topic.endswith("/events/helm-test")]
        self.assertEqual(1, len(topics), "what was acknowledged is at the broker")
        self.assertEqual(self.registered(), [])
        heard.kill()

    def test_it_fails_where_the_certificate_is_not_of_the_ca(self):
        done = self.round_trip(TEST_CA=str(Pki("Another CA").ca))
        self.assertNotEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("upgraded", done.stdout)
        self.assertEqual(self.registered(), [])

    def test_it_fails_where_the_token_may_not_register_a_device(self):
        done = self.round_trip(FIELDGATE_API_TOKEN=READ_TOKEN)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("does not take a device", done.stderr)
        self.assertEqual(self.registered(), [])


class OneSite(RegisteredDevice, unittest.TestCase):
    values = "nodeport"


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class Tryout(RegisteredDevice, unittest.TestCase):
    """What the README's four commands install."""

    values = "tryout"

    @classmethod
    def place_store(cls) -> None:
        cls.place_on_postgres()


@unittest.skipUnless((PROGRAMS / "postgres").exists(), "PostgreSQL is missing: install Debian's package postgresql-15")
class Fleet(Installed, unittest.TestCase):
    """A certificate is demanded of every device: the test comes with one."""

    values = "fleet"

    @classmethod
    def place_store(cls) -> None:
        cls.place_on_postgres()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        assert cls.pod.settings["devices"]["tls"]["client_certificate"] == "required"
        made = subprocess.run([FIELDGATE, "device", "create", "helm-test", "--api", f"https://localhost:{cls.ports['api']}", "--ca", cls.pki.ca],
                              env={**os.environ, "FIELDGATE_API_TOKEN": API_TOKEN}, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made

    def round_trip(self, pair: tuple[pathlib.Path, pathlib.Path]) -> subprocess.CompletedProcess:
        certificate, key = map(str, pair)
        return self.run_script(TEST_GATEWAY=f"localhost:{self.ports['devices']}", TEST_CA=str(self.pki.ca),
                               TEST_CERTIFICATE=certificate, TEST_KEY=key)

    def test_the_device_of_the_certificate_gets_its_acknowledgements(self):
        done = self.round_trip(self.pki.device("helm-test"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout, "upgraded to WebSocket\nwelcome as helm-test\nacknowledged\nround trip: good\n")

    def test_it_fails_where_the_certificate_is_of_another_authority(self):
        done = self.round_trip(Pki("Another CA").device("helm-test"))
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("in vain: upgraded to WebSocket", done.stderr)

    def test_it_fails_where_the_certificates_device_is_not_registered(self):
        done = self.round_trip(self.pki.device("stranger"))
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertNotIn("welcome", done.stdout)

    def test_it_says_so_where_the_certificate_is_of_no_device(self):
        done = self.round_trip(self.pki.issue("a" * 30, "URI:urn:fieldgate:device:" + "a" * 120))
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("the certificate must be of a device", done.stderr)


if __name__ == "__main__":
    unittest.main()
