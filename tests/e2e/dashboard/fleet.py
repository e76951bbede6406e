# SPDX-License-Identifier: Apache-2.0
"""A few devices that live beside the test, on a thread of their own: they measure, answer commands and keep a twin."""

import asyncio
import contextlib
import json
import math
import threading

import websockets

from device_client import Device, pb
from gateway_fixture import PATIENCE, Gateway

EVERY_S = 0.25


class Member:
    def __init__(self, device: Device):
        self.device, self.tasks = device, []
        self.acked = 0
        self.lock = asyncio.Lock()

    async def say(self, frame: pb.DeviceFrame) -> None:
        async with self.lock:
            self.device.seq += 1
            frame.seq = self.device.seq
            await self.device.ws.send(frame.SerializeToString())

    async def measure(self) -> None:
        at = 0
        while True:
            at += 1
            frame = pb.DeviceFrame()
            sample = frame.telemetry.samples.add()
            sample.metrics.add(name="temperature", double_value=21.5 + math.sin(at / 6))
            sample.metrics.add(name="rpm", int_value=1480 + at % 7)
            sample.metrics.add(name="serial", string_value="<i>AX-77</i>")
            await self.say(frame)
            await asyncio.sleep(EVERY_S)

    async def listen(self) -> None:
        while True:
            frame = await self.device.receive()
            kind = frame.WhichOneof("kind")
            if kind == "ack":
                self.acked = max(self.acked, frame.ack.through)
            elif kind == "command":
                await self.say(pb.DeviceFrame(command_ack=pb.CommandAck(id=frame.command.id)))
                answer = json.dumps({"pong": json.loads(frame.command.payload or b"null")}).encode()
                await self.say(pb.DeviceFrame(command_result=pb.CommandResult(
                    id=frame.command.id, outcome=pb.CommandResult.OUTCOME_SUCCEEDED, text="all is well", payload=answer)))
            elif kind == "desired":
                await self.say(pb.DeviceFrame(desired_ack=pb.DesiredAck(version=frame.desired.version)))
                await self.say(pb.DeviceFrame(state=pb.State(reported_json=frame.desired.delta_json)))

    async def run(self, work) -> None:
        with contextlib.suppress(websockets.ConnectionClosed, asyncio.CancelledError):
            await work


class Fleet:
    def __init__(self, gateway: Gateway):
        self.gateway, self.members = gateway, {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)

    def connect(self, name: str, **hello) -> None:
        async def begin():
            member = Member(await Device.connect(self.gateway, name, firmware_version="2.1.0", capabilities=["command", "desired"], **hello))
            member.tasks = [asyncio.ensure_future(member.run(work)) for work in (member.measure(), member.listen())]
            self.members[name] = member

        self.do(begin())

    def event(self, name: str, event: str, text: str = "") -> None:
        self.do(self.members[name].say(pb.DeviceFrame(event=pb.Event(name=event, text=text, severity=pb.SEVERITY_WARNING))))

    def push(self, name: str, data: bytes) -> None:
        """Once the gateway has taken all that was said before."""
        async def say():
            member = self.members[name]
            async with asyncio.timeout(PATIENCE):
                while member.acked < member.device.seq:
                    await asyncio.sleep(0.01)
            await member.say(pb.DeviceFrame(opaque=pb.Opaque(schema_id="blob", data=data)))

        self.do(say())

    def vanish(self, name: str) -> None:
        """Without a word, as a device does whose process was killed."""
        async def cut():
            member = self.members.pop(name)
            for task in member.tasks:
                task.cancel()
            member.device.ws.transport.abort()

        self.do(cut())

    def close(self) -> None:
        async def end():
            for member in self.members.values():
                for task in member.tasks:
                    task.cancel()
                await member.device.close()

        self.do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
