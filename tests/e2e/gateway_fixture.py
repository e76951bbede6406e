# SPDX-License-Identifier: Apache-2.0
"""The real gateway and a real broker, for tests that look at them from outside.

Needs FIELDGATE_BIN (where fieldgate is) and FIELDGATE_SOURCE. All of a run is below
one temporary folder; every process started here ends with the process of the test.
"""

import atexit
import contextlib
import hashlib
import io
import json
import logging
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

BIN = pathlib.Path(os.environ["FIELDGATE_BIN"])
SOURCE = pathlib.Path(os.environ["FIELDGATE_SOURCE"])
sys.path.insert(0, str(SOURCE / "tests/support"))
from openapi_contract import Contract  # noqa: E402

FIELDGATE = BIN / "fieldgate"
# Long, for sanitizers and loaded machines: nothing is measured by it.
PATIENCE = 40.0
# What every answer of the API is held against, whoever asked; a test that meets with a fault has failed.
CONTRACT = Contract(str(SOURCE / "adapters/http/openapi.json"))
API_TOKEN = "the-api-token-of-this-test"
READ_TOKEN, COMMAND_TOKEN = "the-token-that-may-look", "the-token-that-may-command"

ROOT = pathlib.Path(tempfile.mkdtemp(prefix="fieldgate-e2e-"))
_processes: list["Process"] = []


def _at_exit() -> None:
    for process in _processes:
        process.kill()
    shutil.rmtree(ROOT, ignore_errors=True)


atexit.register(_at_exit)
logging.getLogger("asyncio").setLevel(logging.ERROR)  # it counts each wait for a process as a slow callback


def folder(name: str) -> pathlib.Path:
    return pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=ROOT))


_claims: list[socket.socket] = []


def free_port() -> int:
    """Below the ports that the kernel gives to outgoing connections, so that none of those takes it meanwhile; ours until
    this process ends, also before other tests that run beside this one: whoever asked first may not have bound it yet."""
    while True:
        port = random.randrange(10_000, 30_000)
        claim = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError), socket.socket() as probe:
            claim.bind(f"\0fieldgate-port-{port}")
            probe.bind(("127.0.0.1", port))
            _claims.append(claim)
            return port
        claim.close()


def wait_for(condition, what: str, seconds: float = PATIENCE):
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


class Process:
    """A program of ours, its output in a file."""

    def __init__(self, name: str, command: list, log: pathlib.Path, environment: dict | None = None):
        self.name, self.log_file = name, log
        with open(log, "ab") as out:
            self.popen = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdin=subprocess.DEVNULL,
                                          stdout=out, stderr=out, env=environment)
        _processes.append(self)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        if self.alive():
            self.popen.kill()
        self.popen.wait()

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.popen.wait(seconds)

    def terminate(self, seconds: float = PATIENCE) -> int:
        if self.alive():
            self.popen.terminate()
        return self.wait(seconds)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


