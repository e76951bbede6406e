#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a thousand readers of the live stream cost the devices: ingest with and without them, in alternating runs.

Devices over TLS send frames as fast as the rate says, acknowledged at ACCEPTED by no less than the log in memory and
forwarded to mosquitto in batches. `readers`: beside that, each of SUBSCRIBERS readers gets presence, commands, lanes
and the telemetry of one device. What counts: CPU time of the process without its API thread, over the records taken
meanwhile; CPU of the API thread; and the time from a record's receipt to its Ack (p99, from the gateway's histogram),
and the p99 from a device's sending to the Ack at the device, which has the machine's load in it. The readers themselves run
with the lowest priority, and take part of the machine. A run in which a reader misses an event or loses its stream fails.

`full`: the same with frames offered FULL_OVER times as fast, which is more than all of this can take on two cores, so that
devices send as credit lets them. What counts then is how many records are taken a second with the readers and without.
Readers that cannot keep up miss events there, are told so, and are counted.
"""

import contextlib
import multiprocessing
import os
import pathlib
import re
import selectors
import signal
import socket
import sys
import time
import urllib.request

from stage import Figures, arguments, stage

CLAIMED = ("cpu_us", "ack_p99_ms", "device_ack_p99_ms", "per_second")
TICKS = os.sysconf("SC_CLK_TCK")


def read_streams(port: int, token: str, count: int, devices: int, ready, stop, results) -> None:
    os.nice(19)
    selector = selectors.DefaultSelector()
    for i in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        device = f"sim-{i % devices + 1:06d}"
        connection.sendall((f"GET /api/v1/stream?kinds=presence,command,lane,telemetry&device={device} HTTP/1.1\r\n"
                            f"Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n").encode())
        selector.register(connection, selectors.EVENT_READ)
    received = events = missed = closed = 0
    answered = set()
    while not stop.is_set():
        for key, _ in selector.select(0.2):
            data = key.fileobj.recv(1 << 18)
            if not data:
                closed += 1
                selector.unregister(key.fileobj)
                continue
            if key.fd not in answered:
                answered.add(key.fd)
                if not data.startswith(b"HTTP/1.1 200 "):
                    raise SystemExit(data[:200])
            received += len(data)
            events += data.count(b"\nevent: telemetry")
            missed += data.count(b"event: missed")
        if len(answered) == count:
            ready.set()
    results.put({"bytes": received, "events": events, "missed": missed, "closed": closed})


def cpu_by_thread(pid: int) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            text = (task / "stat").read_text()
            name = text[text.index("(") + 1:text.rindex(")")]
            fields = text[text.rindex(")") + 2:].split()
            seconds[name] = seconds.get(name, 0) + (int(fields[11]) + int(fields[12])) / TICKS
    return seconds


def buckets(run, name: str) -> dict[float, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{run.admin}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found: dict[float, float] = {}
    for line in re.finditer(rf'^{name}_bucket{{(?:[^}}]*,)?le="([^"]+)"}} (\S+)$', text, re.M):
        bound = float(line.group(1).replace("+Inf", "inf"))
        found[bound] = found.get(bound, 0) + float(line.group(2))
    return found


def quantile(before: dict[float, float], after: dict[float, float], q: float) -> float:
    """Interpolated within the bucket, in milliseconds."""
    grown = sorted((bound, after[bound] - before.get(bound, 0)) for bound in after)
    wanted, low, below = grown[-1][1] * q, 0.0, 0.0
    for bound, cumulated in grown:
        if cumulated >= wanted:
            return (low if bound == float("inf") else low + (bound - low) * (wanted - below) / max(1, cumulated - below)) * 1e3
        low, below = bound, cumulated
    return low * 1e3


def measure(options, subscribers: int, rate: float, full: bool) -> dict[str, float]:
    # All readers are at one address here.
    settings = {"api": {"connections_per_address_max": 0}}
    with stage(options.devices + subscribers + 10, settings=settings) as run:
        simulator = run.simulate(options.devices, "--rate", rate, "--metrics", 6, "--payload-bytes", 30,
                                 "--heartbeat", 600, "--time-every", 0, "--ack-stage", "accepted",
                                 "--threads", 2 if full else 1)
        run.wait_metric("fieldgate_sessions", options.devices, 60)
        ready, stop, results = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Queue()
        reader = None
        if subscribers:
            reader = multiprocessing.Process(
                target=read_streams, args=(run.api, run.api_token, subscribers, options.devices, ready, stop, results))
            reader.start()
            if not ready.wait(60):
                raise SystemExit("the readers did not all get their streams")
        time.sleep(3)  # past the handshakes, and until every shard watches
        pid = run.pid("gateway")
        names = ("fieldgate_samples_total", "fieldgate_http_stream_events_sent_total")
        counts, cpu, acks = [run.metric(n) for n in names], cpu_by_thread(pid), buckets(run, "fieldgate_ack_seconds")
        began = time.monotonic()
        time.sleep(options.seconds)
        seconds = time.monotonic() - began
        counts2, cpu2, acks2 = [run.metric(n) for n in names], cpu_by_thread(pid), buckets(run, "fieldgate_ack_seconds")
        records, sent = (late - early for late, early in zip(counts2, counts))
        spent = {name: cpu2[name] - cpu.get(name, 0) for name in cpu2}
        api = spent.pop("http-api", 0.0)
        figures = {"cpu_us": sum(spent.values()) / records * 1e6, "api_percent": api / seconds * 100,
                   "per_second": records / seconds, "sent_per_second": sent / seconds,
                   "ack_p50_ms": quantile(acks, acks2, 0.5), "ack_p99_ms": quantile(acks, acks2, 0.99),
                   "memory_mb": run.metric("process_resident_memory_bytes") / 1e6}
        if reader:
            stop.set()
            told = results.get(timeout=60)
            reader.join(60)
            figures |= {"missed": told["missed"], "closed": told["closed"], "events_read": told["events"]}
            if (told["missed"] or told["closed"]) and not full:
                raise SystemExit(f"readers missed events {told['missed']} times, and {told['closed']} lost their streams")
        simulator.send_signal(signal.SIGINT)  # it waits for the last Acks, and sums up
        simulator.wait(timeout=120)
        said = re.search(r"^ +ack +p50 [\d.]+ +p90 [\d.]+ +p99 ([\d.]+)", (run.folder / "simulator.log").read_text(), re.M)
        return figures | ({"device_ack_p99_ms": float(said.group(1))} if said else {})


def main() -> int:
    options = arguments(__doc__, devices=1_000, rate=25, seconds=12, full_over=5, rounds=3, subscribers=1_000)
    if options.quick:
        options.devices, options.rounds, options.seconds = 200, 1, 4
    figures = Figures("stream", options.quick)
    figures.update({"devices": options.devices, "rate": options.rate, "subscribers": options.subscribers,
                    "full_over": options.full_over})
    for _ in range(options.rounds):
        for case, over in (("", 1), ("full.", options.full_over)):
            taken = {name: measure(options, readers, options.rate * over, bool(case))
                     for name, readers in (("alone", 0), ("readers", options.subscribers))}
            figures.update({f"{case}{key}_{name}": value for name, run in taken.items() for key, value in run.items()})
            figures.update({f"{case}{key}_with_over_without": taken["readers"][key] / taken["alone"][key] for key in CLAIMED
                            if all(key in run for run in taken.values())})
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
