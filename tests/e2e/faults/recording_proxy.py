#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stands between the gateway and its broker, passes every byte on as it is, and writes down what was PUBACKed.

Debian's mosquitto loses messages that it has PUBACKed when it is killed, so such a run cannot be judged by what a
subscriber sees. It is judged here: an entry is on file before the gateway can have read the PUBACK, so what the
gateway tells a device to be forwarded must be on file.

Usage: recording_proxy.py PORT BROKER_PORT FILE [RATE_FILE]

RATE_FILE may come and change at any time: bytes per second of what the gateway sends, 0 or none for as fast as it goes.
"""

import asyncio
import contextlib
import pathlib
import struct
import sys
from collections.abc import Iterator

PUBLISH, PUBACK = 3, 4
LENGTHS = struct.Struct(">II")


class Packets:
    """Takes a stream of MQTT control packets apart (MQTT 5.0, section 2.1), however it is cut into pieces."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """First byte and body of each packet that is complete now."""
        self.rest += piece
        while (header := self.header()) is not None:
            start, length = header
            if len(self.rest) < start + length:
                return
            first, body = self.rest[0], bytes(self.rest[start:start + length])
            del self.rest[:start + length]
            yield first, body

    def header(self) -> tuple[int, int] | None:
        length = 0
        for i in range(1, min(len(self.rest), 5)):
            length |= (self.rest[i] & 0x7F) << 7 * (i - 1)
            if self.rest[i] < 0x80:
                return i + 1, length
        return None


def variable_integer(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def read_publish(first: int, body: bytes) -> tuple[int, str, bytes] | None:
    """Packet id, topic and payload of a QoS 1 PUBLISH (section 3.3), None for another QoS."""
    if first >> 1 & 3 != 1:
        return None
    size = int.from_bytes(body[:2], "big")
    topic, at = body[2:2 + size].decode(), 2 + size
    packet_id = int.from_bytes(body[at:at + 2], "big")
    properties, at = variable_integer(body, at + 2)
    return packet_id, topic, body[at + properties:]


class Recorder:
    """What one connection's two directions amount to."""

    def __init__(self, record) -> None:
        self.record = record  # of topic and payload
        self.up, self.down = Packets(), Packets()
        self.waiting: dict[int, tuple[str, bytes]] = {}

    def from_gateway(self, piece: bytes) -> None:
        for first, body in self.up.feed(piece):
            if first >> 4 == PUBLISH and (publish := read_publish(first, body)):
                self.waiting[publish[0]] = publish[1:]

    def from_broker(self, piece: bytes) -> None:
        for first, body in self.down.feed(piece):
            if first >> 4 != PUBACK:
                continue
            message = self.waiting.pop(int.from_bytes(body[:2], "big"), None)
            # Section 3.4.2.1: no reason code is success.
            if message is not None and (len(body) < 3 or body[2] < 0x80):
                self.record(*message)


def write_entry(out, topic: str, payload: bytes) -> None:
    name = topic.encode()
    out.write(LENGTHS.pack(len(name), len(payload)) + name + payload)
    out.flush()


def read_entries(path) -> Iterator[tuple[str, bytes]]:
    """Topic and payload of each PUBACKed message."""
    with open(path, "rb") as file:
        while header := file.read(LENGTHS.size):
            name, payload = LENGTHS.unpack(header)
            yield file.read(name).decode(), file.read(payload)


class Throttle:
    """One budget for all connections."""

    PIECE_S = 0.1

    def __init__(self, path: pathlib.Path | None) -> None:
        self.path, self.free_at = path, 0.0

    def rate(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(self.path.read_text()) if self.path else 0
        return 0

    def piece_bytes(self) -> int:
        """No more than this at a time, so that the far side sees a trickle and not gulps."""
        rate = self.rate()
        return max(1, min(65_536, int(rate * self.PIECE_S))) if rate else 65_536

    async def pay(self, count: int) -> None:
        if rate := self.rate():
            now = asyncio.get_running_loop().time()
            self.free_at = max(self.free_at, now) + count / rate
            await asyncio.sleep(self.free_at - now)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note, throttle: Throttle) -> None:
    # An error ends a direction as an end of stream does.
    with contextlib.suppress(OSError):
        while piece := await reader.read(throttle.piece_bytes()):
            await throttle.pay(len(piece))
            note(piece)
            writer.write(piece)
            await writer.drain()


async def main(port: int, broker_port: int, path: str, rate_file: str | None = None) -> None:
    up, down = Throttle(pathlib.Path(rate_file) if rate_file else None), Throttle(None)
    with open(path, "wb") as out:

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", broker_port)
            except OSError:
                writer.transport.abort()  # as near to "refused" as it can be told here
                return
            recorder = Recorder(lambda topic, payload: write_entry(out, topic, payload))
            directions = [asyncio.ensure_future(pump(reader, far_writer, recorder.from_gateway, up)),
                          asyncio.ensure_future(pump(far_reader, writer, recorder.from_broker, down))]
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for direction in directions:
                direction.cancel()
            await asyncio.wait(directions)
            for end in (writer, far_writer):
                end.close()

        # A small buffer: what is not read yet is the sender's to keep.
        server = await asyncio.start_server(connection, "127.0.0.1", port, limit=65_536)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
