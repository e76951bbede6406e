#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
//
// A client of the HTTP API: Node 18 or later with its own fetch, nothing else.
//
//   export FIELDGATE_API=http://127.0.0.1:8080 FIELDGATE_API_TOKEN=...
//   node docs/examples/api_client.mjs list [NAME=VALUE...]        all devices; online=true, label=site=berlin ...
//   node docs/examples/api_client.mjs command DEVICE NAME [JSON]  send it and wait for its end
//   node docs/examples/api_client.mjs follow [KIND...]            what happens, as it happens, until Ctrl-C

import { randomUUID } from "node:crypto";

const api = (process.env.FIELDGATE_API || "http://127.0.0.1:8080").replace(/\/+$/, "") + "/api/v1";
const token = process.env.FIELDGATE_API_TOKEN || "";
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// What the gateway refused, with the problem document that says why (RFC 9457).
class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `status ${status}`);
    this.status = status;
  }
}

// The answer, its body not yet read.
async function ask(method, path, { body, headers = {}, signal = AbortSignal.timeout(30_000) } = {}) {
  const more = body === undefined ? {} : { "Content-Type": "application/json" };
  const answer = await fetch(api + path, {
    method, signal, headers: { Authorization: `Bearer ${token}`, ...more, ...headers },
    body: body === undefined ? undefined : JSON.stringify(body), redirect: "error",
  });
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

// Every device, page after page: `next_cursor` leads to the next one, until it is null.
async function* devices(conditions) {
  let cursor = "";
  do {
    const query = new URLSearchParams([...conditions, ["limit", "500"], ...(cursor ? [["cursor", cursor]] : [])]);
    const page = await (await ask("GET", `/devices?${query}`)).json();
    yield* page.devices;
    cursor = page.next_cursor;
  } while (cursor);
}

// Sends it and waits for its end. The Idempotency-Key makes it safe to ask again when the answer was lost: the same
// key is the same command, never a second one.
async function command(device, name, payload = null, patience = 60_000) {
  const headers = { "Idempotency-Key": randomUUID() };
  const deadline = Date.now() + patience;
  let sent;
  while (!sent) {
    try {
      sent = await (await ask("POST", `/devices/${device}/commands?wait=10s`, { body: { name, payload }, headers })).json();
    } catch (error) {
      // 5xx, or no answer at all: ask again. What was refused (4xx) stays refused.
      if ((error.status ?? 500) < 500 || Date.now() > deadline) throw error;
      await sleep(1000);
    }
  }
  while (!sent.final && Date.now() < deadline) {  // 202: not at its end yet
    sent = await (await ask("GET", `/commands/${sent.id}?wait=10s`)).json();
  }
  return sent;
}

// Lines of an answer that does not end. A minute of silence is a dead connection: the gateway gives a sign of life
// every 15 s.
async function* lines(body, controller) {
  const decoder = new TextDecoder();
  let rest = "";
  let silence;
  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(() => controller.abort(new Error("a minute of silence")), 60_000);
  };
  try {
    heard();
    for await (const piece of body) {
      heard();
      const parts = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = parts.pop();
      yield* parts;
    }
  } finally {
    clearTimeout(silence);
  }
}

// [event, data] of the live stream, for ever. After a break it goes on where it was: Last-Event-ID.
async function* follow(kinds) {
  let lastId = "";
  let attempts = 0;
  const query = kinds.length ? `?kinds=${kinds.join(",")}` : "";
  for (;;) {
    try {
      const controller = new AbortController();
      const headers = lastId ? { "Last-Event-ID": lastId } : {};
      const answer = await ask("GET", `/stream${query}`, { headers, signal: controller.signal });
      let event = {};
      for await (const line of lines(answer.body, controller)) {
        attempts = 0;
        const colon = line.indexOf(": ");
        if (colon > 0) {
          event[line.slice(0, colon)] = line.slice(colon + 2);
        } else if (line === "") {  // an empty line ends an event
          lastId = event.id ?? lastId;
          if (event.data) yield [event.event ?? "message", JSON.parse(event.data)];
          event = {};
        }
      }
    } catch (error) {
      if (error.status >= 400 && error.status < 500) throw error;
      console.error("again in a moment:", error.message);
    }
    await sleep(100 + Math.random() * Math.min(30_000, 1000 * 2 ** attempts++));
  }
}

const [what, ...rest] = process.argv.slice(2);
try {
  if (what === "list") {
    const conditions = rest.map((one) => [one.slice(0, one.indexOf("=")), one.slice(one.indexOf("=") + 1)]);
    for await (const one of devices(conditions)) console.log(one.id, one.online ? "online" : "offline", one.last_seen);
  } else if (what === "command" && (rest.length === 2 || rest.length === 3)) {
    const done = await command(rest[0], rest[1], rest[2] === undefined ? null : JSON.parse(rest[2]));
    console.log(done.state, JSON.stringify(done.result && done.result.payload));
    process.exitCode = done.state === "succeeded" ? 0 : 1;
  } else if (what === "follow") {
    for await (const [event, data] of follow(rest)) console.log(event, JSON.stringify(data));
  } else {
    console.error("usage: api_client.mjs list [NAME=VALUE...] | command DEVICE NAME [JSON] | follow [KIND...]");
    process.exitCode = 64;
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
