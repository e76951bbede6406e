#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// A complete device: measures, sends within its credit, keeps frames until they are acknowledged, resumes; does what
// it is told (commands `ping` and `echo`) and keeps a twin. Node 18 or later.
//
//   apt install nodejs node-ws
//   NODE_PATH=/usr/share/nodejs node docs/examples/device.mjs wss://localhost:8443/v1/connect boiler-7 TOKEN ca.pem [FRAMES]
//
// With FRAMES it ends once that many have been acknowledged, else never. Debian has no protobufjs, so the few messages
// of proto/fieldgate/v1/device.proto that it needs are written and read by hand, below; where npm is at hand, take
// protobufjs instead.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const WebSocket = createRequire(import.meta.url)("ws");  // by require: it is what heeds NODE_PATH

// ---- protobuf: a field is its number and wire type, then a varint (0), eight bytes (1), a length and bytes (2)

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}
const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) => {
  const content = Buffer.from(value);  // a string becomes its UTF-8
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
};
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));
const double = (field, value) => {
  const content = Buffer.alloc(8);
  content.writeDoubleLE(value);
  return Buffer.concat([varint(field * 8 + 1), content]);
};

// {field: value}: varints as numbers (all here are below 2^53), the rest as buffers. Unknown fields do no harm.
function decode(buffer) {
  const fields = {};
  let at = 0;
  const take = (length) => {
    if (at + length > buffer.length) throw new Error("a message is cut short");
    return buffer.subarray(at, (at += length));
  };
  const next = () => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = take(1)[0];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < buffer.length) {
    const key = next();
    const wire = key % 8;
    const length = { 1: () => 8, 2: next, 5: () => 4 }[wire];
    if (wire !== 0 && !length) throw new Error(`wire type ${wire} is none of proto3`);
    fields[Math.floor(key / 8)] = wire === 0 ? next() : take(length());
  }
  return fields;
}
const sub = (fields, field) => decode(fields[field] ?? Buffer.alloc(0));
const text = (fields, field) => (fields[field] ?? "").toString();
const OUTCOME = { succeeded: 1, rejected: 3 };

// ---- the device

const [url, id, token, caFile, wantedFrames] = process.argv.slice(2);
const frames = Number(wantedFrames ?? 0);
const stream = randomBytes(6).readUIntBE(0, 6) + 1;  // the buffer is in RAM: each start is a new stream
const buffer = new Map();  // number -> frame, oldest first, until acknowledged
const results = new Map();  // id of a command -> what to send if it comes again: it is not done again
let last = 0;  // the highest number given out
let attempts = 0;
let twin = { interval: 1 };  // what it is set to; `interval`: seconds between two measurements
let link = null;  // {ws, sent, inFlight, credit} while there is a connection

// Numbers the frame and keeps it until it is acknowledged. Answers go this way too, so none is lost.
function put(kind) {
  buffer.set(++last, Buffer.concat([number(1, last), kind]));
  if (buffer.size > 10_000) buffer.delete(buffer.keys().next().value);  // a ring: the oldest is overwritten
  send();
}

function send() {
  if (!link) return;
  let size = [...link.inFlight.values()].reduce((sum, one) => sum + one, 0);
  for (const [seq, frame] of buffer) {
    if (seq <= link.sent) continue;
    size += frame.length;
    if (size > link.credit.bytes || link.inFlight.size >= link.credit.frames) return;  // an Ack or a Throttle calls again
    link.sent = seq;
    link.inFlight.set(seq, frame.length);
    link.ws.send(frame);
  }
}

function acknowledged(through) {
  for (const seq of [...buffer.keys()]) if (seq <= through) buffer.delete(seq);
  for (const seq of [...link.inFlight.keys()]) if (seq <= through) link.inFlight.delete(seq);
  send();
}

