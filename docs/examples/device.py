#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A complete device: measures, sends within its credit, keeps frames until they are acknowledged, resumes; does what
it is told (commands `ping` and `echo`) and keeps a twin.

  apt install python3-websockets python3-protobuf protobuf-compiler
  protoc --proto_path=proto --python_out=build fieldgate/v1/device.proto
  PYTHONPATH=build docs/examples/device.py wss://localhost:8443/v1/connect boiler-7 TOKEN ca.pem [FRAMES]

With FRAMES it ends once that many have been acknowledged, else never.
"""

import asyncio
import json
import math
import random
import secrets
import ssl
import sys
import time

import websockets
from fieldgate.v1 import device_pb2 as pb


def merged(document, patch):
    """A JSON merge patch (RFC 7396): members are set, null takes one away."""
    if not isinstance(patch, dict):
        return patch
    out = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        else:
            out[name] = merged(out.get(name), value)
    return out


class Device:
    def __init__(self, url, device_id, token, ca_file, frames="0"):
        self.url, self.device_id, self.token, self.frames = url, device_id, token, int(frames)
        self.tls = ssl.create_default_context(cafile=ca_file)
        self.stream = secrets.randbits(63) or 1  # the buffer is in RAM: each start is a new stream
        self.last = 0  # the highest number given out
        self.buffer = {}  # number -> frame, oldest first, until acknowledged
        self.work = asyncio.Event()  # there may be something to send
        self.attempts = 0
        self.results = {}  # id of a command -> its result: one that comes again is not done again
        self.twin = {"interval": 1}  # what it is set to; `interval`: seconds between two measurements

    def put(self, frame):
        """Numbers the frame and keeps it until it is acknowledged. Answers go this way too, so none is lost."""
        self.last += 1
        frame.seq = self.last
        self.buffer[self.last] = frame.SerializeToString()
        if len(self.buffer) > 10_000:  # a ring: the oldest is overwritten, the numbers go on
            del self.buffer[next(iter(self.buffer))]
        self.work.set()

    async def measure(self):
        while not self.frames or self.last < self.frames:
            frame = pb.DeviceFrame()
            sample = frame.telemetry.samples.add(unix_ms=int(time.time() * 1000))
            sample.metrics.add(name="temperature", double_value=20 + 5 * math.sin(time.time() / 60))
            self.put(frame)
            await asyncio.sleep(0.01 if self.frames else self.twin["interval"])

    def report(self):
        self.put(pb.DeviceFrame(state=pb.State(reported_json=json.dumps(self.twin), full=True)))

    def command(self, command):
        """Does it and says how it ended. At least once: the same id may come again after a lost connection."""
        if command.id in self.results:
            if self.results[command.id] not in self.buffer.values():  # else it is on its way still
                self.put(pb.DeviceFrame.FromString(self.results[command.id]))
            return
        self.put(pb.DeviceFrame(command_ack=pb.CommandAck(id=command.id)))
        result = pb.CommandResult(id=command.id, outcome=pb.CommandResult.OUTCOME_SUCCEEDED)
        if command.name == "ping":
            result.text = "pong"
        elif command.name == "echo":
            result.payload = command.payload
        else:
            result.outcome, result.text = pb.CommandResult.OUTCOME_REJECTED, "no such command: " + command.name
        self.put(pb.DeviceFrame(command_result=result))
        self.results[command.id] = self.buffer[self.last]
        if len(self.results) > 64:
            del self.results[next(iter(self.results))]

    def desired(self, desired):
        """Takes over what it is wished to become, or says why not; then reports what it is."""
        change = json.loads(desired.delta_json)
        wanted = merged({"interval": 1} if desired.full else self.twin, change)
        interval, error = wanted.get("interval"), ""
        if isinstance(interval, (int, float)) and 0.1 <= interval <= 3600:
            self.twin = wanted
        else:
            error = "interval must be 0.1 to 3600 seconds"
        self.put(pb.DeviceFrame(desired_ack=pb.DesiredAck(version=desired.version, error=error)))
        self.report()

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
            elif kind == "command":
                self.command(frame.command)
            elif kind == "desired":
                self.desired(frame.desired)
            elif kind in ("reject", "goodbye"):
                print(kind, getattr(frame, kind), file=sys.stderr)

    async def connect(self):
        headers = {"Authorization": "Bearer " + self.token}
        async with websockets.connect(self.url, ssl=self.tls, subprotocols=["fieldgate.v1"], compression=None,
                                      extra_headers=headers, ping_interval=None) as ws:
            oldest = next(iter(self.buffer), 0)
            hello = pb.Hello(device_id=self.device_id, stream_id=self.stream, oldest_seq=oldest, last_seq=self.last,
                             firmware_version="example-py", capabilities=["command", "desired"])
            await ws.send(pb.DeviceFrame(hello=hello).SerializeToString())
            welcome = pb.GatewayFrame.FromString(await asyncio.wait_for(ws.recv(), 20)).welcome
            print("welcome: epoch", welcome.epoch, pb.AckStage.Name(welcome.ack_stage), file=sys.stderr)
            self.sent, self.in_flight, self.credit = welcome.received_through, {}, welcome.credit
            self.acknowledged(welcome.acked_through)
            if not self.frames:
                self.report()
            sender = asyncio.create_task(self.send(ws))
            try:
                await self.receive(ws)
            finally:
                sender.cancel()

    def finished(self):
        return self.frames and self.last >= self.frames and not self.buffer

    async def run(self):
        measuring = asyncio.create_task(self.measure())
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