class Pki:
    """A certificate authority and what it signs, made by the openssl command."""

    def __init__(self, name: str = "Fieldgate test CA"):
        self.dir = folder("pki")
        self.ca, self.ca_key = self.dir / "ca.pem", self.dir / "ca-key.pem"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                      "-subj", f"/CN={name}", "-keyout", self.ca_key, "-out", self.ca)
        self.server, self.server_key = self.issue("server", "DNS:localhost,IP:127.0.0.1", "serverAuth")

    @staticmethod
    def _openssl(*arguments) -> None:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments}: {done.stderr}")

    def issue(self, name: str, san: str, usage: str = "clientAuth", days: int = 20) -> tuple[pathlib.Path, pathlib.Path]:
        certificate, key, request, extensions = (self.dir / f"{name}{end}" for end in (".pem", "-key.pem", ".csr", ".ext"))
        extensions.write_text(f"subjectAltName={san}\nextendedKeyUsage={usage}\nkeyUsage=digitalSignature\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                      "-keyout", key, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key, "-days", days,
                      "-set_serial", random.getrandbits(63), "-extfile", extensions, "-out", certificate)
        return certificate, key

    def device(self, device_id: str) -> tuple[pathlib.Path, pathlib.Path]:
        if (self.dir / f"{device_id}.pem").exists():
            return self.dir / f"{device_id}.pem", self.dir / f"{device_id}-key.pem"
        return self.issue(device_id, f"URI:urn:fieldgate:device:{device_id}")

    def revocation_list(self, *names: str, seconds: int = 2 * 86400) -> str:
        """PEM, of the certificates that were issued under these names; due to be replaced in so many seconds."""
        config, index, out = (self.dir / f"crl.{end}" for end in ("cnf", "txt", "pem"))
        config.write_text(f"[ca]\ndefault_ca = one\n[one]\ndatabase = {index}\ndefault_md = sha256\n")
        serials = [subprocess.check_output(["openssl", "x509", "-noout", "-serial", "-in", self.dir / f"{name}.pem"], text=True)
                   .strip().removeprefix("serial=") for name in names]
        index.write_text("".join(f"R\t491231235959Z\t200101000000Z\t{serial}\tunknown\t/CN=revoked\n" for serial in serials))
        self._openssl("ca", "-gencrl", "-config", config, "-cert", self.ca, "-keyfile", self.ca_key, "-crlsec", seconds, "-out", out)
        return out.read_text()

    def client_context(self, device_id: str | None = None, signed_by: "Pki | None" = None) -> ssl.SSLContext:
        """Trusts our server; with a certificate of `device_id`, from another authority if said so."""
        context = ssl.create_default_context(cafile=self.ca)
        if device_id:
            context.load_cert_chain(*(signed_by or self).device(device_id))
        return context


