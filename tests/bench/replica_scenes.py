# SPDX-License-Identifier: Apache-2.0
"""What happens to a fleet of replicas, with devices on it all the while, and what was promised for that.

For ./dev bench rollout, at full size, and for tests/e2e/fleet_test.py, at small size and without what depends on the clock.
"""

import contextlib
import pathlib
import shutil
import signal
import tempfile
import time

from stage import demo  # and the path to what follows
from replicas import ADMISSION_RATE, MIN_READY_S, Replica, Replicas
from rollout import Devices, Quiet, Rollout, Watch, offline_since, presence_mark, refused

STAYS_AWAY = ("--backoff-max", 600)  # a device that was taken over does not come back while anybody looks
# Epochs only rise; within one a device is online once, and then offline once.
BROKEN_STORIES = """
SELECT count(*) FROM (
  SELECT epoch, online, lag(epoch) OVER story AS epoch_before, lag(online) OVER story AS online_before
  FROM fieldgate.presence_log WINDOW story AS (PARTITION BY device_id ORDER BY number)) AS steps
WHERE epoch < epoch_before OR (epoch = epoch_before AND NOT (online_before = 1 AND online = 0))"""


def taken_over(devices: Devices) -> int:
    """How many were told so, of devices that have ended."""
    return devices.result()["goodbyes"].get("GOODBYE_REASON_TAKEN_OVER", 0)


