#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The gateway's job as one would write it with Tornado and paho: WebSocket over TLS in, batches at QoS 1 out.

It speaks the device protocol as far as a well-behaved device needs it (Hello, Welcome, telemetry, coalesced Acks at
FORWARDED), checks tokens and frames, and publishes RecordBatches to the same broker. No registry, presence, commands,
last values, limits or metrics: it is spared what the gateway does besides. One process per core.
"""

import argparse
import asyncio
import hashlib
import os
import signal
import ssl
import sys
import time

import paho.mqtt.client as paho
import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.process
import tornado.web
import tornado.websocket


class Batcher:
    """Records on their way to the broker, as the gateway's lane sends them: 500, 32 KiB or 5 ms."""

    RECORDS_MAX, BYTES_MAX, LINGER_S = 500, 32 * 1024, 0.005
    FLIGHT_MAX = 100  # batches that are not acknowledged yet

    def __init__(self, pb, options, loop):
        self.pb, self.loop, self.topic = pb, loop, options.prefix + "/batches/0"
        self.batch, self.bytes, self.sessions, self.timer = pb.RecordBatch(node="tornado"), 0, {}, None
        self.waiting: list = []
        self.flight: dict[int, dict] = {}
        self.client = paho.Client(client_id=f"tornado-{os.getpid()}", protocol=paho.MQTTv5)
        self.client.max_inflight_messages_set(self.FLIGHT_MAX)
        self.client.on_publish = lambda _client, _data, mid: loop.call_soon_threadsafe(self.acknowledged, mid)
        self.client.connect("127.0.0.1", options.broker)
        self.client.loop_start()

    def add(self, session, frame, size: int) -> None:
        record = self.batch.records.add()
        record.device_id, record.stream_id, record.seq = session.device, session.stream, frame.seq
        record.received_unix_ms = int(time.time() * 1000)
        record.frame.CopyFrom(frame)
        self.bytes += size
        self.sessions[session] = frame.seq
        if len(self.batch.records) >= self.RECORDS_MAX or self.bytes >= self.BYTES_MAX:
            self.close_batch()
        elif self.timer is None:
            self.timer = self.loop.call_later(self.LINGER_S, self.close_batch)

    def close_batch(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.waiting.append((self.batch.SerializeToString(), self.sessions))
        self.batch.ClearField("records")
        self.bytes, self.sessions = 0, {}
        self.send()

    def send(self) -> None:
        while self.waiting and len(self.flight) < self.FLIGHT_MAX:
            payload, sessions = self.waiting.pop(0)
            self.flight[self.client.publish(self.topic, payload, qos=1).mid] = sessions

    def acknowledged(self, mid: int) -> None:
        for session, seq in self.flight.pop(mid, {}).items():
            session.forwarded(seq)
        self.send()


class Device(tornado.websocket.WebSocketHandler):
    ACK_EVERY_S = 0.05
    ACK_EVERY_FRAMES = 32

    def initialize(self, pb, batcher, tokens):
        self.pb, self.batcher, self.tokens = pb, batcher, tokens
        self.device, self.stream, self.through, self.told, self.timer = "", 0, 0, 0, None

    def select_subprotocol(self, subprotocols):
        return "fieldgate.v1" if "fieldgate.v1" in subprotocols else None

    def open(self):
        self.set_nodelay(True)

    def on_message(self, message):
        frame = self.pb.DeviceFrame.FromString(message)
        kind = frame.WhichOneof("kind")
        if kind == "hello":
            return self.hello(frame.hello)
        if not self.stream or kind != "telemetry" or not frame.telemetry.samples:
            return self.close(4003)
        self.batcher.add(self, frame, len(message))

    def hello(self, hello):
        bearer = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.tokens.get(hello.device_id) != hashlib.sha256(bearer.encode()).hexdigest():
            return self.close(4001)
        self.device, self.stream = hello.device_id, hello.stream_id
        down = self.pb.GatewayFrame()
        welcome = down.welcome
        welcome.epoch, welcome.ack_stage = 1, self.pb.ACK_STAGE_FORWARDED
        welcome.credit.frames, welcome.credit.bytes = 64, 1 << 20
        welcome.heartbeat_seconds = 600
        welcome.ack_every_frames, welcome.ack_every_ms = self.ACK_EVERY_FRAMES, int(self.ACK_EVERY_S * 1000)
        self.write_message(down.SerializeToString(), binary=True)

    def forwarded(self, seq: int) -> None:
        self.through = max(self.through, seq)
        if self.through - self.told >= self.ACK_EVERY_FRAMES:
            self.acknowledge()
        elif self.timer is None:
            self.timer = self.batcher.loop.call_later(self.ACK_EVERY_S, self.acknowledge)

    def acknowledge(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.through == self.told or self.ws_connection is None:
            return
        self.told = self.through
        down = self.pb.GatewayFrame()
        down.ack.through = self.told
        self.write_message(down.SerializeToString(), binary=True)

    def check_origin(self, origin):
        return False


async def serve(options, sockets, context) -> None:
    sys.path.insert(0, options.pb)
    from fieldgate.v1 import device_pb2, northbound_pb2  # made by protoc for this run

    tokens = dict(line.split(" sha256:") for line in open(options.tokens).read().split("\n") if line)
    batcher = Batcher(northbound_pb2, options, asyncio.get_running_loop())
    shared = {"pb": device_pb2, "batcher": batcher, "tokens": tokens}
    server = tornado.httpserver.HTTPServer(tornado.web.Application([(r"/v1/connect", Device, shared)]), ssl_options=context)
    server.add_sockets(sockets)
    await asyncio.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("port", int), ("broker", int), ("processes", int), ("pki", str), ("tokens", str), ("pb", str),
                       ("prefix", str)):
        parser.add_argument("--" + name, type=kind, required=True)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{options.pki}/server.pem", f"{options.pki}/server-key.pem")
    sockets = tornado.netutil.bind_sockets(options.port, "127.0.0.1", backlog=4096)
    if options.processes > 1:
        # The children end with their parent: all are in a session of their own.
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
        tornado.process.fork_processes(options.processes)
    asyncio.run(serve(options, sockets, context))
    return 0


if __name__ == "__main__":
    sys.exit(main())