function measure() {
  if (frames && last >= frames) return;
  const metric = message(3, bytes(1, "temperature"), double(2, 20 + 5 * Math.sin(Date.now() / 60_000)));
  put(message(3, message(1, number(1, Date.now()), metric)));
  setTimeout(measure, frames ? 10 : twin.interval * 1000);
}

const report = () => put(message(5, bytes(1, JSON.stringify(twin)), number(2, 1)));

// Does it and says how it ended. At least once: the same id may come again after a lost connection.
function command(fields) {
  const cid = text(fields, 1);
  const name = text(fields, 2);
  if (!results.has(cid)) {
    put(message(6, bytes(1, cid)));  // CommandAck
    let [outcome, said, payload] = [OUTCOME.succeeded, "", ""];
    if (name === "ping") said = "pong";
    else if (name === "echo") payload = fields[3] ?? "";
    else [outcome, said] = [OUTCOME.rejected, `no such command: ${name}`];
    results.set(cid, message(7, bytes(1, cid), number(2, outcome), bytes(3, said), bytes(4, payload)));
    if (results.size > 64) results.delete(results.keys().next().value);
  }
  put(results.get(cid));
}

// A JSON merge patch (RFC 7396): members are set, null takes one away.
function merged(document, patch) {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return patch;
  const out = document && typeof document === "object" && !Array.isArray(document) ? { ...document } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete out[name];
    else out[name] = merged(out[name], value);
  }
  return out;
}

// Takes over what it is wished to become, or says why not; then reports what it is.
function desired(fields) {
  const wanted = merged(fields[3] ? { interval: 1 } : twin, JSON.parse(text(fields, 2)));
  const good = wanted.interval >= 0.1 && wanted.interval <= 3600;
  if (good) twin = wanted;
  put(message(8, number(1, fields[1]), bytes(2, good ? "" : "interval must be 0.1 to 3600 seconds")));
  report();
}

const credit = (fields) => ({ frames: fields[1] ?? 0, bytes: fields[2] ?? 0 });

function receive(ws, frame) {
  if (frame[1]) {  // Welcome
    const welcome = sub(frame, 1);
    console.error("welcome: epoch", welcome[1]);
    link = { ws, sent: welcome[9] ?? 0, inFlight: new Map(), credit: credit(sub(welcome, 3)) };
    acknowledged(welcome[8] ?? 0);
    if (!frames) report();
  } else if (frame[2]) {  // Ack
    attempts = 0;
    acknowledged(sub(frame, 2)[1] ?? 0);
    if (frames && last >= frames && buffer.size === 0) ws.close(1000);
  } else if (frame[4]) {  // Throttle
    link.credit = credit(sub(sub(frame, 4), 1));
    send();
  } else if (frame[5]) {
    command(sub(frame, 5));
  } else if (frame[7]) {
    desired(sub(frame, 7));
  } else if (frame[3] || frame[9]) {
    console.error(frame[3] ? "reject:" : "goodbye:", text(sub(frame, frame[3] ? 3 : 9), 3));
  }
}

function connect() {
  const ws = new WebSocket(url, ["fieldgate.v1"], {
    ca: readFileSync(caFile), headers: { Authorization: `Bearer ${token}` },
    perMessageDeflate: false, handshakeTimeout: 20_000, maxPayload: 65_536,
  });
  ws.on("open", () => {
    const oldest = buffer.size ? buffer.keys().next().value : 0;
    ws.send(message(2, bytes(1, id), number(2, stream), number(3, oldest), number(4, last),
      bytes(9, "example-js"), bytes(10, "command"), bytes(10, "desired")));  // Hello
  });
  ws.on("message", (data) => receive(ws, decode(data)));
  ws.on("error", (error) => console.error("lost:", error.message));
  ws.on("close", () => {
    link = null;
    if (frames && last >= frames && buffer.size === 0) return console.log(`${last} frames acknowledged`);
    setTimeout(connect, Math.random() * Math.min(300_000, 1000 * 2 ** attempts++));  // full jitter
  });
}

connect();
measure();
