# SPDX-License-Identifier: Apache-2.0
"""The presence records of a run, and what a consumer makes of them who has nothing else."""

import json
import os
import pathlib
import subprocess
from dataclasses import dataclass, field

from parts import start, wait_for

PREFIX = "fieldgate/v1"


@dataclass(frozen=True)
class Event:
    device: str
    online: bool
    epoch: int
    reason: str = ""
    unix_s: float = 0  # by the gateway's clock


@dataclass
class Truth:
    """Rebuilt from the records alone: the newest epoch of a device counts, and of one epoch offline wins."""

    online: set[str] = field(default_factory=set)
    reasons: dict[str, int] = field(default_factory=dict)  # of going offline
    sessions: int = 0
    repeated: int = 0  # delivery is at least once
    backwards: int = 0  # an epoch not above the one before
    unpaired: int = 0  # online twice, or offline without having been online


def rebuild(events: list[Event]) -> Truth:
    truth, seen = Truth(), set()
    last: dict[str, Event] = {}
    for event in events:
        if (event.device, event.epoch, event.online) in seen:
            truth.repeated += 1
            continue
        seen.add((event.device, event.epoch, event.online))
        before = last.get(event.device)
        if event.online:
            truth.sessions += 1
            truth.backwards += before is not None and event.epoch <= before.epoch
            truth.unpaired += before is not None and before.online
        else:
            truth.reasons[event.reason] = truth.reasons.get(event.reason, 0) + 1
            truth.unpaired += before is None or not before.online or before.epoch != event.epoch
        if before is None or event.epoch >= before.epoch:
            last[event.device] = event
    truth.online = {device for device, event in last.items() if event.online}
    return truth


class PresenceLog:
    """mosquitto_sub with a session that outlives the broker's absence, subscribed when the constructor returns."""

    def __init__(self, folder: pathlib.Path, broker_port: int, *, host: str = "127.0.0.1", wrap: tuple = ()) -> None:
        self.log = folder / "presence.log"
        ready = f"ready/{os.getpid()}"
        broker = ("-h", host, "-p", str(broker_port))
        self.process = start(self.log, *wrap, "mosquitto_sub", "-V", "mqttv5", "-q", 1, "-c", "-i", f"presence-{os.getpid()}",
                             "-x", 3600, *broker, "-t", f"{PREFIX}/devices/+/presence/events", "-t", ready, "-F", "%t %p")

        def listening() -> bool:
            subprocess.run([*wrap, "mosquitto_pub", *broker, "-t", ready, "-m", "x"], check=True)
            return ready in self.log.read_text()

        wait_for("mosquitto_sub listens", listening, 20)

    def events(self) -> list[Event]:
        found = []
        for line in self.log.read_text().split("\n")[:-1]:  # the last one may be half written
            topic, _, payload = line.partition(" ")
            if not topic.startswith(PREFIX):
                continue
            event = json.loads(payload)
            found.append(Event(topic.split("/")[3], event["online"], int(event["epoch"]), event.get("reason", ""),
                               event["unix_ms"] / 1000))
        return found
