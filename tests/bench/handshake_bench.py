#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a handshake costs: TLS 1.3, the WebSocket upgrade, Hello and Welcome; full and resumed, by token and by certificate.

User-space instructions (callgrind), and CPU time, user and system, at full speed: of the whole process, and by thread.
What the gateway still does of them in the seconds after the last handshake (store, presence) is in both. Beside the gateway, in the same run: the floor, a bare loop on epoll and
OpenSSL with the same TLS context; what OpenSSL alone takes of it (all below SSL_do_handshake); and plain Beast. Neither
of the peers looks at who the device is, nor claims, registers or remembers it. Each device stays connected, so that no
goodbye is counted. By CPU time alone, of one process: Tornado and Node at the gateway's job, which check the token and keep no
store; and mosquitto, whose clients are anonymous and speak MQTT over WSS, each from TCP to CONNACK.
"""

import contextlib
import os
import pathlib
import re
import sys
import time

import peers
from counted import Load, bare_server, gateway
from stage import TOKEN_SEED, Figures, arguments, demo
from traffic import PREFIX, cpu_seconds, traffic

WHO = ("gateway", "floor", "beast")
PEERS = ("tornado", "node")
GOAL = 1.05
WARM = 32
OPENSSL = r"^SSL_do_handshake"
SETTLE_S = 3  # until store and lanes have done with what came, under callgrind too
# The gateway's threads, by the function that each of them is in as long as it lives. The rest is `other`.
THREADS = {"shard": r"^fieldgate::net::Shard::run\(", "store": r"^fieldgate::control::StoreWorker::run\(",
           "lane": r"^fieldgate::mqtt::LaneImpl::", "http": r"^fieldgate::http::HttpServer::Impl::run\("}
# What looks, at each block that OpenSSL takes or gives back, whether it is one to keep for the next record (gateway/net/
# tls_memory.h); without malloc and free, which it calls.
TLS_SPARES = r"fieldgate::\(anonymous namespace\)::(allocate|give_back|reallocate)\(|malloc_usable_size$"
# Their names for the system. The shards have the process' own.
NAMES = {"store": "store", "mqtt-lane": "lane", "http-api": "http", "http-admin": "http"}
# callgrind is slow, and the machine may be, too.
PATIENT = {"session": {"deadlines": {"tls": "5m", "upgrade": "5m", "hello": "5m"}}}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def loaded(who: str, devices: int, auth: str, callgrind: bool):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(gateway(devices, callgrind, settings=PATIENT) if who == "gateway"
                                     else bare_server(who, callgrind=callgrind))
        if server.stage and auth == "certificate":
            yield server, server.load("--certificates", token=False)
        else:
            yield server, server.load(*(("--certificates",) if auth == "certificate" else ()))


def connect(load, kind: str, count: int) -> None:
    resumed = load.do("connect" if kind == "full" else "resume", count)["resumed"]
    if resumed != (0 if kind == "full" else count):
        raise demo.Failure(f"{count} handshakes were to be {kind}, and {resumed:.0f} were resumed")


def settle(server) -> None:
    if server.stage:
        time.sleep(SETTLE_S)


def by_thread(profile) -> dict[str, float]:
    """Instructions of the gateway's threads."""
    spent = dict.fromkeys((*THREADS, "other"), 0)
    for thread in profile.threads:
        inside = {name: thread.inclusive(pattern) for name, pattern in THREADS.items()}
        name = max(inside, key=inside.get)
        spent[name if inside[name] > thread.total / 10 else "other"] += thread.total
    return spent


def count(figures: Figures, who: str, kind: str, auth: str, handshakes: int) -> None:
    with loaded(who, WARM + handshakes + 10, auth, True) as (server, load):
        load.do("connect", WARM)
        if kind == "resumed":
            connect(load, kind, 4)
        settle(server)
        server.counted()
        connect(load, kind, handshakes)
        settle(server)
        profile = server.counted()
    loop = profile.thread(OPENSSL)
    key = f"{who}.{kind}.{auth}"
    figures.add(f"{key}.instructions", profile.total / handshakes)
    figures.add(f"{key}.loop_instructions", loop.total / handshakes)
    figures.add(f"{key}.openssl_instructions", loop.inclusive(OPENSSL) / handshakes)
    if who == "gateway":
        figures.update({f"{key}.{name}_instructions": spent / handshakes for name, spent in by_thread(profile).items()})
        spares = sum(cost for name, cost in loop.own.items() if re.match(TLS_SPARES, name))
        figures.add(f"{key}.tls_spares_instructions", spares / handshakes)


