#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a handshake costs: TLS 1.3, the WebSocket upgrade, Hello and Welcome; full and resumed, by token and by certificate.

User-space instructions (callgrind) of the thread that serves the device and of the whole process, and CPU time, user and
system, of the whole process at full speed. Beside the gateway, in the same run: the floor, a bare loop on epoll and
OpenSSL with the same TLS context; what OpenSSL alone takes of it (all below SSL_do_handshake); and plain Beast. Neither
of the peers looks at who the device is, nor claims, registers or remembers it. Each device stays connected, so that no
goodbye is counted.
"""

import contextlib
import os
import sys

from counted import bare_server, gateway
from stage import Figures, arguments, demo

WHO = ("gateway", "floor", "beast")
WARM = 32
OPENSSL = r"^SSL_do_handshake"
SHARD = r"net::DeviceSession::readable\("


@contextlib.contextmanager
def loaded(who: str, devices: int, auth: str, callgrind: bool):
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(gateway(devices, callgrind) if who == "gateway" else bare_server(who, callgrind=callgrind))
        if server.stage and auth == "certificate":
            yield server, server.load("--certificates", token=False)
        else:
            yield server, server.load(*(("--certificates",) if auth == "certificate" else ()))


def connect(load, kind: str, count: int) -> None:
    resumed = load.do("connect" if kind == "full" else "resume", count)["resumed"]
    if resumed != (0 if kind == "full" else count):
        raise demo.Failure(f"{count} handshakes were to be {kind}, and {resumed:.0f} were resumed")


def count(figures: Figures, who: str, kind: str, auth: str, handshakes: int) -> None:
    with loaded(who, WARM + handshakes + 10, auth, True) as (server, load):
        load.do("connect", WARM)
        if kind == "resumed":
            connect(load, kind, 4)
        server.counted()
        connect(load, kind, handshakes)
        profile = server.counted()
    loop = profile.thread(SHARD if who == "gateway" else OPENSSL)
    key = f"{who}.{kind}.{auth}"
    figures.add(f"{key}.instructions", profile.total / handshakes)
    figures.add(f"{key}.loop_instructions", loop.total / handshakes)
    figures.add(f"{key}.openssl_instructions", loop.inclusive(OPENSSL) / handshakes)


def cpu_time(figures: Figures, who: str, kind: str, auth: str, handshakes: int) -> None:
    with loaded(who, WARM + handshakes + 10, auth, False) as (server, load):
        load.do("connect", WARM)
        before = server.cpu_seconds()
        connect(load, kind, handshakes)
        figures.add(f"{who}.{kind}.{auth}.cpu_us", (server.cpu_seconds() - before) / handshakes * 1e6)


def main() -> int:
    options = arguments(__doc__, rounds=2)
    figures = Figures("handshake", options.quick)
    repeats = 1 if options.quick else options.rounds
    counted, timed = (64, 300) if options.quick else (200, 2_000)
    cases = [("full", "token"), ("resumed", "token")] + ([] if options.quick else [("full", "certificate")])
    figures.update({"handshakes_counted": counted, "handshakes_timed": timed, "rounds": repeats, "cores": os.cpu_count()})
    for _ in range(repeats):
        for kind, auth in cases:
            for who in WHO:
                count(figures, who, kind, auth, counted)
        for kind, auth in cases:
            for who in WHO:
                cpu_time(figures, who, kind, auth, timed)
    for kind, auth in cases:
        gateway_cost, floor = (figures.median(f"{who}.{kind}.{auth}.loop_instructions") for who in ("gateway", "floor"))
        figures.add(f"ratio.{kind}.{auth}.instructions", gateway_cost / floor)
        figures.add(f"ratio.{kind}.{auth}.cpu", figures.median(f"gateway.{kind}.{auth}.cpu_us") /
                    figures.median(f"floor.{kind}.{auth}.cpu_us"))
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
