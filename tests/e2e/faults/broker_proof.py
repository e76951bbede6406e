# SPDX-License-Identifier: Apache-2.0
"""One broker of two is hurt in every way; the log is on disk. The other one must not notice."""

import statistics
import time

from judge import missing, read_ledger, read_pubacked
from parts import Broker, Gateway, Proxy, wait_for
from proof import Proof
from samples import Sampler, take_sample

MIB = 1 << 20
# Beside the log's own memory: blocks read ahead and windows of two lanes, and the allocator's.
RESIDENT_SLACK = 32 * MIB
# The spool's file is mapped: its pages are the kernel's to take back, and not counted.
RESIDENT = "RssAnon"


class Brokers(Proof):
    """The lane to the first broker goes through a recording proxy: a broker that is killed forgets what it had
    PUBACKed, and so the PUBACKs are what the gateway is judged by. The second one is judged by its subscriber."""

    FAULTS = ("stopped", "stalled", "killed", "emptied", "slow")
    MEMORY = 4 * MIB

    def play(self) -> None:
        self.devices, self.rate = (500, 10) if self.long else (100, 10)
        if self.sanitized:
            self.devices, self.rate = 40, 5
        self.hold_s = 20 if self.long else 2
        victim, other = self.broker(name="victim"), self.broker(name="other")
        proxy = self.proxy(victim.port)
        verifier = self.verifier(other)
        gateway = self.gateway({
            "uplink": {"memory_bytes_max": self.MEMORY, "spool": {"enabled": True, "checkpoint_every": "2s"}},
            "mqtt": [self.lane(proxy.port, "victim"), self.lane(other.port, "other")]})
        gateway.start()
        fleet = self.fleet(gateway, "--devices", self.devices, "--rate", self.rate, "--payload-bytes", 200, "--stage",
                           "spooled")
        self.until("all devices are online", gateway, lambda s: s.online == self.devices)
        self.sampler = Sampler(gateway)
        self.stack.callback(self.sampler.stop)
        time.sleep(1)
        resident, descriptors = gateway.memory(RESIDENT), self.descriptors(gateway)
        self.resident_peak = resident
        for fault in self.FAULTS:
            self.suffer(fault, gateway, victim, proxy)
        peak = self.resident_peak
        figures, verdict = self.verdict.figures, self.verdict
        figures.update(anonymous_before_kib=resident >> 10, anonymous_peak_kib=peak >> 10, fds_before=descriptors)
        if not self.sanitized:  # they keep freed memory
            verdict.claim(peak <= resident + self.MEMORY + RESIDENT_SLACK, "memory stays flat")
        figures["fds_after"] = wait_for("the descriptors are back where they were",
                                        lambda: (now := self.descriptors(gateway)) <= descriptors and now, 20, every=0.2)
        self.sampler.stop()
        summary = self.finish_fleet(fleet)
        books, undisturbed = self.at_rest(gateway), self.undisturbed(gateway, "other")
        verdict.claim(summary["reconnects"] == 0, f"no device had to reconnect: {summary['ends']}")
        for lane, book in books.items():
            done = book["forwarded"] + (book["filtered"] if lane == "store" else 0)  # telemetry is not for the store
            verdict.claim(done == book["in"], f"{lane} forwards everything: {book}")
        pubacked = read_pubacked(proxy.pubacked, self.northbound)
        verdict.claim_zero(victim_lost=missing(read_ledger(fleet.ledger), pubacked))
        figures["victim_pubacked"] = sum(map(len, pubacked.values()))
        self.judge_arrival(verifier.verdict(self.patience), "other", duplicates=not undisturbed)
        self.stop_gateway(gateway)

    def weigh(self, gateway: Gateway) -> bool:
        self.resident_peak = max(self.resident_peak, gateway.memory(RESIDENT))
        return True

    def descriptors(self, gateway: Gateway) -> int:
        """The least of three looks: one may see the connection of another."""
        return min(int(gateway.metrics()["process_open_fds"]) for _ in range(3))

    def suffer(self, fault: str, gateway: Gateway, victim: Broker, proxy: Proxy) -> None:
        per_second = self.devices * self.rate
        before = take_sample(gateway)
        self.inflict(fault, victim, proxy)
        began = time.monotonic()
        self.until(f"{fault}: the victim's lane falls behind", gateway,
                   lambda s: s.get("fieldgate_lane_pending_records", lane="victim") > per_second / 2)
        time.sleep(self.hold_s)
        self.weigh(gateway)
        ended = time.monotonic()
        looks = self.sampler.between(began, ended)
        last = looks[-1] if looks else take_sample(gateway)
        pending = [int(s.get("fieldgate_lane_pending_records", lane="other")) for s in looks]
        taken = last.total("fieldgate_records_total") - before.total("fieldgate_records_total")
        forwarded = sum(sign * s.get("fieldgate_lane_records_total", lane="other", outcome="forwarded")
                        for sign, s in ((1, last), (-1, before)))
        self.relieve(fault, victim, proxy)
        back = self.until(f"{fault}: the victim's lane has caught up", gateway,
                          lambda s: self.weigh(gateway) and s.lane_state("victim") == "running"
                          and s.get("fieldgate_lane_pending_records", lane="victim") < per_second / 2)
        self.verdict.figures.update({
            f"{fault}_backlog": int(last.get("fieldgate_lane_pending_records", lane="victim")),
            f"{fault}_caught_up_s": round(back.at - ended, 1),
            f"{fault}_other_share": round(forwarded / max(taken, 1), 2),
            f"{fault}_other_pending": int(statistics.median(pending or [0]))})
        claim = self.verdict.claim
        claim(forwarded >= 0.5 * taken > 0, f"{fault}: the other lane keeps its pace: {forwarded:.0f} of {taken:.0f}")
        claim(statistics.median(pending or [0]) <= per_second, f"{fault}: little is pending in the other lane: {pending}")
        claim(all(s.ready == 200 for s in looks), f"{fault}: /readyz stays 200")
        claim(all(s.online == self.devices for s in looks), f"{fault}: every session stays")

    @staticmethod
    def inflict(fault: str, victim: Broker, proxy: Proxy) -> None:
        if fault == "stopped":
            victim.stop()
        elif fault == "stalled":
            victim.suspend()
        elif fault == "killed":
            victim.kill()
        elif fault == "emptied":
            victim.stop()
            victim.forget()
        else:
            proxy.slow_down(5_000)

    @staticmethod
    def relieve(fault: str, victim: Broker, proxy: Proxy) -> None:
        if fault == "stalled":
            victim.resume()
        elif fault == "slow":
            proxy.slow_down(0)
        else:
            victim.start()
