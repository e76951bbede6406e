# SPDX-License-Identifier: Apache-2.0
"""A slow lane beside a fast one: what the fast one notices of it."""

import json
import statistics

from proof import Proof
from samples import Sampler

SLOW_BYTES_PER_SECOND = 10_000


class SlowLane(Proof):
    """The same load in turns, without and with the other lane being slow, in one run of one gateway."""

    def play(self) -> None:
        rounds, seconds = (10, 10) if self.long else (2, 3)
        devices, rate = (40, 20) if self.sanitized else (50, 60)
        self.offered = devices * rate
        fast, slow = self.broker(name="fast"), self.broker(name="slow")
        proxy = self.proxy(slow.port)
        gateway = self.gateway({"uplink": {"spool": {"enabled": True}},
                                "mqtt": [self.lane(fast.port, "fast"), self.lane(proxy.port, "slow")]})
        gateway.start()
        self.until("both lanes run", gateway, lambda s: s.lane_state("fast") == s.lane_state("slow") == "running")
        seen: dict[str, list[dict]] = {"without": [], "with": []}
        fast_pending, slow_backlog = [], []
        for turn in range(rounds):
            for name in ("without", "with") if turn % 2 == 0 else ("with", "without"):
                self.until("the slow lane has caught up", gateway, lambda s: self.pending(s, "slow") == 0)
                proxy.slow_down(SLOW_BYTES_PER_SECOND if name == "with" else 0)
                sampler = Sampler(gateway)
                seen[name].append(self.load(gateway, fast, f"{name}-{turn}", devices, rate, seconds))
                sampler.stop()
                if name == "with":
                    fast_pending += [self.pending(s, "fast") for s in sampler.samples]
                    slow_backlog.append(max(self.pending(s, "slow") for s in sampler.samples))
                proxy.slow_down(0)
        self.at_rest(gateway)
        self.judge(seen, fast_pending, slow_backlog)
        self.stop_gateway(gateway)

    @staticmethod
    def pending(sample, lane: str) -> int:
        return int(sample.get("fieldgate_lane_pending_records", lane=lane))

    def load(self, gateway, fast, name: str, devices: int, rate: int, seconds: float) -> dict:
        fleet = self.fleet(gateway, "--devices", devices, "--rate", rate, "--payload-bytes", 150, "--seconds", seconds,
                           "--stage", "spooled", "--verify", f"mqtt://127.0.0.1:{fast.port}", "--settle", 10, name=name)
        fleet.process.wait(seconds + 90)
        summary = json.loads(fleet.json.read_text())
        self.verdict.claim(summary["ok"], f"{name}: {summary['fault']} {summary['violations']}")
        self.verdict.claim(summary["verify"]["lost"] == 0, f"{name}: nothing is lost: {summary['verify']['examples']}")
        return summary

    def judge(self, seen: dict, fast_pending: list[int], slow_backlog: list[int]) -> None:
        def per_second(runs: list[dict]) -> float:
            return statistics.median(run["verify"]["mqtt_records"] / run["seconds"] for run in runs)

        def p99(runs: list[dict]) -> float:
            return statistics.median(run["verify"]["latency_ms"]["p99"] for run in runs)

        rate = {name: per_second(runs) for name, runs in seen.items()}
        figures, claim = self.verdict.figures, self.verdict.claim
        figures.update(
            offered_per_s=self.offered, **{f"{name}_per_s": round(value) for name, value in rate.items()},
            throughput_ratio=round(rate["with"] / rate["without"], 2),
            **{f"{name}_p99_ms": round(p99(runs), 2) for name, runs in seen.items()},
            p99_ratio=round(p99(seen["with"]) / p99(seen["without"]), 2),
            fast_pending_median=int(statistics.median(fast_pending)), slow_backlog_max=max(slow_backlog))
        # Facts of isolation, not of how busy the machine is; p99 is for those who read it.
        claim(rate["with"] >= 0.7 * rate["without"], f"the fast lane keeps its throughput: {rate}")
        claim(min(slow_backlog) >= self.offered / 2, f"the slow lane was slow: {slow_backlog}")
        claim(statistics.median(fast_pending) <= self.offered / 5, f"little is pending in the fast lane: {fast_pending}")
