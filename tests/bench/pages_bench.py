#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A page of GET /devices over HTTP, of a large registry, while telemetry flows.

The registry is imported through the API; CONNECTED of its devices are there and send RATE frames a second each. Each kind
of question is asked again and again on one connection that stays; what is timed is the whole answer, as its client has it.
`plan`: what `explain=true` says of it: how many devices were looked at, along the order of ids (`walked`) or one after the
other (`scanned`), and how many `matched`.
"""

import http.client
import json
import statistics
import sys
import tempfile
import time

from stage import Figures, arguments, stage

SITES = ("berlin", "oslo", "porto", "quito")
QUESTIONS = {
    "by_id": "limit=100",
    "online": "online=true&limit=100",
    "by_label": "label=site=oslo&limit=100",
    "labels_and_count": "label=site=oslo&label=!retired&count=true&limit=100",
    "offline_longest_first": "online=false&sort=since&limit=100",
    "last_seen_first": "sort=-last_seen&limit=100",
    "last_seen_window": "last_seen_after=2020-01-01T00:00:00Z&sort=last_seen&limit=100",
    "silent_for_a_second": "inactive_for=1s&limit=100",
    "firmware": "firmware=2.4.1&limit=100",
    "prefix": "prefix=meter-04&limit=100",
    "text": "text=quito&sort=-last_data&limit=100",
    "largest_page": "limit=500",
}


class Api:
    def __init__(self, run):
        self.connection = http.client.HTTPConnection("127.0.0.1", run.api, timeout=60)
        self.headers = {"Authorization": f"Bearer {run.api_token}"}

    def get(self, query: str) -> dict:
        self.connection.request("GET", f"/api/v1/devices?{query}", headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"GET /devices?{query}: {answer.status} {body[:300]!r}")
        return json.loads(body)

    def load(self, devices: int) -> None:
        with tempfile.TemporaryFile() as lines:
            for i in range(devices):
                device = {"id": f"meter-{i:06d}", "labels": {"site": SITES[i % len(SITES)], "customer": f"c{i % 300}"}}
                lines.write(json.dumps(device).encode() + b"\n")
            size = lines.tell()
            lines.seek(0)
            self.connection.request("POST", "/api/v1/devices/import?errors_only=true", body=lines, headers=self.headers | {
                "Content-Type": "application/x-ndjson", "Content-Length": str(size)})
            answer = json.loads(self.connection.getresponse().read().splitlines()[-1])
        if answer["errors"] or not answer["done"]:
            raise SystemExit(f"the import ended with {answer}")


def main() -> int:
    options = arguments(__doc__, devices=50_000, connected=1_000, rate=5, asked=200)
    if options.quick:
        options.devices, options.connected, options.asked = 5_000, 100, 20
    figures = Figures("pages", options.quick)
    figures.update({"devices": options.devices, "connected": options.connected, "asked": options.asked})
    with stage(options.connected + 10) as run:
        api = Api(run)
        api.load(options.devices)
        run.simulate(options.connected, "--rate", options.rate, "--metrics", 6, "--heartbeat", 600, "--time-every", 0, "--firmware", "2.4.1",
                     "--seconds", 3_600)
        run.wait_metric("fieldgate_sessions", options.connected, 60)
        while api.get("count=true&limit=1")["count"] < options.devices + options.connected:
            time.sleep(0.2)
        time.sleep(2)
        records, began = run.metric("fieldgate_samples_total"), time.monotonic()
        for name, query in QUESTIONS.items():
            plan = api.get(query + "&explain=true")["plan"]
            taken = []
            for _ in range(options.asked):
                before = time.monotonic()
                page = api.get(query)
                taken.append((time.monotonic() - before) * 1e3)
                time.sleep(0.002)
            figures.update({f"{name}.p50_ms": statistics.median(taken),
                            f"{name}.p99_ms": statistics.quantiles(taken, n=100)[98],
                            f"{name}.rows": len(page["devices"]),
                            f"{name}.plan": ", ".join(f"{key} {value}" for key, value in plan.items())})
        figures.add("frames_per_s_meanwhile", (run.metric("fieldgate_samples_total") - records) / (time.monotonic() - began))
    slowest = max((figures.median(f"{name}.p99_ms"), name) for name in QUESTIONS if name != "largest_page")
    figures.update({"slowest.p99_ms": slowest[0], "slowest.question": slowest[1],
                    "slowest.p50_ms": max(figures.median(f"{name}.p50_ms") for name in QUESTIONS if name != "largest_page")})
    figures.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
