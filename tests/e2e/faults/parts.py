# SPDX-License-Identifier: Apache-2.0
"""What an outage is played on: a broker that can be hurt, the gateway, a fleet, and the verifier."""

import contextlib
import http.client
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what: str, condition, seconds: float, every: float = 0.05):
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
    return value


def listens(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def start(log: pathlib.Path, *command) -> subprocess.Popen:
    """Gone when this process is gone, even if it is stopped just then."""
    with open(log, "ab") as out:
        return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], stdin=subprocess.DEVNULL,
                                stdout=out, stderr=out)


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


class Broker:
    """A mosquitto whose state outlives a clean stop."""

    USER = "gateway"

    def __init__(self, folder: pathlib.Path, refusable: bool) -> None:
        self.folder, self.port, self.process = folder, free_port(), None
        self.acl = folder / "acl"
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence true",
                 f"persistence_location {folder}/", "set_tcp_nodelay true", "max_inflight_messages 1000"]
        if refusable:
            # Only where it is needed: a session that mosquitto has restored has no rights, and so queues nothing,
            # until its client is back. And with max_queued_messages 0 mosquitto 2.0.11 hangs up on whoever sends a
            # message that the ACL denies, instead of answering it.
            lines += [f"acl_file {self.acl}", "max_queued_messages 10000000"]
        else:
            lines.append("max_queued_messages 0")
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to read this folder
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.allow()

    def start(self) -> None:
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.process = start(self.folder / "mosquitto.log", program, "-c", self.folder / "mosquitto.conf")
        wait_for("the broker listens", lambda: listens(self.port), 10)

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
    """The real binary, and what it says about itself."""

    def __init__(self, folder: pathlib.Path, binary: pathlib.Path, pki: pathlib.Path, broker_port: int, settings) -> None:
        self.folder, self.binary, self.process = folder, binary, None
        self.devices, self.api, self.admin = free_port(), free_port(), free_port()
        self.log = folder / "gateway.log"
        (folder / "state").mkdir()
        (folder / "api-tokens").write_text(f"test sha256:{settings.api_token_sha256}\n")
        self.config = folder / "fieldgate.yaml"
        self.config.write_text(f"""\
node:
  name: outage
  state_dir: {folder}/state
  drain_period: 4s
devices:
  listen: 127.0.0.1:{self.devices}
  tls:
    certificate_file: {pki}/server.pem
    key_file: {pki}/server-key.pem
    client_ca_file: {pki}/ca.pem
uplink:
  memory_bytes_max: {settings.memory_bytes_max}
mqtt:
  - host: 127.0.0.1
    port: {broker_port}
    username: {Broker.USER}
    keep_alive: {settings.keep_alive_s}s
    connect_timeout: {settings.connect_timeout_s}s
    backoff_min: 200ms
    backoff_max: {settings.backoff_max_s}s
api:
  listen: 127.0.0.1:{self.api}
  token_file: {folder}/api-tokens
admin:
  listen: 127.0.0.1:{self.admin}
""")

    def start(self) -> None:
        self.process = start(self.log, self.binary, "serve", "--config", self.config)
        wait_for("the gateway is ready", self.is_ready, 30)

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the gateway ended with status {self.process.returncode}: {self.log.read_text()[-2000:]}")
        with contextlib.suppress(OSError):
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

    def online(self, token: str) -> int:
        body = self.get(self.api, "/api/v1/devices?online=true&count=true&limit=1",
                        {"Authorization": f"Bearer {token}"})[1]
        return json.loads(body)["count"]

    def memory(self, key: str) -> int:
        """VmRSS, or VmHWM: its peak since forget_peak()."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024

    def forget_peak(self) -> None:
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


class Fleet:
    """`fieldgate-sim run`, whose ledger the verifier judges."""

    def __init__(self, folder: pathlib.Path, binary: pathlib.Path, pki: pathlib.Path, gateway_port: int, settings) -> None:
        self.folder, self.ledger = folder, folder / "ledger"
        self.process = start(folder / "fleet.log", binary, "run", "--gateway", f"localhost:{gateway_port}", "--pki", pki,
                             "--devices", settings.devices, "--rate", settings.rate, "--payload-bytes",
                             settings.payload_bytes, "--stage", "forwarded", "--connect-rate", settings.connect_rate,
                             "--buffer-frames", 100_000, "--buffer-bytes", 100_000_000, "--progress", "--ledger",
                             self.ledger, "--json", folder / "fleet.json")

    def unacknowledged(self) -> int | None:
        """What the devices still hold, as of the last second."""
        seen = re.findall(r"unacked (\d+)", (self.folder / "fleet.log").read_text())
        return int(seen[-1]) if seen else None

    def summary(self) -> dict:
        return json.loads((self.folder / "fleet.json").read_text())


class Verifier:
    """`fieldgate-sim verify`: a subscriber whose session outlives the broker's absence."""

    def __init__(self, folder: pathlib.Path, binary: pathlib.Path, broker_port: int, settle_s: float) -> None:
        self.folder = folder
        self.process = start(folder / "verifier.log", binary, "verify", "--broker", f"mqtt://127.0.0.1:{broker_port}",
                             "--ledger", folder / "ledger", "--ready-file", folder / "ready", "--settle", settle_s,
                             "--json", folder / "verifier.json")
        wait_for("the verifier has subscribed", (folder / "ready").exists, 20)

    def verdict(self, seconds: float) -> dict:
        self.process.wait(seconds)
        return json.loads((self.folder / "verifier.json").read_text())["verify"]


def start_proxy(folder: pathlib.Path, broker_port: int) -> tuple[subprocess.Popen, int]:
    port = free_port()
    process = start(folder / "proxy.log", sys.executable, HERE / "recording_proxy.py", port, broker_port, folder / "pubacked")
    wait_for("the proxy listens", lambda: listens(port), 10)
    return process, port


def is_sanitized(binary: pathlib.Path) -> bool:
    return re.search(r"lib[at]san", subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout) is not None
