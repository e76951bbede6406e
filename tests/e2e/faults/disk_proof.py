# SPDX-License-Identifier: Apache-2.0
"""The spool's disk: full and freed again, failing, and not writable from the start."""

import os
import pathlib
import time

from namespaces import run, small_disk
from parts import Fleet, Gateway
from proof import Proof
from samples import Sample, Sampler, take_sample

UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h


class Disk(Proof):
    """A fleet at SPOOLED, and a broker that keeps what it is given."""

    def set_up(self, spool: dict) -> Gateway:
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

    def finish(self, fleet: Fleet) -> None:
        self.finish_fleet(fleet)
        self.at_rest(self.gateway_)
        self.judge_arrival(self.verifier_.verdict(self.patience))
        self.stop_gateway(self.gateway_)


class DiskFull(Disk):
    NAMESPACE = "mount"
    STEADY_S = 3

    def play(self) -> None:
        disk = self.folder / "disk"
        self.stack.enter_context(small_disk(disk, 64))
        gateway = self.set_up({"dir": str(disk / "spool"), "bytes_max": "1GiB", "checkpoint_every": "2s"})
        gateway.start()
        fleet = self.start_devices()
        sampler = Sampler(gateway)
        self.stack.callback(sampler.stop)
        rounds = 5 if self.long else 1
        for _ in range(rounds):
            self.fill_and_free(gateway, disk, sampler)
        sampler.stop()
        self.verdict.claim_zero(sessions_ended=int(take_sample(gateway).total("fieldgate_sessions_ended_total")))
        self.verdict.figures.update(rounds=rounds, devices=self.devices)
        self.finish(fleet)

    def fill_and_free(self, gateway: Gateway, disk: pathlib.Path, sampler: Sampler) -> None:
        figures, claim = self.verdict.figures, self.verdict.claim
        self.broker_.stop()  # so that nothing makes room in the spool
        ballast = disk / "ballast"
        fill(ballast)
        began = time.monotonic()
        # The spool first uses what room there is in its file; every trim makes a little more.
        self.until("/readyz says spool_full, and no more becomes durable", gateway, lambda _: self.stuck(sampler, began))
        looks = self.last_looks(sampler)
        last = looks[-1]
        figures["full_after_s"] = round(time.monotonic() - began - self.STEADY_S, 1)
        figures["undurable_while_full"] = int(last.total("fieldgate_spool_undurable_records"))
        # All that devices send is acknowledged at SPOOLED; presence is on the disk, too, and nobody's to acknowledge.
        beyond = [acknowledged(s) - (durable(s) - int(s.get("fieldgate_records_total", kind="presence"))) for s in looks]
        self.verdict.claim_zero(acknowledged_beyond_durable=max(0, *beyond))
        claim(figures["undurable_while_full"] > 0, "there is something that could be acknowledged and is not")
        claim(all(s.ready == 200 for s in looks), "/readyz is 200")
        claim(all(s.online == self.devices for s in looks), "every session stays")
        freed = time.monotonic()
        ballast.unlink()
        back = self.until("devices are acknowledged again", gateway,
                          lambda s: "spool_full" not in s.reasons
                          and acknowledged(s) > acknowledged(last))
        figures["recovered_after_s"] = max(figures.get("recovered_after_s", 0), round(back.at - freed, 1))
        self.broker_.start()
        self.until("the lane has caught up", gateway,
                   lambda s: s.total("fieldgate_lane_pending_records") < self.devices * self.rate
                   and s.get("fieldgate_uplink_level", level="normal") == 1)

    def last_looks(self, sampler: Sampler) -> list[Sample]:
        now = time.monotonic()
        return sampler.between(now - self.STEADY_S, now)

    def stuck(self, sampler: Sampler, began: float) -> bool:
        looks = self.last_looks(sampler)
        return (time.monotonic() - began > self.STEADY_S and len(looks) > 1
                and all("spool_full" in s.reasons and durable(s) == durable(looks[0]) for s in looks))


def acknowledged(sample: Sample) -> int:
    return int(sample.total("fieldgate_records_acknowledged_total"))


