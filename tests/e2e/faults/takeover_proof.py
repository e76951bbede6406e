# SPDX-License-Identifier: Apache-2.0
"""Two clients with one id take it from each other again and again."""

import asyncio
import ssl
import threading
import time

import websockets

from parts import wait_for
from presence import PresenceLog, rebuild
from proof import Proof
from samples import take_sample

DEVICE = "probe-1"
MIB = 1 << 20


class Rival:
    """A client that comes back at once whenever it is sent away. Its members are written by the rivals' thread."""

    def __init__(self, proof, url: str, stream: int) -> None:
        self.pb, self.url, self.stream = proof.pb, url, stream
        self.tls = ssl.create_default_context(cafile=proof.pki / "ca.pem")
        self.tls.load_cert_chain(proof.pki / "devices" / f"{DEVICE}.pem", proof.pki / "device-key.pem")
        self.welcomes = self.sent = self.acked = 0
        self.epochs: list[int] = []
        self.problem: str | None = None
        self.ended: dict[str, int] = {}

    async def live(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                async with websockets.connect(self.url, ssl=self.tls, subprotocols=["fieldgate.v1"], compression=None,
                                              ping_interval=None, open_timeout=30, close_timeout=5) as ws:
                    await self.stay(ws, stopping)
            except websockets.ConnectionClosed as closed:
                code = str(closed.rcvd.code if closed.rcvd else 1006)
                self.ended[code] = self.ended.get(code, 0) + 1
            except (OSError, ValueError, asyncio.TimeoutError, websockets.WebSocketException) as error:
                self.problem = f"{type(error).__name__}: {error}"

    async def stay(self, ws, stopping: threading.Event) -> None:
        hello = self.pb.Hello(device_id=DEVICE, stream_id=self.stream, ack_stage=self.pb.ACK_STAGE_FORWARDED,
                              last_seq=self.sent, oldest_seq=self.acked + 1 if self.sent > self.acked else 0)
        await ws.send(self.pb.DeviceFrame(hello=hello).SerializeToString())
        while True:
            try:
                frame = self.pb.GatewayFrame.FromString(await asyncio.wait_for(ws.recv(), 0.5))
            except asyncio.TimeoutError:
                if stopping.is_set():
                    return
                continue
            kind = frame.WhichOneof("kind")
            if kind == "welcome":
                self.welcomes += 1
                self.epochs.append(frame.welcome.epoch)
                self.acked = max(self.acked, frame.welcome.acked_through)
                for seq in range(frame.welcome.received_through + 1, self.sent + 1):
                    await ws.send(self.frame(seq))
                self.sent += 1
                await ws.send(self.frame(self.sent))
            elif kind == "ack":
                self.acked = max(self.acked, frame.ack.through)

    def frame(self, seq: int) -> bytes:
        frame = self.pb.DeviceFrame(seq=seq)
        frame.telemetry.samples.add().metrics.add(name="rival", int_value=seq)
        return frame.SerializeToString()


class Flapping(Proof):
    PROBES = 1

    def play(self) -> None:
        seconds = 180 if self.long else 8
        broker = self.broker()
        presence = PresenceLog(self.folder, broker.port)
        self.stack.callback(presence.process.kill)
        gateway = self.gateway({"limits": {"takeovers_per_minute": 10_000}, "uplink": {"spool": {"enabled": True}},
                                "mqtt": [self.lane(broker.port)]})
        gateway.start()
        self.until("the lane runs", gateway, lambda s: s.lane_state("main") == "running")
        url = f"wss://localhost:{gateway.devices}/v1/connect"
        self.rivals = [Rival(self, url, stream) for stream in (71, 72)]
        self.stopping = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self.fight()), daemon=True)
        thread.start()
        self.stack.callback(lambda: (self.stopping.set(), thread.join(30)))
        self.until("they have taken over from each other", gateway, lambda s: s.total("fieldgate_takeovers_total") >= 10)
        resident = gateway.memory("VmRSS")
        looks, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            looks.append(take_sample(gateway))
            time.sleep(0.1)
        growth = gateway.memory("VmRSS") - resident
        self.stopping.set()
        thread.join(30)
        books = self.at_rest(gateway)
        last = take_sample(gateway)
        idle = wait_for("descriptors of an idle gateway", lambda: int(gateway.metrics()["process_open_fds"]), 10)
        self.judge_numbers(looks, last, growth, idle)
        self.stop_gateway(gateway)
        truth = wait_for("every presence record arrives", lambda: self.whole(presence, books), self.patience)
        self.judge_presence(truth, last)

    async def fight(self) -> None:
        await asyncio.gather(*(rival.live(self.stopping) for rival in self.rivals))

    def whole(self, presence: PresenceLog, books: dict):
        """As many presence records as are on the books, telemetry aside; and nobody is online by them."""
        telemetry = sum(rival.sent for rival in self.rivals)
        events = presence.events()
        truth = rebuild(events)
        return truth if len(events) - truth.repeated >= books["main"]["forwarded"] - telemetry and not truth.online else None

    def judge_numbers(self, looks: list, last, growth: int, idle: int) -> None:
        welcomes = sum(rival.welcomes for rival in self.rivals)
        takeovers = int(last.total("fieldgate_takeovers_total"))
        accepted = int(last.get("fieldgate_connection_attempts_total", outcome="accepted"))
        taken_over = int(last.get("fieldgate_sessions_ended_total", reason="taken_over"))
        sessions = [s.total("fieldgate_sessions") for s in looks]
        descriptors = [s.metrics["process_open_fds"] for s in looks]
        figures, claim = self.verdict.figures, self.verdict.claim
        figures.update(takeovers=takeovers, welcomes=welcomes, growth_kib=growth >> 10, sessions_max=int(max(sessions)),
                       fds_max=int(max(descriptors)), fds_idle=idle, looks=len(looks))
        claim(takeovers >= (20 if self.sanitized else 30), f"the id changes hands often: {takeovers}")
        claim(takeovers == taken_over, f"each takeover ends one session: {takeovers}, {taken_over}")
        claim(accepted == welcomes, f"each Welcome is counted, and only those: {accepted}, {welcomes}")
        # Refused ones end before Welcome and are counted among the attempts.
        attempts = int(last.total("fieldgate_connection_attempts_total"))
        ended = int(last.total("fieldgate_sessions_ended_total"))
        claim(attempts == ended, f"what came has ended, and is counted once: {attempts} attempts, {ended} ended")
        claim(max(sessions) <= 2, f"one id has one session, two while it changes hands: {max(sessions)}")
        # Connections that are on their way in or out, and those of these looks.
        claim(max(descriptors) <= idle + 16, f"descriptors stay flat: {max(descriptors):.0f}, idle {idle}")
        if not self.sanitized:
            claim(growth <= 8 * MIB, f"memory stays flat: {growth >> 10} KiB more")
        for rival in self.rivals:
            claim(rival.problem is None, f"a rival has trouble: {rival.problem}")
            claim(set(rival.ended) <= {"4014"}, f"rivals are only ever taken over: {rival.ended}")
            claim(rival.acked > 0, "data flows meanwhile")
        epochs = [epoch for rival in self.rivals for epoch in rival.epochs]
        claim(len(set(epochs)) == len(epochs), "no epoch is given twice")

    def judge_presence(self, truth, last) -> None:
        self.verdict.figures.update(presence_sessions=truth.sessions)
        self.verdict.claim(truth.sessions == last.get("fieldgate_connection_attempts_total", outcome="accepted"),
                           f"presence knows every session: {truth.sessions}")
        self.verdict.claim_zero(presence_backwards=truth.backwards, presence_unpaired=truth.unpaired,
                                presence_repeated=truth.repeated)
