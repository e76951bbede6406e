# SPDX-License-Identifier: Apache-2.0
"""What a fault is played on: a broker that can be hurt, the gateway, a fleet, and the verifier."""

import contextlib
import hashlib
import http.client
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = pathlib.Path(__file__).resolve().parent
API_TOKEN = "for-loopback-only"

_reserved: list[socket.socket] = []


def free_port() -> int:
    """Ours until this process ends, whoever looks for one meanwhile: it stays bound here, and only those who set
    SO_REUSEADDR, as servers do, may listen on it."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _reserved.append(holder)
    return holder.getsockname()[1]


def wait_for(what: str, condition, seconds: float, every: float = 0.05):
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
    return value


def listens(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as s:
        return s.connect_ex((address, port)) == 0


def start(log: pathlib.Path, *command, environment: dict | None = None) -> subprocess.Popen:
    """Gone when this process is gone, even if it is stopped just then. On the main thread only."""
    with open(log, "ab") as out:
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdin=subprocess.DEVNULL,
                                stdout=out, stderr=out, env={**os.environ, **environment} if environment else None)


def end(process: subprocess.Popen | None, seconds: float = 20) -> int | None:
    """In good order if it will; its exit status."""
    if process is None:
        return None
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def merged(base: dict, over: dict) -> dict:
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def make_pki(folder: pathlib.Path, binaries: pathlib.Path, devices: list[str], names: tuple[str, ...] = ()) -> pathlib.Path:
    pki = folder / "pki"
    options = [option for device in devices for option in ("--device", device)]
    options += [option for name in names for option in ("--name", name)]
    subprocess.run([binaries / "fieldgate-sim", "pki", "--dir", pki, *options], check=True, stdout=subprocess.DEVNULL)
    return pki


def load_protocol(folder: pathlib.Path):
    """The modules of device.proto and northbound.proto."""
    generated = folder / "generated"
    generated.mkdir()
    subprocess.run(["protoc", f"--proto_path={ROOT}/proto", f"--python_out={generated}",
                    "fieldgate/v1/device.proto", "fieldgate/v1/northbound.proto"], check=True)
    sys.path.insert(0, str(generated))
    return importlib.import_module("fieldgate.v1.device_pb2"), importlib.import_module("fieldgate.v1.northbound_pb2")


class Broker:
    """A mosquitto whose state outlives a clean stop."""

    USER = "gateway"

    def __init__(self, folder: pathlib.Path, *, refusable: bool = False, name: str = "mosquitto",
                 address: str = "127.0.0.1", wrap: tuple = ()) -> None:
        self.folder, self.name, self.address, self.wrap = folder / name, name, address, wrap
        self.folder.mkdir()
        self.port, self.process = free_port(), None
        self.acl = self.folder / "acl"
        lines = [f"listener {self.port} {address}", "allow_anonymous true", "persistence true",
                 f"persistence_location {self.folder}/", "set_tcp_nodelay true", "max_inflight_messages 1000"]
        if refusable:
            # Only where it is needed: a session that mosquitto has restored has no rights, and so queues nothing,
            # until its client is back. And with max_queued_messages 0 mosquitto 2.0.11 hangs up on whoever sends a
            # message that the ACL denies, instead of answering it.
            lines += [f"acl_file {self.acl}", "max_queued_messages 10000000"]
        else:
            lines.append("max_queued_messages 0")
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to read this folder
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.allow()

    def start(self) -> None:
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.process = start(self.folder / "log", *self.wrap, program, "-c", self.folder / "mosquitto.conf")
        wait_for(f"{self.name} listens", lambda: listens(self.port, self.address), 20)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def suspend(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def forget(self) -> None:
        """Everything it kept. Precondition: it does not run."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def allow(self) -> None:
        """Anonymous clients read, the gateway writes."""
        self.acl.write_text(f"topic read #\nuser {self.USER}\ntopic readwrite #\n")
        self.reload()

    def deny(self) -> None:
        """The gateway may write nothing at all."""
        self.acl.write_text(f"topic read #\nuser {self.USER}\ntopic read #\n")
        self.reload()

    def reload(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)


