#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""User-space instructions per telemetry frame, counted by callgrind, by thread.

One shard; single frames of six metrics in over TLS, one per segment; batches out to mosquitto at QoS 1,
acknowledgements at FORWARDED. Two runs that differ in the number of frames: what a frame costs is the
difference of the two counts over the difference in frames, so start-up, handshakes and shutdown fall out.
`paced`: few enough that every frame is a batch and an Ack of its own. `busy`: as many as the gateway, made
some fifty times slower by callgrind, can take, so that batches fill.
"""

import re
import subprocess
import sys

from stage import report, stage

LOADS = {"paced": (40, 5), "busy": (100, 30)}  # devices, frames per second and device


WRAP = ("valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", "--callgrind-out-file={folder}/callgrind")


def thread_name(profile: str) -> str:
    """By what only that thread calls."""
    if "net::DeviceSession::readable" in profile:
        return "shard"
    return "mqtt" if "mosquitto_loop_read" in profile else "other"


def count(devices: int, rate: int, seconds: int) -> tuple[dict[str, int], int, int]:
    with stage(devices + 10, shards=1, wrap=WRAP) as run:
        simulator = run.simulate(devices, "--rate", rate, "--metrics", 6, "--heartbeat", 600, "--time-every", 0,
                                 "--connect-rate", 20, "--seconds", seconds)
        simulator.wait(timeout=seconds + 120)
        frames = int(run.metric("fieldgate_samples_total"))
        batches = int(run.metric("fieldgate_lane_batches_total"))
        run.end_gateway()
        totals = {}
        for file in run.folder.glob("callgrind-*"):
            profile = file.read_text(errors="replace")
            total = re.search(r"^(?:totals|summary): (\d+)", profile, re.M)
            if total:
                who = thread_name(profile)
                totals[who] = totals.get(who, 0) + int(total.group(1))
    return totals, frames, batches


def main() -> int:
    subprocess.run(["valgrind", "--version"], check=True, stdout=subprocess.DEVNULL)
    short, long = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) == 3 else (25, 75)
    figures = {}
    for load, (devices, rate) in LOADS.items():
        few, few_frames, few_batches = count(devices, rate, short)
        many, many_frames, many_batches = count(devices, rate, long)
        frames = many_frames - few_frames
        figures |= {f"devices_{load}": devices, f"frames_{load}": frames,
                    f"records_per_batch_{load}": frames / max(1, many_batches - few_batches)}
        per_thread = {who: (many[who] - few.get(who, 0)) / frames for who in sorted(many)}
        figures |= {f"instructions_per_frame_{load}_{who}": value for who, value in per_thread.items()}
        figures[f"instructions_per_frame_{load}"] = sum(per_thread.values())
    report("cpu", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
