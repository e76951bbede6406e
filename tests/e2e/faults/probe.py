# SPDX-License-Identifier: Apache-2.0
"""Devices of our own, on Python's websockets: they ask for pongs and for the time all along, and say when they got them."""

import asyncio
import ssl
import threading
import time
from dataclasses import dataclass, field

import websockets

EVERY_S = 0.2
PATIENCE_S = 30


@dataclass
class Answer:
    at: float  # when it was asked, on the monotonic clock
    kind: str  # "ping" or "time"
    seconds: float


@dataclass
class Probe:
    """One device. Its members are written by the probes' thread and read by whoever likes."""

    device: str
    answers: list[Answer] = field(default_factory=list)
    throttles: list[tuple[float, int]] = field(default_factory=list)  # when, frames
    acked_at: dict[int, float] = field(default_factory=dict)  # sequence number -> when
    goodbyes: int = 0
    lost: str | None = None  # why the connection ended before it was to
    welcomed: bool = False
    sent: int = 0


class Probes:
    """`count` of them, on a thread of their own, each connected once: one that is lost stays lost."""

    def __init__(self, pb, url: str, pki, count: int, stage: str = "ACK_STAGE_FORWARDED") -> None:
        self.pb, self.url, self.pki, self.stage = pb, url, pki, getattr(pb, stage)
        self.probes = [Probe(f"probe-{i}") for i in range(1, count + 1)]
        self.loop = asyncio.new_event_loop()
        self.sockets: dict[str, websockets.WebSocketClientProtocol] = {}
        self.stopping = False
        self.waiting: dict[tuple[str, int], asyncio.Future] = {}  # TimeRequests, by device and token
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.main(),), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.stopping = True
        self.thread.join(PATIENCE_S)

    def send_frame(self) -> None:
        """One data frame from each. Precondition: credit is not withheld."""
        asyncio.run_coroutine_threadsafe(self.send_all(), self.loop).result(PATIENCE_S)

    async def send_all(self) -> None:
        for probe in self.probes:
            probe.sent += 1
            frame = self.pb.DeviceFrame(seq=probe.sent)
            frame.telemetry.samples.add().metrics.add(name="probe", int_value=probe.sent)
            await self.sockets[probe.device].send(frame.SerializeToString())

    async def main(self) -> None:
        await asyncio.gather(*(self.live(probe) for probe in self.probes))

    async def live(self, probe: Probe) -> None:
        tls = ssl.create_default_context(cafile=self.pki / "ca.pem")
        tls.load_cert_chain(self.pki / "devices" / f"{probe.device}.pem", self.pki / "device-key.pem")
        try:
            async with websockets.connect(self.url, ssl=tls, subprotocols=["fieldgate.v1"], compression=None,
                                          ping_interval=None, open_timeout=PATIENCE_S) as ws:
                hello = self.pb.Hello(device_id=probe.device, stream_id=77, ack_stage=self.stage)
                await ws.send(self.pb.DeviceFrame(hello=hello).SerializeToString())
                welcome = self.pb.GatewayFrame.FromString(await ws.recv()).welcome
                if welcome.ack_stage != self.stage:
                    raise ValueError(f"the gateway grants stage {welcome.ack_stage}, not {self.stage}")
                self.sockets[probe.device] = ws
                probe.welcomed = True
                receiving = asyncio.ensure_future(self.receive(probe, ws))
                try:
                    await self.ask(probe, ws)
                finally:
                    receiving.cancel()
                    await asyncio.gather(receiving, return_exceptions=True)
        except (OSError, ValueError, asyncio.TimeoutError, websockets.WebSocketException) as error:
            probe.lost = f"{type(error).__name__}: {error}"

    async def ask(self, probe: Probe, ws) -> None:
        token = 0
        while not self.stopping:
            token += 1
            began = time.monotonic()
            pong = await ws.ping()
            await asyncio.wait_for(pong, PATIENCE_S)
            probe.answers.append(Answer(began, "ping", time.monotonic() - began))
            began = time.monotonic()
            self.waiting[probe.device, token] = answered = self.loop.create_future()
            await ws.send(self.pb.DeviceFrame(time_request=self.pb.TimeRequest(token=token)).SerializeToString())
            await asyncio.wait_for(answered, PATIENCE_S)
            probe.answers.append(Answer(began, "time", time.monotonic() - began))
            await asyncio.sleep(EVERY_S)

    async def receive(self, probe: Probe, ws) -> None:
        async for message in ws:
            frame = self.pb.GatewayFrame.FromString(message)
            kind, now = frame.WhichOneof("kind"), time.monotonic()
            if kind == "time":
                self.waiting.pop((probe.device, frame.time.token)).set_result(None)
            elif kind == "throttle":
                probe.throttles.append((now, frame.throttle.credit.frames))
            elif kind == "ack":
                for seq in range(max(probe.acked_at, default=0) + 1, frame.ack.through + 1):
                    probe.acked_at[seq] = now
            elif kind == "goodbye":
                probe.goodbyes += 1
