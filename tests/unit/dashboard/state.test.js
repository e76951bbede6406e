// SPDX-License-Identifier: Apache-2.0
import { stored } from "./browser.js";

import assert from "node:assert/strict";
import test from "node:test";

import { ApiError, call, get } from "../../../adapters/http/dashboard/api.js";
import { ticks } from "../../../adapters/http/dashboard/chart.js";
import { openStream, parser } from "../../../adapters/http/dashboard/live.js";
import { Loader } from "../../../adapters/http/dashboard/loader.js";
import { link, parse } from "../../../adapters/http/dashboard/router.js";
import { lacking, learn, session, signIn, signOut } from "../../../adapters/http/dashboard/session.js";
import { spansOf } from "../../../adapters/http/dashboard/views/device_history.js";
import { sentence } from "../../../adapters/http/dashboard/words.js";

// Answers each request in turn with one of `answers`, and gives what was asked.
function gateway(...answers) {
  const asked = [];
  globalThis.fetch = async (url, options) => {
    asked.push({ url, ...options });
    const { status = 200, body = "{}", headers = {} } = answers[Math.min(asked.length, answers.length) - 1];
    return new Response(status === 204 ? null : body, { status, headers });
  };
  return asked;
}

test("an address is read as it was written, whatever is in an id", () => {
  for (const id of ["pump-1", "a b", "50%", "\u00fc?x=1&y", "a#b"]) {
    const { path, query } = parse(link("devices", id, { text: "x&y", label: ["a=b", "c"], none: "" }));
    assert.deepEqual(path, ["devices", id]);
    assert.deepEqual([...query], [["text", "x&y"], ["label", "a=b"], ["label", "c"]]);
  }
  assert.deepEqual(parse("").path, []);
  assert.deepEqual(parse("#/devices/50%").path, ["devices", "50%"], "what was cut short is taken as it is");
});

test("a query leaves out what is empty, repeats a list, and keeps nought", async () => {
  const asked = gateway({});
  await get("/devices", { label: ["a=b", "!c"], text: "", cursor: undefined, limit: 0, sort: null });
  assert.equal(asked[0].url, "/api/v1/devices?label=a%3Db&label=%21c&limit=0");
  assert.equal(asked[0].credentials, "omit");
});

test("signing in and out leaves nothing of the one before", () => {
  signIn("first");
  learn({ name: "ops", scope: "read" });
  session.tooLow.add("admin");
  assert.match(lacking("command"), /scope command/);
  signIn("second");
  assert.deepEqual([session.name, session.scope, session.tooLow.size, stored.get("fieldgate.token")], ["", "", 0, "second"]);
  assert.equal(lacking("admin"), "", "not known to lack anything");
  signOut("because");
  assert.deepEqual([session.token, session.message, stored.size], ["", "because", 0]);
});

test("a scope includes those below it, and one that is not known is none", () => {
  signIn("t");
  learn({ name: "a", scope: "command" });
  assert.deepEqual(["read", "command", "admin"].map((scope) => lacking(scope) === ""), [true, true, false]);
  learn({ name: "a", scope: "emperor" });
  assert.equal(session.scope, "");
});

test("a token that is refused is signed out, but not the one that has replaced it", async () => {
  signIn("old");
  gateway({ status: 401, body: '{"title":"who are you"}' });
  await assert.rejects(call("GET", "/overview"), { status: 401 });
  assert.equal(session.token, "");
  signIn("old");
  const late = call("GET", "/overview");
  signIn("new");
  await assert.rejects(late, { status: 401 });
  assert.equal(session.token, "new");
});

test("what a token lacks is learnt from the answer", async () => {
  signIn("t");
  gateway({ status: 403, headers: { "WWW-Authenticate": 'Bearer error="insufficient_scope", scope="admin"' } });
  await assert.rejects(call("DELETE", "/devices/a"), { status: 403 });
  assert.match(lacking("admin"), /scope admin/);
  assert.equal(lacking("command"), "");
});

test("errors say what the gateway said, or that it says nothing", async () => {
  gateway({ status: 409, body: '{"type":"/problems/queue-full","detail":"too many"}', headers: { "Retry-After": "7" } });
  await assert.rejects(call("POST", "/x"), (error) =>
    error instanceof ApiError && error.type === "queue-full" && error.message === "too many" && error.retryAfter === 7);
  gateway({ body: "<html>" });
  await assert.rejects(call("GET", "/x"), /not JSON/);
  globalThis.fetch = async () => { throw new TypeError("failed to fetch"); };
  await assert.rejects(call("GET", "/x"), { status: 0 });
});

test("a loader asks once at a time, and once more for who asked meanwhile", async () => {
  const open = [];
  const loader = new Loader(() => new Promise((resolve) => open.push(resolve)));
  loader.load();
  loader.load();
  assert.equal(open.length, 1);
  open[0]("first");
  await new Promise(setImmediate);
  assert.equal(open.length, 2);
  const running = loader.running;
  open[1]("second");
  await running;
  assert.equal(loader.data, "second");
  assert.equal(open.length, 2);
});

