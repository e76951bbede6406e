# SPDX-License-Identifier: Apache-2.0
"""Links that die without a word: packets vanish between the gateway and its devices, and its broker."""

import time

from namespaces import FarSide
from parts import wait_for
from presence import PresenceLog, rebuild
from proof import Proof
from samples import Sampler, take_sample

HEARTBEAT_S = 2
KEEP_ALIVE_S = 5


class HalfOpen(Proof):
    """Devices and broker are on the far side of a link; both links are cut at once, and healed."""

    NAMESPACE = "network"

    def certificate_names(self) -> tuple[str, ...]:
        return (FarSide.HERE,)

    def play(self) -> None:
        # Two ticks of a second, and a machine that is busy.
        self.slack = 10 if self.sanitized else 4
        devices = 200 if self.long else 40 if self.sanitized else 100
        self.far = FarSide()
        self.stack.callback(self.far.end)
        there = {"host": FarSide.THERE, "wrap": self.far.wrap}
        broker = self.broker(address=FarSide.THERE, wrap=self.far.wrap)
        verifier = self.verifier(broker, **there)
        presence = PresenceLog(self.folder, broker.port, **there)
        self.stack.callback(presence.process.kill)
        gateway = self.gateway({
            "session": {"heartbeat_min": "1s"}, "uplink": {"spool": {"enabled": True}},
            "mqtt": [self.lane(broker.port, host=FarSide.THERE, keep_alive=f"{KEEP_ALIVE_S}s")]})
        gateway.settings["devices"]["listen"] = f"0.0.0.0:{gateway.devices}"
        gateway.write_config()
        gateway.start()
        fleet = self.fleet(gateway, "--devices", devices, "--rate", 5, "--stage", "spooled", "--heartbeat", HEARTBEAT_S,
                           "--connect-timeout", 2, host=FarSide.HERE, wrap=self.far.wrap)
        cuts = [self.cut_and_heal(gateway, broker, devices) for _ in range(5 if self.long else 1)]
        self.finish_fleet(fleet)
        self.at_rest(gateway)
        self.judge_arrival(verifier.verdict(self.patience))
        self.stop_gateway(gateway)
        events = wait_for("every presence record arrives", lambda: self.all_offline(presence), self.patience)
        self.judge_presence(events, cuts, devices)

    def judge_presence(self, events: list, cuts: list[float], devices: int) -> None:
        """How long it took is in the records themselves: when a session ended, by the clock that we share."""
        lost = [(event, max(cut for cut in cuts if cut <= event.unix_s)) for event in events
                if event.reason == "heartbeat_lost" and event.unix_s >= cuts[0]]
        longest = max((event.unix_s - cut for event, cut in lost), default=0)
        truth, claim = rebuild(events), self.verdict.claim
        self.verdict.figures.update(devices=devices, cuts=len(cuts), heartbeat_s=HEARTBEAT_S, keep_alive_s=KEEP_ALIVE_S,
                                    heartbeats_lost=len(lost), devices_lost_after_s=round(longest, 1))
        claim(len(lost) >= devices * len(cuts), f"presence says heartbeat_lost of every device: {truth.reasons}")
        claim(longest <= 1.5 * HEARTBEAT_S + self.slack, f"devices are found lost within 1.5 x heartbeat: {longest:.1f} s")
        self.verdict.claim_zero(presence_backwards=truth.backwards, presence_unpaired=truth.unpaired)

    @staticmethod
    def all_offline(presence: PresenceLog):
        events = presence.events()
        return events if events and not rebuild(events).online else None

    def cut_and_heal(self, gateway, broker, devices: int) -> float:
        """When it was cut, by the wall clock."""
        self.until("all devices are online and the lane runs", gateway,
                   lambda s: s.online == devices and s.lane_state("main") == "running")
        lost_before = take_sample(gateway).get("fieldgate_sessions_ended_total", reason="heartbeat_lost")
        sampler = Sampler(gateway)
        self.far.cut(gateway.devices, broker.port)
        cut, began = time.time(), time.monotonic()
        self.until("every device is found lost, as heartbeat_lost", gateway, lambda s: s.online == 0 and
                   s.get("fieldgate_sessions_ended_total", reason="heartbeat_lost") >= lost_before + devices)
        self.until("the lane is found dead", gateway, lambda s: s.lane_state("main") != "running")
        sampler.stop()
        down = next((s for s in sampler.samples if s.lane_state("main") != "running"), sampler.samples[-1])
        lane_s = down.at - began
        figures, claim = self.verdict.figures, self.verdict.claim
        figures["lane_down_after_s"] = max(figures.get("lane_down_after_s", 0), round(lane_s, 1))
        claim(lane_s <= 1.5 * KEEP_ALIVE_S + self.slack, f"the broker is found lost within 1.5 x keep-alive: {lane_s:.1f} s")
        tries = down.total("fieldgate_lane_connection_attempts_total")
        trying = self.until("the lane tries again and again", gateway,
                            lambda s: s.total("fieldgate_lane_connection_attempts_total") >= tries + 2)
        claim("lane_down" in trying.reasons and trying.ready == 200, f"/readyz is 200 with lane_down: {trying.reasons}")
        healed = time.monotonic()
        self.far.heal()
        back = self.until("the lane is back, and has caught up", gateway,
                          lambda s: s.lane_state("main") == "running" and s.online == devices
                          and s.total("fieldgate_lane_pending_records") <= devices)
        figures["back_after_s"] = max(figures.get("back_after_s", 0), round(back.at - healed, 1))
        return cut
