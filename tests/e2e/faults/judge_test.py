#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The judge of the outages: that it would see a loss if there were one."""

import pathlib
import tempfile
import unittest

import recording_proxy
from outage import missing
from recording_proxy import Packets, Recorder

TOPIC = "fieldgate/v1/batches/3"


def publish(packet_id: int, payload: bytes, qos: int = 1, properties: bytes = b"") -> bytes:
    name = TOPIC.encode()
    body = len(name).to_bytes(2, "big") + name + (packet_id.to_bytes(2, "big") if qos else b"")
    body += bytes([len(properties)]) + properties + payload
    length, size = b"", len(body)
    while True:
        size, low = size >> 7, size & 0x7F
        length += bytes([low | (0x80 if size else 0)])
        if not size:
            return bytes([0x30 | qos << 1]) + length + body


def puback(packet_id: int, reason: int | None = None) -> bytes:
    tail = b"" if reason is None else bytes([reason])
    return bytes([0x40, 2 + len(tail)]) + packet_id.to_bytes(2, "big") + tail


class RecorderTest(unittest.TestCase):
    def setUp(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.recorder = Recorder(lambda topic, payload: self.seen.append((topic, payload)))

    def test_writes_down_what_was_pubacked_and_nothing_else(self):
        self.recorder.from_gateway(publish(1, b"one") + publish(2, b"two", properties=b"\x01\x00") + publish(3, b"three"))
        self.assertEqual(self.seen, [])
        self.recorder.from_broker(puback(2) + puback(1, 0x10) + puback(9))
        self.assertEqual(self.seen, [(TOPIC, b"two"), (TOPIC, b"one")])

    def test_a_refusal_is_no_acknowledgement(self):
        self.recorder.from_gateway(publish(1, b"one"))
        self.recorder.from_broker(puback(1, 0x87) + puback(1))
        self.assertEqual(self.seen, [])

    def test_a_message_without_acknowledgement_is_not_waited_for(self):
        self.recorder.from_gateway(publish(0, b"zero", qos=0))
        self.assertEqual(self.recorder.waiting, {})

    def test_the_stream_may_be_cut_anywhere(self):
        stream = publish(1, b"x" * 300) + publish(2, b"y" * 20_000) + b"\xc0\x00" + publish(3, b"")
        whole = list(Packets().feed(stream))
        self.assertEqual(len(whole), 4)
        for cut in [*range(0, 400), len(stream) - 1]:
            packets = Packets()
            self.assertEqual([*packets.feed(stream[:cut]), *packets.feed(stream[cut:])], whole)

    def test_entries_are_read_as_they_were_written(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "entries"
            with open(path, "wb") as out:
                recording_proxy.write_entry(out, TOPIC, b"\x00\xff")
                recording_proxy.write_entry(out, "t", b"")
            self.assertEqual(list(recording_proxy.read_entries(path)), [(TOPIC, b"\x00\xff"), ("t", b"")])


class MissingTest(unittest.TestCase):
    def test_counts_what_was_acknowledged_to_a_device_and_never_pubacked(self):
        pubacked = {("a", 1): {1, 2, 4}, ("b", 1): {1}}
        self.assertEqual(missing([("a", 1, 2, [])], pubacked), 0)
        self.assertEqual(missing([("a", 1, 4, [])], pubacked), 1)
        self.assertEqual(missing([("a", 1, 4, [3])], pubacked), 0)
        self.assertEqual(missing([("a", 2, 3, []), ("b", 1, 2, [])], pubacked), 4)


if __name__ == "__main__":
    unittest.main()
