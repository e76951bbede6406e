#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""15,000 devices are cut off at once and come back; 1,000 others stay and go on sending.

`cut`: the 15,000 connections are reset in one moment, and every device is back at the door within a second; whoever is
turned away there backs off with full jitter as docs/protocol.md says (1 s, doubled, at most 300 s). `restart`: the gateway
is killed and started again, and all 16,000 come back. The door opens `limits.handshakes_per_second` times a second.

`t99_over_ideal`: when 99 % are back, over what it would take at exactly that rate. `peak_admitted_per_s`: connections let
in by the gateway, the most over any second; `peak_handshakes_per_s`: those that the devices see done, TLS and upgrade, in
any one second: what was let in may take its time, and come to its end together. `stayed`: device -> consumer, of those that
stayed, before and during. Devices, gateway, broker and consumer share the cores: the devices' own share of a handshake is
about as large as the gateway's. `bystander`: the same latency of a few devices that never touch the gateway: they speak MQTT
over WSS straight to the broker. What the storm does to those is the machine's share: the floor under what `stayed` can be.
"""

import os
import signal
import sys
import threading
import time

from stage import Figures, arguments
from traffic import Tool, Traffic, traffic

STAY_RATE = 1_000  # frames a second, of all that stay
BYSTANDERS, BYSTANDER_RATE, BYSTANDER_PREFIX = 100, 500, "bystander"


def returning(fleet: Tool, devices: int, seconds: float) -> dict:
    """Until 99 % are back."""
    deadline = time.monotonic() + seconds
    while "t99_s" not in (seen := fleet.ask("returns")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {seconds:.0f} s: {seen}, {fleet.ask('mark')}")
        time.sleep(0.25)
    return seen


class Door(threading.Thread):
    """Watches how many the gateway lets in."""

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
            let_in = metrics["fieldgate_connections_opened_total"] - turned_away
            self.seen.append(((before + time.monotonic()) / 2, let_in))

    def peak(self) -> float:
        self.over.set()
        self.join()
        peak, first = 0.0, 0
        for at, let_in in self.seen:
            while first + 1 < len(self.seen) and at - self.seen[first + 1][0] >= 1:
                first += 1
            if at - self.seen[first][0] >= 1:
                peak = max(peak, (let_in - self.seen[first][1]) / (at - self.seen[first][0]))
        return peak


def marks(sinks: dict[str, Tool]) -> dict[str, dict]:
    return {who: sink.ask("mark") for who, sink in sinks.items()}


def cut(run: Traffic, fleet: Tool, stay: Tool, sinks: dict[str, Tool], options) -> dict[str, float]:
    marks(sinks), stay.ask("mark"), fleet.ask("mark")
    time.sleep(options.calm)
    calm, before_stay = marks(sinks), stay.ask("mark")
    before, began, done = run.cpu(), time.monotonic(), run.metric("fieldgate_tls_handshakes_total")
    door = Door(run)
    fleet.ask(f"cut {options.devices} 1000")
    ideal = 0.99 * options.devices / options.rate
    back = returning(fleet, options.devices, 60 + 8 * ideal)
    storm, after, seconds = marks(sinks), run.cpu(), time.monotonic() - began
    counts, stayed, admitted = fleet.ask("mark"), stay.ask("mark"), door.peak()
    figures = {"ideal_s": ideal, "t99_over_ideal": back["t99_s"] / ideal, "handshakes": run.metric("fieldgate_tls_handshakes_total") - done,
               "peak_admitted_per_s": admitted, "peak_over_rate": admitted / options.rate, "peak_handshakes_per_s": back["peak_per_s"],
               "connects": counts["connects"], "turned_away": counts["lost_connecting"],
               "stayed_lost": before_stay["lost_online"] + stayed["lost_online"]}
    figures |= {key: back[key] for key in ("t50_s", "t90_s", "t99_s")}
    for who in sinks:
        for name, taken in (("before", calm), ("during", storm)):
            figures |= {f"{who}_{name}_{quantile}_ms": taken[who][f"latency_{quantile}_ms"] for quantile in ("p50", "p99", "p999")}
        figures[f"{who}_p99_over_before"] = storm[who]["latency_p99_ms"] / calm[who]["latency_p99_ms"]
    names = {"load": "returning", "stay": "staying", "sink": "consumer", "mosquitto": "broker", "gateway": "gateway"}
    return figures | {f"{what}_cores": (after[name] - before[name]) / seconds for name, what in names.items()}


def restart(run: Traffic, fleet: Tool, stay: Tool, options) -> dict[str, float]:
    fleet.ask("mark")
    os.kill(run.pid("gateway"), signal.SIGKILL)
    run.end("gateway")
    run.launch_gateway()
    fleet.ask("watch"), stay.ask("watch")
    ideal = 0.99 * (options.devices + options.stay) / options.rate
    door = Door(run)
    back = returning(fleet, options.devices, 60 + 8 * ideal)
    counts, admitted = fleet.ask("mark"), door.peak()
    return {"ideal_s": ideal, "t99_over_ideal": back["t99_s"] / ideal, "turned_away": counts["lost_connecting"],
            "peak_admitted_per_s": admitted, "peak_over_rate": admitted / options.rate, "peak_handshakes_per_s": back["peak_per_s"],
            **{key: back[key] for key in ("t50_s", "t90_s", "t99_s")}}


def main() -> int:
    options = arguments(__doc__, devices=15_000, stay=1_000, rate=500, rounds=3, calm=15.0)
    if options.quick:
        options.devices, options.stay, options.rounds, options.calm = 2_000, 200, 1, 4.0
        options.rate = min(options.rate, 200)
    figures = Figures("storm", options.quick)
    figures.update({"devices": options.devices, "stay": options.stay, "handshakes_per_second": options.rate,
                    "bystanders": BYSTANDERS, "bystander_frames_per_s": BYSTANDER_RATE})
    with traffic(options.devices + options.stay) as run:
        run.start_gateway({"limits": {"handshakes_per_second": options.rate}})
        sinks = {"stayed": run.sink(), "bystander": run.sink(prefix=BYSTANDER_PREFIX, name="bystander-sink")}
        bystander = run.mqtt_fleet(BYSTANDERS, "--prefix", BYSTANDER_PREFIX, name="bystander")
        stay = run.fleet(options.stay, "--first-index", options.devices + 1, "--connect-rate", options.rate * 0.8, name="stay")
        fleet = run.fleet(options.devices, "--connect-rate", options.rate * 0.8, "--connecting-max", 0)
        run.wait_online(stay, options.stay, 60 + 4 * options.stay / options.rate)
        run.wait_online(fleet, options.devices, 60 + 4 * options.devices / options.rate)
        run.wait_online(bystander, BYSTANDERS, 60)
        bystander.ask(f"rate {BYSTANDER_RATE}")
        stay.ask(f"rate {STAY_RATE}")
        time.sleep(3)
        for _ in range(options.rounds):
            taken = cut(run, fleet, stay, sinks, options)
            print(f"# cut: {taken}", file=sys.stderr, flush=True)
            figures.update({f"cut.{key}": value for key, value in taken.items()})
            run.wait_online(fleet, options.devices, 400)
        taken = restart(run, fleet, stay, options)
        print(f"# restart: {taken}", file=sys.stderr, flush=True)
        figures.update({f"restart.{key}": value for key, value in taken.items()})
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
