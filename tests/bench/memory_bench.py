#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Memory of a connected TLS device: the slope of the gateway's resident set over the number of devices.

Each device connects over TLS 1.3 (by token, then by client certificate), says Hello, sends telemetry of six metrics
about once, and idles.
"""

import re
import sys
import time

from stage import report, stage

FEW, MANY = 2_000, 15_000
SEED = "bench"


def resident(pid: int) -> tuple[int, int]:
    rollup = open(f"/proc/{pid}/smaps_rollup").read()
    return tuple(int(re.search(rf"^{key}:\s+(\d+)", rollup, re.M).group(1)) * 1024 for key in ("Rss", "Pss"))


def socket_memory() -> int:
    """Pages the kernel holds for TCP, of the whole machine: mem of /proc/net/sockstat."""
    return int(re.search(r"^TCP:.* mem (\d+)", open("/proc/net/sockstat").read(), re.M).group(1)) * 4096


def measure(few: int, many: int, auth: str) -> dict[str, float]:
    seen = {}
    with stage(many + 10) as run:
        tokens = run.folder / "device-tokens"
        if auth == "token":
            run.call(run.bin / "fieldgate-sim", "tokens", "--devices", many, "--secret-seed", SEED, "--out", tokens)
            run.reload_gateway()
        for devices, first in ((few, 1), (many - few, few + 1)):
            # Two frames each, then silence until the heartbeat.
            run.simulate(devices, "--first-index", first, "--rate", "0.01", "--profile", "steady", "--heartbeat", "600",
                         "--connect-rate", "400", "--time-every", "0", "--auth", auth,
                         *(("--secret-seed", SEED) if auth == "token" else ()))
            total = first - 1 + devices
            run.wait_metric("fieldgate_sessions", total, 300)
            run.wait_metric("fieldgate_samples_total", total, 300)
            time.sleep(5)
            seen[total] = (*resident(run.pid("gateway")), socket_memory())
    rss, pss, kernel = ((seen[many][i] - seen[few][i]) / (many - few) for i in range(3))
    return {f"rss_{few}_bytes_{auth}": seen[few][0], f"rss_{many}_bytes_{auth}": seen[many][0],
            f"rss_per_device_bytes_{auth}": rss, f"pss_per_device_bytes_{auth}": pss,
            f"kernel_tcp_pages_per_device_bytes_{auth}": kernel}


def main() -> int:
    few, many = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) == 3 else (FEW, MANY)
    figures = {"devices_few": few, "devices_many": many}
    for auth in ("token", "cert"):
        figures |= measure(few, many, auth)
    report("memory", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