def cpu_split(server) -> dict[str, float]:
    """Seconds of the process: user, system, and both by thread."""
    split = dict.fromkeys(("user", "system", "shard", *NAMES.values()), 0.0)
    for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir():
        name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        user, system = (int(field) * TICK_S for field in fields.split()[11:13])
        split["user"] += user
        split["system"] += system
        split[NAMES.get(name, "shard")] += user + system
    return split


def cpu_time(figures: Figures, who: str, kind: str, auth: str, handshakes: int) -> None:
    with loaded(who, WARM + handshakes + 10, auth, False) as (server, load):
        load.do("connect", WARM)
        settle(server)
        before = cpu_split(server)
        connect(load, kind, handshakes)
        settle(server)
        us = {name: (seconds - before[name]) / handshakes * 1e6 for name, seconds in cpu_split(server).items()}
    key = f"{who}.{kind}.{auth}"
    figures.update({f"{key}.cpu_us": us["user"] + us["system"], f"{key}.user_us": us["user"], f"{key}.system_us": us["system"]})
    if who == "gateway":
        figures.update({f"{key}.{name}_us": us[name] for name in ("shard", *dict.fromkeys(NAMES.values()))})


def peer_time(figures: Figures, who: str, kind: str, handshakes: int) -> None:
    with traffic(WARM + handshakes + 10) as run:
        peers.start(run, who, PREFIX, processes=1)
        load = Load(run.peer, run.folder / "pki", "--secret-seed", TOKEN_SEED)
        try:
            load.do("connect", WARM)
            pid = run.pids()[who]
            time.sleep(SETTLE_S)
            before = cpu_seconds(pid)
            connect(load, kind, handshakes)
            time.sleep(SETTLE_S)
            figures.add(f"{who}.{kind}.token.cpu_us", (cpu_seconds(pid) - before) / handshakes * 1e6)
        finally:
            load.stop()


def mosquitto_time(figures: Figures, clients: int) -> None:
    with traffic(clients + 10) as run:
        pid = run.pids()["mosquitto"]
        before = cpu_seconds(pid)
        run.wait_online(run.mqtt_fleet(clients), clients, 120)
        time.sleep(SETTLE_S)
        figures.add("mosquitto.full.anonymous.cpu_us", (cpu_seconds(pid) - before) / clients * 1e6)


def ratios(figures: Figures, kind: str, auth: str) -> None:
    """Of the gateway to the floor: of all threads, of the thread that serves the device, of CPU time."""
    for name, what in {"instructions": "instructions", "loop": "loop_instructions", "cpu": "cpu_us"}.items():
        cost, floor = (figures.median(f"{who}.{kind}.{auth}.{what}") for who in ("gateway", "floor"))
        figures.add(f"ratio.{kind}.{auth}.{name}", cost / floor)
        figures.add(f"goal.{kind}.{auth}.{name}", "met" if cost <= GOAL * floor else "not met")
    shard_us, floor_us = figures.median(f"gateway.{kind}.{auth}.shard_us"), figures.median(f"floor.{kind}.{auth}.cpu_us")
    figures.add(f"ratio.{kind}.{auth}.shard_cpu", shard_us / floor_us)


def main() -> int:
    options = arguments(__doc__, rounds=2)
    figures = Figures("handshake", options.quick)
    repeats = 1 if options.quick else options.rounds
    counted, timed = (32, 100) if options.quick else (80, 2_000)
    cases = [("full", "token"), ("resumed", "token"), ("full", "certificate")]
    figures.update({"handshakes_counted": counted, "handshakes_timed": timed, "rounds": repeats, "cores": os.cpu_count(), "goal_ratio": GOAL})
    missing = {name: why for name, why in peers.available().items() if why}
    figures.update({f"{name}.left_out": why for name, why in missing.items()})
    for _ in range(repeats):
        for kind, auth in cases:
            for who in WHO:
                count(figures, who, kind, auth, counted)
        for kind, auth in cases:
            for who in WHO:
                cpu_time(figures, who, kind, auth, timed)
        for who in (name for name in PEERS if name not in missing):
            for kind in ("full", "resumed"):
                peer_time(figures, who, kind, timed)
        mosquitto_time(figures, timed)
    for kind, auth in cases:
        ratios(figures, kind, auth)
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
