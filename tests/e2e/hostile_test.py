#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Peers that mean harm: each loses its own connection, and nobody else notices."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import time
import unittest
import zlib

from gateway_fixture import PATIENCE, GatewayTestCase, wait_for
from device_client import Device, RawDevice, pb

MIB = 1 << 20


class HostileTest(GatewayTestCase):
    """One shard, so that the witness shares it with whoever misbehaves."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway({"node": {"shards": 1}, "log": {"level": "info"},
                                            "limits": {"takeovers_per_minute": 1000}})

    async def asyncSetUp(self):
        self.witness = await Device.connect(self.gateway_, "witness")
        self.addAsyncCleanup(self.witness.close)

    async def unharmed(self) -> None:
        """After it: the witness's session still works, and a new device gets in."""
        await self.witness.ask_time()
        await self.witness.send(1)
        await self.witness.acked()
        newcomer = await Device.connect(self.gateway_, "newcomer")
        await newcomer.close()
        self.assertEqual(self.gateway_.metrics()["fieldgate_handler_exceptions_total"], 0)

    async def code_for(self, attack, *, welcomed: bool = True) -> int | None:
        """The close code after attack(raw), which runs in a thread and may find the connection gone."""
        def run() -> int | None:
            with RawDevice.welcomed(self.gateway_, "villain") if welcomed else RawDevice(self.gateway_, "villain") as raw:
                try:
                    attack(raw)
                except (ConnectionError, ssl.SSLError):
                    pass  # cut off while still sending; what was said before is still to be read
                return raw.close_code()

        return await asyncio.to_thread(run)

    async def test_the_compressed_frame_that_declares_2_to_the_62_bytes_is_a_protocol_violation(self):
        """Crashes Beast 1.81 where permessage-deflate is on; even offered, it is not negotiated here."""
        squeeze = zlib.compressobj(wbits=-15)
        bomb = squeeze.compress(b"\0" * 3 * MIB) + squeeze.flush(zlib.Z_SYNC_FLUSH)
        resident = self.gateway_.resident_bytes()

        def offer_and_bomb(raw: RawDevice) -> None:
            self.assertEqual(raw.upgrade(**{"Sec-WebSocket-Extensions": "permessage-deflate"}), 101)
            raw.send_frame(2, bomb, rsv1=True, length=1 << 62)

        self.assertEqual(await self.code_for(offer_and_bomb, welcomed=False), 1002)
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(2, bomb, rsv1=True, length=1 << 62)), 1002)
        # The same without RSV1 is merely too large.
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(2, bomb, length=1 << 62)), 1009)
        self.assertLess(self.gateway_.resident_bytes() - resident, 16 * MIB)
        await self.unharmed()

    async def code_beside_the_witness(self, attack) -> int | None:
        """The close code of the attacker, while the witness asks and is answered all the time.

        That is about its being answered at all, each time within PATIENCE. How quickly is for `./dev bench flood`, on a
        machine that does nothing else.
        """
        running = asyncio.create_task(self.code_for(attack))
        while not running.done():
            await self.witness.ask_time()
            await asyncio.sleep(0.005)
        return await running

    async def test_a_flood_of_empty_fragments_is_cut_off_and_its_shard_keeps_answering(self):
        def flood(raw: RawDevice) -> None:
            raw.send_frame(2, b"", fin=False)
            chunk = raw.encode(0, b"", fin=False) * 2_000
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                raw.socket.sendall(chunk)

        before = self.gateway_.ended("frame_rate")
        code = await self.code_beside_the_witness(flood)
        self.assertIn(code, (4007, None))  # None: it was still sending when it was cut, so the Close was lost
        self.assertEqual(self.gateway_.ended("frame_rate"), before + 1)
        await self.unharmed()

    async def test_empty_fragments_just_beyond_the_burst_are_told_4007(self):
        def burst(raw: RawDevice) -> None:
            raw.send_frame(2, b"", fin=False)
            raw.socket.sendall(raw.encode(0, b"", fin=False) * 600)

        before = self.gateway_.ended("frame_rate")
        self.assertEqual(await self.code_for(burst), 4007)
        self.assertEqual(self.gateway_.ended("frame_rate"), before + 1)

    async def test_a_ping_flood_is_told_4007(self):
        code = await self.code_beside_the_witness(lambda raw: raw.socket.sendall(raw.encode(9, b"x" * 100) * 1_000))
        self.assertEqual(code, 4007)
        await self.unharmed()

    async def test_bytes_beyond_the_rate_are_told_4008(self):
        def gush(raw: RawDevice) -> None:
            for _ in range(60):  # of 30 KiB each; the burst is 1 MiB
                raw.send_frame(9 if _ % 2 else 10, b"x" * 125)
                raw.send_frame(2, pb.DeviceFrame(time_request=pb.TimeRequest(token=1)).SerializeToString() +
                               b"\xfa\x3e\x80\xf0\x01" + b"y" * 30_720)

        self.assertEqual(await self.code_for(gush), 4008)
        await self.unharmed()

    async def test_a_message_beyond_the_limit_is_1009_whole_or_in_fragments(self):
        limit = self.witness.welcome.limits.frame_bytes_max
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(2, b"", length=limit + 1)), 1009)

        def fragments(raw: RawDevice) -> None:
            raw.send_frame(2, b"z" * 1_000, fin=False)
            for _ in range(limit // 1_000):
                raw.send_frame(0, b"z" * 1_000, fin=False)

        resident = self.gateway_.resident_bytes()
        for _ in range(5):
            self.assertEqual(await self.code_for(fragments), 1009)
        self.assertLess(self.gateway_.resident_bytes() - resident, 16 * MIB)
        await self.unharmed()

    async def test_protobuf_bombs_are_refused_and_leave_memory_flat(self):
        limit = self.witness.welcome.limits.frame_bytes_max

        def field(number: int, payload: bytes) -> bytes:
            length = len(payload)
            size = b""
            while length > 127:
                size += bytes([length & 127 | 128])
                length >>= 7
            return bytes([number << 3 | 2]) + size + bytes([length]) + payload

        # Two or a few bytes each on the wire, a hundred times that as objects.
        fill = limit - 64
        bombs = [(field(3, field(1, field(3, field(1, b"a") + b"\x20\x01") * (fill // 7))), pb.REJECT_CODE_TOO_LARGE),
                 (field(3, field(1, field(3, b"") * (fill // 2))), pb.REJECT_CODE_MALFORMED),  # metrics without a name
                 (field(3, field(1, b"") * (fill // 2)), pb.REJECT_CODE_MALFORMED),  # samples without metrics
                 (field(4, field(1, b"e") + field(5, b"") * (fill // 2)), pb.REJECT_CODE_MALFORMED)]
        groups = b"\x08\x01" + b"\x7b" * 1_000 + b"\x7c" * 1_000  # nested, in a field that nobody knows

        def attack() -> None:
            with RawDevice.welcomed(self.gateway_, "villain") as raw:
                for seq, (bomb, code) in enumerate(bombs, start=1):
                    raw.send_frame(2, b"\x08" + bytes([seq]) + bomb)
                    self.assertEqual(pb.GatewayFrame.FromString(raw.frame()[1]).reject.code, code)
                    self.assertEqual(pb.GatewayFrame.FromString(raw.frame()[1]).ack.through, seq)
                raw.send_frame(2, groups)
                self.assertEqual(raw.close_code(), 1007)

        await asyncio.to_thread(attack)  # once for what stays of any first time
        resident = self.gateway_.resident_bytes()
        for _ in range(5):
            await asyncio.to_thread(attack)
        self.assertLess(self.gateway_.resident_bytes() - resident, 16 * MIB)
        await self.unharmed()

    async def test_garbage_instead_of_tls_ends_there(self):
        before = self.gateway_.ended("tls_failed")

        def throw(garbage: bytes) -> None:
            with socket.create_connection(("127.0.0.1", self.gateway_.port), PATIENCE) as plain:
                with contextlib.suppress(ConnectionError):  # it may be cut off while it still sends
                    plain.sendall(garbage)
                    while plain.recv(4096):
                        pass  # an alert, perhaps

        garbage = [b"GET /v1/connect HTTP/1.1\r\nHost: x\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + os.urandom(60_000),
                   b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x80\x2e\x01\x00\x02" + b"\0" * 60]
        for one in garbage:
            await asyncio.to_thread(throw, one)
        self.assertEqual(self.gateway_.ended("tls_failed"), before + len(garbage))
        await self.unharmed()

    async def test_violations_of_rfc_6455_are_1002_and_text_is_1003(self):
        unmasked = struct.pack("!BB", 0x82, 2) + b"ab"
        self.assertEqual(await self.code_for(lambda raw: raw.socket.sendall(unmasked)), 1002)
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(3)), 1002)  # a reserved opcode
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(0)), 1002)  # continues nothing
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(9, b"", fin=False)), 1002)
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(9, b"x" * 126)), 1002)
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(1, b"text")), 1003)
        self.assertEqual(await self.code_for(lambda raw: raw.send_frame(2, b"\xff\xff")), 1007)
        await self.unharmed()

    async def test_more_than_the_credit_is_a_flow_violation(self):
        greedy = self.gateway({"node": {"shards": 1}, "session": {"credit_frames": 4}, "limits": {"frame_bytes_max": "8KiB"},
                               "mqtt": [{"host": "127.0.0.1", "port": 9, "name": "down"}]})
        device = await Device.connect(greedy, "greedy")
        self.assertEqual(device.welcome.credit.frames, 4)
        await device.send(5)
        self.assertEqual(await device.goodbye(), (4006, pb.GOODBYE_REASON_POLICY))
        self.assertEqual(greedy.ended("flow_violation"), 1)
        # The four that were within it are in the log; that no broker takes them is not what this test is about.
        greedy.process.kill()


class StallerTest(GatewayTestCase):
    """Those who begin and do not go on."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.gateway_ = cls.shared_gateway({
            "session": {"deadlines": {"tls": "1s", "upgrade": "1s", "hello": "1s", "close": "1s"}}})

    def cut_off(self, raw: RawDevice, reason: str, before: int, say=None) -> None:
        took = raw.wait_end(say=say)
        # The deadline, the close deadline, a tick each; the rest is for slow machines.
        self.assertLess(took, 1 + 1 + 2 + 10)
        wait_for(lambda: self.gateway_.ended(reason) == before + 1, reason)

    def test_after_tcp_alone(self):
        before = self.gateway_.ended("tls_timeout")
        with RawDevice(self.gateway_, tls=False) as raw:
            self.cut_off(raw, "tls_timeout", before)

    def test_half_way_through_the_tls_handshake(self):
        before = self.gateway_.ended("tls_timeout")
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.pki.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        with RawDevice(self.gateway_, tls=False) as raw:
            raw.socket.sendall(hello[:len(hello) // 2])
            self.cut_off(raw, "tls_timeout", before)
        with RawDevice(self.gateway_, tls=False) as raw:
            raw.socket.sendall(hello)  # takes the server's flight, and answers nothing
            self.cut_off(raw, "tls_timeout", before + 1)

    def test_half_way_through_the_upgrade_even_byte_by_byte(self):
        before = self.gateway_.ended("upgrade_timeout")
        with RawDevice(self.gateway_, "slow") as raw:
            raw.socket.sendall(raw.request()[:-2])
            self.assertEqual(raw.status(), 408)
            self.cut_off(raw, "upgrade_timeout", before)
        with RawDevice(self.gateway_, "slower") as raw:
            rest = iter(raw.request()[:-2])
            self.cut_off(raw, "upgrade_timeout", before + 1, lambda: raw.socket.send(bytes([next(rest, 32)])))

    def test_after_the_upgrade_without_hello(self):
        before = self.gateway_.ended("hello_timeout")
        with RawDevice(self.gateway_, "mute") as raw:
            self.assertEqual(raw.upgrade(), 101)
            self.assertEqual(raw.close_code(), 4000)
            self.cut_off(raw, "hello_timeout", before)

    def test_pings_do_not_stand_in_for_hello(self):
        before = self.gateway_.ended("hello_timeout")
        with RawDevice(self.gateway_, "pinging") as raw:
            self.assertEqual(raw.upgrade(), 101)
            self.assertEqual(raw.close_code(lambda: raw.send_frame(9)), 4000)
        self.assertEqual(self.gateway_.ended("hello_timeout"), before + 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
