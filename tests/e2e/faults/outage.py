# SPDX-License-Identifier: Apache-2.0
"""One outage of the broker under load, and what is claimed of the gateway during and after it."""

import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass

from judge import Verdict, accounts, imbalances, missing, read_ledger, read_pubacked
from probe import Probes
from parts import Broker, Fleet, Gateway, Proxy, Verifier, end, is_sanitized, load_protocol, make_pki, show_logs, wait_for
from samples import Sample, Sampler, take_sample

FAULTS = {
    "clean": "the broker is stopped in good order, and started again",
    "stall": "SIGSTOP, then SIGCONT",
    "kill": "kill -9, and started again: what it had not saved is gone",
    "refuse": "the ACL denies the gateway every topic for a while",
    "absent": "the broker is not there when the gateway starts, and comes later",
}
PROBES = 3
# Copies of records beside the uplink log: the lane's outbox (4 MiB), and the window of 100 batches of 32 KiB, once
# for the lane and once for its MQTT library. The rest is the allocator's, and what the API's answers take.
LANE_BYTES_MAX = (4 << 20) + 2 * 100 * (32 << 10)
SLACK_BYTES = 8 << 20


@dataclass
class Settings:
    bin: pathlib.Path
    fault: str
    outage_s: float = 4
    devices: int = 100
    rate: float = 3
    payload_bytes: int = 1_000
    connect_rate: float = 200
    memory_bytes_max: int = 1 << 20
    keep_alive_s: int = 5
    connect_timeout_s: int = 2
    backoff_max_s: int = 1
    warm_up_s: float = 1.5
    patience_s: float = 30  # for the return to normal


