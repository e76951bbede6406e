# SPDX-License-Identifier: Apache-2.0
"""Devices for the tests: a proper one on Python's websockets, and a rude one on a bare TLS socket."""

import asyncio
import base64
import contextlib
import os
import pathlib
import random
import socket
import ssl
import struct
import subprocess
import sys
import time

import websockets

from gateway_fixture import PATIENCE, ROOT, SOURCE, Gateway

_generated = ROOT / "python"
_generated.mkdir()
subprocess.run(["protoc", f"--proto_path={SOURCE}/proto", f"--python_out={_generated}", "fieldgate/v1/device.proto",
                "fieldgate/v1/northbound.proto"], check=True)
sys.path.insert(0, str(_generated))
from fieldgate.v1 import device_pb2 as pb  # noqa: E402
from fieldgate.v1 import northbound_pb2 as north  # noqa: E402

GENERATED = pathlib.Path(_generated)
__all__ = ["GENERATED", "Device", "RawDevice", "cancelled", "hello", "north", "pb", "telemetry"]


def hello(device_id: str, **fields) -> bytes:
    fields.setdefault("stream_id", random.getrandbits(63) | 1)
    return pb.DeviceFrame(hello=pb.Hello(device_id=device_id, **fields)).SerializeToString()


def telemetry(seq: int, **values: float) -> bytes:
    frame = pb.DeviceFrame(seq=seq)
    sample = frame.telemetry.samples.add(unix_ms=int(time.time() * 1000))
    for name, value in (values or {"temperature": 20.0 + seq}).items():
        sample.metrics.add(name=name, double_value=value)
    return frame.SerializeToString()


async def cancelled(task: asyncio.Task) -> None:
    """Ends it, whatever it does then. Told until it has heard: wait_for() loses a cancellation that comes together with
    what it waited for (python/cpython#86296, until 3.12)."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


class Device:
    """A connection that got its Welcome."""

    def __init__(self, gateway: Gateway, device_id: str, ws, welcome):
        self.gateway, self.device_id, self.ws, self.welcome = gateway, device_id, ws, welcome
        self.seq = 0
        self.passed: list = []  # commands, cancels and desired documents that came while something else was waited for

    @classmethod
    async def socket(cls, gateway: Gateway, *, token: str | None = None, context: ssl.SSLContext | None = None, **options):
        """Only the WebSocket, without Hello."""
        headers = dict(options.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = "Bearer " + token
        if gateway.url.startswith("wss:"):
            options["ssl"] = context or gateway.pki.client_context()
        options.setdefault("subprotocols", ["fieldgate.v1"])
        return await websockets.connect(gateway.url, compression=None, extra_headers=headers, ping_interval=None,
                                        open_timeout=PATIENCE, close_timeout=PATIENCE, **options)

    @classmethod
    async def connect(cls, gateway: Gateway, device_id: str, *, socket_options: dict | None = None, **fields) -> "Device":
        """With its token if the gateway has one for it, else with a certificate."""
        options = dict(socket_options or {})
        if device_id in gateway.tokens:
            options.setdefault("token", gateway.tokens[device_id])
        elif "context" not in options:
            options["context"] = gateway.pki.client_context(device_id)
        ws = await cls.socket(gateway, **options)
        await ws.send(hello(device_id, **fields))
        device = cls(gateway, device_id, ws, None)
        device.welcome = (await device.next("welcome")).welcome
        return device

    async def receive(self):
        return pb.GatewayFrame.FromString(await asyncio.wait_for(self.ws.recv(), PATIENCE))

    async def next(self, kind: str):
        for frame in self.passed:
            if frame.WhichOneof("kind") == kind:
                self.passed.remove(frame)
                return frame
        while True:
            frame = await self.receive()
            is_of = frame.WhichOneof("kind")
            if is_of == kind:
                return frame
            if is_of in ("command", "command_cancel", "desired"):
                self.passed.append(frame)

    # --- commands

    async def command(self):
        return (await self.next("command")).command

    async def say(self, **kind) -> int:
        """A frame of the given kind with the next sequence number, which is returned."""
        self.seq += 1
        await self.ws.send(pb.DeviceFrame(seq=self.seq, **kind).SerializeToString())
        return self.seq

    async def ack_command(self, command_id: str) -> int:
        return await self.say(command_ack=pb.CommandAck(id=command_id))

    async def result(self, command_id: str, outcome: int = pb.CommandResult.OUTCOME_SUCCEEDED, text: str = "",
                     payload: bytes = b"") -> int:
        return await self.say(command_result=pb.CommandResult(id=command_id, outcome=outcome, text=text, payload=payload))

    async def serve(self, seen: list) -> None:
        """Acknowledges and carries out each command until the connection ends; each is put into `seen` as it comes."""
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                frame = await self.next("command") if self.passed else pb.GatewayFrame.FromString(await self.ws.recv())
                if frame.WhichOneof("kind") == "command":
                    seen.append(frame.command)
                    await self.ack_command(frame.command.id)
                    await self.result(frame.command.id, payload=frame.command.payload)

    async def send(self, count: int = 1) -> int:
        for _ in range(count):
            self.seq += 1
            await self.ws.send(telemetry(self.seq))
        return self.seq

    async def acked(self, through: int | None = None) -> None:
        through = self.seq if through is None else through
        while (await self.next("ack")).ack.through < through:
            pass

    async def ask_time(self) -> float:
        """Seconds until the answer."""
        token, began = random.getrandbits(60), time.monotonic()
        await self.ws.send(pb.DeviceFrame(time_request=pb.TimeRequest(token=token)).SerializeToString())
        while (await self.next("time")).time.token != token:
            pass
        return time.monotonic() - began

    async def end(self) -> tuple[int, list]:
        """Waits until the gateway ends it: the close code, and the frames that came before."""
        frames = []
        try:
            while True:
                frames.append(await self.receive())
        except websockets.ConnectionClosed as closed:
            return (closed.rcvd.code if closed.rcvd else 1006), frames

    async def goodbye(self) -> tuple[int, int]:
        """The same: the close code and Goodbye's reason."""
        code, frames = await self.end()
        reasons = [frame.goodbye.reason for frame in frames if frame.WhichOneof("kind") == "goodbye"]
        return code, reasons[-1] if reasons else pb.GOODBYE_REASON_UNSPECIFIED

    async def close(self) -> None:
        await self.ws.close()