def durable(sample: Sample) -> int:
    """Records of this process that are on the disk."""
    return int(sample.total("fieldgate_spool_committed_records_total"))


def fill(ballast: pathlib.Path) -> None:
    """To the last byte."""
    with open(ballast, "wb", buffering=0) as out:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while out.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


class FsyncError(Disk):
    """A disk that answers EIO: once is for good, until the process starts anew on a sound one."""

    CALLS = ("fsync,fdatasync", "pwrite,pwritev,write,writev")

    def play(self) -> None:
        shim, self.trigger = self.bin / "libfault_disk.so", self.folder / "trigger"
        if not shim.exists():
            raise FileNotFoundError(shim)  # without it nothing would fail
        spool = self.folder / "state/spool"
        gateway = self.set_up({"dir": str(spool), "checkpoint_every": "2s"})
        environment = {"LD_PRELOAD": str(shim), "FAULT_DISK_TRIGGER": str(self.trigger), "FAULT_DISK_PATH": str(spool),
                       "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
        fleet = None
        for calls in self.CALLS if self.long else self.CALLS[:1]:
            gateway.start({**environment, "FAULT_DISK_CALLS": calls})
            fleet = fleet or self.start_devices()
            self.fail_and_restart(gateway, calls)
        gateway.start()
        self.broker_.start()
        self.until("all devices are back", gateway, lambda s: s.online == self.devices)
        self.verdict.figures.update(devices=self.devices)
        self.finish(fleet)

    def fail_and_restart(self, gateway: Gateway, calls: str) -> None:
        """Ends with a gateway that has stopped, and records acknowledged that are in its spool and nowhere else."""
        figures, claim = self.verdict.figures, self.verdict.claim
        self.until("records flow", gateway, lambda s: s.online == self.devices
                   and acknowledged(s) > 5 * self.devices)
        if self.broker_.process.poll() is None:
            self.broker_.stop()
        self.until("records are in the spool alone", gateway,
                   lambda s: s.total("fieldgate_lane_pending_records") > 5 * self.devices)
        began = time.monotonic()
        self.trigger.touch()
        failed = self.until("/readyz says spool_failed", gateway, lambda s: "spool_failed" in s.reasons)
        figures[f"failed_after_s_{calls.split(',')[0]}"] = round(failed.at - began, 1)
        # What had become durable just before may still be on its way to its device.
        time.sleep(1)
        self.trigger.unlink()  # the disk is well again; the process cannot know what it lost
        looks = []
        until = time.monotonic() + 3
        while time.monotonic() < until:
            looks.append(take_sample(gateway))
            time.sleep(0.2)
        self.verdict.claim_zero(acknowledged_after_failure=acknowledged(looks[-1]) - acknowledged(looks[0]))
        claim(all(s.ready == 503 and "spool_failed" in s.reasons for s in looks),
              f"/readyz stays 503 with spool_failed: {[(s.ready, s.reasons) for s in looks if s.ready != 503][:1]}")
        status = gateway.stop()
        figures["status_after_failure"] = status
        claim(status not in (0, -9), f"it ends when told to, and not as if all were well: status {status}")


class ReadOnly(Disk):
    """The gateway says what is wrong, and ends; with the disk mended it starts."""

    NAMESPACE = "mount"

    def play(self) -> None:
        disk = self.folder / "disk"
        self.stack.enter_context(small_disk(disk, 8))
        (disk / "spool").mkdir()
        run("mount", "-o", "remount,bind,ro", disk)
        gateway = self.set_up({"dir": str(disk / "spool")})
        gateway.spawn()
        status = gateway.process.wait(self.patience)
        log = gateway.log.read_text()
        self.verdict.figures.update(status=status)
        self.verdict.claim(status == UNAVAILABLE, f"exit status {UNAVAILABLE}, not {status}")
        self.verdict.claim(str(disk / "spool") in log, f"the message names the folder: {log}")
        self.verdict.claim("ead-only file system" in log, f"and what is wrong with it: {log}")
        run("mount", "-o", "remount,bind,rw", disk)
        gateway.start()
        self.stop_gateway(gateway)
