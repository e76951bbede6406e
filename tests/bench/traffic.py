# SPDX-License-Identifier: Apache-2.0
"""What the benches under load share: broker, gateway or peer, devices, consumer, and whose CPU it was."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request

from stage import ROOT, Stage, demo

SEED = "bench"
PEERS = ROOT / "tests/bench/peers"
PREFIX = "fieldgate/v1"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def merged(base: dict, over: dict) -> dict:
    out = dict(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


class Tool:
    """A program that takes a line and answers with a line of JSON."""

    def __init__(self, process: subprocess.Popen, log: pathlib.Path):
        self.process, self.log = process, log
        self.answers: queue.Queue = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def answer(self, seconds: float = 60) -> dict:
        with contextlib.suppress(queue.Empty):
            line = self.answers.get(timeout=seconds)
            if line is not None:
                return json.loads(line)
        raise demo.Failure(f"{self.log.stem} does not answer (status {self.process.poll()}); its log ends:\n"
                           + self.log.read_text(errors="replace")[-2000:])

    def ask(self, line: str) -> dict:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of the threads of a process, and of its children, that live."""
    total = 0.0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
            total += sum(cpu_seconds(int(child)) for child in (task / "children").read_text().split())
    return total


def waited_seconds(pid: int) -> float:
    """How long threads, of a process and its children that live, were ready to run, and had no core."""
    total = 0.0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[1]) / 1e9
            total += sum(waited_seconds(int(child)) for child in (task / "children").read_text().split())
    return total


