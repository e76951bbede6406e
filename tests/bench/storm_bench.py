#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""15,000 devices are cut off at once and come back; 1,000 others stay and go on sending.

`cut`: the 15,000 connections are reset in one moment, and every device is back at the door within a second; whoever is
turned away there backs off with full jitter as docs/protocol.md says (1 s, doubled, at most 300 s). `restart`: the gateway
is killed and started again, and all 16,000 come back; times are from the start of the new process. The door opens
`limits.handshakes_per_second` times a second.

`t99_over_ideal`: when 99 % of the 15,000 are back, over what it would take at exactly that rate. Of handshakes a second
there are four peaks, the most in any one second: `peak_admitted`, connections let in by the gateway; `peak_tls` and
`peak_welcomed`, TLS handshakes and Welcomes that it has done; `peak_handshakes`, those that the devices see done, TLS and
upgrade, and `peak_handshakes_later` of the same after the first ten seconds. What was let in evenly may take its time, and
come to its end together; `welcome_*_ms`: how long, from accept to Welcome, the gateway's own figure.

`stayed`: device -> consumer, from the making of a frame (`stayed_late_p99_ms`: it was made so much later than it was due,
calm and storm), of those that stayed: `before`; `during`, from the cut until 99 % are back; and of that
`at_first`, the first ten seconds, and `then`, the rest. Devices, gateway, broker and consumer share the cores;
`at_first.*_cores` and `then.*_cores` say who has them, `*_waiting` how many threads of whom are ready and have none.
`bystander`: the same latency of a few devices that never touch the gateway: they speak MQTT over WSS straight to the broker.
`*_gained_ms`: p99 during, less p99 before.

