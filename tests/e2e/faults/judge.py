# SPDX-License-Identifier: Apache-2.0
"""What is claimed of a run, and how it is held against what was seen."""

import base64
import json
import pathlib
from dataclasses import dataclass, field

import recording_proxy

OUTCOMES = ("forwarded", "filtered", "dead_lettered", "expired", "skipped")


@dataclass
class Verdict:
    figures: dict[str, object] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def claim(self, holds: bool, what: str) -> None:
        if not holds:
            self.broken.append(what)

    def claim_zero(self, **figures: int) -> None:
        """Each is printed, and is to be 0."""
        self.figures.update(figures)
        for name, value in figures.items():
            self.claim(value == 0, f"{name}={value}, not 0")

    def text(self) -> str:
        lines = [" ".join(f"{name}={value}" for name, value in self.figures.items())]
        return "\n".join(lines + [f"BROKEN: {claim}" for claim in self.broken])


def read_pubacked(path, northbound) -> dict[tuple[str, int], set[int]]:
    """Sequence numbers by device and stream."""
    pubacked: dict[tuple[str, int], set[int]] = {}
    for topic, payload in recording_proxy.read_entries(path):
        if "/batches/" not in topic:
            continue
        for record in northbound.RecordBatch.FromString(payload).records:
            pubacked.setdefault((record.device_id, record.stream_id), set()).add(record.seq)
    return pubacked


def read_requests(requests: list[dict], northbound) -> tuple[dict[tuple[str, int], set[int]], int, int]:
    """What a webhook's target took, by device and stream; how much of it twice, and how much was overtaken."""
    arrived: dict[tuple[str, int], set[int]] = {}
    duplicates = overtaken = 0
    for request in requests:
        if request["did"] != "answer" or not 200 <= request["status"] < 300:
            continue
        body = base64.b64decode(request["body_base64"]) if "body_base64" in request else request["body"].encode()
        for record in northbound.RecordBatch.FromString(body).records:
            if not record.seq:
                continue  # presence
            there = arrived.setdefault((record.device_id, record.stream_id), set())
            duplicates += record.seq in there
            overtaken += record.seq not in there and bool(there) and record.seq < max(there)
            there.add(record.seq)
    return arrived, duplicates, overtaken


def read_ledger(path) -> list[tuple[str, int, int, list[int]]]:
    """Device, stream, acknowledged through, and what of that was rejected."""
    lines = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()[1:]]
    return [(line["device"], int(line["stream"]), line["acked"], line["rejected"]) for line in lines]


def missing(acknowledged, arrived, excused=frozenset()) -> int:
    """Of what was acknowledged to devices, what neither arrived nor is excused, as (device, stream, seq)."""
    count = 0
    for device, stream, through, rejected in acknowledged:
        there = arrived.get((device, stream), set())
        count += sum(1 for seq in range(1, through + 1)
                     if seq not in there and seq not in rejected and (device, stream, seq) not in excused)
    return count


def accounts(metrics: dict[str, float]) -> dict[str, dict[str, int]]:
    """Of each lane: what came in, and what became of it."""
    def of(name: str, lane: str, **labels: str) -> int:
        wanted = [f'{label}="{value}"' for label, value in {"lane": lane, **labels}.items()]
        return int(sum(value for key, value in metrics.items()
                       if key.split("{")[0] == name and all(text in key for text in wanted)))

    lanes = {key.split('lane="')[1].split('"')[0] for key in metrics if key.startswith("fieldgate_lane_pending_records{")}
    return {lane: {"in": of("fieldgate_lane_records_in_total", lane),
                   **{outcome: of("fieldgate_lane_records_total", lane, outcome=outcome) for outcome in OUTCOMES},
                   "pending": of("fieldgate_lane_pending_records", lane)} for lane in sorted(lanes)}


def imbalances(books: dict[str, dict[str, int]]) -> list[str]:
    """records in = forwarded + filtered + dead-lettered + expired + skipped + pending, per lane."""
    wrong = [] if books else ["there is no lane"]
    for lane, book in books.items():
        rest = sum(count for name, count in book.items() if name != "in")
        if book["in"] != rest:
            wrong.append(f"{lane}: {book['in']} records in, {rest} accounted for: {book}")
    return wrong
