# SPDX-License-Identifier: Apache-2.0
"""A webhook's target that is down, failing, throttling, hanging, redirecting, talking nonsense."""

import contextlib
import http.client
import json
import subprocess
import sys
import time

from judge import missing, read_ledger, read_requests
from parts import ROOT, Gateway, free_port, wait_for
from proof import Proof
from samples import take_sample

OFFENDER = "sim-000004"
RETRY_AFTER_S = 2


class Target:
    """tests/support/webhook_target.py in a process of its own."""

    def __init__(self, folder) -> None:
        self.port, self.record = free_port(), folder / "requests"
        with open(folder / "target.log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, ROOT / "tests/support/webhook_target.py", "--port", str(self.port), "--record", self.record],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.control = json.loads(self.process.stdout.readline())["control_port"]

    def tell(self, path: str, behaviour: dict | None = None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.control, timeout=20)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(behaviour) if behaviour is not None else None)
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"{path} {behaviour}: {answer.status} {answer.read()}")

    def requests(self) -> list[dict]:
        return [json.loads(line) for line in self.record.read_text().split("\n")[:-1]]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Webhooks(Proof):
    # What the target does.
    FAULTS = {
        "down": None,
        "500": {"status": 500},
        "503": {"status": 503, "headers": {"Retry-After": "0"}},
        "429": {"status": 429, "headers": {"Retry-After": str(RETRY_AFTER_S)}},
        "401": {"status": 401},
        "hang": {"do": "hang"},
        "redirect": {"status": 302, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
        "garbage": {"do": "garbage"},
        "huge_head": {"do": "huge_head"},
        "half": {"do": "half"},
        "reset": {"do": "reset"},
    }

    def play(self) -> None:
        self.devices, self.rate = (200, 10) if self.long else (40, 10)
        if self.sanitized:
            self.devices = 20
        self.hold_s = 10 if self.long else 0
        self.target = Target(self.folder)
        self.stack.callback(self.target.end)
        broker = self.broker()
        verifier = self.verifier(broker)
        gateway = self.gateway({
            "uplink": {"spool": {"enabled": True}}, "mqtt": [self.lane(broker.port)],
            "webhooks": [{"name": "hook", "required": True, "url": f"http://127.0.0.1:{self.target.port}/in",
                          "payload": "protobuf", "allowed_networks": ["127.0.0.0/8"], "connect_timeout": "1s",
                          "request_timeout": "1s", "backoff_min": "100ms", "backoff_max": f"{RETRY_AFTER_S}s"}]})
        gateway.start()
        fleet = self.fleet(gateway, "--devices", self.devices, "--rate", self.rate, "--stage", "spooled")
        self.until("all devices are online", gateway, lambda s: s.online == self.devices)
        for name, behaviour in self.FAULTS.items():
            self.suffer(gateway, name, behaviour)
        self.refuse_one(gateway)
        self.finish_fleet(fleet)
        books, undisturbed = self.at_rest(gateway), self.undisturbed(gateway, "main")
        letters = gateway.ask("/api/v1/dead-letters?limit=500")["dead_letters"]
        self.stop_gateway(gateway)
        self.judge_target(books["hook"], letters, fleet)
        self.judge_arrival(verifier.verdict(self.patience), "mqtt", duplicates=not undisturbed)

    def suffer(self, gateway: Gateway, name: str, behaviour: dict | None) -> None:
        per_second = self.devices * self.rate
        before, asked = take_sample(gateway), len(self.target.requests())
        self.target.tell("/down") if behaviour is None else self.target.tell("/behave", behaviour)
        hurt = self.until(f"{name}: the lane falls behind", gateway,
                          lambda s: s.get("fieldgate_lane_pending_records", lane="hook") > per_second / 2)
        time.sleep(self.hold_s)
        dead = [s.get("fieldgate_lane_records_total", lane="hook", outcome="dead_lettered") for s in (before, hurt)]
        self.verdict.claim(dead[0] == dead[1], f"{name}: nothing becomes a dead letter")
        pending = hurt.get("fieldgate_lane_pending_records", lane="main")
        self.verdict.claim(pending <= per_second / 2, f"{name}: the MQTT lane keeps its pace: {pending:.0f} pending")
        self.verdict.claim(hurt.ready == 200, f"{name}: /readyz stays 200")
        ended = time.monotonic()
        if name == "429":
            self.judge_retry_after(asked)
        self.target.tell("/up") if behaviour is None else self.target.tell("/behave", {})
        back = self.until(f"{name}: the lane has caught up", gateway,
                          lambda s: s.get("fieldgate_lane_pending_records", lane="hook") < per_second / 2)
        self.verdict.figures[f"{name}_back_s"] = round(back.at - ended, 1)

    def judge_retry_after(self, asked: int) -> None:
        """A batch is sent again no sooner than the target said; the back-off alone would have it sooner, at first."""
        def pauses() -> list[float]:
            times: dict[str, list[float]] = {}
            for request in self.target.requests()[asked:]:
                if request["status"] == 429:
                    times.setdefault(request.get("body_base64", request.get("body")), []).append(request["at"])
            return [later - earlier for at in times.values() for earlier, later in zip(at, at[1:])]

        seen = wait_for("429: it asks again", lambda: len(pauses()) >= 2 and pauses(), self.patience)
        self.verdict.figures["429_pause_min_s"] = round(min(seen), 2)
        self.verdict.claim(min(seen) >= RETRY_AFTER_S * 0.95, f"Retry-After is honoured: {seen}")

    def refuse_one(self, gateway: Gateway) -> None:
        self.target.tell("/behave", {"status": 422, "match": OFFENDER})
        self.until("422: the offender's records become dead letters", gateway,
                   lambda s: s.get("fieldgate_lane_records_total", lane="hook", outcome="dead_lettered") >= 5)
        self.target.tell("/behave", {})

    def judge_target(self, book: dict, letters: list[dict], fleet) -> None:
        arrived, duplicates, overtaken = read_requests(self.target.requests(), self.northbound)
        strangers = {letter["device"] for letter in letters} - {OFFENDER}
        excused = {(letter["device"], int(letter["stream"]), int(letter["seq"])) for letter in letters}
        self.verdict.figures.update(hook_records=sum(map(len, arrived.values())), hook_duplicates=duplicates,
                                    dead_letters=len(letters), faults=len(self.FAULTS))
        self.verdict.claim_zero(hook_lost=missing(read_ledger(fleet.ledger), arrived, excused), hook_out_of_order=overtaken)
        self.verdict.claim(not strangers, f"dead letters only of what was refused: {strangers}")
        self.verdict.claim(len(letters) == book["dead_lettered"], f"each dead letter is there: {book}")
