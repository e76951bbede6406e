// SPDX-License-Identifier: Apache-2.0
//
// The live stream (server-sent events, https://html.spec.whatwg.org/#server-sent-events), read with fetch because the
// token goes into a header.

import { check, rawFetch } from "./api.js";
import { session } from "./session.js";

const BACKOFF_MS_MAX = 15000;
const ANSWER_MS_MAX = 10000;  // it says hello at once: what does not let that through lets nothing through
const SILENCE_MS_MAX = 60000;  // the gateway sends a comment every few seconds

// Takes text in any pieces, gives events {id, event, data}.
export function parser(emit) {
  let rest = "";
  let fields = { event: "message", data: [] };
  let id = "";
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (fields.data.length) emit({ id, event: fields.event, data: fields.data.join("\n") });
        fields = { event: "message", data: [] };
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "data") fields.data.push(value);
      else if (name === "event") fields.event = value;
      else if (name === "id" && !value.includes("\0")) id = value;
    }
  };
}

// Calls on.event(kind, data) until close(); on.state("connecting" | "live" | "waiting" | "absent" | "off", text). Comes
// back by itself, where it left off. "absent": it was tried in vain, and is tried again; `text` says why. "off": there is
// no such stream here, or not for this token. Not read while the page is hidden or put away, nor while `held` (at first)
// or after pause(): a browser has but six connections to a host over HTTP/1.1, for all of its tabs.
export function openStream(query, on, held = false) {
  let closed = false;
  let away = false;
  let lastId = "";
  let failures = 0;  // attempts in a row that brought nothing
  let abort = null;
  let timer = 0;
  let wake = null;

  async function read(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const feed = parser(({ id, event, data }) => {
      if (id) lastId = id;
      if (event === "reset") lastId = "";
      let value = null;
      try {
        value = JSON.parse(data);
      } catch {
        return;
      }
      if (!closed) on.event(event, value);
    });
    for (let first = true; ; first = false) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE_MS_MAX);
      failures = 0;
      if (first) on.state("live", "");
      feed(value);
    }
  }

  const idle = () => held || away || document.hidden;

  // What waits goes on, or what runs stops.
  function turn(event) {
    if (event?.type.startsWith("page")) away = event.type === "pagehide";
    if (idle()) abort?.abort();
    wake?.();
  }

  const sleep = (ms) => new Promise((resolve) => {
    const id = ms === Infinity ? 0 : setTimeout(resolve, ms);
    wake = () => {
      clearTimeout(id);
      resolve();
    };
  });

  async function run() {
    while (!closed) {
      if (idle()) {
        on.state("waiting", "");
        await sleep(Infinity);
        continue;
      }
      if (!failures) on.state("connecting", "");
      let text = "";
      abort = new AbortController();
      const token = session.token;
      try {
        const headers = { Accept: "text/event-stream", ...(lastId && { "Last-Event-ID": lastId }) };
        timer = setTimeout(() => abort.abort(), ANSWER_MS_MAX);
        failures += 1;
        await read(await check(await rawFetch("/stream", { query, headers, signal: abort.signal }), token));
      } catch (error) {
        if (closed) return;
        if ([400, 401, 403, 404, 501].includes(error.status)) return on.state("off", error.message);
        text = error.status ? error.message
          : error.name === "AbortError" ? "Nothing comes over the live stream. Is there a proxy that holds it back?" : "The gateway does not answer.";
      } finally {
        clearTimeout(timer);
      }
      if (idle()) failures = 0;
      if (closed || idle()) continue;
      const ms = Math.min(BACKOFF_MS_MAX, 500 * 2 ** Math.min(failures, 5)) * (0.5 + Math.random() / 2);
      if (failures) on.state("absent", text);
      else on.state("waiting", "");
      await sleep(ms);
    }
  }

  function leave() {
    closed = true;
    document.removeEventListener("visibilitychange", turn);
    window.removeEventListener("pagehide", turn);
    window.removeEventListener("pageshow", turn);
    abort?.abort();
    wake?.();
  }

  document.addEventListener("visibilitychange", turn);
  window.addEventListener("pagehide", turn);
  window.addEventListener("pageshow", turn);
  run();
  return {
    close: leave,
    pause() {
      held = true;
      turn();
    },
    resume() {
      held = false;
      turn();
    },
  };
}