class RawDevice:
    """Blocking, byte by byte, for what no decent library would send."""

    def __init__(self, gateway: Gateway, device_id: str | None = None, *, tls: bool = True, receive_buffer: int = 0):
        self.gateway = gateway
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", gateway.port))
        self.buffer = b""
        if tls:
            context = gateway.pki.client_context(device_id)
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def __enter__(self) -> "RawDevice":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    @classmethod
    def welcomed(cls, gateway: Gateway, device_id: str, **options) -> "RawDevice":
        fields = options.pop("hello", {})
        device = cls(gateway, device_id, **options)
        device.upgrade()
        device.send_frame(2, hello(device_id, **fields))
        opcode, payload = device.frame()
        assert opcode == 2 and pb.GatewayFrame.FromString(payload).HasField("welcome"), (opcode, payload)
        return device

    def request(self, **headers: str) -> bytes:
        fields = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
                  "Sec-WebSocket-Protocol": "fieldgate.v1", **headers}
        lines = ["GET /v1/connect HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def upgrade(self, **headers: str) -> int:
        """The status."""
        self.socket.sendall(self.request(**headers))
        return self.status()

    def status(self) -> int:
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return int(head.split()[1])

    def more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    @staticmethod
    def encode(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False, length: int | None = None) -> bytes:
        length = len(payload) if length is None else length
        first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
        if length < 126:
            head = struct.pack("!BB", first, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", first, 0xFE, length)
        else:
            head = struct.pack("!BBQ", first, 0xFF, length)
        return head + b"\0\0\0\0" + payload  # a mask of zeros is a mask

    def send_frame(self, opcode: int, payload: bytes = b"", **options) -> None:
        self.socket.sendall(self.encode(opcode, payload, **options))

    def frame(self) -> tuple[int, bytes]:
        while True:
            if len(self.buffer) >= 2:
                length, start = self.buffer[1] & 0x7F, 2
                if length == 126 and len(self.buffer) >= 4:
                    length, start = struct.unpack("!H", self.buffer[2:4])[0], 4
                if length < 126 or start == 4:
                    if len(self.buffer) >= start + length:
                        frame = self.buffer[0] & 0x0F, self.buffer[start:start + length]
                        self.buffer = self.buffer[start + length:]
                        return frame
            self.more()

    def until_end(self, read, say, seconds: float) -> None:
        """Calls read() until it returns True or the connection is over; and ten times a second say(), if there is such.

        All of it on this thread: OpenSSL has no connections that one thread may read while another writes.
        """
        deadline = time.monotonic() + seconds
        self.socket.settimeout(0.1 if say else seconds)
        try:
            while True:
                try:
                    if read():
                        return
                except TimeoutError:
                    if time.monotonic() > deadline:
                        raise
                    with contextlib.suppress(ConnectionError, ssl.SSLError):  # what was said before is still to be read
                        say()
        except (EOFError, ConnectionError, ssl.SSLError):
            pass
        finally:
            with contextlib.suppress(OSError):
                self.socket.settimeout(PATIENCE)

    def close_code(self, say=None) -> int | None:
        """Reads to the end; the code of the Close on the way, None for none."""
        code = None

        def read() -> bool:
            nonlocal code
            opcode, payload = self.frame()
            if opcode == 8:
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            return opcode == 8

        self.until_end(read, say, PATIENCE)
        return code

    def wait_end(self, seconds: float = PATIENCE, say=None) -> float:
        """Reads until the gateway cuts it; how long that took."""
        began = time.monotonic()
        self.until_end(lambda: not self.socket.recv(65536), say, seconds)
        return time.monotonic() - began
