#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small MQTT v5 broker that refuses what it is told to refuse. It delivers nothing to anybody.

What it acknowledges is in FILE, as recording_proxy.py writes it, before the PUBACK leaves. RULE_FILE is JSON and may
change at any time: {"reason": 128} refuses every record, {"reason": 153, "match": "sim-000003"} those messages that
hold this text; {} or no file: none. The node's own topics and retained presence are always taken.

Usage: refusing_broker.py PORT FILE RULE_FILE
"""

import asyncio
import contextlib
import json
import pathlib
import sys

from recording_proxy import PUBLISH, Packets, read_publish, write_entry

CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT = 1, 8, 10, 12, 14


class RefusingBroker:
    def __init__(self, out, rule: pathlib.Path) -> None:
        self.out, self.rule = out, rule

    def reason(self, topic: str, payload: bytes) -> int:
        if "/batches/" not in topic and not topic.endswith("/presence/events"):
            return 0
        rule = {}
        with contextlib.suppress(OSError, ValueError):
            rule = json.loads(self.rule.read_text())
        match = rule.get("match", "").encode()
        return rule.get("reason", 0) if match in payload or match in topic.encode() else 0

    def answer(self, first: int, body: bytes) -> bytes | None:
        """To one packet (MQTT 5.0, chapter 3); None: the end."""
        kind = first >> 4
        if kind == CONNECT:
            return b"\x20\x03\x00\x00\x00"
        if kind == SUBSCRIBE:
            return b"\x90\x04" + body[:2] + b"\x00\x01"
        if kind == UNSUBSCRIBE:
            return b"\xb0\x04" + body[:2] + b"\x00\x00"
        if kind == PINGREQ:
            return b"\xd0\x00"
        if kind == DISCONNECT:
            return None
        if kind == PUBLISH and (publish := read_publish(first, body)):
            packet_id, topic, payload = publish
            reason = self.reason(topic, payload)
            if reason < 0x80:
                write_entry(self.out, topic, payload)
            return b"\x40\x03" + packet_id.to_bytes(2, "big") + bytes([reason])
        return b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packets = Packets()
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                answers = [self.answer(first, body) for first, body in packets.feed(piece)]
                writer.write(b"".join(answer for answer in answers if answer is not None))
                if None in answers:
                    break
                await writer.drain()
        writer.close()


async def main(port: int, path: str, rule: str) -> None:
    with open(path, "wb") as out:
        server = await asyncio.start_server(RefusingBroker(out, pathlib.Path(rule)).serve, "127.0.0.1", port)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
