#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a thousand readers of the live stream cost the devices: ingest with and without them, in alternating runs.

Devices over TLS send frames as fast as the rate says, acknowledged at ACCEPTED by no less than the log in memory and
forwarded to mosquitto in batches. `readers`: beside that, each of SUBSCRIBERS readers gets presence, commands, lanes
and the telemetry of one device. What counts: CPU time of the process without its API thread, over the records taken
meanwhile; CPU of the API thread; and the time from a record's receipt to its Ack (p99, from the gateway's histogram),
which is what a device waits. The readers themselves run with the lowest priority, and take part of the machine.
"""

import contextlib
import multiprocessing
import os
import pathlib
import re
import selectors
import socket
import statistics
import sys
import time
import urllib.request

from stage import report, stage

DEVICES, RATE, SECONDS, ROUNDS, SUBSCRIBERS = 400, 25, 12, 3, 1000
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


def measure(subscribers: int) -> dict[str, float]:
    # All readers are at one address here.
    with stage(DEVICES + subscribers + 10, settings={"api": {"connections_per_address_max": 0}}) as run:
        simulator = run.simulate(DEVICES, "--rate", RATE, "--metrics", 6, "--payload-bytes", 30, "--heartbeat", 600,
                                 "--time-every", 0, "--ack-stage", "accepted", "--seconds", SECONDS + 25)
        run.wait_metric("fieldgate_sessions", DEVICES, 60)
        ready, stop, results = multiprocessing.Event(), multiprocessing.Event(), multiprocessing.Queue()
        reader = None
        if subscribers:
            reader = multiprocessing.Process(
                target=read_streams, args=(run.api, run.api_token, subscribers, DEVICES, ready, stop, results))
            reader.start()
            if not ready.wait(60):
                raise SystemExit("the readers did not all get their streams")
        time.sleep(3)  # past the handshakes, and until every shard watches
        pid = run.pid("gateway")
        names = ("fieldgate_samples_total", "fieldgate_http_stream_events_sent_total")
        counts, cpu, acks = [run.metric(n) for n in names], cpu_by_thread(pid), buckets(run, "fieldgate_ack_seconds")
        began = time.monotonic()
        time.sleep(SECONDS)
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
            figures |= {"missed": told["missed"], "closed": told["closed"]}
        simulator.wait(timeout=120)
        said = re.search(r"^ +ack +p50 [\d.]+ +p90 [\d.]+ +p99 ([\d.]+)", (run.folder / "simulator.log").read_text(), re.M)
        return figures | ({"device_ack_p99_ms": float(said.group(1))} if said else {})


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    subscribers = int(sys.argv[2]) if len(sys.argv) > 2 else SUBSCRIBERS
    runs: dict[str, list[dict[str, float]]] = {"alone": [], "readers": []}
    for _ in range(rounds):
        for name, taken in runs.items():
            taken.append(measure(subscribers if name == "readers" else 0))
    figures = {"devices": DEVICES, "subscribers": subscribers, "rounds": rounds}
    for name, taken in runs.items():
        for key in taken[0]:
            figures[f"{key}_{name}"] = float(statistics.median(run[key] for run in taken))
    figures["cpu_with_over_without"] = f"{figures['cpu_us_readers'] / figures['cpu_us_alone']:.2f}"
    report("stream", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