class Broker(Process):
    """mosquitto on a port of its own. Not max_queued_messages 0: then 2.0.11 hangs up where it ought to refuse."""

    def __init__(self, *more_lines: str):
        self.dir, self.port = folder("broker"), free_port()
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence true", "set_tcp_nodelay true",
                 f"persistence_location {self.dir}/", "max_queued_messages 10000000", *more_lines]
        if os.geteuid() == 0:
            lines.append("user root")
        (self.dir / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        super().__init__("mosquitto", [program, "-c", self.dir / "mosquitto.conf"], self.dir / "log")
        wait_for(self.answers, "mosquitto to listen")

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def retained(self, topic: str) -> dict | None:
        """The retained JSON on `topic` now."""
        done = subprocess.run(["mosquitto_sub", "-V", "mqttv5", "-p", str(self.port), "-t", topic, "-C", "1", "-W", "2",
                               "--retained-only"], capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.stdout.strip() else None


class Subscriber(Process):
    """mosquitto_sub, listening when the constructor returns: each message is a line `topic TAB payload in hex`."""

    def __init__(self, broker: Broker, topic: str):
        log = folder("sub") / "out"
        ready = "ready/" + os.urandom(8).hex()
        super().__init__("mosquitto_sub", ["mosquitto_sub", "-V", "mqttv5", "-q", "1", "-p", broker.port, "-t", topic,
                                           "-t", ready, "-F", "%t\t%x"], log)

        def listening() -> bool:
            subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", ready, "-m", "x"], check=True)
            time.sleep(0.05)
            return ready in self.log()

        wait_for(listening, "mosquitto_sub to listen")

    def messages(self) -> list[tuple[str, bytes]]:
        lines = self.log().split("\n")[:-1]  # the last one may be half written
        pairs = (line.split("\t") for line in lines if not line.startswith("ready/"))
        return [(topic, bytes.fromhex(payload)) for topic, payload in pairs]


def merged(base: dict, over: dict) -> dict:
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


class Answer:
    """Of the HTTP API, of whatever status."""

    def __init__(self, status: int, headers, text: str):
        self.status, self.headers, self.text = status, headers, text

    def __repr__(self) -> str:
        return f"{self.status} {self.text}"

    @property
    def json(self) -> dict:
        return json.loads(self.text)

    @property
    def problem(self) -> str:
        """The name of the problem; empty: it is none."""
        if self.headers.get_content_type() != "application/problem+json":
            return ""
        return self.json["type"].removeprefix("/problems/")

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.text.splitlines()]


class Gateway:
    """The gateway process, its configuration and its doors. `settings` go over the defaults below."""

    def __init__(self, pki: Pki, broker: Broker, settings: dict | None = None, *, start: bool = True, prefix: tuple = ()):
        self.pki, self.prefix = pki, prefix
        self.dir = folder("gateway")
        self.port, self.api_port, self.admin_port = free_port(), free_port(), free_port()
        self.tokens: dict[str, str] = {}
        self.write_tokens()
        scopes = (("test", API_TOKEN, "admin"), ("looker", READ_TOKEN, "read"), ("commander", COMMAND_TOKEN, "command"))
        (self.dir / "api-tokens").write_text("".join(
            f"{name} sha256:{hashlib.sha256(token.encode()).hexdigest()} {scope}\n" for name, token, scope in scopes))
        for name, source in (("server.pem", pki.server), ("server-key.pem", pki.server_key), ("ca.pem", pki.ca)):
            shutil.copy(source, self.dir / name)
        self.settings = merged({
            "node": {"name": "gw", "state_dir": str(self.dir / "state"), "shards": 2, "drain_period": "4s",
                     "reload_on_change": False},
            "log": {"format": "json", "level": "debug"},
            "devices": {"listen": f"127.0.0.1:{self.port}", "tls": {
                "certificate_file": str(self.dir / "server.pem"), "key_file": str(self.dir / "server-key.pem"),
                "client_ca_file": str(self.dir / "ca.pem")}},
            "tokens": {"file": str(self.dir / "device-tokens")},
            "session": {"heartbeat_min": "1s"},
            "registry": {"auto_register": True},
            "mqtt": [{"host": "127.0.0.1", "port": broker.port, "backoff_min": "50ms", "backoff_max": "500ms"}],
            "api": {"listen": f"127.0.0.1:{self.api_port}", "token_file": str(self.dir / "api-tokens")},
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
        }, settings or {})
        self.config = self.dir / "fieldgate.yaml"
        self.write_config()
        self.process: Process | None = None
        if start:
            self.start()

    @property
    def url(self) -> str:
        scheme = "wss" if self.settings["devices"]["tls"].get("enabled", True) else "ws"
        return f"{scheme}://localhost:{self.port}/v1/connect"

    def write_config(self, settings: dict | None = None) -> None:
        """JSON, which is YAML as well."""
        self.settings = merged(self.settings, settings or {})
        self.config.write_text(json.dumps(self.settings, indent=2))

    def write_tokens(self) -> None:
        lines = [f"{device} sha256:{hashlib.sha256(token.encode()).hexdigest()}" for device, token in self.tokens.items()]
        (self.dir / "device-tokens").write_text("\n".join(lines) + "\n")

    def add_tokens(self, *devices: str) -> None:
        """Before start(), or followed by reload()."""
        self.tokens.update({device: f"token-of-{device}" for device in devices})
        self.write_tokens()

    def start(self, *, ready: bool = True) -> None:
        log = self.dir / f"log-{time.monotonic_ns()}"
        self.process = Process("fieldgate", [*self.prefix, FIELDGATE, "serve", "--config", self.config], log)
        if ready:
            wait_for(lambda: self.events("ready") or not self.process.alive(), "the gateway to be ready")
            assert self.process.alive(), "the gateway ended at once:\n" + self.process.log()

    # --- what it says

    def events(self, name: str, **fields) -> list[dict]:
        found = []
        for line in self.process.log().splitlines():
            if f'"{name}"' in line:
                with contextlib.suppress(json.JSONDecodeError):
                    entry = json.loads(line)
                    if entry.get("event") == name and all(entry.get(key) == value for key, value in fields.items()):
                        found.append(entry)
        return found

    def wait_event(self, name: str, **fields) -> dict:
        return wait_for(lambda: self.events(name, **fields), f"log event {name} {fields}")[0]

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_port}{path}", method=method, headers=headers, data=body)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            answer, status, content = refused, refused.code, refused.read()
        CONTRACT.check_answer(method, path, status, answer.headers, content)
        return Answer(status, answer.headers, content.decode())

    def api(self, path: str, method: str = "GET") -> dict:
        """Of an answer that is none of 2xx: urllib.error.HTTPError."""
        answer = self.ask(method, path, {"Authorization": f"Bearer {API_TOKEN}"})
        if answer.status >= 300:
            raise urllib.error.HTTPError(path, answer.status, answer.text, answer.headers, io.BytesIO(answer.text.encode()))
        return answer.json

    def call(self, method: str, path: str, body=None, *, token: str | None = API_TOKEN, **headers: str) -> Answer:
        """`path`: below /api/v1. `body`: bytes or str as they are, anything else as JSON. `headers`: with _ for each -."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        if body is not None:
            fields.setdefault("Content-Type", "application/json")
            if not isinstance(body, (str, bytes)):
                body = json.dumps(body)
            body = body.encode() if isinstance(body, str) else body
        return self.ask(method, "/api/v1" + path, fields, body)

    def readyz(self) -> tuple[int, dict]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def metrics_text(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/metrics", timeout=PATIENCE) as answer:
            return answer.read().decode()

    def metrics(self) -> dict[str, float]:
        """By series, as printed: `name{label="value"}`."""
        lines = (line.rsplit(" ", 1) for line in self.metrics_text().splitlines() if not line.startswith("#"))
        return {series: float(value) for series, value in lines}

    def ended(self, reason: str) -> int:
        return int(self.metrics()[f'fieldgate_sessions_ended_total{{reason="{reason}"}}'])

    def resident_bytes(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def cpu_seconds(self) -> float:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # --- what it is told

    def reload(self) -> None:
        """Until the gateway has said how the reload went."""
        def answers() -> int:
            return sum(len(self.events(name)) for name in ("reloaded", "reload_refused", "reload_partly_refused"))

        before = answers()
        self.process.signal(signal.SIGHUP)
        wait_for(lambda: answers() > before, "the reload")

    def stop(self) -> int:
        status = self.process.terminate()
        self.check_log()
        return status

    def check_log(self) -> None:
        log = self.process.log()
        assert "Sanitizer" not in log and "runtime error:" not in log, log


class GatewayTestCase(unittest.IsolatedAsyncioTestCase):
    """One authority and one broker for all tests of a class; each test makes or shares gateways.

    If a test fails, the logs of the programs it could have used are printed.
    """

    maxDiff = None

    @classmethod
    def setUpClass(cls) -> None:
        cls.pki = Pki()
        cls.broker = Broker()
        cls.addClassCleanup(cls.broker.kill)

    @classmethod
    def shared_gateway(cls, settings: dict | None = None, **options) -> Gateway:
        gateway = Gateway(cls.pki, cls.broker, settings, **options)
        cls.addClassCleanup(gateway.stop)
        return gateway

    def gateway(self, settings: dict | None = None, **options) -> Gateway:
        gateway = Gateway(self.pki, self.broker, settings, **options)
        self.addCleanup(lambda: gateway.process and gateway.stop())
        return gateway

    def run(self, result=None):
        failed = len(result.failures) + len(result.errors)
        before = len(_processes)
        self.addCleanup(lambda: self.assertEqual(CONTRACT.take_faults(), []))  # the last one, when all has ended
        super().run(result)
        if len(result.failures) + len(result.errors) > failed:
            for process in _processes:
                if process.alive() or _processes.index(process) >= before:
                    print(f"--- {process.name} {process.pid}\n{process.log()[-6000:]}", file=sys.stderr)
        return result
