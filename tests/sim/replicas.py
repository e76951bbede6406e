# SPDX-License-Identifier: Apache-2.0
"""A fleet of gateways on one machine: replicas on loopback addresses of their own, one broker, one PostgreSQL, a balancer.

The balancer is Debian's haproxy, which passes TCP on, asks each gateway's /readyz, and sends nobody to one that says no.
It takes two descriptors for each device; where one process may not have so many, several listen on the same port.
"""

import contextlib
import csv
import json
import os
import pathlib
import pwd
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import demo

POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")
HAPROXY = pathlib.Path("/usr/sbin/haproxy")
BALANCER_ADDRESS = "127.0.2.1"  # that gateways see; they believe its PROXY protocol, and nobody else's
# New connections a second that one replica lets in: what two shared cores can take beside the devices themselves.
ADMISSION_RATE = 400
DRAIN_DELAY_S = 4  # for the balancer to look, also on a machine with better things to do; it asks four times a second
MIN_READY_S = 5  # minReadySeconds of the chart: how long a new one must be ready before the next is touched


def missing() -> str:
    """The package to install, or nothing."""
    for program, package in ((POSTGRES / "postgres", "postgresql-15"), (HAPROXY, "haproxy")):
        if not program.exists():
            return package
    return ""


class Replica:
    def __init__(self, number: int):
        self.name, self.address = f"gw-{number}", f"127.0.1.{number}"


