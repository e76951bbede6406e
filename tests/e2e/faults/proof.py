# SPDX-License-Identifier: Apache-2.0
"""What every proof shares: its folder, its parts, its verdict, and the order in which they end."""

import contextlib
import pathlib
import random
import shutil
import sys
import tempfile
import time

from judge import Verdict, accounts, imbalances
from parts import Broker, Fleet, Gateway, Proxy, Verifier, end, is_sanitized, load_protocol, make_pki, show_logs, wait_for
from samples import Sample, take_sample


class Proof:
    """One fault and what is claimed of it. A subclass says in play() what happens."""

    NAMESPACE: str | None = None  # "mount" or "network": what it needs of its own
    PROBES = 0  # devices of our own

    def __init__(self, binaries: pathlib.Path, *, long: bool = False, seed: int | None = None) -> None:
        self.bin, self.long = binaries, long
        self.seed = random.randrange(1 << 32) if seed is None else seed
        self.random, self.verdict = random.Random(self.seed), Verdict()
        self.sanitized = is_sanitized(binaries / "fieldgate")
        self.patience = 120 if self.sanitized or long else 60
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"fieldgate-{type(self).__name__.lower()}-"))
        self.stack = contextlib.ExitStack()
        self.scrapes, self.unbalanced = 0, []

    def run(self) -> Verdict:
        """Keeps the folder if a claim is broken, or something else went wrong."""
        began = time.monotonic()
        try:
            with self.stack:
                self.verdict.figures["seed"] = self.seed
                self.pki = make_pki(self.folder, self.bin, [f"probe-{i}" for i in range(1, self.PROBES + 1)],
                                    self.certificate_names())
                self.pb, self.northbound = load_protocol(self.folder)
                self.play()
        except BaseException:
            show_logs(self.folder)
            print(f"{self.verdict.text()}\nkept {self.folder}", file=sys.stderr)
            raise
        self.verdict.figures["took_s"] = round(time.monotonic() - began, 1)
        if self.verdict.broken:
            show_logs(self.folder)
            print(f"kept {self.folder}", file=sys.stderr)
        else:
            shutil.rmtree(self.folder)
        return self.verdict

    def play(self) -> None:
        raise NotImplementedError

    def certificate_names(self) -> tuple[str, ...]:
        return ()

    # ------------------------------------------------------------ parts, ended in reverse order

    def broker(self, **options) -> Broker:
        broker = Broker(self.folder, **options)
        self.stack.callback(lambda: end(broker.process))
        broker.start()
        return broker

    def proxy(self, port: int, name: str = "proxy") -> Proxy:
        proxy = Proxy(self.folder, port, name)
        self.stack.callback(lambda: end(proxy.process))
        return proxy

    def gateway(self, settings: dict) -> Gateway:
        gateway = Gateway(self.folder, self.bin / "fieldgate", self.pki, settings)
        self.stack.callback(lambda: end(gateway.process))
        return gateway

    def fleet(self, gateway: Gateway, *options, **more) -> Fleet:
        connect_rate = 30 if self.sanitized else 200
        fleet = Fleet(self.folder, self.bin / "fieldgate-sim", self.pki, gateway.devices, "--connect-rate", connect_rate,
                      "--backoff-base", 0.1, "--backoff-max", 0.5, *options, **more)
        self.stack.callback(lambda: end(fleet.process))
        return fleet

    def verifier(self, broker: Broker, **options) -> Verifier:
        options.setdefault("settle_s", 10)
        verifier = Verifier(self.folder, self.bin / "fieldgate-sim", broker.port, **options)
        self.stack.callback(lambda: end(verifier.process))
        return verifier

    @staticmethod
    def lane(port: int, name: str = "main", **more) -> dict:
        """An MQTT lane that gives up soon and comes back soon."""
        return {"name": name, "host": "127.0.0.1", "port": port, "username": Broker.USER, "keep_alive": "5s",
                "connect_timeout": "2s", "backoff_min": "100ms", "backoff_max": "500ms", **more}

    # ------------------------------------------------------------ what many wait for and claim

    def until(self, what: str, gateway: Gateway, condition, seconds: float | None = None) -> Sample:
        """The first look at the gateway of which `condition` is true."""
        last = None

        def look() -> Sample | None:
            nonlocal last
            last = take_sample(gateway)
            self.scrapes += 1
            self.unbalanced += imbalances(accounts(last.metrics))
            return last if condition(last) else None

        try:
            return wait_for(what, look, seconds or self.patience)
        except TimeoutError as late:
            raise TimeoutError(f"{late}; readyz {last.ready} {last.reasons}, {last.online} online, "
                               f"{accounts(last.metrics)}") from None

    def finish_fleet(self, fleet: Fleet) -> dict:
        summary = fleet.finish()
        self.verdict.figures.update(frames_sent=summary["frames_sent"], frames_acked=summary["frames_acked"],
                                    frames_resent=summary["frames_resent"], reconnects=summary["reconnects"])
        self.verdict.claim(summary["ok"], f"the devices have nothing to complain of: {summary['fault']} {summary['violations']}")
        self.verdict.claim(summary["frames_acked"] > 0, "data flows")
        self.verdict.claim_zero(unacked_at_end=summary["unacked_at_end"], acked_forgotten=summary["acked_forgotten"])
        return summary

    def judge_arrival(self, seen: dict, name: str = "", *, duplicates: bool = True) -> None:
        """What a verifying subscriber saw."""
        prefix = f"{name}_" if name else ""
        self.verdict.figures.update({f"{prefix}records": seen["mqtt_records"], f"{prefix}duplicates": seen["duplicates"]})
        self.verdict.claim_zero(**{f"{prefix}{what}": seen[what] for what in
                                   ("lost", "never_sent", "mismatched", "unreadable", "out_of_order")})
        self.verdict.claim(seen["lost"] == 0, f"nothing acknowledged is lost: {seen['examples']}")
        self.verdict.claim(seen["mqtt_records"] > 0, "records arrive")
        if not duplicates:
            self.verdict.claim(seen["duplicates"] == 0, "nothing arrives twice where no connection was lost")

    @staticmethod
    def undisturbed(gateway: Gateway, lane: str) -> bool:
        """Its broker, and the machine, let it be."""
        return take_sample(gateway).get("fieldgate_lane_disconnects_total", lane=lane) == 0

    def at_rest(self, gateway: Gateway) -> dict[str, dict[str, int]]:
        """Waits until nobody is connected and nothing is pending. The accounts are exact then, as they were in every
        scrape before. Gives them."""
        def quiet(s: Sample) -> bool:
            return s.total("fieldgate_connections") == 0 and s.total("fieldgate_lane_pending_records") == 0

        books = accounts(self.until("the gateway is at rest", gateway, quiet).metrics)
        self.verdict.figures.update(scrapes=self.scrapes, accounts="wrong" if self.unbalanced else "exact")
        self.verdict.claim(not self.unbalanced, f"the accounts are exact in every scrape: {self.unbalanced[:3]}")
        return books

    def stop_gateway(self, gateway: Gateway) -> None:
        status = gateway.stop()
        self.verdict.claim(status == 0, f"the gateway stops in good order, not with status {status}")
        log = gateway.log.read_text(errors="replace")
        self.verdict.claim("Sanitizer" not in log and "runtime error:" not in log, "no sanitizer has anything to say")
