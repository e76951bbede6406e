#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs/protocol.md against the code: every end reason with its codes, every code of the wire contract, every default."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")


def documented_ends(text: str) -> dict[str, tuple[int, int]]:
    """reason -> (HTTP status, close code) of the table's rows; 0 for "-"."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d+|-) \| (\d+|-) \| [^|\n]+ \| [^|\n]+ \|$", text, re.MULTILINE)
    ends = {name: (int(status.replace("-", "0")), int(close.replace("-", "0"))) for name, status, close in rows}
    assert len(ends) == len(rows), "a reason is listed twice"
    return ends


def implemented_ends() -> dict[str, tuple[int, int]]:
    source = (ROOT / "gateway/core/end_reason.cc").read_text(encoding="utf-8")
    rows = re.findall(r'\{(\w+), "(\w+)", (\d+), (\d+)\},', source)
    assert all(enumerator == name for enumerator, name, _, _ in rows), "a name that is not its enumerator's"
    return {name: (int(status), int(close)) for _, name, close, status in rows}


def enumerators(enum: str) -> set[str]:
    proto = (ROOT / "proto/fieldgate/v1/device.proto").read_text(encoding="utf-8")
    body = re.search(rf"^enum {enum} \{{(.*?)^\}}", proto, re.MULTILINE | re.DOTALL).group(1)
    return {name for name in re.findall(r"^\s*([A-Z_]+) = \d+;", body, re.MULTILINE) if not name.endswith("_UNSPECIFIED")}


class ProtocolDoc(unittest.TestCase):
    def test_lists_every_end_reason_with_its_codes(self):
        implemented = implemented_ends()
        header = (ROOT / "gateway/core/end_reason.h").read_text(encoding="utf-8")
        declared = re.search(r"enum class EndReason[^{]*\{(.*?)\};", header, re.DOTALL).group(1)
        self.assertEqual(set(re.findall(r"^\s*(\w+),", declared, re.MULTILINE)), set(implemented))
        self.assertEqual(documented_ends(DOC), implemented)

    def test_notices_a_wrong_code(self):
        wrong = DOC.replace("| `hello_timeout` | - | 4000 |", "| `hello_timeout` | - | 4001 |")
        self.assertNotEqual(documented_ends(wrong), implemented_ends())

    def test_lists_every_reject_code_and_goodbye_reason(self):
        for enum in ("RejectCode", "GoodbyeReason"):
            rows = set(re.findall(r"^\| `([A-Z_]+)` \|", DOC, re.MULTILINE))
            self.assertEqual(enumerators(enum) - rows, set(), enum)

    def test_states_the_defaults_of_the_settings(self):
        settings = (ROOT / "gateway/core/settings.h").read_text(encoding="utf-8")
        for name, words in {
            "tls{10}": "| TLS | TCP accept | handshake done | 10 s |",
            "upgrade{5}": "| upgrade | handshake done | request complete | 5 s |",
            "hello{5}": "| Hello | 101 sent | Hello complete | 5 s |",
            "close{3}": "end of stream | 3 s |",
            "message_assembly{10}": "its last byte | 10 s |",
            "heartbeat{30}": "heartbeat_seconds *30*",
            "heartbeat_min{5}": "(*5 to 600 s*)",
            "heartbeat_max{600}": "(*5 to 600 s*)",
            "ack_every_frames = 32": "ack_every_frames *32*",
            "ack_every{50}": "ack_every_ms *50*",
            "credit_frames = 64": "*64 frames, 128 KiB*",
            "credit_bytes = 131'072": "*64 frames, 128 KiB*",
            "frame_bytes_max = 65'536": "(*64 KiB*)",
            "frames_per_second = 100": "*100* messages per second",
            "frames_burst = 400": "bursts of *400*",
            "bytes_per_second = 262'144": "*256 KiB* per second",
            "bytes_burst = 1'048'576": "bursts of *1 MiB*",
            "takeovers_per_minute = 12": "*12* takeovers a minute",
        }.items():
            self.assertIn(f" {name};", settings, "the default has changed: change docs/protocol.md as well")
            self.assertIn(words, DOC)


if __name__ == "__main__":
    unittest.main()
