// SPDX-License-Identifier: Apache-2.0
//
// The gateway's job as one would write it with Node, `ws`, `mqtt` and `protobufjs`: WebSocket over TLS in, batches at
// QoS 1 out. What it does and what it is spared is as in tornado_peer.py. One process per core.
"use strict";

const cluster = require("node:cluster");
const crypto = require("node:crypto");
const fs = require("node:fs");
const https = require("node:https");
const path = require("node:path");
const { parseArgs } = require("node:util");

const text = { type: "string" };
const options = parseArgs({
  options: { port: text, broker: text, processes: text, pki: text, tokens: text, proto: text, modules: text, prefix: text },
}).values;
// The modules are not beside this file, but where npm has put them for this run.
const load = (name) => require(require.resolve(name, { paths: [options.modules] }));

const RECORDS_MAX = 500, BYTES_MAX = 32 * 1024, LINGER_MS = 5, FLIGHT_MAX = 100;
const ACK_EVERY_FRAMES = 32, ACK_EVERY_MS = 50;

// Records on their way to the broker, as the gateway's lane sends them.
class Batcher {
  constructor(types, client) {
    Object.assign(this, { types, client, records: [], bytes: 0, sessions: new Map(), timer: null, waiting: [], flight: 0 });
  }

  add(session, frame, size) {
    this.records.push({ deviceId: session.device, streamId: session.stream, seq: frame.seq, receivedUnixMs: Date.now(), frame });
    this.bytes += size;
    this.sessions.set(session, frame.seq);
    if (this.records.length >= RECORDS_MAX || this.bytes >= BYTES_MAX) this.close();
    else if (this.timer === null) this.timer = setTimeout(() => this.close(), LINGER_MS);
  }

  close() {
    clearTimeout(this.timer);
    this.timer = null;
    const payload = this.types.RecordBatch.encode({ records: this.records, node: "node" }).finish();
    this.waiting.push([payload, this.sessions]);
    Object.assign(this, { records: [], bytes: 0, sessions: new Map() });
    this.send();
  }

  send() {
    while (this.waiting.length > 0 && this.flight < FLIGHT_MAX) {
      const [payload, sessions] = this.waiting.shift();
      ++this.flight;
      this.client.publish(`${options.prefix}/batches/0`, payload, { qos: 1 }, (error) => {
        if (error) throw error;
        --this.flight;
        for (const [session, seq] of sessions) session.forwarded(seq);
        this.send();
      });
    }
  }
}

class Session {
  constructor(socket, bearer, types, batcher, tokens) {
    Object.assign(this, { socket, bearer, types, batcher, tokens, device: "", stream: null, through: 0, told: 0, timer: null });
    socket.on("message", (message) => this.message(message));
    socket.on("error", () => socket.terminate());
  }

  message(message) {
    const frame = this.types.DeviceFrame.decode(message);
    if (frame.kind === "hello") return this.hello(frame.hello);
    if (this.stream === null || frame.kind !== "telemetry" || frame.telemetry.samples.length === 0) return this.socket.close(4003);
    this.batcher.add(this, frame, message.length);
  }

  hello(hello) {
    const hash = crypto.createHash("sha256").update(this.bearer).digest("hex");
    if (this.tokens.get(hello.deviceId) !== hash) return this.socket.close(4001);
    this.device = hello.deviceId;
    this.stream = hello.streamId;
    this.down({
      welcome: {
        epoch: 1, ackStage: 3, credit: { frames: 64, bytes: 1 << 20 }, heartbeatSeconds: 600,
        ackEveryFrames: ACK_EVERY_FRAMES, ackEveryMs: ACK_EVERY_MS,
      },
    });
  }

  forwarded(seq) {
    this.through = Math.max(this.through, Number(seq));
    if (this.through - this.told >= ACK_EVERY_FRAMES) this.acknowledge();
    else if (this.timer === null) this.timer = setTimeout(() => this.acknowledge(), ACK_EVERY_MS);
  }

  acknowledge() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.through === this.told || this.socket.readyState !== 1) return;
    this.told = this.through;
    this.down({ ack: { through: this.told } });
  }

  down(frame) {
    this.socket.send(this.types.GatewayFrame.encode(frame).finish());
  }
}

function serve() {
  const protobuf = load("protobufjs");
  const root = new protobuf.Root();
  root.resolvePath = (_from, file) => path.resolve(options.proto, file);
  root.loadSync("fieldgate/v1/northbound.proto");
  const types = Object.fromEntries(["DeviceFrame", "GatewayFrame", "RecordBatch"].map((name) =>
    [name, root.lookupType(`fieldgate.v1.${name}`)]));
  const tokens = new Map(fs.readFileSync(options.tokens, "utf8").split("\n").filter(Boolean).map((line) => line.split(" sha256:")));
  const client = load("mqtt").connect(`mqtt://127.0.0.1:${options.broker}`, { protocolVersion: 5, clientId: `node-${process.pid}` });
  const batcher = new Batcher(types, client);
  const server = https.createServer({ cert: fs.readFileSync(`${options.pki}/server.pem`), key: fs.readFileSync(`${options.pki}/server-key.pem`) });
  const { WebSocketServer } = load("ws");
  const sockets = new WebSocketServer({ server, path: "/v1/connect", perMessageDeflate: false, handleProtocols: () => "fieldgate.v1" });
  sockets.on("connection", (socket, request) => {
    const bearer = (request.headers.authorization ?? "").replace(/^Bearer /, "");
    new Session(socket, bearer, types, batcher, tokens);
  });
  client.once("connect", () => server.listen({ port: Number(options.port), host: "127.0.0.1", backlog: 4096 }));
}

if (cluster.isPrimary && Number(options.processes) > 1) {
  for (let i = 0; i < Number(options.processes); ++i) cluster.fork();
  process.on("SIGTERM", () => {
    for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGKILL");
    process.exit(0);
  });
} else {
  process.on("disconnect", () => process.exit(0));
  process.on("SIGUSR2", () => global.gc());  // for who wants to know what it needs, its garbage aside
  serve();
}
