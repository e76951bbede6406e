# SPDX-License-Identifier: Apache-2.0
"""The spool's disk: full and freed again, failing, and not writable from the start."""

import os
import pathlib
import time

from namespaces import run, small_disk
from parts import Fleet, Gateway, wait_for
from probe import Probes
from proof import Proof
from samples import Sampler, take_sample

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
PROBES = 2


class Disk(Proof):
    """A fleet and probes at SPOOLED, and a broker that keeps what it is given."""

    def set_up(self, spool: dict) -> tuple[Gateway, Fleet]:
        self.devices, self.rate = (200, 20) if self.long else (50, 10)
        if self.sanitized:
            self.devices, self.rate = 20, 10
        self.broker_ = self.broker()
        self.verifier_ = self.verifier(self.broker_)
        self.gateway_ = self.gateway({
            "uplink": {"memory_bytes_max": 4 << 20, "spool": {"enabled": True, **spool}},
            "mqtt": [self.lane(self.broker_.port)]})
        return self.gateway_

    def start_devices(self) -> Fleet:
        gateway = self.gateway_
        fleet = self.fleet(gateway, "--devices", self.devices, "--rate", self.rate, "--payload-bytes", 1_000, "--stage",
                           "spooled")
        self.until("all devices are online", gateway, lambda s: s.online == self.devices)
        return fleet

    def probes(self) -> Probes:
        probes = Probes(self.pb, f"wss://localhost:{self.gateway_.devices}/v1/connect", self.pki, self.PROBES,
                        "ACK_STAGE_SPOOLED")
        self.stack.callback(probes.stop)
        wait_for("the probes are welcome", lambda: all(probe.welcomed for probe in probes.probes), self.patience)
        return probes

    def finish(self, fleet: Fleet) -> None:
        self.finish_fleet(fleet)
        self.at_rest(self.gateway_)
        self.judge_arrival(self.verifier_.verdict(self.patience))
        self.stop_gateway(self.gateway_)


class DiskFull(Disk):
    NAMESPACE = "mount"
    PROBES = PROBES

    def play(self) -> None:
        disk = self.folder / "disk"
        self.stack.enter_context(small_disk(disk, 64))
        gateway = self.set_up({"dir": str(disk / "spool"), "bytes_max": "1GiB", "checkpoint_every": "2s"})
        gateway.start()
        probes = self.probes()
        fleet = self.start_devices()
        sampler = Sampler(gateway)
        self.stack.callback(sampler.stop)
        rounds = 5 if self.long else 1
        for turn in range(rounds):
            self.fill_and_free(gateway, disk, probes, sampler, turn)
        sampler.stop()
        probes.stop()
        ended = take_sample(gateway).total("fieldgate_sessions_ended_total")
        self.verdict.claim(ended <= PROBES, f"no session ended but the probes' own: {ended:.0f}")
        self.verdict.figures.update(rounds=rounds, devices=self.devices)
        self.finish(fleet)

    def fill_and_free(self, gateway: Gateway, disk: pathlib.Path, probes: Probes, sampler: Sampler, turn: int) -> None:
        figures, claim = self.verdict.figures, self.verdict.claim
        self.broker_.stop()  # so that nothing makes room in the spool
        ballast = disk / "ballast"
        fill(ballast)
        full = self.until("/readyz says spool_full", gateway, lambda s: "spool_full" in s.reasons)
        # What had become durable just before may still be on its way to its device.
        time.sleep(1)
        probes.send_frame()
        sent, began = turn + 1, time.monotonic()
        time.sleep(2)
        looks = sampler.between(began, time.monotonic())
        acknowledged = [s.total("fieldgate_records_acknowledged_total") for s in looks]
        figures.update(looks_while_full=len(looks))
        self.verdict.claim_zero(acknowledged_while_full=int(acknowledged[-1] - acknowledged[0]) if looks else -1)
        claim(all("spool_full" in s.reasons for s in looks), "/readyz goes on saying spool_full")
        claim(all(s.online == self.devices + PROBES for s in looks), "every session stays")
        claim(not any(sent in probe.acked_at for probe in probes.probes), "no probe's frame is acknowledged while the disk is full")
        claim(full.lane_state("main") != "none", "the lane is still there")
        freed = time.monotonic()
        ballast.unlink()
        back = self.until("/readyz no longer says spool_full", gateway, lambda s: "spool_full" not in s.reasons)
        figures["recovered_after_s"] = max(figures.get("recovered_after_s", 0), round(back.at - freed, 1))
        wait_for("the probes' frames are acknowledged", lambda: all(sent in probe.acked_at for probe in probes.probes),
                 self.patience)
        self.broker_.start()
        self.until("the lane has caught up", gateway,
                   lambda s: s.total("fieldgate_lane_pending_records") < self.devices * self.rate
                   and s.get("fieldgate_uplink_level", level="normal") == 1)


def fill(ballast: pathlib.Path) -> None:
    """To the last byte."""
    with open(ballast, "wb", buffering=0) as out:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while out.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


class ReadOnly(Disk):
    """Not one of the above: there is nothing to play. The gateway says what is wrong, and ends."""

    NAMESPACE = "mount"

    def play(self) -> None:
        disk = self.folder / "disk"
        self.stack.enter_context(small_disk(disk, 8))
        (disk / "spool").mkdir()
        run("mount", "-o", "remount,ro", disk)
        gateway = self.set_up({"dir": str(disk / "spool")})
        gateway.spawn()
        status = gateway.process.wait(self.patience)
        log = gateway.log.read_text()
        self.verdict.figures.update(status=status)
        self.verdict.claim(status == UNAVAILABLE, f"exit status {UNAVAILABLE}, not {status}")
        self.verdict.claim(str(disk / "spool") in log, f"the message names the folder: {log}")
        self.verdict.claim("ead-only file system" in log, f"and what is wrong with it: {log}")
        run("mount", "-o", "remount,rw", disk)
        gateway.start()
        self.stop_gateway(gateway)
