# SPDX-License-Identifier: Apache-2.0
"""A broker that answers PUBACK with each reason code of the contract."""

import json
import sys

from judge import missing, read_ledger, read_pubacked
from parts import HERE, Gateway, end, free_port, listens, start, wait_for
from proof import Proof
from samples import take_sample

# Of us and of the moment: the lane waits, and keeps the records.
PAUSING = {0x80: "unspecified_error", 0x83: "implementation_specific", 0x87: "not_authorized", 0x97: "quota_exceeded"}
# Of the message: the batch is split, and the offender becomes a dead letter.
OFFENDING = {0x90: "topic_name_invalid", 0x95: "packet_too_large", 0x99: "payload_format_invalid"}
OFFENDER = "sim-000003"


class Refusals(Proof):
    def play(self) -> None:
        self.devices, rate = 40, 10
        self.refusals = 2_000 if self.long else 100  # records held back, or dead letters times 10, before it relents
        port, self.rule, pubacked = free_port(), self.folder / "rule", self.folder / "pubacked"
        broker = start(self.folder / "broker.log", sys.executable, HERE / "refusing_broker.py", port, pubacked, self.rule)
        self.stack.callback(lambda: end(broker))
        wait_for("the broker listens", lambda: listens(port), 20)
        other = self.broker(name="other")
        verifier = self.verifier(other)
        gateway = self.gateway({"uplink": {"spool": {"enabled": True}},
                                "mqtt": [self.lane(port, "refused"), self.lane(other.port, "other")]})
        gateway.start()
        fleet = self.fleet(gateway, "--devices", self.devices, "--rate", rate, "--stage", "spooled")
        self.until("all devices are online", gateway, lambda s: s.online == self.devices)
        for reason, name in PAUSING.items():
            self.pause(gateway, reason, name)
        for reason, name in OFFENDING.items():
            self.offend(gateway, reason, name)
        self.finish_fleet(fleet)
        books, undisturbed = self.at_rest(gateway), self.undisturbed(gateway, "other")
        letters = self.letters(gateway)
        strangers = {letter["device"] for letter in letters} - {OFFENDER}
        self.verdict.figures.update(dead_letters=len(letters), codes=len(PAUSING) + len(OFFENDING))
        self.verdict.claim(not strangers, f"nobody but {OFFENDER} has dead letters: {strangers}")
        self.verdict.claim(len(letters) == books["refused"]["dead_lettered"], f"each dead letter is there: {books['refused']}")
        self.verdict.claim_zero(other_dead_lettered=books["other"]["dead_lettered"])
        excused = {(letter["device"], int(letter["stream"]), int(letter["seq"])) for letter in letters}
        arrived = read_pubacked(pubacked, self.northbound)
        self.verdict.claim_zero(refused_lost=missing(read_ledger(fleet.ledger), arrived, excused),
                                both=sum(seq in arrived.get((device, stream), ()) for device, stream, seq in excused))
        self.judge_arrival(verifier.verdict(self.patience), "other", duplicates=not undisturbed)
        self.stop_gateway(gateway)

    def letters(self, gateway: Gateway) -> list[dict]:
        letters, path = [], "/api/v1/dead-letters?limit=100"
        while True:
            page = gateway.ask(path)
            letters += page["dead_letters"]
            if not page["next_cursor"]:
                return letters
            path = f"/api/v1/dead-letters?limit=100&cursor={page['next_cursor']}"

    def refuse(self, **rule) -> None:
        beside = self.rule.with_suffix(".new")
        beside.write_text(json.dumps(rule))
        beside.rename(self.rule)

    @staticmethod
    def dead(sample) -> float:
        return sample.get("fieldgate_lane_records_total", lane="refused", outcome="dead_lettered")

    def pause(self, gateway: Gateway, reason: int, name: str) -> None:
        before = take_sample(gateway)
        self.refuse(reason=reason)
        held = self.until(f"{name}: the lane pauses, and keeps the records", gateway,
                          lambda s: s.lane_state("refused") == "paused"
                          and s.get("fieldgate_lane_pending_records", lane="refused") >= self.refusals)
        self.refuse()
        self.until(f"{name}: the lane goes on by itself", gateway,
                   lambda s: s.lane_state("refused") == "running"
                   and s.get("fieldgate_lane_pending_records", lane="refused") < self.refusals / 2)
        claim = self.verdict.claim
        claim("lane_down" in held.reasons and held.ready == 200, f"{name}: /readyz is 200 and says lane_down: {held.reasons}")
        claim(self.dead(held) == self.dead(before), f"{name}: nothing becomes a dead letter")
        claim(held.get("fieldgate_lane_pending_records", lane="other") < self.refusals, f"{name}: the other lane goes on")
        claim(held.online == self.devices, f"{name}: every session stays")

    def offend(self, gateway: Gateway, reason: int, name: str) -> None:
        before = take_sample(gateway)
        self.refuse(reason=reason, match=OFFENDER)
        after = self.until(f"{name}: the offender's records become dead letters", gateway,
                           lambda s: self.dead(s) >= self.dead(before) + self.refusals / 10)
        forwarded = [s.get("fieldgate_lane_records_total", lane="refused", outcome="forwarded") for s in (before, after)]
        self.refuse()
        self.verdict.claim(forwarded[1] > forwarded[0], f"{name}: what does not offend is forwarded")
        self.verdict.claim(after.lane_state("refused") == "running", f"{name}: the lane does not pause")
