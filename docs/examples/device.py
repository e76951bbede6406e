#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A complete device: measures, sends within its credit, keeps frames until they are acknowledged, resumes.

  apt install python3-websockets python3-protobuf protobuf-compiler
  protoc --proto_path=proto --python_out=build fieldgate/v1/device.proto
  PYTHONPATH=build docs/examples/device.py wss://localhost:8443/v1/connect boiler-7 TOKEN ca.pem [FRAMES]

With FRAMES it ends once that many have been acknowledged, else never.
"""

import asyncio
import math
import random
import secrets
import ssl
import sys
import time

import websockets
from fieldgate.v1 import device_pb2 as pb


class Device:
    def __init__(self, url, device_id, token, ca_file, frames="0"):
        self.url, self.device_id, self.token, self.frames = url, device_id, token, int(frames)
        self.tls = ssl.create_default_context(cafile=ca_file)
        self.stream = secrets.randbits(63) or 1  # the buffer is in RAM: each start is a new stream
        self.last = 0  # the highest number given out
        self.buffer = {}  # number -> frame, oldest first, until acknowledged
        self.work = asyncio.Event()  # there may be something to send
        self.attempts = 0

    async def measure(self, interval=1.0):
        while not self.frames or self.last < self.frames:
            self.last += 1
            frame = pb.DeviceFrame(seq=self.last)
            sample = frame.telemetry.samples.add(unix_ms=int(time.time() * 1000))
            sample.metrics.add(name="temperature", double_value=20 + 5 * math.sin(time.time() / 60))
            self.buffer[self.last] = frame.SerializeToString()
            if len(self.buffer) > 10_000:  # a ring: the oldest is overwritten, the numbers go on
                del self.buffer[next(iter(self.buffer))]
            self.work.set()
            await asyncio.sleep(interval)

    def acknowledged(self, through):
        self.buffer = {seq: frame for seq, frame in self.buffer.items() if seq > through}
        self.in_flight = {seq: size for seq, size in self.in_flight.items() if seq > through}
        self.work.set()

    async def send(self, ws):
        while True:
            await self.work.wait()
            self.work.clear()
            for seq, frame in list(self.buffer.items()):
                over = sum(self.in_flight.values()) + len(frame) > self.credit.bytes
                if over or len(self.in_flight) >= self.credit.frames:
                    break  # an Ack or a Throttle sets `work` again
                if seq > self.sent:
                    self.sent, self.in_flight[seq] = seq, len(frame)
                    await ws.send(frame)

    async def receive(self, ws):
        async for message in ws:
            frame = pb.GatewayFrame.FromString(message)
            kind = frame.WhichOneof("kind")
            if kind == "ack":
                self.attempts = 0
                self.acknowledged(frame.ack.through)
                if self.frames and frame.ack.through >= self.frames:
                    return
            elif kind == "throttle":
                self.credit = frame.throttle.credit
                self.work.set()
            elif kind in ("reject", "goodbye"):
                print(kind, getattr(frame, kind), file=sys.stderr)

    async def connect(self):
        headers = {"Authorization": "Bearer " + self.token}
        async with websockets.connect(self.url, ssl=self.tls, subprotocols=["fieldgate.v1"], compression=None,
                                      extra_headers=headers, ping_interval=None) as ws:
            oldest = next(iter(self.buffer), 0)
            hello = pb.Hello(device_id=self.device_id, stream_id=self.stream, oldest_seq=oldest, last_seq=self.last)
            await ws.send(pb.DeviceFrame(hello=hello).SerializeToString())
            welcome = pb.GatewayFrame.FromString(await asyncio.wait_for(ws.recv(), 20)).welcome
            print("welcome: epoch", welcome.epoch, pb.AckStage.Name(welcome.ack_stage), file=sys.stderr)
            self.sent, self.in_flight, self.credit = welcome.received_through, {}, welcome.credit
            self.acknowledged(welcome.acked_through)
            sender = asyncio.create_task(self.send(ws))
            try:
                await self.receive(ws)
            finally:
                sender.cancel()

    def finished(self):
        return self.frames and self.last >= self.frames and not self.buffer

    async def run(self):
        measuring = asyncio.create_task(self.measure(0.01 if self.frames else 1.0))
        while not self.finished():
            try:
                await self.connect()
            except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
                print("lost:", error, file=sys.stderr)
            if not self.finished():
                await asyncio.sleep(random.uniform(0, min(300, 2**self.attempts)))  # full jitter
                self.attempts += 1
        measuring.cancel()
        print(f"{self.last} frames acknowledged")


if __name__ == "__main__":
    asyncio.run(Device(*sys.argv[1:]).run())
