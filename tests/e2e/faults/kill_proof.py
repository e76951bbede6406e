# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the gateway at random moments under load; devices are acknowledged at stage SPOOLED."""

import statistics
import time

from parts import wait_for
from presence import PresenceLog, rebuild
from proof import Proof
from samples import Sampler, take_sample


class Kills(Proof):
    """Some kills strike a gateway that runs, some one that is still reading what the last one left."""

    EARLY = 0.25  # the share of the latter

    def play(self) -> None:
        kills = 100 if self.long else 6
        devices, rate = (200, 20) if self.long else (100, 15)
        if self.sanitized:
            devices, rate = 40, 5
        broker = self.broker()
        verifier = self.verifier(broker)
        presence = PresenceLog(self.folder, broker.port)
        self.stack.callback(presence.process.kill)
        gateway = self.gateway({
            # Checkpoints often enough that most restarts find one, and records after it.
            "uplink": {"spool": {"enabled": True, "checkpoint_every": "2s"}},
            "mqtt": [self.lane(broker.port)]})
        gateway.start()
        fleet = self.fleet(gateway, "--devices", devices, "--rate", rate, "--payload-bytes", 150, "--stage", "spooled")
        sampler = Sampler(gateway, may_be_gone=True)
        self.stack.callback(sampler.stop)
        self.until("all devices are online", gateway, lambda s: s.online == devices)
        recoveries, early, resent_for_nothing = [], 0, 0
        for _ in range(kills):
            time.sleep(self.random.uniform(0, 2))
            resent_for_nothing += self.last_look(sampler)
            gateway.kill()
            while self.random.random() < self.EARLY:
                gateway.spawn()
                time.sleep(self.random.uniform(0, 0.3))
                gateway.kill()
                early += 1
            began = time.monotonic()
            gateway.start()
            recoveries.append(time.monotonic() - began)
        self.until("all devices are back", gateway, lambda s: s.online == devices)
        # Under load for a little longer: the last gateway has to take and forward new records, too.
        before = take_sample(gateway).total("fieldgate_records_total")
        self.until("records flow again", gateway, lambda s: s.total("fieldgate_records_total") > before + devices)
        summary = self.finish_fleet(fleet)
        books = self.at_rest(gateway)
        resent_for_nothing += int(take_sample(gateway).total("fieldgate_duplicate_frames_total"))
        seen = verifier.verdict(self.patience)
        self.verdict.figures.update(
            devices=devices, kills=kills + early, kills_at_start=early,
            ready_after_ms_median=round(1000 * statistics.median(recoveries)),
            ready_after_ms_max=round(1000 * max(recoveries)))
        self.judge_arrival(seen)
        self.verdict.claim_zero(resent_for_nothing=resent_for_nothing, dead_lettered=books["main"]["dead_lettered"])
        self.verdict.claim(summary["stages"].keys() == {"ACK_STAGE_SPOOLED"}, f"devices are at SPOOLED: {summary['stages']}")
        self.verdict.claim(summary["reconnects"] >= devices, "the devices lived through it")
        self.stop_gateway(gateway)
        self.judge_presence(presence, devices)

    def judge_presence(self, presence: PresenceLog, devices: int) -> None:
        """Whoever has the records alone knows in the end that everybody is gone, and never saw time go backwards."""
        truth = wait_for("by the presence records, everybody is gone", lambda: self.all_gone(presence), self.patience)
        figures = self.verdict.figures
        figures.update(presence_sessions=truth.sessions, node_lost=truth.reasons.get("node_lost", 0))
        self.verdict.claim_zero(presence_backwards=truth.backwards, presence_unpaired=truth.unpaired)
        self.verdict.claim(truth.reasons.get("node_lost", 0) >= devices, f"a kill takes devices offline: {truth.reasons}")

    @staticmethod
    def all_gone(presence: PresenceLog):
        truth = rebuild(presence.events())
        return truth if truth.sessions and not truth.online else None

    @staticmethod
    def last_look(sampler: Sampler) -> int:
        """Frames of this process' life that devices sent although it had told them not to."""
        if sampler.error:
            raise sampler.error
        return int(sampler.samples[-1].total("fieldgate_duplicate_frames_total")) if sampler.samples else 0
