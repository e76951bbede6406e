# SPDX-License-Identifier: Apache-2.0
"""A rolling restart of replicas, as Kubernetes does it, and what devices and gateways see of it.

For each replica in turn: `fieldgate drain`, as a preStop hook (it says that it is not ready; the balancer sends nobody
there any more; devices are sent away, spread over half of the drain period); SIGTERM; a new process; once that has been
ready for a while, the next one. Nobody waits for the devices.
"""

import collections
import json
import re
import signal
import subprocess
import sys
import threading
import time

import demo
from replicas import ADMISSION_RATE, MIN_READY_S, Replica, Replicas

# Connections that were taken from the kernel only to be turned away at once.
TURNED_AWAY = ("handshake_budget", "handshakes_max", "sessions_max", "memory", "descriptors", "address_sessions_max")
PROGRESS = re.compile(r"connected (\d+)/\d+ .* reconnects (\d+)  failures (\d+)$")
NOT_A_FAILURE = ("closed_by_gateway", "closed_by_device", "dropped")


class Devices:
    """A simulator of its own, which Ctrl-C does not reach. Started by the main thread alone: it ends with the thread that
    started it."""

    def __init__(self, fleet: Replicas, name: str, command: list):
        self.name, self.json = f"simulator-{name}", fleet.folder / f"simulator-{name}.json"
        self.online = self.reconnects = self.failures = 0
        self.lines: list[str] = []  # what it says at its end
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *map(str, command), "--progress", "--json", self.json, "--signal-grace", "30"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True)
        fleet.processes.append((self.name, self.process))
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._read_progress, self._read_result)]
        for reader in self.readers:
            reader.start()

    def _read_progress(self) -> None:
        for line in self.process.stderr:
            if found := PROGRESS.search(line.rstrip("\n")):
                self.online, self.reconnects, self.failures = map(int, found.groups())
            else:
                print(line, end="", file=sys.stderr, flush=True)

    def _read_result(self) -> None:
        self.lines += self.process.stdout

    def result(self, seconds: float = 180) -> dict:
        """Once it has ended, by itself or by end()."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise demo.Failure(f"{self.name} does not end") from None
        for reader in self.readers:
            reader.join()
        if self.process.returncode == 2 or not self.json.exists():
            raise demo.Failure(f"{self.name} ended with status {self.process.returncode}: {''.join(self.lines)}")
        return json.loads(self.json.read_text())

    def end(self) -> dict:
        """It delivers what is under way, says Bye, and judges."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.result()


def refused(result: dict) -> int:
    """Attempts of devices that came to nothing, and ends that no drain explains, as the devices count them."""
    return (sum(count for how, count in result["ends"].items() if how not in NOT_A_FAILURE)
            + sum(count for why, count in result["goodbyes"].items() if why != "GOODBYE_REASON_DRAIN"))


class Sample:
    """What the gateways say at one moment; of those that do not answer, nothing. `whole`: all that run did answer."""

    def __init__(self, fleet: Replicas):
        began = time.monotonic()
        running = [name for name, process in list(fleet.processes) if name in fleet.gateways and process.poll() is None]
        metrics = {replica.name: fleet.metrics(replica) for replica in fleet.replicas}
        self.at = (began + time.monotonic()) / 2
        self.whole = all(metrics[name] for name in running)
        self.sessions = {name: int(of["fieldgate_sessions"]) for name, of in metrics.items() if of}
        self.let_in = {name: of["fieldgate_connections_opened_total"]
                       - sum(of.get(f'fieldgate_sessions_ended_total{{reason="{reason}"}}', 0) for reason in TURNED_AWAY)
                       for name, of in metrics.items() if of}


