// SPDX-License-Identifier: Apache-2.0
//
// What goes on while somebody is signed in, whatever the page: the overview every two seconds, its counters turned into
// rates over the last five minutes, and the fleet's live stream.

import { get } from "./api.js";
import { now, setClock } from "./format.js";
import { openStream } from "./live.js";
import { Loader } from "./loader.js";
import { learn } from "./session.js";
import { redraw } from "./view.js";

const EVERY_MS = 2000;
export const WINDOW_MS = 5 * 60 * 1000;
const EVENTS_MAX = 30;

const sum = (counts) => Object.values(counts ?? {}).reduce((all, n) => all + Number(n), 0);

export const pulse = { loader: null, history: [], events: [], stream: "off" };
let stream = null;

const sample = (o) => ({
  at: Date.parse(o.time), uptime: o.process?.uptime_seconds ?? 0, records: sum(o.records), kinds: o.records ?? {}, bytes: o.bytes_in ?? 0,
  admitted: o.admitted ?? 0, ends: o.ends ?? {}, endsAll: sum(o.ends), rejects: o.rejects ?? {}, cpu: o.process?.cpu_seconds ?? 0,
  online: o.devices?.online ?? 0,
});

function take(overview) {
  setClock(overview.time);
  learn(overview.token ?? {});
  const next = sample(overview);
  const last = pulse.history.at(-1);
  if (last && (next.uptime < last.uptime || next.records < last.records || next.at <= last.at)) pulse.history = [];
  pulse.history.push(next);
  while (pulse.history[0].at < next.at - WINDOW_MS - EVERY_MS) pulse.history.shift();
  return overview;
}

export function startPulse() {
  pulse.history = [];
  pulse.events = [];
  pulse.loader = new Loader(async (signal) => take(await get("/overview", {}, signal)), EVERY_MS);
  stream = openStream({ kinds: "presence" }, {
    state(state) {
      pulse.stream = state;
      redraw();
    },
    event(kind, data) {
      if (kind === "presence") {
        pulse.events = [{ ...data, at: Date.parse(data.time) || now(), number: (pulse.events[0]?.number ?? 0) + 1 }, ...pulse.events].slice(0, EVENTS_MAX);
      }
      redraw();
    },
  }, true);
}

// Comings and goings are followed where they are shown; those of meanwhile come when it is taken up again.
export const followFleet = () => stream.resume();
export const leaveFleet = () => stream?.pause();

export function stopPulse() {
  pulse.loader?.stop();
  stream?.close();
  pulse.loader = stream = null;
}

// Why there is no registry here, for people; "": there is one, or it is not known yet.
export const lackingStore = () => (pulse.loader?.data?.store === null ? "This gateway keeps no store." : "");

// Points [ms, per second] of a counter.
export function rates(of) {
  const out = [];
  for (let i = 1; i < pulse.history.length; i += 1) {
    const [before, after] = [pulse.history[i - 1], pulse.history[i]];
    const seconds = (after.at - before.at) / 1000;
    // A gap, such as while the page was hidden, is one honest average.
    out.push([after.at, Math.max(0, of(after) - of(before)) / seconds]);
  }
  return out;
}

export const lastRate = (of) => rates(of).slice(-3).reduce((all, [, value], _, { length }) => all + value / length, 0);

// How much counters by name rose within the window, the largest first; and how long that window is.
export function risen(of) {
  const [first, last] = [pulse.history[0], pulse.history.at(-1)];
  if (!last) return { span_ms: 0, rows: [] };
  const before = of(first);
  const rows = Object.entries(of(last)).map(([name, n]) => ({ name, total: Number(n), recent: Number(n) - Number(before[name] ?? 0) }));
  return { span_ms: last.at - first.at, rows: rows.filter((row) => row.total > 0).sort((a, b) => b.recent - a.recent || b.total - a.total) };
}