class Gateway:
    """The real binary, and what it says about itself. `settings` go over the defaults below."""

    def __init__(self, folder: pathlib.Path, binary: pathlib.Path, pki: pathlib.Path, settings: dict) -> None:
        self.folder, self.binary, self.process = folder, binary, None
        self.devices, self.api, self.admin = free_port(), free_port(), free_port()
        self.log = folder / "gateway.log"
        (folder / "state").mkdir()
        hashed = hashlib.sha256(API_TOKEN.encode()).hexdigest()
        (folder / "api-tokens").write_text(f"test sha256:{hashed}\n")
        self.settings = merged({
            "node": {"name": "faults", "state_dir": f"{folder}/state", "drain_period": "4s"},
            "devices": {"listen": f"127.0.0.1:{self.devices}", "tls": {
                "certificate_file": f"{pki}/server.pem", "key_file": f"{pki}/server-key.pem",
                "client_ca_file": f"{pki}/ca.pem"}},
            "registry": {"auto_register": True},
            "api": {"listen": f"127.0.0.1:{self.api}", "token_file": f"{folder}/api-tokens"},
            "admin": {"listen": f"127.0.0.1:{self.admin}"},
        }, settings)
        self.config = folder / "fieldgate.yaml"
        self.write_config()

    def write_config(self) -> None:
        """JSON, which is YAML as well."""
        self.config.write_text(json.dumps(self.settings, indent=1))

    def spawn(self, environment: dict | None = None) -> None:
        self.process = start(self.log, self.binary, "serve", "--config", self.config, environment=environment)

    def start(self, environment: dict | None = None, seconds: float = 40) -> None:
        self.spawn(environment)
        wait_for("the gateway is ready", self.is_ready, seconds, every=0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        return end(self.process, 60)

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the gateway ended with status {self.process.returncode}: {self.log.read_text()[-2000:]}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.get(self.admin, "/readyz")[0] == 200
        return False

    @staticmethod
    def get(port: int, path: str, headers=None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def metrics(self) -> dict[str, float]:
        """By name and labels, as they are written."""
        lines = self.get(self.admin, "/metrics")[1].splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}

    def readiness(self) -> tuple[int, list[str]]:
        status, body = self.get(self.admin, "/readyz")
        return status, [reason["name"] for reason in json.loads(body)["reasons"]]

    def ask(self, path: str) -> dict:
        """Of the API."""
        return json.loads(self.get(self.api, path, {"Authorization": f"Bearer {API_TOKEN}"})[1])

    def online(self) -> int:
        return self.ask("/api/v1/devices?online=true&count=true&limit=1")["count"]

    def memory(self, key: str) -> int:
        """VmRSS, or VmHWM: its peak since forget_peak()."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024

    def forget_peak(self) -> None:
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class Fleet:
    """`fieldgate-sim run`, whose ledger the verifiers judge."""

    def __init__(self, folder: pathlib.Path, binary: pathlib.Path, pki: pathlib.Path, gateway_port: int, *options,
                 host: str = "localhost", name: str = "fleet", wrap: tuple = ()) -> None:
        self.ledger, self.log, self.json = folder / f"{name}.ledger", folder / f"{name}.log", folder / f"{name}.json"
        self.process = start(self.log, *wrap, binary, "run", "--gateway", f"{host}:{gateway_port}", "--pki", pki,
                             "--buffer-frames", 100_000, "--buffer-bytes", 100_000_000, "--progress", "--signal-grace",
                             60, "--ledger", self.ledger, "--json", self.json, *options)

    def unacknowledged(self) -> int | None:
        """What the devices still hold, as of the last second."""
        seen = re.findall(r"unacked (\d+)", self.log.read_text())
        return int(seen[-1]) if seen else None

    def finish(self, seconds: float = 90) -> dict:
        """Has it wait for its last acknowledgements and say farewell; its summary."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(seconds)
        return json.loads(self.json.read_text())


class Verifier:
    """`fieldgate-sim verify`: a subscriber whose session outlives the broker's absence."""

    def __init__(self, folder: pathlib.Path, binary: pathlib.Path, broker_port: int, *, settle_s: float,
                 ledger: str = "fleet.ledger", name: str = "verifier", host: str = "127.0.0.1", wrap: tuple = (),
                 options: tuple = ()) -> None:
        self.json, ready = folder / f"{name}.json", folder / f"{name}.ready"
        self.process = start(folder / f"{name}.log", *wrap, binary, "verify", "--broker", f"mqtt://{host}:{broker_port}",
                             "--ledger", folder / ledger, "--ready-file", ready, "--settle", settle_s, "--json",
                             self.json, "--client-id", f"{name}-{os.getpid()}", *options)
        wait_for("the verifier has subscribed", ready.exists, 20)

    def verdict(self, seconds: float) -> dict:
        self.process.wait(seconds)
        return json.loads(self.json.read_text())["verify"]


class Proxy:
    """recording_proxy.py: passes on, writes down what was PUBACKed, and is as slow as it is told."""

    def __init__(self, folder: pathlib.Path, broker_port: int, name: str = "proxy") -> None:
        self.port, self.pubacked, self.rate = free_port(), folder / f"{name}.pubacked", folder / f"{name}.rate"
        self.process = start(folder / f"{name}.log", sys.executable, HERE / "recording_proxy.py", self.port, broker_port,
                             self.pubacked, self.rate)
        wait_for("the proxy listens", lambda: listens(self.port), 20)

    def slow_down(self, bytes_per_second: int) -> None:
        """Of what the gateway sends; 0: no limit."""
        beside = self.rate.with_suffix(".new")
        beside.write_text(str(bytes_per_second))
        beside.rename(self.rate)


def show_logs(folder: pathlib.Path) -> None:
    """How each log ends, for those who have no more than what a test prints."""
    for log in sorted(folder.rglob("*log")):
        if log.is_file() and log.stat().st_size:
            print(f"--- {log}\n{log.read_text(errors='replace')[-1500:]}", file=sys.stderr)


def is_sanitized(binary: pathlib.Path) -> bool:
    return re.search(r"lib[at]san", subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout) is not None