class Watch(threading.Thread):
    """Asks the gateways four times a second how many devices they have and let in."""

    EVERY_S = 0.25

    def __init__(self, fleet: Replicas):
        super().__init__(daemon=True)
        self.fleet, self.over, self.samples = fleet, threading.Event(), [Sample(fleet)]
        self.start()

    def run(self) -> None:
        before: dict[str, float] = dict(self.samples[0].let_in)
        ended: collections.Counter = collections.Counter()  # what processes that are gone had let in
        while not self.over.wait(self.EVERY_S):
            sample = Sample(self.fleet)
            if not sample.whole:
                continue  # what one has let in meanwhile would be held against the next quarter of a second
            for name, count in sample.let_in.items():
                if count < before.get(name, 0):
                    ended[name] += before[name]
                before[name] = count
            sample.let_in = {name: ended[name] + before.get(name, 0) for name in self.fleet.gateways}
            self.samples.append(sample)

    def stop(self) -> None:
        self.over.set()
        self.join()

    def peak(self, *names: str) -> float:
        """Let in per second by these together, the most over any second."""
        peak, first, samples = 0.0, 0, list(self.samples)
        count = [sum(sample.let_in.get(name, 0) for name in names) for sample in samples]
        for last, sample in enumerate(samples):
            while first + 1 < last and sample.at - samples[first + 1].at >= 1:
                first += 1
            if sample.at - samples[first].at >= 1:
                peak = max(peak, (count[last] - count[first]) / (sample.at - samples[first].at))
        return peak

    def peak_of_one(self) -> float:
        return max(self.peak(name) for name in self.fleet.gateways)

    def sessions(self) -> int:
        return sum(self.samples[-1].sessions.values())

    def sessions_min(self) -> int:
        return min(sum(sample.sessions.values()) for sample in self.samples)

    def let_in_lately(self) -> float:
        """Per second, over the last one."""
        last = self.samples[-1]
        before = next((sample for sample in reversed(self.samples) if last.at - sample.at >= 1), self.samples[0])
        span = last.at - before.at
        return (sum(last.let_in.values()) - sum(before.let_in.values())) / span if span > 0 else 0.0


class Show:
    """A line a second for a person: devices at each replica, and how many come back."""

    WIDTH = 40

    def __init__(self, fleet: Replicas, watch: Watch, devices: Devices):
        self.fleet, self.watch, self.devices = fleet, watch, devices
        self.began = self.due = time.monotonic()
        self.notes = {replica.name: "" for replica in fleet.replicas}
        utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        self.block, self.end, self.arrow = ("█", "▏", "↓") if utf8 else ("#", "|", "v")

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f}  {text}", flush=True)

    def head(self) -> None:
        names = "".join(f"{replica.name:>8}" for replica in self.fleet.replicas)
        print(f"Devices online at each replica ({self.arrow}: it sends them away); back/s: let in by all replicas in the last "
              f"second, a full bar: {ADMISSION_RATE},\nwhat one replica admits; refused: attempts of devices that came to "
              f"nothing.\n\n     s{names}  online  back/s{'':{self.WIDTH + 2}}  refused", flush=True)

    def line(self) -> None:
        now = time.monotonic()
        if now < self.due:
            return
        self.due = max(self.due + 1, now + 0.5)
        sample, back = self.watch.samples[-1], self.watch.let_in_lately()
        columns = "".join(f"{sample.sessions.get(replica.name, '-')!s:>7}{self.notes[replica.name] or ' '}"
                          for replica in self.fleet.replicas)
        bar = self.block * min(self.WIDTH, round(self.WIDTH * back / ADMISSION_RATE))
        print(f"{now - self.began:6.0f}{columns} {sum(sample.sessions.values()):7d} {back:7.0f} {bar:<{self.WIDTH}}{self.end} "
              f"{self.devices.failures:8d}", flush=True)


class Quiet(Show):
    """For a bench: what happens alone, on standard error."""

    def say(self, text: str) -> None:
        print(f"# {time.monotonic() - self.began:6.1f}  {text}", file=sys.stderr, flush=True)

    def line(self) -> None:
        """Nothing."""


