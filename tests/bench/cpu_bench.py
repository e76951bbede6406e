#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""User-space instructions per telemetry frame, counted by callgrind, by thread.

One shard; single frames of six metrics in over TLS, one per segment; batches out to mosquitto at QoS 1,
acknowledgements at FORWARDED. Two runs that differ in the number of frames: what a frame costs is the
difference of the two counts over the difference in frames, so start-up, handshakes and shutdown fall out.
"""

import re
import subprocess
import sys

from stage import report, stage

DEVICES, RATE = 40, 5


WRAP = ("valgrind", "-q", "--tool=callgrind", "--separate-threads=yes", "--callgrind-out-file={folder}/callgrind")


def thread_name(profile: str) -> str:
    """By what only that thread calls."""
    if "net::DeviceSession::readable" in profile:
        return "shard"
    return "mqtt" if "mosquitto_loop_read" in profile else "other"


def count(seconds: int) -> tuple[dict[str, int], int]:
    with stage(DEVICES + 10, shards=1, wrap=WRAP) as run:
        simulator = run.simulate(DEVICES, "--rate", RATE, "--metrics", 6, "--heartbeat", 600, "--time-every", 0,
                                 "--connect-rate", 10, "--seconds", seconds)
        simulator.wait(timeout=seconds + 120)
        frames = int(run.metric("fieldgate_samples_total"))
        run.end_gateway()
        totals = {}
        for file in run.folder.glob("callgrind-*"):
            profile = file.read_text(errors="replace")
            total = re.search(r"^(?:totals|summary): (\d+)", profile, re.M)
            if total:
                who = thread_name(profile)
                totals[who] = totals.get(who, 0) + int(total.group(1))
    return totals, frames


def main() -> int:
    subprocess.run(["valgrind", "--version"], check=True, stdout=subprocess.DEVNULL)
    short, long = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) == 3 else (20, 80)
    few, few_frames = count(short)
    many, many_frames = count(long)
    figures = {"devices": DEVICES, "rate_per_device": RATE, "frames": many_frames - few_frames}
    for who in sorted(many):
        figures[f"instructions_per_frame_{who}"] = (many[who] - few.get(who, 0)) / (many_frames - few_frames)
    figures["instructions_per_frame"] = sum(v for k, v in figures.items() if k.startswith("instructions_per_frame_"))
    report("cpu", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