`mosquitto`: as many devices of the same kind speak MQTT over WSS straight to the broker, and are cut in the same way.
"""

import os
import signal
import sys
import threading
import time

from stage import Figures, arguments
from stream_bench import buckets, quantile
from traffic import Tool, Traffic, Usage, traffic

STAY_RATE = 1_000  # frames a second, of all that stay
BYSTANDERS, BYSTANDER_RATE, BYSTANDER_PREFIX = 100, 500, "bystander"
PEER_PREFIX = "peer"
PEER_PATIENCE_S = 50
FIRST_S = 10
QUANTILES = ("p50", "p99", "p999")
WHO = {"load": "returning", "stay": "staying", "sink": "consumer", "mosquitto": "broker"}


def returning(fleet: Tool, seconds: float, at_first=lambda: None) -> dict:
    """Until 99 % are back. `at_first`: called once, FIRST_S after the cut, or when they are back if that is sooner."""
    began = time.monotonic()
    called = False
    while True:
        seen = fleet.ask(f"returns {FIRST_S}")
        over = "t99_s" in seen or time.monotonic() > began + seconds
        if not called and (over or time.monotonic() >= began + FIRST_S):
            called = True
            at_first()
        if over:
            return seen
        time.sleep(0.25)


def back_in_time(seen: dict) -> dict:
    if "t99_s" not in seen:
        raise RuntimeError(f"not back in time: {seen}")
    return seen


class Door(threading.Thread):
    """Watches how many the gateway lets in, and how far they get."""

    EVERY_S = 0.2

    def __init__(self, run: Traffic):
        super().__init__(daemon=True)
        self.run_of, self.seen, self.over = run, [], threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(self.EVERY_S):
            before = time.monotonic()
            metrics = self.run_of.metrics()
            turned_away = sum(metrics.get(f'fieldgate_sessions_ended_total{{reason="{reason}"}}', 0)
                              for reason in ("handshake_budget", "handshakes_max"))
            secured = sum(value for series, value in metrics.items() if series.startswith("fieldgate_tls_handshakes_total"))
            self.seen.append(((before + time.monotonic()) / 2, {
                "admitted": metrics["fieldgate_connections_opened_total"] - turned_away, "tls": secured,
                "welcomed": metrics['fieldgate_connection_attempts_total{outcome="accepted"}']}))

    def peak(self, what: str) -> float:
        peak, first = 0.0, 0
        for at, counts in self.seen:
            while first + 1 < len(self.seen) and at - self.seen[first + 1][0] >= 1:
                first += 1
            if at - self.seen[first][0] >= 1:
                peak = max(peak, (counts[what] - self.seen[first][1][what]) / (at - self.seen[first][0]))
        return peak

    def peaks(self, rate: float, back: dict) -> dict[str, float]:
        self.over.set()
        self.join()
        figures = {f"peak_{what}_per_s": self.peak(what) for what in ("admitted", "tls", "welcomed")}
        return figures | {"peak_over_rate": figures["peak_admitted_per_s"] / rate, "peak_handshakes_per_s": back["peak_per_s"],
                          "peak_handshakes_over_rate": back["peak_per_s"] / rate, "peak_handshakes_at_s": back["peak_at_s"],
                          "peak_handshakes_later_per_s": back["peak_later_per_s"]}


def marks(sinks: dict[str, Tool], what: str = "mark") -> dict[str, dict]:
    return {who: sink.ask(what) for who, sink in sinks.items()}


def latencies(name: str, taken: dict, lap: str, seconds: float) -> dict[str, float | str]:
    """Of what has arrived; frames that the broker still has have no latency yet. `lap`: "lap_", or "" for the whole."""
    records = taken[lap + "records"]
    figures = {f"{name}_records_per_s": records / seconds}
    return figures | {f"{name}_{of}_ms": taken[f"{lap}latency_{of}_ms"] if records else "nothing arrived" for of in QUANTILES}


class Storm:
    """One cut, and what it does to who is in `sinks`."""

    def __init__(self, run: Traffic, fleet: Tool, sinks: dict[str, Tool], names: dict[str, str]):
        self.run, self.fleet, self.sinks, self.names = run, fleet, sinks, names
        self.first: Usage | None = None
        self.laps: dict[str, dict] = {}

    def at_first(self) -> None:
        self.laps, self.first = marks(self.sinks, "lap"), self.run.usage()

    def play(self, devices: int, calm: float, patience: float) -> tuple[dict, dict[str, float]]:
        """How they came back, and the figures."""
        marks(self.sinks)
        before = self.run.usage()
        time.sleep(calm)
        calm_marks, began = marks(self.sinks), self.run.usage()
        self.fleet.ask(f"cut {devices} 1000")
        back = returning(self.fleet, patience, self.at_first)
        end, during = self.run.usage(), marks(self.sinks)
        figures = {f"calm.{key}": value for key, value in began.since(before, self.names).items()}
        figures |= {f"at_first.{key}": value for key, value in self.first.since(began, self.names).items()}
        spans = {"before": (calm_marks, "", began.at - before.at), "during": (during, "", end.at - began.at),
                 "at_first": (self.laps, "lap_", self.first.at - began.at)}
        if end.at - self.first.at > 1:
            spans["then"] = (during, "lap_", end.at - self.first.at)
            figures |= {f"then.{key}": value for key, value in end.since(self.first, self.names).items()}
        else:
            figures |= {f"{who}_then_{of}": "back by then" for who in self.sinks for of in ("p99_ms", "records_per_s")}
        for who in self.sinks:
            for name, (taken, lap, seconds) in spans.items():
                figures |= latencies(f"{who}_{name}", taken[who], lap, seconds)
            calm_ms, storm_ms = calm_marks[who]["latency_p99_ms"], during[who]["latency_p99_ms"]
            if calm_ms > 0 and during[who]["records"] > 0:
                figures |= {f"{who}_p99_over_before": storm_ms / calm_ms, f"{who}_p99_gained_ms": storm_ms - calm_ms}
        return back, figures


def times(back: dict) -> dict[str, float]:
    return {key: back[key] for key in ("t50_s", "t90_s", "t99_s")}


def cut(run: Traffic, fleet: Tool, stay: Tool, sinks: dict[str, Tool], options) -> dict[str, float]:
    stay.ask("mark"), fleet.ask("mark")
    ideal = 0.99 * options.devices / options.rate
    done, welcomes = run.metric("fieldgate_tls_handshakes_total"), buckets(run, "fieldgate_welcome_seconds")
    door = Door(run)
    storm = Storm(run, fleet, sinks, WHO | {"gateway": "gateway"})
    back, figures = storm.play(options.devices, options.calm, 60 + 8 * ideal)
    back_in_time(back)
    counts, stayed, welcomed = fleet.ask("mark"), stay.ask("mark"), buckets(run, "fieldgate_welcome_seconds")
    figures |= {f"welcome_{name}_ms": quantile(welcomes, welcomed, q) for name, q in (("p50", 0.5), ("p99", 0.99))}
    return figures | times(back) | door.peaks(options.rate, back) | {
        "ideal_s": ideal, "t99_over_ideal": back["t99_s"] / ideal,
        "handshakes": run.metric("fieldgate_tls_handshakes_total") - done, "connects": counts["connects"],
        "turned_away": counts["lost_connecting"], "stayed_lost": stayed["lost_online"],
        "stayed_late_p99_ms": stayed["late_p99_ms"]}


def restart(run: Traffic, fleet: Tool, stay: Tool, options) -> dict[str, float]:
    fleet.ask("mark")
    os.kill(run.pid("gateway"), signal.SIGKILL)
    run.end("gateway")
    fleet.ask("watch"), stay.ask("watch")
    began = time.monotonic()
    run.launch_gateway()
    started, door = time.monotonic() - began, Door(run)
    ideal = 0.99 * options.devices / options.rate
    back = back_in_time(returning(fleet, 60 + 8 * ideal))
    counts = fleet.ask("mark")
    return times(back) | door.peaks(options.rate, back) | {
        "start_s": started, "ideal_s": ideal, "t99_over_ideal": back["t99_s"] / ideal,
        "turned_away": counts["lost_connecting"]}


def peer(run: Traffic, options) -> dict[str, float | str]:
    """The same of devices that speak MQTT straight to the broker. It lets in whoever comes."""
    for name in ("load", "stay", "gateway", "sink"):
        run.end(name)
    sinks = {"stayed": run.sink(prefix=PEER_PREFIX)}
    device = ("--prefix", PEER_PREFIX, "--connect-rate", options.rate)
    stay = run.mqtt_fleet(options.stay, *device, "--first-index", options.devices + 1, name="stay")
    run.wait_online(stay, options.stay, 60)
    fleet = run.mqtt_fleet(options.devices, *device, "--connecting-max", 0)
    run.wait_online(fleet, options.devices, 60 + 4 * options.devices / options.rate)
    stay.ask(f"rate {STAY_RATE}")
    time.sleep(2)
    stay.ask("mark"), fleet.ask("mark")
    back, figures = Storm(run, fleet, sinks, WHO).play(options.devices, min(5.0, options.calm), PEER_PATIENCE_S)
    counts, stayed = fleet.ask("mark"), stay.ask("mark")
    figures |= {"peak_handshakes_per_s": back["peak_per_s"], "connects": counts["connects"], "failed": counts["lost_connecting"],
                "back": back["back"], "stayed_lost": stayed["lost_online"]}
    return figures | {key: back.get(key, f"over {PEER_PATIENCE_S}") for key in ("t50_s", "t90_s", "t99_s")}


def main() -> int:
    options = arguments(__doc__, devices=15_000, stay=1_000, rate=500, rounds=3, calm=15.0)
    if options.quick:
        options.devices, options.stay, options.rounds, options.calm = 2_000, 200, 1, 4.0
        options.rate = min(options.rate, 100)
    figures = Figures("storm", options.quick)
    figures.update({"devices": options.devices, "stay": options.stay, "handshakes_per_second": options.rate,
                    "rounds": options.rounds, "first_s": FIRST_S, "mosquitto_patience_s": PEER_PATIENCE_S,
                    "bystanders": BYSTANDERS, "bystander_frames_per_s": BYSTANDER_RATE})
    with traffic(options.devices + options.stay) as run:
        run.start_gateway({"limits": {"handshakes_per_second": options.rate}})
        sinks = {"stayed": run.sink(), "bystander": run.sink(prefix=BYSTANDER_PREFIX, name="bystander-sink")}
        bystander = run.mqtt_fleet(BYSTANDERS, "--prefix", BYSTANDER_PREFIX, "--first-index", options.devices + options.stay + 1,
                                   name="bystander")
        stay = run.fleet(options.stay, "--first-index", options.devices + 1, "--connect-rate", options.rate * 0.8, name="stay")
        fleet = run.fleet(options.devices, "--connect-rate", options.rate * 0.8, "--connecting-max", 0)
        run.wait_online(stay, options.stay, 60 + 4 * options.stay / options.rate)
        run.wait_online(fleet, options.devices, 60 + 4 * options.devices / options.rate)
        run.wait_online(bystander, BYSTANDERS, 60)
        bystander.ask(f"rate {BYSTANDER_RATE}")
        stay.ask(f"rate {STAY_RATE}")
        time.sleep(3)

        def play(name: str, taken: dict) -> None:
            print(f"# {name}: {taken}", file=sys.stderr, flush=True)
            figures.update({f"{name}.{key}": value for key, value in taken.items()})

        for _ in range(options.rounds):
            play("cut", cut(run, fleet, stay, sinks, options))
            run.wait_online(fleet, options.devices, 400)
        play("restart", restart(run, fleet, stay, options))
        play("mosquitto", peer(run, options))
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
