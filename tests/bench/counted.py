# SPDX-License-Identifier: Apache-2.0
"""For the benches that count: the gateway, the floor and the usual way under the same exact load.

Instructions are counted by callgrind, in user space, from one moment to another: the counts are dumped and set back
while the server runs, so that start-up, handshakes and shutdown are not in them. System calls are counted by strace, by
thread. Neither depends on how fast the machine is.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

from stage import BIN, TOKEN_SEED, Stage, demo, merged, stage

CALLGRIND = ("valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", "--callgrind-out-file={folder}/callgrind")
# Nothing but the devices' own frames is to limit them, and Acks are to come by number, not by time: under callgrind
# time means little.
ACK_BY_NUMBER_MS = 60_000
GATEWAY_SETTINGS = {"limits": {"frames_per_second": 1_000_000, "frames_burst": 1_000_000, "bytes_per_second": "1GiB",
                               "bytes_burst": "1GiB", "handshakes_per_second": 20_000}}

ALLOCATORS = re.compile(r"(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|valloc|pvalloc)('\d+)?$")
# Of the MQTT lane's thread, each with all it calls.
LANE_TURNS = r"mqtt::(LaneImpl::(pump|settled)|Client::on_readable)\("
LANE_BATCH = r"mqtt::Forwarder::take\("
LANE_ACCOUNT = r"mqtt::(LaneImpl::acknowledged|Forwarder::report)\("
LANE_SOCKET = r"mqtt::Link::(publish|write|read)\("
LANE_PUBLISH = r"mqtt::Link::publish\("


class Load:
    """fieldgate_bench_load, which does what it is told and says when it is done."""

    def __init__(self, port: int, pki: pathlib.Path, *options):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", str(BIN / "fieldgate_bench_load"), "--port", str(port), "--pki", str(pki),
             *map(str, options)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, *command) -> None:
        self.process.stdin.write(" ".join(map(str, command)) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, float]:
        line = self.process.stdout.readline()
        if not line:
            raise demo.Failure(f"the load ended with {self.process.wait()}")
        return {key: float(value) for key, value in (word.split("=") for word in line.split())}

    def do(self, *command) -> dict[str, float]:
        self.tell(*command)
        return self.hear()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class Server:
    """What devices connect to. Ends, and everything around it, with the `with` it was made in."""

    def __init__(self, who: str, process: subprocess.Popen, port: int, folder: pathlib.Path, stage: Stage | None):
        self.who, self.process, self.port, self.folder, self.stage = who, process, port, folder, stage
        self.dumps = 0
        self.loads: list[Load] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    def load(self, *options, token: bool = True) -> Load:
        seed = ("--secret-seed", TOKEN_SEED) if token and self.stage else ()
        self.loads.append(Load(self.port, self.folder / "pki", *seed, *options))
        return self.loads[-1]

    def cpu_seconds(self) -> float:
        """User and system time of the threads that live."""
        return sum(task.cpu_s for task in self.tasks().values())

    def tasks(self) -> dict[str, "Task"]:
        """The threads that live, by id."""
        tasks = {}
        for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                slept, preempted = (int(value) for value in
                                    re.findall(r"^(?:non)?voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M))
                tasks[task.name] = Task((task / "comm").read_text().strip(),
                                        int((task / "schedstat").read_text().split()[0]) / 1e9, slept, preempted)
        return tasks

    def counted(self) -> "Profile":
        """Instructions since the last call, under callgrind."""
        self.dumps += 1
        subprocess.run(["callgrind_control", "--dump", str(self.pid)], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        files = [self.folder / name for name in os.listdir(self.folder)
                 if name.startswith(f"callgrind.{self.dumps}-") or name == f"callgrind.{self.dumps}"]
        if not files:
            raise demo.Failure(f"callgrind wrote no counts of {self.who}")
        return Profile([Thread(file.read_text(errors="replace")) for file in files])

    @contextlib.contextmanager
    def traced(self):
        """System calls during the `with`, afterwards in what it gives: by thread, by name."""
        out = self.folder / "strace"
        out.unlink(missing_ok=True)
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", out, "-p", str(self.pid)], stderr=subprocess.DEVNULL)
        calls: dict[str, dict[str, int]] = {}
        try:
            self.await_tracer(tracer)
            yield calls
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(timeout=60)
        for line in open(out, errors="replace"):
            found = re.match(r"(\d+) +(\w+)\(", line)
            if found:
                thread = calls.setdefault(found[1], {})
                thread[found[2]] = thread.get(found[2], 0) + 1

    def await_tracer(self, tracer: subprocess.Popen) -> None:
        deadline = time.monotonic() + 30
        while True:
            threads = list(pathlib.Path(f"/proc/{self.pid}/task").iterdir())
            if all(f"TracerPid:\t{tracer.pid}\n" in (thread / "status").read_text() for thread in threads):
                return
            if tracer.poll() is not None or time.monotonic() > deadline:
                raise demo.Failure(f"strace does not get hold of {self.who}")
            time.sleep(0.05)


@dataclass
class Task:
    """A running thread: what it took so far, how often it went to sleep, how often it lost its core to another."""

    name: str
    cpu_s: float
    slept: int
    preempted: int

    def since(self, before: "Task | None") -> "Task":
        was = before or Task(self.name, 0, 0, 0)
        return Task(self.name, self.cpu_s - was.cpu_s, self.slept - was.slept, self.preempted - was.preempted)


class Thread:
    """The counts of one thread, as callgrind writes them."""

    def __init__(self, text: str):
        total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
        self.total = int(total.group(1)) if total else 0
        self.names: dict[str, str] = {}
        # Of all calls from one function to another: what the callee cost, with all it called.
        self.calls: dict[tuple[str, str], int] = {}
        self.times: dict[tuple[str, str], int] = {}
        self.own: dict[str, int] = {}
        self.parse(text)

    def parse(self, text: str) -> None:
        caller = callee = ""
        after_calls = False
        for line in text.splitlines():
            if line.startswith("fn="):
                caller = self.name(line[3:])
            elif line.startswith("cfn="):
                callee = self.name(line[4:])
            elif line.startswith("calls="):
                self.times[caller, callee] = self.times.get((caller, callee), 0) + int(line[6:].split()[0])
                after_calls = True
            elif line and line[0] in "0123456789+-*":
                cost = int(line.split()[1]) if " " in line else 0
                if after_calls:
                    self.calls[caller, callee] = self.calls.get((caller, callee), 0) + cost
                else:
                    self.own[caller] = self.own.get(caller, 0) + cost
                after_calls = False

    def name(self, text: str) -> str:
        """`(12) name` where it is new, `(12)` from then on."""
        found = re.match(r"\((\d+)\)(?: (.*))?", text)
        if found[2] is not None:
            self.names[found[1]] = found[2]
        return self.names[found[1]]

    def inclusive(self, pattern: str) -> int:
        """Of the functions that match, with all they called; not twice where one calls another."""
        name = re.compile(pattern)
        return sum(cost for (caller, callee), cost in self.calls.items()
                   if name.search(callee) and not name.search(caller))

    def across(self, callers: str, callees: str) -> int:
        """What the callees cost, with all they called, where it was one of the callers who called them."""
        one, other = re.compile(callers), re.compile(callees)
        return sum(cost for (caller, callee), cost in self.calls.items() if one.search(caller) and other.search(callee))

    def entered(self, pattern: str) -> int:
        """How often the functions that match were called."""
        name = re.compile(pattern)
        return sum(times for (_, callee), times in self.times.items() if name.search(callee))

    def allocations(self) -> int:
        """Blocks asked of the C library, in whichever way: operator new asks there as well."""
        return sum(times for (caller, callee), times in self.times.items()
                   if ALLOCATORS.match(callee) and not ALLOCATORS.match(caller))

    def knows(self, pattern: str) -> bool:
        return any(re.search(pattern, name) for name in self.names.values())


@dataclass
class Profile:
    threads: list[Thread]

    @property
    def total(self) -> int:
        return sum(thread.total for thread in self.threads)

    def thread(self, pattern: str) -> Thread:
        """The one that does most in functions that match."""
        return max(self.threads, key=lambda thread: thread.inclusive(pattern))


@contextlib.contextmanager
def bare_server(who: str, *options, callgrind: bool = False):
    """`floor` or `beast`."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"fieldgate-bench-{who}-"))
    server = None
    try:
        demo.raise_descriptors(15_000)
        port = demo.free_port(18_444)
        subprocess.run([BIN / "fieldgate-sim", "pki", "--dir", folder / "pki"], check=True, stdout=subprocess.DEVNULL)
        wrap = [part.format(folder=folder) for part in CALLGRIND] if callgrind else []
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *wrap, BIN / f"fieldgate_bench_{who}", "--port", str(port), "--pki",
             folder / "pki", *map(str, options)], stdout=subprocess.PIPE, text=True)
        server = Server(who, process, port, folder, None)
        if process.stdout.readline() != "ready\n":
            raise demo.Failure(f"{who} does not start")
        yield server
    finally:
        if server:
            for load in server.loads:
                load.stop()
            server.process.kill()
            server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def gateway(devices: int, callgrind: bool = False, shards: int = 1, settings: dict | None = None, wrap: tuple = ()):
    """The real one, with a broker behind it."""
    wrap = CALLGRIND if callgrind else wrap
    with stage(devices, shards=shards, wrap=wrap, tokens=devices,
               settings=merged(GATEWAY_SETTINGS, settings or {})) as run:
        process = next(process for name, process in run.processes if name == "gateway")
        server = Server("gateway", process, run.devices, run.folder, run)
        try:
            yield server
        finally:
            for load in server.loads:
                load.stop()
            if wrap:
                process.kill()  # its farewells to all would take minutes


@contextlib.contextmanager
def server(who: str, devices: int, ack_every_ms: int = 50, level: str = "ack", callgrind: bool = False, shards: int = 1):
    """`gateway`, `floor` or `beast`, with the same acknowledgements."""
    if who == "gateway":
        with gateway(devices, callgrind, shards, {"session": {"ack_every": f"{ack_every_ms}ms"}}) as one:
            yield one
    else:
        with bare_server(who, "--level", level, "--ack-every-ms", ack_every_ms, callgrind=callgrind) as one:
            yield one