def idle_seconds() -> float:
    """Of all cores."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / CLOCK_TICKS


@dataclasses.dataclass
class Usage:
    """Seconds so far, by process: on a core, and ready for one that was not free."""

    at: float
    cpu: dict[str, float]
    waited: dict[str, float]
    idle: float

    def since(self, before: "Usage", names: dict[str, str]) -> dict[str, float]:
        """WHO_cores, and WHO_waiting: so many of its threads were ready on average, and had none. `names`: who is who."""
        seconds = self.at - before.at
        figures = {"idle_cores": (self.idle - before.idle) / seconds}
        for name, who in names.items():
            figures[f"{who}_cores"] = (self.cpu[name] - before.cpu[name]) / seconds
            figures[f"{who}_waiting"] = max(0.0, self.waited[name] - before.waited[name]) / seconds
        return figures


def memory_bytes(pid: int, field: str = "VmRSS") -> int:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(field + ":")) * 1024


class Traffic(Stage):
    """A broker that listens for MQTT over TCP and over WSS, credentials, and whatever a bench starts on them."""

    def __init__(self, devices: int, folder: pathlib.Path):
        super().__init__(devices, folder)
        self.wss, self.peer = demo.free_port(18883), demo.free_port(18444)
        self.tools: list[Tool] = []

    def start_broker(self) -> None:
        pki = self.folder / "pki"
        self.call(self.bin / "fieldgate-sim", "pki", "--dir", pki)
        self.call(self.bin / "fieldgate-sim", "tokens", "--out", self.folder / "device-tokens", "--secret-seed", SEED,
                  "--devices", self.options.devices)
        hashed = hashlib.sha256(self.api_token.encode()).hexdigest()
        self.write("api-tokens", f"bench sha256:{hashed} admin\n")
        lines = ["allow_anonymous true", "set_tcp_nodelay true", "max_inflight_messages 1000",
                 # A consumer that falls behind loses nothing.
                 "max_queued_messages 10000000", "max_queued_bytes 0",
                 f"listener {self.broker} 127.0.0.1", f"listener {self.wss} 127.0.0.1", "protocol websockets",
                 f"certfile {pki}/server.pem", f"keyfile {pki}/server-key.pem"]
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to read this folder
        config = self.write("mosquitto.conf", "\n".join(lines) + "\n")
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.wait_for("mosquitto", self.start("mosquitto", program, "-c", config), self.broker_answers, 10)

    def make_credentials(self) -> None:
        """Done: the broker needs them."""

    def start_gateway(self, settings: dict | None = None) -> None:
        """`settings` go over those below, which are the defaults but for what a bench of full speed must not run into."""
        pki = self.folder / "pki"
        state = self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        lane = {"name": "main", "host": "127.0.0.1", "port": self.broker, "topic_prefix": PREFIX, "commands": True,
                "response_topics": ["bench/replies/+"]}
        config = merged({
            "node": {"name": "bench", "state_dir": str(state), "drain_period": "1s"},
            "devices": {"listen": f"127.0.0.1:{self.devices}", "tls": {
                "certificate_file": f"{pki}/server.pem", "key_file": f"{pki}/server-key.pem",
                "client_ca_file": f"{pki}/ca.pem"}},
            "tokens": {"file": str(self.folder / "device-tokens")},
            "registry": {"auto_register": True},
            "limits": {"sessions_max": 19_000, "frames_per_second": 1_000_000, "frames_burst": 1_000_000,
                       "bytes_per_second": "1GiB", "bytes_burst": "1GiB"},
            "mqtt": [lane],
            "api": {"listen": f"127.0.0.1:{self.api}", "token_file": str(self.folder / "api-tokens")},
            "admin": {"listen": f"127.0.0.1:{self.admin}"},
        }, settings or {})
        if settings and "mqtt" in settings:
            config["mqtt"] = [lane | settings["mqtt"][0]]
        self.config = self.write("fieldgate.yaml", json.dumps(config, indent=2))
        self.launch_gateway()

    def tool(self, name: str, *options) -> Tool:
        log = self.folder / f"{name}.log"
        with open(log, "ab") as errors:
            process = subprocess.Popen([str(part) for part in (self.bin / "fieldgate-bench-traffic", *options)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        tool = Tool(process, log)
        self.tools.append(tool)
        self.processes.append((name, process))
        return tool

    def fleet(self, devices: int, *options, port: int | None = None, name: str = "load") -> Tool:
        return self.tool(name, "devices", "--server", f"127.0.0.1:{port or self.devices}", "--devices", devices,
                         "--ca", self.folder / "pki/ca.pem", "--secret-seed", SEED, *options)

    def mqtt_fleet(self, devices: int, *options, name: str = "load") -> Tool:
        return self.fleet(devices, "--protocol", "mqtt", "--path", "/mqtt", "--subprotocol", "mqtt", *options, port=self.wss,
                          name=name)

    def sink(self, *options, prefix: str = PREFIX, name: str = "sink") -> Tool:
        tool = self.tool(name, "sink", "--broker-port", self.broker, "--client-id", name, "--filter", f"{prefix}/batches/+",
                         "--filter", f"{prefix}/devices/+/telemetry", *options)
        tool.answer()
        return tool

    def wait_online(self, fleet: Tool, devices: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (online := fleet.ask("online")["online"]) < devices:
            if time.monotonic() > deadline:
                raise demo.Failure(f"{online} of {devices} devices are connected after {seconds:.0f} s: "
                                   f"{fleet.ask('mark')}")
            time.sleep(0.1)

    def metrics(self) -> dict[str, float]:
        """The gateway's, by series, as printed: `name{label="value"}`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30) as answer:
            lines = (line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
            return {series: float(value) for series, value in lines}

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes if process.poll() is None}

    def cpu(self) -> dict[str, float]:
        """Seconds so far, by process."""
        return {name: cpu_seconds(pid) for name, pid in self.pids().items()}

    def usage(self) -> Usage:
        return Usage(time.monotonic(), self.cpu(), {name: waited_seconds(pid) for name, pid in self.pids().items()},
                     idle_seconds())

    def end(self, name: str) -> None:
        """Ends one of the processes before its time."""
        at = next(i for i, (other, _) in enumerate(self.processes) if other == name)
        process = self.processes.pop(at)[1]
        tool = next((tool for tool in self.tools if tool.process is process), None)
        if tool:
            self.tools.remove(tool)
            return tool.end()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> int:
        for tool in reversed(self.tools):
            tool.end()
        return super().stop()


@contextlib.contextmanager
def traffic(devices: int):
    """The broker runs; all else is the bench's to start. Everything is gone at the end."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fieldgate-bench-"))
    run = Traffic(devices, folder)
    try:
        demo.raise_descriptors(devices)
        run.start_broker()
        yield run
    finally:
        run.stop()
        shutil.rmtree(folder, ignore_errors=True)