class Rollout:
    def __init__(self, fleet: Replicas, devices: Devices, show: Show, interrupted: threading.Event | None = None):
        self.fleet, self.devices, self.show = fleet, devices, show
        self.interrupted = interrupted or threading.Event()

    def over(self) -> bool:
        return self.interrupted.is_set() or self.devices.process.poll() is not None

    def until(self, condition, seconds: float, what: str) -> bool:
        """False: whoever looked on has had enough."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.over():
                return False
            if time.monotonic() > deadline:
                raise demo.Failure(f"waited {seconds:.0f} s in vain for {what}")
            self.show.line()
            time.sleep(0.05)
        return True

    def pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, seconds + 60, "time to pass")

    def restart(self, replica: Replica) -> float | None:
        """How long it took, in seconds. None: cut short."""
        fleet, show, began = self.fleet, self.show, time.monotonic()
        patience = 120 + 2 * fleet.drain_period_s
        show.notes[replica.name] = show.arrow
        show.say(f"{replica.name}: fieldgate drain")
        drain = fleet.start(f"drain-{replica.name}", fleet.bin / "fieldgate", "drain", "--config", fleet.config_file(replica))
        fleet.forget(f"drain-{replica.name}")
        if not self.until(lambda: fleet.balanced_to(replica) == 0, patience, f"the balancer to drop {replica.name}"):
            return None
        show.say(f"{replica.name}: not ready; the balancer sends nobody there any more")
        if not self.until(lambda: drain.poll() is not None, patience, f"{replica.name} to be drained"):
            return None
        if drain.returncode != 0:
            raise demo.Failure(f"fieldgate drain of {replica.name}: status {drain.returncode}; see {fleet.folder}")
        show.say(f"{replica.name}: drained after {time.monotonic() - began:.1f} s; SIGTERM")
        status = fleet.end(replica.name)
        if status != 0:
            raise demo.Failure(f"{replica.name} ended with status {status}; see {fleet.folder}/{replica.name}.log")
        show.notes[replica.name] = ""
        ended = time.monotonic()
        fleet.launch(replica, ready=False)
        process = fleet.process(replica.name)
        everybody = len(fleet.balancers)
        if not self.until(lambda: process.poll() is not None or fleet.balanced_to(replica) == everybody, patience,
                          f"{replica.name} to be ready and the balancer to know"):
            return None
        fleet.check_processes()
        show.say(f"{replica.name}: a new one is ready, {time.monotonic() - ended:.1f} s after the old one's end")
        return time.monotonic() - began

    def all_online(self, devices: int, watch: Watch) -> bool:
        """First those that connect, then the moment when all of them are there."""
        patience = 120 + devices / 20
        return self.until(lambda: self.devices.online >= devices and watch.sessions() >= devices, patience,
                          f"{devices} devices to be online")


def presence_mark(fleet: Replicas) -> int:
    return int(fleet.psql("SELECT coalesce(max(number), 0) FROM fieldgate.presence_log"))


def offline_since(fleet: Replicas, mark: int) -> int:
    """Devices that were said to be offline since, but for those that took their leave themselves."""
    return int(fleet.psql("SELECT count(*) FROM fieldgate.presence_log WHERE online = 0 AND reason <> 'bye' "
                          f"AND number > {mark}"))


class ReplicasRun(Replicas):
    """`./dev run --replicas`."""

    def simulate(self) -> int:
        return self.roll() if self.options.rolling_restart else super().simulate()

    def simulator_command(self) -> list:
        # More at once would only show how many handshakes devices and gateways can do on one machine.
        return [*super().simulator_command()[:2], "--connect-rate", ADMISSION_RATE * 4 // 5,
                *super().simulator_command()[2:]]

    def roll(self) -> int:
        interrupted = threading.Event()
        signal.signal(signal.SIGINT, lambda *_: interrupted.set())
        count = self.options.devices
        devices = Devices(self, "fleet", self.simulator_command())
        watch = Watch(self)
        show = Show(self, watch, devices)
        rollout = Rollout(self, devices, show, interrupted)
        show.head()
        took, mark, offline = [], 0, 0
        if rollout.all_online(count, watch):
            show.say(f"all {count} devices are online; the rollout begins in 3 s")
            rollout.pause(3)
            mark = presence_mark(self)
            watch.stop()
            watch = show.watch = Watch(self)  # the peaks are to be those of the rollout
            for replica in self.replicas:
                if took:
                    rollout.pause(MIN_READY_S)
                took.append(rollout.restart(replica))
                if took[-1] is None:
                    break
            if took[-1] is not None and rollout.all_online(count, watch):
                rollout.pause(3)
                show.say("all devices are back; they deliver what is under way, and leave")
            offline = offline_since(self, mark)
        watch.stop()
        result = devices.end()
        self.check_processes(devices.process)
        done = sum(seconds is not None for seconds in took)
        figures = {"restarts": done, "refused": refused(result), "peak_reconnects_per_s": round(watch.peak_of_one()),
                   "admission_rate": ADMISSION_RATE, "offline_events": offline, "drain_period_s": self.drain_period_s}
        for line in devices.lines:
            if line.startswith("summary:"):
                line = f"{line.rstrip()} {' '.join(f'{key}={value}' for key, value in figures.items())}\n"
            print(line, end="", flush=True)
        return devices.process.returncode or (1 if refused(result) else 0)
