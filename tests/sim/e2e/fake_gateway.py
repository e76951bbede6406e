#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small stand-in for the gateway, on Python's websockets and protobuf.

It speaks the device protocol of proto/fieldgate/v1, publishes what it gets over
MQTT v5, holds the devices to the protocol, and misbehaves on request. It shares
no line with the simulator or the gateway, which is the point of it.

    fake_gateway.py --pb DIR --port 0 --cert F --key F --client-ca F --mqtt PORT

prints "port N" when it listens, and what it saw as JSON when it gets SIGTERM.
"""
import argparse
import asyncio
import collections
import hashlib
import http
import json
import os
import signal
import ssl
import sys
import time

import websockets


def varint(n):
    out = bytearray()
    while True:
        out.append((n & 0x7F) | (0x80 if n > 0x7F else 0))
        n >>= 7
        if not n:
            return bytes(out)


def text(s):
    raw = s.encode()
    return len(raw).to_bytes(2, "big") + raw


class Publisher:
    """MQTT v5, QoS 1, one connection; enough to publish and to count PUBACKs."""

    def __init__(self, port, prefix):
        self.port, self.prefix = port, prefix
        self.next_id, self.waiting = 1, {}

    async def start(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = text("MQTT") + bytes([5, 2, 0, 0]) + b"\x00" + text("fake-gateway")
        self.writer.write(b"\x10" + varint(len(body)) + body)
        kind, _ = await self.packet()
        assert kind == 2, "no CONNACK"
        self.task = asyncio.ensure_future(self.acks())
        # mosquitto announces a Receive Maximum of 20.
        self.window = asyncio.Semaphore(20)

    async def packet(self):
        kind = (await self.reader.readexactly(1))[0] >> 4
        length = shift = 0
        while True:
            byte = (await self.reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return kind, await self.reader.readexactly(length)

    async def acks(self):
        while True:
            kind, body = await self.packet()
            if kind == 4:
                self.waiting.pop(int.from_bytes(body[:2], "big")).set_result(None)
                self.window.release()

    async def publish(self, topic, payload, properties=()):
        await self.window.acquire()
        packet_id, self.next_id = self.next_id, self.next_id % 65535 + 1
        future = self.waiting[packet_id] = asyncio.get_running_loop().create_future()
        props = b"".join(b"\x26" + text(k) + text(v) for k, v in properties)
        body = text(self.prefix + topic) + packet_id.to_bytes(2, "big") + varint(len(props)) + props + payload
        self.writer.write(b"\x32" + varint(len(body)) + body)
        return future


class Stream:
    def __init__(self):
        self.received = self.acked = 0


class Gateway:
    def __init__(self, args, device_pb2, northbound_pb2):
        self.args, self.pb, self.nb = args, device_pb2, northbound_pb2
        self.streams = collections.defaultdict(Stream)
        self.epoch = 0
        self.counts = collections.Counter()
        self.faults = []
        self.devices = set()
        self.publisher = None
        self.data_frames = 0
        self.tokens = {}
        if args.tokens:
            with open(args.tokens) as lines:
                self.tokens = dict(line.split() for line in lines)

    def fault(self, device, what):
        if len(self.faults) < 20:
            self.faults.append(f"{device}: {what}")

    async def process_request(self, path, headers):
        if path != "/v1/connect":
            return http.HTTPStatus.NOT_FOUND, [], b""
        if headers.get("Origin"):
            return http.HTTPStatus.FORBIDDEN, [], b""
        self.counts["upgrades"] += 1
        if self.args.refuse_every and self.counts["upgrades"] % self.args.refuse_every == 0:
            return http.HTTPStatus.SERVICE_UNAVAILABLE, [], b""
        if self.tokens:
            token = headers.get("Authorization", "").removeprefix("Bearer ")
            if "sha256:" + hashlib.sha256(token.encode()).hexdigest() not in self.tokens.values():
                return http.HTTPStatus.UNAUTHORIZED, [], b""
        return None

    def identity(self, ws):
        """The authenticated device id, None if nothing authenticates it."""
        if self.tokens:
            token = ws.request_headers["Authorization"].removeprefix("Bearer ")
            digest = "sha256:" + hashlib.sha256(token.encode()).hexdigest()
            return next(d for d, h in self.tokens.items() if h == digest)
        cert = ws.transport.get_extra_info("peercert")
        if not cert:
            return None
        uris = [v for k, v in cert["subjectAltName"] if k == "URI"]
        return uris[0].removeprefix("urn:fieldgate:device:")

    async def forward(self, device, stream, frame, raw):
        """A future that is done when the broker has it, None if it is withheld."""
        n = self.data_frames
        if self.args.lose_every and n % self.args.lose_every == 0:
            self.counts["lost_on_purpose"] += 1
            return None
        if self.args.corrupt_every and n % self.args.corrupt_every == 0:
            raw = raw.replace(b"temperature", b"tempXrature").replace(b"sim-", b"sim-")
            at = raw.find(b"tempXrature") + 15
            raw = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:]
        if self.publisher is None:
            return None
        if self.args.mode == "batch":
            record = self.nb.Record(device_id=device, stream_id=stream, seq=frame.seq,
                                    received_unix_ms=int(time.time() * 1000))
            record.frame.ParseFromString(raw)
            batch = self.nb.RecordBatch(records=[record], node="fake")
            return await self.publisher.publish(f"/batches/{hash(device) % 4}", batch.SerializeToString())
        kind = frame.WhichOneof("kind")
        topic = {"telemetry": "telemetry", "event": "events/" + frame.event.name, "state": "state",
                 "opaque": "opaque/" + frame.opaque.schema_id}[kind]
        payload = raw
        if self.args.mode == "json":
            payload = json.dumps({"kind": kind, "seq": str(frame.seq)}).encode()
        return await self.publisher.publish(f"/devices/{device}/{topic}", payload,
                                            [("device", device), ("stream", str(stream)), ("seq", str(frame.seq))])

    async def serve(self, ws):
        pb, args = self.pb, self.args
        self.counts["connections"] += 1
        hello = pb.DeviceFrame.FromString(await ws.recv())
        if hello.WhichOneof("kind") != "hello" or hello.seq != 0:
            return self.fault("?", "the first message is not Hello")
        hello = hello.hello
        device, stream_id = hello.device_id, hello.stream_id
        if self.identity(ws) not in (None, device):
            return self.fault(device, "is not who the credential says")
        self.devices.add(device)
        stream = self.streams[device, stream_id]
        if stream_id == 0:
            self.fault(device, "stream id 0")
        if args.reuse_after and stream.received >= args.reuse_after and not self.counts[f"reused {device}"]:
            self.counts[f"reused {device}"] = 1
            await ws.send(pb.GatewayFrame(goodbye=pb.Goodbye(reason="GOODBYE_REASON_STREAM_REUSED")).SerializeToString())
            return await ws.close(4004)
        if hello.last_seq < stream.received:
            self.fault(device, f"last_seq {hello.last_seq} below {stream.received}")
        if hello.oldest_seq > stream.acked + 1:
            self.fault(device, f"oldest_seq {hello.oldest_seq}, but only {stream.acked} is acknowledged")
        self.epoch += 1
        credit = pb.Credit(frames=args.credit, bytes=131072)
        await ws.send(pb.GatewayFrame(welcome=pb.Welcome(
            epoch=self.epoch, ack_stage=hello.ack_stage or pb.ACK_STAGE_FORWARDED, credit=credit,
            limits=pb.Limits(frame_bytes_max=65536, frames_per_second=100, bytes_per_second=262144,
                             metrics_per_frame_max=512, value_bytes_max=1024),
            heartbeat_seconds=hello.heartbeat_seconds or 30, ack_every_frames=4, ack_every_ms=50,
            acked_through=stream.acked, received_through=stream.received,
            server_unix_ms=int(time.time() * 1000), node="fake")).SerializeToString())
        await self.session(ws, device, stream_id, stream)

    async def session(self, ws, device, stream_id, stream):
        pb, args = self.pb, self.args
        pending = collections.deque()  # (seq, future or None)
        more = asyncio.Event()

        async def acknowledge():
            while True:
                await more.wait()
                more.clear()
                through = None
                while pending:
                    seq, future = pending[0]
                    if future is not None:
                        await future
                    pending.popleft()
                    stream.acked = through = max(stream.acked, seq)
                if through is not None:
                    await ws.send(pb.GatewayFrame(ack=pb.Ack(through=stream.acked)).SerializeToString())

        acker = asyncio.ensure_future(acknowledge())
        frames = 0
        try:
            async for message in ws:
                frame = pb.DeviceFrame.FromString(message)
                kind = frame.WhichOneof("kind")
                if kind == "time_request":
                    await ws.send(pb.GatewayFrame(time=pb.Time(
                        token=frame.time_request.token, unix_ms=int(time.time() * 1000))).SerializeToString())
                    continue
                if kind == "bye":
                    self.counts["byes"] += 1
                    continue
                if kind == "hello":
                    self.fault(device, "a second Hello")
                    continue
                if frame.seq != stream.received + 1:
                    self.fault(device, f"seq {frame.seq} after {stream.received}")
                if frame.seq - stream.acked > args.credit:
                    self.fault(device, f"seq {frame.seq} with {stream.acked} acknowledged: over its credit")
                self.data_frames += 1
                self.counts[kind] += 1
                frames += 1
                stream.received = frame.seq
                if args.reject_every and self.data_frames % args.reject_every == 0:
                    self.counts["rejected"] += 1
                    await ws.send(pb.GatewayFrame(reject=pb.Reject(
                        seq=frame.seq, code="REJECT_CODE_FORBIDDEN", text="not today")).SerializeToString())
                    pending.append((frame.seq, None))
                else:
                    pending.append((frame.seq, await self.forward(device, stream_id, frame, message)))
                more.set()
                if args.drop_every and self.data_frames % args.drop_every == 0:
                    self.counts["dropped"] += 1
                    ws.transport.abort()
                    return
                if args.forget_every and self.data_frames % args.forget_every == 0:
                    # As a gateway that restarts: what is not acknowledged is gone.
                    self.counts["forgotten"] += 1
                    pending.clear()
                    stream.received = stream.acked
                    await ws.send(pb.GatewayFrame(goodbye=pb.Goodbye(
                        reason="GOODBYE_REASON_DRAIN", reconnect_after_ms=200)).SerializeToString())
                    await ws.close(1001)
                    return
        except websockets.ConnectionClosed:
            pass
        finally:
            acker.cancel()
            self.counts["frames_of_ended_sessions"] += frames


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pb", required=True, help="directory of the generated *_pb2 modules")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--client-ca")
    parser.add_argument("--tokens")
    parser.add_argument("--mqtt", type=int)
    parser.add_argument("--prefix", default="fieldgate/v1")
    parser.add_argument("--mode", choices=["batch", "single", "json"], default="batch")
    parser.add_argument("--credit", type=int, default=16)
    for name in ("drop", "forget", "refuse", "reject", "lose", "corrupt"):
        parser.add_argument(f"--{name}-every", type=int, default=0)
    parser.add_argument("--reuse-after", type=int, default=0)
    args = parser.parse_args()
    sys.path.insert(0, args.pb)
    from fieldgate.v1 import device_pb2, northbound_pb2
    gateway = Gateway(args, device_pb2, northbound_pb2)
    if args.mqtt:
        gateway.publisher = Publisher(args.mqtt, args.prefix)
        await gateway.publisher.start()
    context = None
    if args.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.cert, args.key)
        if args.client_ca:
            context.load_verify_locations(args.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with websockets.serve(gateway.serve, "127.0.0.1", args.port, ssl=context, subprotocols=["fieldgate.v1"],
                                compression=None, ping_interval=5, process_request=gateway.process_request) as server:
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await stop.wait()
        print(json.dumps({"devices": len(gateway.devices), "faults": gateway.faults, "frames": gateway.data_frames,
                          "counts": gateway.counts}), flush=True)
        os._exit(0)  # whatever the devices' connections are at


asyncio.run(main())