class Replicas(demo.Run):
    """`drain_period` None: as long as the others need to take over what one may have. `roads`: each replica reaches
    broker and database through a process of its own, which can be stopped: then nothing passes, and nobody is told."""

    def __init__(self, options, folder: pathlib.Path, *, lease_s: int = 15, drain_period_s: int | None = None,
                 roads: bool = False):
        if package := missing():
            raise demo.Failure(f"replicas need Debian's package {package}: ./dev setup test")
        self.replicas = [Replica(number + 1) for number in range(options.replicas)]
        self.gateways = tuple(replica.name for replica in self.replicas)
        self.addresses = ("127.0.0.1", *(replica.address for replica in self.replicas))
        super().__init__(options, folder)
        self.postgres, self.lease_s, self.roads = demo.free_port(15432, self.addresses), lease_s, roads
        self.database_dir = pathlib.Path(tempfile.mkdtemp(prefix="fieldgate-postgres-"))  # its user may look into this one
        self.password = secrets.token_urlsafe(12)
        held_max = options.devices if len(self.replicas) < 3 else options.devices / (len(self.replicas) - 1)
        # The Goodbyes go out in the first half; at half of what one replica lets in. In the quarter after it a device that
        # was sent away is awaited: no less than Goodbye's 2 s and a handshake.
        self.drain_period_s = drain_period_s or max(10, round(2 * held_max / (0.5 * ADMISSION_RATE)))
        self.balancers: list[str] = []

    # --- the programs

    def start_postgres(self) -> None:
        become = []
        password = self.database_dir / "password"
        password.write_text(self.password)
        if os.geteuid() == 0:  # as which it refuses to run
            user = pwd.getpwnam("postgres")
            for path in (self.database_dir, password):
                os.chown(path, user.pw_uid, user.pw_gid)
            become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
        self.call(*become, POSTGRES / "initdb", "-D", self.database_dir / "data", "-U", "fieldgate", "-A", "scram-sha-256",
                  f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
        self.postgres_command = [
            *become, "setpriv", "--pdeathsig", "INT", POSTGRES / "postgres", "-D", self.database_dir / "data",
            "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.postgres}", "-c", "unix_socket_directories="]
        self.launch_postgres()
        self.psql("CREATE DATABASE fieldgate", "postgres")

    def launch_postgres(self) -> None:
        ready = [POSTGRES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.postgres)]
        self.wait_for("postgres", self.start("postgres", *self.postgres_command),
                      lambda: subprocess.run(ready, check=False).returncode == 0, 30)

    def psql(self, sql: str, database: str = "fieldgate") -> str:
        done = subprocess.run(
            [POSTGRES / "psql", "-X", "-At", "-h", "127.0.0.1", "-p", str(self.postgres), "-U", "fieldgate", "-d", database,
             "-c", sql], capture_output=True, text=True, check=False, env={**os.environ, "PGPASSWORD": self.password})
        if done.returncode != 0:
            raise demo.Failure(f"psql: {sql}\n{done.stderr}")
        return done.stdout.strip()

    def start_gateway(self) -> None:
        """All of them, and what they stand on."""
        self.start_postgres()
        for replica in self.replicas:
            if self.roads:
                self.start_road(replica)
            (self.folder / replica.name / "state").mkdir(parents=True)
            self.write(f"{replica.name}/fieldgate.yaml", json.dumps(self.configuration(replica), indent=2))
            self.launch(replica)
        self.start_balancers()

    def configuration(self, replica: Replica) -> dict:
        """JSON, which is YAML as well."""
        pki = self.folder / "pki"
        backing = replica.address if self.roads else "127.0.0.1"
        return {
            "node": {"name": replica.name, "state_dir": f"{self.folder}/{replica.name}/state",
                     "drain_delay": f"{DRAIN_DELAY_S}s", "drain_period": f"{self.drain_period_s}s"},
            "devices": {"listen": f"{replica.address}:{self.devices}", "proxy_trusted": [f"{BALANCER_ADDRESS}/32"], "tls": {
                "certificate_file": f"{pki}/server.pem", "key_file": f"{pki}/server-key.pem",
                "client_ca_file": f"{pki}/ca.pem"}},
            "tokens": {"file": f"{self.folder}/device-tokens"},
            "registry": {"auto_register": True},
            "store": {"kind": "postgres", "password": self.password, "lease": f"{self.lease_s}s",
                      "connection": f"host={backing} port={self.postgres} user=fieldgate dbname=fieldgate"},
            "limits": {"sessions_max": self.options.devices + 1000, "handshakes_per_second": ADMISSION_RATE},
            "uplink": {"spool": {"enabled": self.options.spool}},
            "mqtt": [{"name": "main", "host": backing, "port": self.broker, "commands": True, "response_topics": ["demo/#"]}],
            "api": {"listen": f"{replica.address}:{self.api}", "token_file": f"{self.folder}/api-tokens"},
            "admin": {"listen": f"{replica.address}:{self.admin}"},
        }

    def config_file(self, replica: Replica) -> pathlib.Path:
        return self.folder / replica.name / "fieldgate.yaml"

    def launch(self, replica: Replica, *, ready: bool = True) -> None:
        process = self.start(replica.name, self.bin / "fieldgate", "serve", "--config", self.config_file(replica))
        if ready:
            self.wait_for(replica.name, process, lambda: self.is_ready(replica), 60)

    def start_balancers(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        most = 1_000_000 if hard == resource.RLIM_INFINITY else hard
        # Two for each device and one for its health checks; the kernel shares connections out evenly, though not quite.
        count = -(-int(2.2 * self.options.devices) // (most - 200))
        connections = min((most - 200) // 2, 2 * self.options.devices + 1000)
        for number in range(1, count + 1):
            name = f"balancer-{number}"
            config = self.write(f"{name}.cfg", self.balancer_config(name, connections))
            self.balancers.append(name)
            self.wait_for(name, self.start(name, HAPROXY, "-db", "-f", config), lambda n=name: self.balancer_has_all(n), 30)

    def balancer_config(self, name: str, connections: int) -> str:
        def servers(port: int, more: str) -> str:
            return "\n".join(f"  server {replica.name} {replica.address}:{port} {more}" for replica in self.replicas)

        return f"""\
global
  maxconn {connections}
  nbthread 1
  stats socket {self.folder}/{name}.sock mode 600
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout check 5s
  retries 3
  option redispatch 1
  option httpchk
  http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host gateway hdr Connection close
  default-server check port {self.admin} inter 250ms fall 2 rise 1
listen devices
  bind 127.0.0.1:{self.devices} backlog 4096
  balance leastconn
  source {BALANCER_ADDRESS}
{servers(self.devices, "send-proxy-v2")}
listen api
  bind 127.0.0.1:{self.api}
  balance first
{servers(self.api, "")}
"""

    def start_road(self, replica: Replica) -> None:
        lines = "".join(f"listen road-{port}\n  bind {replica.address}:{port}\n  server far 127.0.0.1:{port}\n"
                        for port in (self.broker, self.postgres))
        config = self.write(f"road-{replica.name}.cfg", "global\n  maxconn 200\n  nbthread 1\ndefaults\n  mode tcp\n  timeout "
                            f"connect 5s\n  timeout client 1h\n  timeout server 1h\n{lines}")
        self.wait_for(f"road-{replica.name}", self.start(f"road-{replica.name}", HAPROXY, "-db", "-f", config),
                      lambda: self.answers(replica.address, self.postgres), 10)

    @staticmethod
    def answers(address: str, port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return True
        return False

    # --- one by one

    def process(self, name: str) -> subprocess.Popen:
        return next(process for other, process in self.processes if other == name)

    def forget(self, name: str) -> subprocess.Popen:
        """It is about to end, and that is meant."""
        process = self.process(name)
        self.processes.remove((name, process))
        return process

    def end(self, name: str, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        process = self.forget(name)
        process.send_signal(number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise demo.Failure(f"{name} did not end within {seconds:.0f} s of {signal.Signals(number).name}; "
                               f"see {self.folder}/{name}.log") from None

    def cut(self, replica: Replica) -> None:
        self.process(f"road-{replica.name}").send_signal(signal.SIGSTOP)

    def mend(self, replica: Replica) -> None:
        self.process(f"road-{replica.name}").send_signal(signal.SIGCONT)

    def get(self, replica: Replica, path: str, seconds: float = 10) -> tuple[int, str]:
        """Of the admin listener, or under /api/ of the API. (0, "") where nobody answers."""
        port = self.api if path.startswith("/api/") else self.admin
        request = urllib.request.Request(f"http://{replica.address}:{port}{path}",
                                         headers={"Authorization": f"Bearer {self.api_token}"})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def is_ready(self, replica: Replica) -> bool:
        return self.get(replica, "/readyz", 2)[0] == 200

    def reasons(self, replica: Replica) -> set[str]:
        status, body = self.get(replica, "/readyz")
        return {reason["name"] for reason in json.loads(body)["reasons"]} if status else {"no_answer"}

    def metrics(self, replica: Replica) -> dict[str, float]:
        """By series, as printed; empty where nobody answers."""
        lines = (line.rsplit(" ", 1) for line in self.get(replica, "/metrics", 5)[1].splitlines() if line[:1] != "#")
        return {series: float(value) for series, value in lines}

    def online(self, asked: Replica, node: str = "") -> int:
        """How many devices the API of one replica says are online, at all nodes or one."""
        where = f"&node={node}" if node else ""
        status, body = self.get(asked, f"/api/v1/devices?online=true&count=true&limit=1{where}")
        return json.loads(body)["count"] if status == 200 else -1

    # --- the balancer

    def servers(self, balancer: str) -> dict[str, str]:
        """The state of each replica as one balancer sees it, such as UP; empty where it does not answer."""
        answer = b""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(5)
            asked.connect(f"{self.folder}/{balancer}.sock")
            asked.sendall(b"show stat\n")
            while part := asked.recv(65536):
                answer += part
        rows = csv.DictReader(answer.decode().removeprefix("# ").splitlines())
        return {row["svname"]: row["status"] for row in rows if row["pxname"] == "devices" and row["svname"] in self.gateways}

    def balancer_has_all(self, balancer: str) -> bool:
        states = self.servers(balancer)
        return len(states) == len(self.replicas) and all(state.startswith("UP") for state in states.values())

    def balanced_to(self, replica: Replica) -> int:
        """How many of the balancers send devices there."""
        return sum(self.servers(balancer).get(replica.name, "").startswith("UP") for balancer in self.balancers)

    # --- for a person

    def admin_url(self) -> str:
        return f"http://{self.replicas[0].address}:{self.admin}"

    def metrics_lines(self) -> str:
        lines = [f"metrics  http://{replica.address}:{self.admin}/metrics     health: http://{replica.address}:{self.admin}/readyz"
                 for replica in self.replicas]
        apis = " ".join(f"http://{replica.address}:{self.api}" for replica in self.replicas)
        return "\n".join([f"nodes    {apis}", "         (the same API, by replica; the address above asks whichever is ready)",
                          *lines])

    def make_credentials(self) -> None:
        names = [part for replica in self.replicas for part in ("--name", replica.address)]
        self.call(self.bin / "fieldgate-sim", "pki", "--dir", self.folder / "pki", *names)
        super().make_credentials()

    def stop(self) -> int:
        """The devices first, then the gateways together, for each takes its time."""
        for name, process in self.processes:
            if name.startswith("simulator") and process.poll() is None:
                process.terminate()
                process.wait(30)
        leaving = [process for name, process in self.processes if name in self.gateways and process.poll() is None]
        for name, process in self.processes:
            if name.startswith("road-") and process.poll() is None:
                process.send_signal(signal.SIGCONT)
        for process in leaving:
            process.terminate()
        deadline = time.monotonic() + DRAIN_DELAY_S + self.drain_period_s + 10
        for process in leaving:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
        for name, process in self.processes:
            if name == "postgres" and process.poll() is None:
                process.send_signal(signal.SIGINT)  # at SIGTERM it waits for its clients
                process.wait(30)
        status = super().stop()
        shutil.rmtree(self.database_dir, ignore_errors=True)
        return status
