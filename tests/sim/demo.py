#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`./dev run`: a broker, the gateway and a fleet of simulated devices on loopback, checked at the broker.

With --replicas: several gateways, PostgreSQL and a balancer, by replicas.py and rollout.py beside this.
"""

import argparse
import contextlib
import hashlib
import os
import pathlib
import random
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
DESCRIPTORS_BESIDE_DEVICES = 300
EXAMPLE_DEVICE = "my-device"
REPLICAS_MAX = 9
# Of all devices of a fleet of replicas, unless --rate says otherwise: what is to be seen there is not the throughput.
FRAMES_PER_SECOND = 1_000


class Failure(Exception):
    """What went wrong, for a person."""


def arguments() -> argparse.Namespace:
    def number(text: str, most: int = 1_000_000) -> int:
        if not text.isdigit() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {most}")
        return int(text)

    def duration(text: str) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m)?", text)
        seconds = float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, None: 1}[found[2]] if found else 0
        if seconds < 0.1:
            raise argparse.ArgumentTypeError(f"{text!r} is not a duration of at least 100ms, such as 5s")
        return seconds

    parser = argparse.ArgumentParser(prog="./dev run", allow_abbrev=False)
    parser.add_argument("--devices", type=number, default=100, help="simulated devices (100)")
    parser.add_argument("--seconds", type=number, help="end after this long; without it: at Ctrl-C")
    parser.add_argument("--rate", type=float, help="frames per second and device (1; with --replicas at most "
                        f"{FRAMES_PER_SECOND} of all devices)")
    parser.add_argument("--replicas", type=lambda text: number(text, REPLICAS_MAX), metavar="N",
                        help=f"so many gateways (1 to {REPLICAS_MAX}) on one broker and one PostgreSQL, behind a balancer")
    parser.add_argument("--rolling-restart", action="store_true",
                        help="then restart them one after the other, as Kubernetes does, watch the devices, and end")
    parser.add_argument("--spool", action="store_true", help="records on disk; devices are acknowledged at SPOOLED")
    parser.add_argument("--kill-every", type=duration, metavar="TIME",
                        help="kill -9 the gateway again and again, such as every 5s, and start it anew; with --spool")
    parser.add_argument("--preset", default="release", choices=["dev", "release", "asan", "tsan"])
    # For tests: what is built already, and where the variables for a shell go.
    parser.add_argument("--bin", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--environment", type=pathlib.Path, default=ROOT / "build/run/env", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="leave logs, certificates and configuration in place")
    parser.add_argument("simulator", nargs="*", metavar="-- OPTIONS", help="further options of `fieldgate-sim run`")
    options = parser.parse_args()
    if options.kill_every and not options.spool:
        parser.error("--kill-every needs --spool: without it, what the gateway has in memory dies with it")
    if options.kill_every and options.replicas:
        parser.error("--kill-every kills the one gateway there is; it does not go with --replicas")
    if options.rolling_restart and (options.replicas or 0) < 2:
        parser.error("--rolling-restart needs --replicas 2 or more: with one, nobody is there for the devices meanwhile")
    if options.rolling_restart and options.seconds:
        parser.error("--rolling-restart takes as long as it takes; --seconds does not go with it")
    if options.rate is None:
        options.rate = min(1.0, FRAMES_PER_SECOND / options.devices) if options.replicas else 1.0
    return options


def raise_descriptors(devices: int) -> None:
    """Gateway and simulator each need one for every device."""
    need = devices + DESCRIPTORS_BESIDE_DEVICES
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and need > hard:
        raise Failure(f"{devices} devices need {need} file descriptors a process, and the limit here is {hard}: raise it "
                      f"(`ulimit -Hn {need}` as root, LimitNOFILE, or docker's --ulimit nofile={need}), or take fewer")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


_claims: list[socket.socket] = []


def free_port(preferred: int, addresses: tuple = ("127.0.0.1",)) -> int:
    """One that is free at all of `addresses`; ours until this process ends, as far as other runs of this are concerned."""
    # Below those that the kernel gives to outgoing connections: a gateway that is killed needs its port again.
    for port in (preferred, *random.sample(range(20_000, 30_000), 20)):
        claim = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            claim.bind(f"\0fieldgate-port-{port}")
            for address in addresses:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
            _claims.append(claim)
            return port
        claim.close()
    raise Failure(f"no port is free on {', '.join(addresses)}: port {preferred} and 20 others were tried; "
                  "`ss -ltnp` shows who has them")


class Run:
    gateways: tuple = ("gateway",)  # the names of their processes
    addresses: tuple = ("127.0.0.1",)  # where ports have to be free

    def __init__(self, options: argparse.Namespace, folder: pathlib.Path):
        self.options, self.folder = options, folder
        self.bin = options.bin or ROOT / "build" / options.preset / "bin"
        self.processes: list[tuple[str, subprocess.Popen]] = []
        self.kills = 0
        self.broker, self.devices, self.api, self.admin = (
            free_port(port, self.addresses) for port in (11883, 18443, 18080, 19090))
        self.api_token, self.device_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def call(self, *command: str) -> None:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")

    def start(self, name: str, *command: str) -> subprocess.Popen:
        """In a session of its own, so that Ctrl-C ends the simulator first; gone when this process is gone."""
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *map(str, command)], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True)
        self.processes.append((name, process))
        return process

    def wait_for(self, name: str, process: subprocess.Popen, ready, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
                what = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
                raise Failure(f"{name} {what}; its log ends:\n{tail}")
            time.sleep(0.05)

    def broker_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.broker), 1):
            return True
        return False

    def gateway_ready(self) -> bool:
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2) as answer:
                return answer.status == 200
        return False

    def start_broker(self) -> None:
        lines = [f"listener {self.broker} 127.0.0.1", "allow_anonymous true", "persistence true",
                 f"persistence_location {self.folder}/", "set_tcp_nodelay true",
                 # Neither the verifier nor the gateway's window is to be the limit here.
                 "max_queued_messages 0", "max_inflight_messages 1000"]
        if os.geteuid() == 0:
            lines.append("user root")  # else it gives up the right to read this folder
        config = self.write("mosquitto.conf", "\n".join(lines) + "\n")
        program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.wait_for("mosquitto", self.start("mosquitto", program, "-c", config), self.broker_answers, 10)

    def make_credentials(self) -> None:
        simulator = self.bin / "fieldgate-sim"
        self.call(simulator, "pki", "--dir", self.folder / "pki")
        hashed = hashlib.sha256(self.device_token.encode()).hexdigest()
        self.write("device-tokens", f"{EXAMPLE_DEVICE} sha256:{hashed}\n")
        hashed = hashlib.sha256(self.api_token.encode()).hexdigest()
        self.write("api-tokens", f"demo sha256:{hashed} admin\n")

    def start_gateway(self) -> None:
        pki = self.folder / "pki"
        (self.folder / "state").mkdir()
        self.config = self.write("fieldgate.yaml", f"""\