class Outage:
    def __init__(self, settings: Settings) -> None:
        self.settings, self.verdict = settings, Verdict()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"fieldgate-outage-{settings.fault}-"))
        self.sanitized = is_sanitized(settings.bin / "fieldgate")
        self.broker = self.gateway = self.fleet = self.verifier = self.proxy = self.probes = self.sampler = None

    def run(self) -> Verdict:
        """Keeps the folder if a claim is broken, or something else went wrong."""
        try:
            self.play()
        except BaseException:
            show_logs(self.folder)
            raise
        finally:
            self.tear_down()
        if self.verdict.broken:
            show_logs(self.folder)
            print(f"kept {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder)
        return self.verdict

    def play(self) -> None:
        self.prepare()
        self.set_up()
        self.before = self.settled_sample()
        self.resident_before = self.gateway.memory("VmRSS")
        self.gateway.forget_peak()
        if self.settings.fault != "absent":
            self.inject()
        self.down_at = time.monotonic()
        if self.settings.fault != "absent":
            self.probes.send_frame()
        time.sleep(self.settings.outage_s)
        self.back_at = time.monotonic()
        self.heal()
        self.recover()
        self.resident_peak = self.gateway.memory("VmHWM")
        self.judge_outage()
        self.judge_return()
        self.finish()

    # ------------------------------------------------------------ the stage

    def prepare(self) -> None:
        """What takes time and is the same for everyone."""
        self.pki = make_pki(self.folder, self.settings.bin, [f"probe-{i}" for i in range(1, PROBES + 1)])
        self.pb, self.northbound = load_protocol(self.folder)

    def set_up(self) -> None:
        settings = self.settings
        simulator, pki = settings.bin / "fieldgate-sim", self.pki
        self.broker = Broker(self.folder, refusable=settings.fault == "refuse")
        self.broker.start()
        port = self.broker.port
        if settings.fault == "kill":
            self.proxy = Proxy(self.folder, port)
            port = self.proxy.port
        self.verifier = Verifier(self.folder, simulator, self.broker.port, settle_s=3)
        if settings.fault == "absent":
            self.broker.stop()
        self.gateway = Gateway(self.folder, settings.bin / "fieldgate", pki, {
            "uplink": {"memory_bytes_max": settings.memory_bytes_max},
            "mqtt": [{"host": "127.0.0.1", "port": port, "username": Broker.USER,
                      "keep_alive": f"{settings.keep_alive_s}s", "connect_timeout": f"{settings.connect_timeout_s}s",
                      "backoff_min": "200ms", "backoff_max": f"{settings.backoff_max_s}s"}]})
        self.gateway.start()
        self.descriptors_idle = None if settings.fault == "absent" else self.descriptors_at_rest()
        self.probes = Probes(self.pb, f"wss://localhost:{self.gateway.devices}/v1/connect", pki, PROBES)
        wait_for("the probes are welcome", lambda: all(probe.welcomed for probe in self.probes.probes), 30)
        if settings.fault == "absent":
            self.probes.send_frame()  # before the fleet uses up all there is
        self.fleet = Fleet(self.folder, simulator, pki, self.gateway.devices, "--devices", settings.devices, "--rate",
                           settings.rate, "--payload-bytes", settings.payload_bytes, "--stage", "forwarded",
                           "--connect-rate", settings.connect_rate)
        self.all_devices = settings.devices + PROBES
        wait_for("all devices are online", lambda: self.gateway.online() == self.all_devices,
                 30 + settings.devices / settings.connect_rate)
        self.sampler = Sampler(self.gateway)

    def inject(self) -> None:
        {"clean": self.broker.stop, "stall": self.broker.suspend, "kill": self.broker.kill,
         "refuse": self.broker.deny}[self.settings.fault]()
        if self.settings.fault == "refuse":
            # The broker reads its rules again when it gets to it: until then it takes what comes.
            wait_for("the lane is refused", lambda: take_sample(self.gateway).get("fieldgate_lane_state", state="paused") == 1, 10)

    def heal(self) -> None:
        {"clean": self.broker.start, "stall": self.broker.resume, "kill": self.broker.start,
         "refuse": self.broker.allow, "absent": self.broker.start}[self.settings.fault]()

    def settled_sample(self) -> Sample:
        """The state of things that the outage is held against."""
        if self.settings.fault != "absent":
            time.sleep(self.settings.warm_up_s)
        return take_sample(self.gateway)

    def descriptors_at_rest(self) -> int:
        """The lane is up; two equal looks."""
        last = -1

        def steady() -> bool:
            nonlocal last
            sample = self.gateway.metrics()
            before, last = last, int(sample["process_open_fds"])
            return before == last and sum(v for k, v in sample.items()
                                          if k.startswith("fieldgate_lane_state") and 'state="running"' in k
                                          and 'lane="main"' in k) == 1

        wait_for("the descriptors are steady", steady, 10, every=0.2)
        return last

    # ------------------------------------------------------------ the return

    def recover(self) -> None:
        """Until the lane runs, credit is full again, and the devices hold no more than a second's frames."""
        def looks(condition) -> float:
            def seen() -> float | None:
                if self.sampler.error:
                    raise self.sampler.error
                return next((s.at for s in self.sampler.between(self.back_at, time.monotonic()) if condition(s)), None)
            return wait_for("the return to normal", seen, self.settings.patience_s) - self.back_at

        figures, settings = self.verdict.figures, self.settings
        try:
            figures["lane_back_s"] = round(looks(lambda s: s.get("fieldgate_lane_state", lane="main", state="running") == 1
                                                 and s.total("fieldgate_lane_pubacks_total") > self.pubacks_down()), 1)
            wait_for("the devices' backlog drains",
                     lambda: (self.fleet.unacknowledged() or 0) <= max(settings.devices * settings.rate, 50)
                     and take_sample(self.gateway).get("fieldgate_uplink_level", level="normal") == 1,
                     settings.patience_s, every=0.1)
            figures["drained_s"] = round(time.monotonic() - self.back_at, 1)
        except TimeoutError as late:
            self.verdict.claim(False, str(late))
        time.sleep(0.5)

    def pubacks_down(self) -> float:
        return self.down_samples()[-1].total("fieldgate_lane_pubacks_total")

    def down_samples(self) -> list[Sample]:
        """Of the outage without its first moments, in which what was on its way still arrives."""
        samples = self.sampler.between(self.down_at + min(1.0, self.settings.outage_s / 4), self.back_at)
        return samples or self.sampler.between(self.down_at, self.back_at)

    # ------------------------------------------------------------ what is claimed

    def judge_outage(self) -> None:
        settings, verdict, down = self.settings, self.verdict, self.down_samples()
        since = self.sampler.between(self.down_at, time.monotonic())
        verdict.figures.update(samples=len(down), sessions=settings.devices + PROBES,
                               sessions_min=int(min(min(s.online, s.total("fieldgate_sessions")) for s in since)))
        verdict.claim(verdict.figures["sessions_min"] == self.all_devices, "every session stays, as the API and metrics count")
        ended = since[-1].total("fieldgate_sessions_ended_total") - self.before.total("fieldgate_sessions_ended_total")
        verdict.claim(ended == 0, f"no session ends, {ended:.0f} did")
        verdict.claim("session_ended" not in self.gateway.log.read_text(), "the log has no ended session")
        verdict.claim(all(s.ready == 200 for s in since), "/readyz stays 200")
        reasons = {reason for s in down for reason in s.reasons}
        verdict.figures["readyz_reasons"] = ",".join(sorted(reasons)) or "none"
        # A broker that is silent is taken for dead after 1.5 x keep_alive.
        if settings.fault != "stall" or settings.outage_s > 1.5 * max(settings.keep_alive_s, 5) + 0.5:
            verdict.claim("lane_down" in reasons, "/readyz says lane_down")
        acked = [s.total("fieldgate_records_acknowledged_total") for s in down]
        verdict.figures["acked_while_down"] = int(acked[-1] - acked[0])
        verdict.claim(acked[-1] == acked[0], "nothing is acknowledged while the broker is away")
        self.judge_probes()
        self.judge_pressure(since)

    def judge_probes(self) -> None:
        verdict, probes = self.verdict, self.probes.probes
        for probe in probes:
            verdict.claim(probe.lost is None, f"{probe.device} stays connected: {probe.lost}")
            verdict.claim(probe.goodbyes == 0, f"{probe.device} is not told Goodbye")
            acked = probe.acked_at.get(1)
            verdict.claim(acked is None or acked >= self.back_at, f"{probe.device}'s frame is not acknowledged in the outage")
            verdict.claim(acked is not None, f"{probe.device}'s frame is acknowledged after it")
        answers = [a for probe in probes for a in probe.answers if self.down_at <= a.at <= self.back_at]
        # Half of what an idle machine would give.
        wanted = PROBES * self.settings.outage_s / 0.2 / 2 * (0.3 if self.sanitized else 1)
        for kind in ("ping", "time"):
            times = sorted(a.seconds * 1000 for a in answers if a.kind == kind)
            verdict.claim(len(times) >= wanted, f"{kind}s are answered in the outage: {len(times)}, not {wanted:.0f}")
            if len(times) < 2:
                continue
            quantiles = statistics.quantiles(times, n=100, method="inclusive")
            verdict.figures.update({f"{kind}s_answered": len(times), f"{kind}_p50_ms": round(quantiles[49], 2),
                                    f"{kind}_p99_ms": round(quantiles[98], 2), f"{kind}_max_ms": round(times[-1], 2)})
            verdict.claim(times[-1] < 5_000, f"the slowest {kind} takes less than 5 s")

    def judge_pressure(self, since: list[Sample]) -> None:
        """Credit is withheld in time, and memory keeps to its budgets."""
        settings, verdict, figures = self.settings, self.verdict, self.verdict.figures
        withheld = next((s.at - self.down_at for s in since if s.get("fieldgate_uplink_level", level="withheld")), None)
        figures["withheld_after_s"] = None if withheld is None else round(withheld, 1)
        figures["throttles"] = int(since[-1].total("fieldgate_throttles_sent_total") -
                                   self.before.total("fieldgate_throttles_sent_total"))
        verdict.claim(withheld is not None, "the log's level reaches withheld")
        verdict.claim(figures["throttles"] >= 2 * settings.devices, "every device hears Throttle, down and up again")
        for probe in self.probes.probes:
            told = [frames for _, frames in probe.throttles]
            verdict.claim(0 in told, f"{probe.device} has its credit withheld: {told}")
            verdict.claim(bool(told) and told[-1] == 64, f"{probe.device} has its credit back: {told}")
        refused = since[-1].total("fieldgate_records_refused_total")
        verdict.claim(refused == 0, f"the log is never full: {refused:.0f} records refused")
        figures["uplink_max_kib"] = int(max(s.total("fieldgate_uplink_bytes") for s in since)) >> 10
        figures["uplink_limit_kib"] = settings.memory_bytes_max >> 10
        verdict.claim(figures["uplink_max_kib"] <= figures["uplink_limit_kib"], "the log keeps to its limit")
        figures["rss_before_kib"], figures["rss_peak_kib"] = self.resident_before >> 10, self.resident_peak >> 10
        budget = self.resident_before + settings.memory_bytes_max + LANE_BYTES_MAX + SLACK_BYTES
        figures["rss_budget_kib"] = budget >> 10
        if not self.sanitized:  # they keep freed memory
            verdict.claim(self.resident_peak <= budget, "resident memory keeps to the budget")

    def judge_return(self) -> None:
        """Descriptors are back where they were, with every device still there."""
        # The least of several looks: one may see the connection of another.
        looks = [*self.sampler.between(0, self.down_at), self.before]
        before, after = int(min(look.metrics["process_open_fds"] for look in looks)), 0

        def back() -> bool:
            nonlocal after
            after = int(self.gateway.metrics()["process_open_fds"])
            return after == before

        self.sampler.stop()
        self.verdict.figures["fds_before"] = before
        if self.settings.fault != "absent":
            try:
                wait_for("the descriptors are back", back, 10, every=0.2)
            except TimeoutError as late:
                self.verdict.claim(False, f"{late}: {before} before, {after} after")
        else:
            after = self.descriptors_at_rest()
        self.verdict.figures["fds_after"] = after

    # ------------------------------------------------------------ the end

    def finish(self) -> None:
        verdict, figures = self.verdict, self.verdict.figures
        self.probes.stop()
        fleet = self.fleet.finish()
        figures.update(frames_sent=fleet["frames_sent"], frames_acked=fleet["frames_acked"],
                       frames_unacked=fleet["unacked_at_end"])
        verdict.claim(fleet["ok"], f"the fleet has nothing to complain of: {fleet['fault']} {fleet['violations']}")
        verdict.claim(fleet["unacked_at_end"] == 0, "everything is acknowledged in the end")
        verdict.claim(fleet["reconnects"] == 0, "no device had to reconnect")
        self.reconcile()
        self.judge_delivery(self.verifier.verdict(60))
        status = end(self.gateway.process)
        verdict.claim(status == 0, f"the gateway stops in good order, not with status {status}")

    def reconcile(self) -> None:
        """Nobody is connected, nothing is pending: the accounts are exact."""
        def quiet() -> Sample | None:
            sample = take_sample(self.gateway)
            idle = sample.total("fieldgate_connections") == 0 and sample.total("fieldgate_lane_pending_records") == 0
            return sample if idle else None

        sample = wait_for("the gateway is idle", quiet, 20)
        self.telemetry = int(sample.get("fieldgate_records_total", kind="telemetry"))
        books = accounts(sample.metrics)
        book = books["main"]
        self.verdict.figures.update(records_in=book["in"], forwarded=book["forwarded"])
        for wrong in imbalances(books):
            self.verdict.claim(False, f"the accounts are exact: {wrong}")
        self.verdict.claim(book["in"] == sample.total("fieldgate_records_total"), f"the lane saw every record: {books}")
        self.verdict.claim(book["in"] == book["forwarded"], f"every record is forwarded: {books}")

        def at_rest() -> bool:
            return int(self.gateway.metrics()["process_open_fds"]) == self.descriptors_idle

        if self.descriptors_idle is not None:
            try:
                wait_for("the descriptors are at the level of an idle gateway", at_rest, 10, every=0.2)
            except TimeoutError as late:
                self.verdict.claim(False, str(late))

    def judge_delivery(self, seen: dict) -> None:
        verdict, figures = self.verdict, self.verdict.figures
        figures.update(mqtt_records=seen["mqtt_records"], duplicates=seen["duplicates"],
                       broker_sessions_lost=seen["broker_sessions_lost"])
        for what in ("never_sent", "mismatched", "unreadable"):
            verdict.claim(seen[what] == 0, f"{what}: {seen[what]}")
        if self.settings.fault == "kill":
            # The broker's own loss, for information; the gateway is judged by the PUBACKs that it got.
            figures["lost_by_broker"] = seen["lost"]
            figures["lost"] = self.acknowledged_without_puback()
        else:
            figures["lost"] = seen["lost"]
            verdict.claim(seen["broker_sessions_lost"] == 0, "the broker kept the verifier's session")
            verdict.claim(seen["mqtt_records"] - seen["duplicates"] == self.telemetry,
                          f"as many records arrive as were taken in: {self.telemetry}")
        verdict.claim(figures["lost"] == 0, f"nothing acknowledged is lost: {figures['lost']}, {seen['examples']}")
        verdict.claim(seen["mqtt_records"] > 0 and figures["frames_acked"] > 0, "data flows")

    def acknowledged_without_puback(self) -> int:
        """Records that a device was told are forwarded, and that no PUBACK stands for."""
        pubacked = read_pubacked(self.proxy.pubacked, self.northbound)
        self.verdict.figures["pubacked"] = sum(map(len, pubacked.values()))
        self.verdict.claim(self.verdict.figures["pubacked"] == self.telemetry, f"every record taken in is PUBACKed: {self.telemetry}")
        probes = [(probe.device, 77, max(probe.acked_at, default=0), ()) for probe in self.probes.probes]
        return missing([*read_ledger(self.fleet.ledger), *probes], pubacked)

    def tear_down(self) -> None:
        if self.sampler is not None:
            self.sampler.stop()
        if self.probes is not None:
            self.probes.stop()
        for part in (self.fleet, self.verifier, self.gateway, self.broker, self.proxy):
            if part is not None:
                end(part.process)