test("a loader that was stopped takes no late answer", async () => {
  let answer;
  const loader = new Loader(() => new Promise((resolve) => { answer = resolve; }));
  const running = loader.running;
  loader.stop();
  answer("late");
  await running;
  assert.equal(loader.data, null);
});

test("a loader asks again where the gateway or its store was away, and not where there is nothing to be had", async () => {
  const pace = async (every_ms, ...error) => {
    const loader = new Loader(async () => { throw new ApiError(...error); }, every_ms);
    await loader.running;
    const ms = loader.pace();
    loader.stop();
    return ms;
  };
  assert.deepEqual([await pace(0, 0, {}), await pace(0, 503, {}, 7), await pace(0, 404, {}), await pace(0, 501, {})], [3000, 7000, 0, 0]);
  assert.deepEqual([await pace(5000, 503, {}), await pace(2000, 404, {})], [5000, 3000]);
});

// What a stream says of itself, and its timers, which run when the test lets them.
async function watched(t, answer) {
  const timers = [];
  t.mock.method(globalThis, "setTimeout", (act, ms) => timers.push({ act, ms }));
  t.mock.method(globalThis, "clearTimeout", () => {});
  globalThis.fetch = answer;
  const told = [];
  const stream = openStream({}, { state: (...state) => told.push(state), event() {} });
  const upTo = async (count) => {
    for (let i = 0; i < 1000 && told.length < count; i += 1) await new Promise(setImmediate);
    return told;
  };
  return { stream, timers, upTo };
}

test("a stream that is not to be had says why until something comes, and one that breaks off is taken up again", async (t) => {
  const full = () => new Response('{"detail":"all 1 streams are in use"}', { status: 503 });
  const answers = [full(), full(), new Response("event: hello\ndata: {}\n\n"), full()];
  const { stream, timers, upTo } = await watched(t, async () => answers.shift());
  const absent = ["absent", "all 1 streams are in use"];
  assert.deepEqual(await upTo(2), [["connecting", ""], absent]);
  timers.at(-1).act();
  assert.deepEqual((await upTo(3)).slice(2), [absent], "it does not flicker while it is tried again");
  timers.at(-1).act();
  assert.deepEqual((await upTo(5)).slice(3), [["live", ""], ["waiting", ""]]);
  timers.at(-1).act();
  assert.deepEqual((await upTo(7)).slice(5), [["connecting", ""], absent]);
  stream.close();
});

test("a stream over which nothing comes is held back by somebody", async (t) => {
  const { stream, timers, upTo } = await watched(t, (url, { signal }) => new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
  }));
  timers[0].act();
  const [, [state, text]] = await upTo(2);
  assert.equal(state, "absent");
  assert.match(text, /proxy/);
  stream.close();
});

test("the timeline names the certificate that a device came with, and no other credential's", () => {
  const fields = { address: "192.0.2.7:4000", tls: "TLSv1.3", credential: "certificate", certificate_sha256: "0123456789abcdef".repeat(4),
                   certificate_subject: "CN=pump-1", certificate_not_after: "2027-03-01T12:00:00Z" };
  assert.equal(sentence({ kind: "connected", fields }).detail,
               "From 192.0.2.7:4000, over TLSv1.3, with a certificate (CN=pump-1, SHA-256 0123456789abcdef\u2026, valid until 2027-03-01).");
  assert.equal(sentence({ kind: "connected", fields: { address: "192.0.2.7:4000", credential: "token" } }).detail, "From 192.0.2.7:4000, with a token.");
});

test("events of the stream come whole, however they are cut", () => {
  const text = "id: 7\nevent: presence\ndata: {\"a\":1}\n\n: a comment\n\nevent: hello\r\ndata: {}\r\n\r\n";
  const read = (size) => {
    const events = [];
    const feed = parser((...event) => events.push(event));
    for (let at = 0; at < text.length; at += size) feed(text.slice(at, at + size));
    return events;
  };
  const whole = read(text.length);
  assert.equal(whole.length, 2);
  for (const size of [1, 2, 3, 7]) assert.deepEqual(read(size), whole);
});

test("ticks are round, within bounds, and as many as wanted at most", () => {
  assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(0, 1, 4).map((n) => n.toFixed(2)), ["0.00", "0.50", "1.00"]);
  assert.deepEqual(ticks(5, 5, 3).every(Number.isFinite), true);
});

test("each presence event lasts until the next, the last until now", () => {
  const events = [{ time: "2026-03-01T00:00:00Z", online: true }, { time: "2026-03-01T00:00:10Z", online: false }];
  const end = Date.parse("2026-03-01T00:01:00Z");
  assert.deepEqual(spansOf(events, end).map(([from, to, online]) => [to - from, online]), [[10_000, true], [50_000, false]]);
});