node:
  name: demo
  state_dir: {self.folder}/state
  drain_period: 2s
devices:
  listen: 127.0.0.1:{self.devices}
  tls:
    certificate_file: {pki}/server.pem
    key_file: {pki}/server-key.pem
    client_ca_file: {pki}/ca.pem
tokens:
  file: {self.folder}/device-tokens
registry:
  auto_register: true
limits:
  sessions_max: {self.options.devices + 100}
uplink:
  spool:
    enabled: {str(self.options.spool).lower()}
mqtt:
  - name: main
    host: 127.0.0.1
    port: {self.broker}
    commands: true
    response_topics: [demo/#]
api:
  listen: 127.0.0.1:{self.api}
  token_file: {self.folder}/api-tokens
admin:
  listen: 127.0.0.1:{self.admin}
""")
        self.launch_gateway()

    def launch_gateway(self) -> None:
        gateway = self.start("gateway", self.bin / "fieldgate", "serve", "--config", self.config)
        self.wait_for("gateway", gateway, self.gateway_ready, 30)

    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.admin}"

    def metrics_lines(self) -> str:
        return f"metrics  {self.admin_url()}/metrics     health: {self.admin_url()}/readyz"

    def publish_environment(self) -> None:
        self.options.environment.parent.mkdir(parents=True, exist_ok=True)
        self.options.environment.write_text(f"""\
export DEMO_API=http://127.0.0.1:{self.api}
export DEMO_TOKEN={self.api_token}
export DEMO_ADMIN={self.admin_url()}
export DEMO_BROKER_PORT={self.broker}
export DEMO_DEVICE_URL=wss://127.0.0.1:{self.devices}/v1/connect
export DEMO_DEVICE_TOKEN={self.device_token}
export DEMO_CA={self.folder}/pki/ca.pem
""")
        api = f"http://127.0.0.1:{self.api}"
        curl = f"curl -s -H 'Authorization: Bearer {self.api_token}'"
        device = f"{api}/api/v1/devices/sim-000001"
        print(f"""\
look     {api}/#token={self.api_token}
         (the dashboard, signed in)
devices  {curl} '{api}/api/v1/devices?online=true&label=site=berlin&limit=3&count=true'
command  {curl} --json '{{"name": "ping"}}' '{device}/commands?wait=10s'
twin     {curl} -X PATCH --json '{{"interval_s": 5}}' {device}/twin/desired
         {curl} {device}/twin
why      {curl} {device}/timeline
live     {curl} -N '{api}/api/v1/stream?kinds=presence,command,telemetry&device=sim-000001'
{self.metrics_lines()}
broker   mosquitto_sub -p {self.broker} -v -t 'fieldgate/v1/devices/#'
logs     {self.folder}
shell    source build/run/env     (the variables that README.md uses)
""", flush=True)

    def simulator_command(self) -> list:
        options = self.options
        command = [self.bin / "fieldgate-sim", "run", "--devices", options.devices, "--rate", options.rate,
                   "--gateway", f"127.0.0.1:{self.devices}", "--pki", self.folder / "pki",
                   "--duties", "--vary-label", "site=berlin,oslo,porto", "--vary-label", "line=1,2,3,4,5",
                   "--verify", f"mqtt://127.0.0.1:{self.broker}"]
        if options.seconds:
            command += ["--seconds", options.seconds]
        if options.spool:
            command += ["--ack-stage", "spooled"]
        if options.kill_every:
            # No device would see a connection hold for long, and each would stay away for longer and longer.
            command += ["--backoff-base", 0.2, "--backoff-max", 2, "--grace", 60, "--settle", 20]
        return [*command, *options.simulator]

    def simulate(self) -> int:
        options = self.options
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *map(str, self.simulator_command())],
                                   stdout=subprocess.PIPE, text=True)
        self.processes.append(("simulator", process))
        printer = threading.Thread(target=self.print_lines, args=(process.stdout,))
        printer.start()
        # Ctrl-C reaches the simulator too; it ends with its summary, and then so do we.
        interrupted = threading.Event()
        signal.signal(signal.SIGINT, lambda *_: interrupted.set())
        if options.kill_every:
            self.kill_again_and_again(process, interrupted)
        status = process.wait()
        printer.join()
        self.check_processes(process)
        return status

    def check_processes(self, *ended: subprocess.Popen) -> None:
        """Those but `ended` are to be there still."""
        for name, other in self.processes:
            if other.poll() is not None and other not in ended:
                raise Failure(f"{name} ended before its time, with status {other.returncode}; see {self.folder}/{name}.log")

    def print_lines(self, lines) -> None:
        for line in lines:
            if line.startswith("summary:") and self.options.kill_every:
                line = f"{line.rstrip()} kills={self.kills}\n"
            print(line, end="", flush=True)

    def kill_again_and_again(self, simulator: subprocess.Popen, interrupted: threading.Event) -> None:
        """As long as devices send. The last second is the devices' own, to be back by."""
        began = time.monotonic()
        end = began + self.options.seconds - 1 if self.options.seconds else float("inf")
        due = began
        while simulator.poll() is None:
            due = max(due + self.options.kill_every, time.monotonic())
            while time.monotonic() < due and simulator.poll() is None and not interrupted.is_set():
                time.sleep(0.05)
            if due >= end or simulator.poll() is not None or interrupted.is_set():
                return
            gateway = self.processes.pop(next(i for i, (name, _) in enumerate(self.processes) if name == "gateway"))[1]
            gateway.kill()
            gateway.wait()
            killed = time.monotonic()
            self.launch_gateway()
            self.kills += 1
            print(f"kill {self.kills}: kill -9 after {killed - began:.1f} s, ready again {time.monotonic() - killed:.2f} s "
                  "later", flush=True)

    def stop(self) -> int:
        """The last started first. Returns the exit status of a gateway that did not end well, or 0."""
        status = 0
        for name, process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if name in self.gateways:
                status = process.returncode or status
        return status


def main() -> int:
    options = arguments()
    status = 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = None
    run = None
    try:
        raise_descriptors(options.devices)
        make = Run
        if options.replicas:
            from rollout import ReplicasRun as make  # which stands on this
        if not options.bin:
            subprocess.run([ROOT / "dev", "build", options.preset, "fieldgate", "fieldgate-sim"], check=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fieldgate-run-"))
        run = make(options, folder)
        run.start_broker()
        run.make_credentials()
        run.start_gateway()
        run.publish_environment()
        status = run.simulate()
    except Failure as failure:
        print(f"dev run: {failure}", file=sys.stderr)
        options.keep = folder is not None
    except subprocess.CalledProcessError as failed:
        status = failed.returncode
    except KeyboardInterrupt:
        status = 130
    finally:
        if run is not None and run.stop() != 0 and status == 0:
            print(f"dev run: a gateway did not end well; see its log in {folder}", file=sys.stderr)
            status, options.keep = 1, True
        with contextlib.suppress(OSError):
            options.environment.unlink()
        if folder is not None and options.keep:
            print(f"dev run: kept {folder}", file=sys.stderr)
        elif folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    import demo  # by its name, under which what stands on it knows it
    sys.exit(demo.main())
