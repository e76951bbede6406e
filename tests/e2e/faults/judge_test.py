#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The judges of the faults: that they would see it if something were wrong."""

import base64
import pathlib
import tempfile
import unittest
from types import SimpleNamespace

import recording_proxy
from judge import Verdict, accounts, imbalances, missing, read_requests
from presence import Event, rebuild
from recording_proxy import Packets, Recorder
from refusing_broker import RefusingBroker

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


    def test_what_became_a_dead_letter_is_not_missed(self):
        self.assertEqual(missing([("a", 1, 3, [])], {("a", 1): {1, 3}}, {("a", 1, 2)}), 0)
        self.assertEqual(missing([("a", 1, 3, [])], {("a", 1): {1, 3}}, {("a", 2, 2), ("b", 1, 2), ("a", 1, 3)}), 1)


class VerdictTest(unittest.TestCase):
    def test_says_which_claims_are_broken(self):
        verdict = Verdict()
        verdict.claim(True, "this holds")
        verdict.claim_zero(lost=0)
        self.assertEqual(verdict.broken, [])
        verdict.claim(False, "this does not")
        verdict.claim_zero(lost=1)
        self.assertEqual(verdict.text(), "lost=1\nBROKEN: this does not\nBROKEN: lost=1, not 0")


class AccountsTest(unittest.TestCase):
    METRICS = {'fieldgate_lane_records_in_total{lane="a"}': 21.0,
               'fieldgate_lane_records_total{lane="a",outcome="forwarded"}': 6.0,
               'fieldgate_lane_records_total{lane="a",outcome="filtered"}': 5.0,
               'fieldgate_lane_records_total{lane="a",outcome="dead_lettered"}': 4.0,
               'fieldgate_lane_records_total{lane="a",outcome="expired"}': 3.0,
               'fieldgate_lane_records_total{lane="a",outcome="skipped"}': 2.0,
               'fieldgate_lane_pending_records{lane="a"}': 1.0,
               'fieldgate_lane_records_in_total{lane="b"}': 0.0,
               'fieldgate_lane_pending_records{lane="b"}': 0.0,
               'fieldgate_records_total{kind="telemetry"}': 21.0}

    def test_balance_where_every_record_is_accounted_for(self):
        self.assertEqual(accounts(self.METRICS)["a"], {"in": 21, "forwarded": 6, "filtered": 5, "dead_lettered": 4,
                                                       "expired": 3, "skipped": 2, "pending": 1})
        self.assertEqual(imbalances(accounts(self.METRICS)), [])

    def test_one_record_more_or_less_shows_wherever_it_is(self):
        for series in self.METRICS:
            if "lane" not in series:
                continue
            for off in (-1, 1):
                wrong = imbalances(accounts({**self.METRICS, series: self.METRICS[series] + off}))
                self.assertEqual(len(wrong), 1, series)

    def test_no_lane_at_all_is_no_balance(self):
        self.assertEqual(imbalances(accounts({})), ["there is no lane"])


class PresenceTest(unittest.TestCase):
    @staticmethod
    def events(*told: tuple[bool, int]) -> list[Event]:
        return [Event("d", online, epoch, "" if online else "bye") for online, epoch in told]

    def test_online_and_offline_in_turn_with_rising_epochs_are_right(self):
        truth = rebuild(self.events((True, 1), (False, 1), (True, 3), (False, 3)))
        self.assertEqual((truth.sessions, truth.backwards, truth.unpaired, truth.repeated), (2, 0, 0, 0))
        self.assertEqual((truth.online, truth.reasons), (set(), {"bye": 2}))
        self.assertEqual(rebuild(self.events((True, 1))).online, {"d"})

    def test_what_is_told_twice_counts_once(self):
        truth = rebuild(self.events((True, 1), (False, 1), (True, 2), (True, 1), (False, 1), (True, 2)))
        self.assertEqual((truth.sessions, truth.backwards, truth.unpaired, truth.repeated), (2, 0, 0, 3))
        self.assertEqual(truth.online, {"d"})

    def test_each_kind_of_disorder_shows(self):
        self.assertEqual(rebuild(self.events((True, 2), (False, 2), (True, 1))).backwards, 1)
        self.assertEqual(rebuild(self.events((True, 1), (True, 2))).unpaired, 1)
        self.assertEqual(rebuild(self.events((False, 1))).unpaired, 1)
        self.assertEqual(rebuild(self.events((True, 1), (False, 2))).unpaired, 1)
        self.assertEqual(rebuild(self.events((True, 1), (False, 1), (False, 2))).unpaired, 1)

    def test_the_newest_epoch_counts_and_of_one_epoch_offline(self):
        self.assertEqual(rebuild(self.events((True, 2), (True, 1), (False, 1))).online, {"d"})


class WebhookTest(unittest.TestCase):
    """With batches of (device, stream, seq) instead of protobuf."""

    class Batch:
        @staticmethod
        def FromString(body: bytes):  # as protobuf's is called
            records = [line.split() for line in body.decode().splitlines()]
            return SimpleNamespace(records=[SimpleNamespace(device_id=d, stream_id=int(s), seq=int(n)) for d, s, n in records])

    def read(self, *requests: tuple[str, int, str]):
        whole = [{"did": did, "status": status, "body": body} for did, status, body in requests]
        return read_requests(whole, SimpleNamespace(RecordBatch=self.Batch))

    def test_only_what_was_answered_2xx_was_taken(self):
        arrived, duplicates, overtaken = self.read(("answer", 500, "a 1 1"), ("hang", 200, "a 1 1"), ("answer", 204, "a 1 1\na 1 2"))
        self.assertEqual((arrived, duplicates, overtaken), ({("a", 1): {1, 2}}, 0, 0))

    def test_sees_what_comes_twice_and_what_was_overtaken(self):
        _, duplicates, overtaken = self.read(("answer", 200, "a 1 1\na 1 3"), ("answer", 200, "a 1 2\na 1 3\nb 1 1"))
        self.assertEqual((duplicates, overtaken), (1, 1))

    def test_reads_bodies_that_are_no_text(self):
        request = {"did": "answer", "status": 200, "body_base64": base64.b64encode(b"a 1 7").decode()}
        arrived, _, _ = read_requests([request], SimpleNamespace(RecordBatch=self.Batch))
        self.assertEqual(arrived, {("a", 1): {7}})


class RefusingBrokerTest(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path, self.rule = pathlib.Path(folder.name) / "pubacked", pathlib.Path(folder.name) / "rule"
        self.out = open(self.path, "wb")
        self.addCleanup(self.out.close)
        self.broker = RefusingBroker(self.out, self.rule)

    def answer(self, packet: bytes) -> bytes | None:
        (first, body), = Packets().feed(packet)
        return self.broker.answer(first, body)

    def test_takes_everything_without_a_rule_and_writes_it_down(self):
        self.assertEqual(self.answer(publish(7, b"one")), b"\x40\x03\x00\x07\x00")
        self.assertEqual(list(recording_proxy.read_entries(self.path)), [(TOPIC, b"one")])

    def test_refuses_what_the_rule_says_with_its_reason(self):
        self.rule.write_text('{"reason": 153, "match": "bad"}')
        self.assertEqual(self.answer(publish(1, b"some bad one"))[-1], 0x99)
        self.assertEqual(self.answer(publish(2, b"good"))[-1], 0)
        self.rule.write_text('{"reason": 128}')
        self.assertEqual(self.answer(publish(3, b"good"))[-1], 0x80)
        self.assertEqual(list(recording_proxy.read_entries(self.path)), [(TOPIC, b"good")])


if __name__ == "__main__":
    unittest.main()