class Scene:
    """`figures`: what was measured. `broken`: what was promised and did not hold. `timed`: hold to promises in seconds, too."""

    def __init__(self, fleet: Replicas, devices: int, *, frames_per_second: float = 1_000, timed: bool = True):
        self.fleet, self.count, self.rate, self.timed = fleet, devices, frames_per_second / devices, timed
        self.first, self.second = fleet.replicas[0], fleet.replicas[1]
        self.figures: dict[str, float] = {}
        self.broken: list[str] = []

    # --- parts

    def promise(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)

    def devices(self, name: str, count: int, at: Replica | None = None, prefix: str = "sim-", options: tuple = ()) -> Devices:
        """Through the balancer, or straight `at` a replica."""
        where = at.address if at else "127.0.0.1"
        return Devices(self.fleet, name, [
            self.fleet.bin / "fieldgate-sim", "run", "--devices", count, "--id-prefix", prefix, "--rate", self.rate, "--gateway",
            f"{where}:{self.fleet.devices}", "--pki", self.fleet.folder / "pki", "--connect-rate", ADMISSION_RATE * 4 // 5,
            "--verify", f"mqtt://127.0.0.1:{self.fleet.broker}", "--settle", 15, *options])

    def crowd(self) -> tuple[Devices, Watch, Rollout]:
        """The devices that are there in most scenes, all connected through the balancer."""
        devices = self.devices("fleet", self.count)
        watch = Watch(self.fleet)
        rollout = Rollout(self.fleet, devices, Quiet(self.fleet, watch, devices))
        if not rollout.all_online(self.count, watch):
            raise demo.Failure("the simulator ended before its time: " + "".join(devices.lines))
        watch.stop()
        watch = rollout.show.watch = Watch(self.fleet)
        return devices, watch, rollout

    def until(self, condition, what: str, seconds: float = 240) -> float:
        """How long it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > seconds:
                raise demo.Failure(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(0.1)
        return time.monotonic() - began

    def all_online(self, *groups: tuple[Devices, int]) -> None:
        for devices, count in groups:
            self.until(lambda d=devices, c=count: d.online >= c, f"{count} devices of {devices.name} to be online")

    def stored_online(self, where: str) -> int:
        return int(self.fleet.psql(f"SELECT count(*) FROM fieldgate.presence WHERE online = 1 AND {where}"))

    def disagreement(self, devices: int) -> str:
        """Why not all replicas and the store say the same of so many connected devices; empty: they do."""
        fleet = self.fleet
        held = {replica.name: int(fleet.metrics(replica).get("fieldgate_sessions", -1)) for replica in fleet.replicas}
        if sum(held.values()) != devices:
            return f"connections: {held}, of {devices} devices"
        rows = fleet.psql("SELECT node, count(*) FROM fieldgate.presence WHERE online = 1 GROUP BY node").splitlines()
        stored = {name: int(count) for name, count in (row.split("|") for row in rows)}
        if stored != {name: count for name, count in held.items() if count}:
            return f"connections: {held}, in the store: {stored}"
        for asked in fleet.replicas:
            told = {name: fleet.online(asked, name) for name in held}
            if told != held or fleet.online(asked) != devices:
                return f"connections: {held}, {asked.name} says: {told}"
        return ""

    def one_owner_each(self, devices: int) -> float:
        """How long it took until there was agreement on it; a promise that it comes."""
        try:
            took = self.until(lambda: not self.disagreement(devices), "all replicas and the store to agree", 150)
        except demo.Failure:
            took = 150.0
            self.promise(False, f"one owner for each device: {self.disagreement(devices) or 'but late'}")
        stories = int(self.fleet.psql(BROKEN_STORIES))
        self.promise(stories == 0, f"the presence log tells one story of each device: {stories} steps that cannot be")
        return took

    def lost(self, *ended: Devices) -> None:
        """Ends them. Nothing that was acknowledged may be missing at the broker."""
        results = [devices.end() for devices in ended]
        self.figures["lost"] = sum(result["verify"]["lost"] for result in results)
        self.figures["frames"] = sum(result["frames_acked"] for result in results)
        self.promise(self.figures["lost"] == 0, f"nothing acknowledged is lost: {self.figures['lost']:.0f} frames are")
        for result in results:
            self.promise(result["ok"], f"the simulator finds nothing wrong: {result['fault']}")
        self.until(lambda: not self.disagreement(0), "the devices' leave to be known")

    def in_time(self, name: str, seconds: float, most: float, what: str) -> None:
        self.figures[name] = seconds
        self.promise(not self.timed or seconds <= most, f"{what}: within {most:.1f} s, but it took {seconds:.1f} s")

    # --- scenes

    def rolling(self) -> None:
        """Every replica is restarted, one after the other."""
        devices, watch, rollout = self.crowd()
        mark = presence_mark(self.fleet)
        took = []
        for replica in self.fleet.replicas:
            if took:
                rollout.pause(MIN_READY_S)
            took.append(rollout.restart(replica))
        self.promise(None not in took, "the devices stay until the end of the rollout")
        rollout.all_online(self.count, watch)
        self.one_owner_each(self.count)
        watch.stop()
        self.figures |= {"replica_s": sum(took) / len(took), "replica_max_s": max(took), "total_s": sum(took),
                         "drain_period_s": self.fleet.drain_period_s, "offline_events": offline_since(self.fleet, mark),
                         "peak_reconnects_per_s": watch.peak_of_one(), "peak_reconnects_of_all_per_s": watch.peak(*self.fleet.gateways),
                         "admission_rate": ADMISSION_RATE, "online_min": watch.sessions_min()}
        self.lost(devices)
        turned_away = refused(devices.result())
        self.figures["refused"] = turned_away
        self.promise(turned_away == 0, f"no device is refused: {turned_away} attempts came to nothing")
        # Who is not back within some seconds is said to be offline: a promise to those that have the time to come back.
        flaps = self.figures["offline_events"]
        self.promise(not self.timed or flaps == 0, f"nobody is said to be offline: {flaps} were")
        # The budget may be 50 ms ahead of itself.
        self.promise(not self.timed or watch.peak_of_one() <= 1.06 * ADMISSION_RATE,
                     f"no replica lets in more than {ADMISSION_RATE} a second: {watch.peak_of_one():.0f}")

    def kill(self) -> None:
        """kill -9 of one replica. Some of its devices cannot go elsewhere, and so are to be seen as gone."""
        fleet, lease, held = self.fleet, self.fleet.lease_s, max(3, self.count // 100)
        devices, watch, _ = self.crowd()
        bound = self.devices("bound", held, self.first, "bound-", ("--backoff-max", 4))
        self.all_online((bound, held))
        self.one_owner_each(self.count + held)
        survivors = fleet.replicas[1:]
        on_it = watch.samples[-1].sessions[self.first.name]
        fleet.end(self.first.name, signal.SIGKILL)
        killed = time.monotonic()
        waits = {
            "devices_back_s": lambda: sum(watch.samples[-1].sessions.get(other.name, 0) for other in survivors) >= self.count,
            "presence_true_s": lambda: all(fleet.online(asked, self.first.name) == 0 for asked in survivors),
            "stored_s": lambda: self.stored_online(f"node = '{self.first.name}'") == 0}
        took: dict[str, float] = {}

        def all_true() -> bool:
            for name, condition in waits.items():
                if name not in took and condition():
                    took[name] = time.monotonic() - killed
            return len(took) == len(waits)

        self.until(all_true, "the others to have its devices, and to say that those that cannot come are gone")
        self.figures["devices_back_s"] = took["devices_back_s"]
        # Replicas look into the store twice a second.
        self.in_time("presence_true_s", took["presence_true_s"], lease + 2, "nobody is said to be online there after the lease")
        self.in_time("stored_s", took["stored_s"], 3 * lease + 3, "nor in the store after three leases")
        self.figures |= {"lease_s": lease, "devices_on_it": on_it}
        fleet.launch(self.first)
        self.until(lambda: watch.sessions() >= self.count + held, "its own devices to be back")
        self.one_owner_each(self.count + held)
        watch.stop()
        self.figures["peak_reconnects_per_s"] = watch.peak_of_one()
        self.lost(devices, bound)
        # Beside the connections that it had: attempts that came to nothing.
        self.figures["attempts_failed"] = refused(devices.result()) - (on_it - held)

    def partition(self) -> None:
        """One replica can reach neither broker nor database, and its devices notice nothing; some go elsewhere."""
        fleet, pairs = self.fleet, max(3, self.count // 200)
        devices, watch, _ = self.crowd()
        stay = self.devices("stay", 2 * pairs, self.first, "part-", STAYS_AWAY)
        self.all_online((stay, 2 * pairs))
        self.one_owner_each(self.count + 2 * pairs)
        watch.stop()
        watch = Watch(fleet)
        fleet.cut(self.first)
        cut = time.monotonic()
        self.until(lambda: self.stored_online(f"node = '{self.first.name}'") == 0, "the others to give its devices up")
        self.in_time("given_up_s", time.monotonic() - cut, 3 * fleet.lease_s + 3, "its devices are given up after three leases")
        moved = self.devices("moved", pairs, self.second, "part-")
        self.all_online((moved, pairs))
        self.until(lambda: watch.sessions() == self.count + 3 * pairs, "both connections of those that moved to be there")
        self.promise(watch.sessions_min() >= self.count + 2 * pairs, "no device of the replica that was cut off loses its connection")
        self.figures["owners_twice"] = pairs
        self.figures["cut_s"] = time.monotonic() - cut
        fleet.mend(self.first)
        self.figures["agreed_s"] = self.one_owner_each(self.count + 2 * pairs)
        watch.stop()
        self.figures["devices_on_it"] = watch.samples[0].sessions[self.first.name]
        self.lost(devices, stay, moved)
        taken, back = taken_over(stay), taken_over(moved)
        self.promise(taken == pairs, f"who has moved is told at the old connection: {taken} of {pairs} were")
        self.promise(back == 0, f"the connection that stands last is the newer one: {back} were taken back by the replica that was cut off")

    def outage(self, go_away, come_back, reason: str, seconds: float) -> None:
        devices, watch, rollout = self.crowd()
        mark = presence_mark(self.fleet)
        go_away()
        self.until(lambda: all(reason in self.fleet.reasons(replica) for replica in self.fleet.replicas),
                   f"{reason} at all replicas")
        rollout.pause(seconds)
        come_back()
        back = time.monotonic()
        self.until(lambda: not any(reason in self.fleet.reasons(replica) for replica in self.fleet.replicas), "it to be over")
        self.figures["back_s"] = time.monotonic() - back
        rollout.pause(3)
        late = self.devices("late", 3, prefix="late-")
        self.all_online((late, 3))
        self.one_owner_each(self.count + 3)
        watch.stop()
        self.figures |= {"outage_s": seconds, "online_min": watch.sessions_min(), "offline_events": offline_since(self.fleet, mark)}
        self.promise(watch.sessions_min() >= self.count, f"no device loses its connection: {watch.sessions_min()} at least")
        self.promise(self.figures["offline_events"] == 0, f"nobody is said to be offline: {self.figures['offline_events']} were")
        self.lost(devices, late)

    def postgres(self) -> None:
        """PostgreSQL is restarted."""
        self.outage(lambda: self.fleet.end("postgres", signal.SIGINT), self.fleet.launch_postgres, "store_down", 10 if self.timed else 1)

    def broker(self) -> None:
        """mosquitto is restarted."""
        self.outage(lambda: self.fleet.end("mosquitto"), self.fleet.start_broker, "lane_down", 10 if self.timed else 1)

    def takeover(self) -> None:
        """Devices come to a second replica while their first connections stand."""
        count = max(5, self.count // 10)
        first = self.devices("first", count, self.first, "take-", STAYS_AWAY)
        self.all_online((first, count))
        self.one_owner_each(count)
        watch = Watch(self.fleet)
        second = self.devices("second", count, self.second, "take-")
        self.until(lambda: watch.samples[-1].sessions.get(self.second.name) == count, "the second connections")
        self.until(lambda: watch.samples[-1].sessions.get(self.first.name) == 0, "the first connections to be ended")
        # How many were connected to both at once, of those that were seen.
        self.figures |= {"devices": count, "both_max": max(sum(sample.sessions.values()) for sample in watch.samples) - count}
        self.figures["agreed_s"] = self.one_owner_each(count)
        watch.stop()
        self.lost(first, second)
        taken = taken_over(first)
        self.promise(taken == count, f"each is told that it was taken over: {taken} of {count} were")


SCENES = ("rolling", "kill", "partition", "postgres", "broker", "takeover")


@contextlib.contextmanager
def replicas(options, **more):
    """A fleet of gateways with everything that it needs; `options` as ./dev run has them. Everything is gone at the end."""
    demo.raise_descriptors(options.devices)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fieldgate-bench-"))
    fleet = Replicas(options, folder, roads=True, **more)
    try:
        fleet.start_broker()
        fleet.make_credentials()
        fleet.start_gateway()
        yield fleet
    finally:
        fleet.stop()
        shutil.rmtree(folder, ignore_errors=True)
