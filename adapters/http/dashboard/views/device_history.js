// SPDX-License-Identifier: Apache-2.0
//
// What happened to a device: its flight recorder, and its presence log.

import { get } from "../api.js";
import { strip } from "../chart.js";
import { attempt } from "../dialog.js";
import { about, duration, now } from "../format.js";
import { Loader } from "../loader.js";
import { at, badge, button, card, empty, icon, loaded, table } from "../ui.js";
import { h, redraw } from "../view.js";
import { reasonLong, reasonShort, reasonTone, sentence } from "../words.js";

const PAGE = 50;
const PRESENCE_PAGES_MAX = 10;
const SHOWN = 100;
const DAY_MS = 24 * 3600 * 1000;

const KINDS = [["", "Everything"], ["connection", "Connections"], ["trouble", "Refusals, throttles, rejects"], ["command", "Commands"], ["change", "Registry and twin"]];
const GROUP = { connected: "connection", disconnected: "connection", taken_over: "connection", refused: "trouble", throttled: "trouble", rejected: "trouble", dropped: "trouble", command: "command", twin: "change", registry: "change" };

export function timelineTab(context) {
  const loader = new Loader((signal) => get(`${context.path}/timeline`, { limit: PAGE }, signal), 5000);
  const older = { entries: [], next: undefined, busy: false };
  let kind = "";

  async function more() {
    older.busy = true;
    redraw();
    const page = await attempt(() => get(`${context.path}/timeline`, { limit: PAGE, cursor: older.next ?? loader.data.next_cursor }));
    older.busy = false;
    if (page) {
      older.entries.push(...page.entries);
      older.next = page.next_cursor ?? "";
    }
    redraw();
  }

  function line(entry) {
    const { tone, title, detail } = sentence(entry);
    return h("li", { key: entry.number, class: tone }, h("span.event-icon", null, icon(tone)),
      h("div", null, h("p.event-title", null, title), detail ? h("p.event-detail", null, detail) : null), h("span.event-time", null, at(entry.time)));
  }

  function view({ entries, next_cursor: next }) {
    const seen = new Set(entries.map((entry) => entry.number));
    const all = [...entries, ...older.entries.filter((entry) => !seen.has(entry.number))].filter((entry) => !kind || GROUP[entry.kind] === kind);
    const cursor = older.next ?? next;
    return [
      all.length ? h("ol.timeline", null, all.map(line)) : empty(kind ? "Nothing of that kind" : "Nothing yet", kind ? "Look at everything, or further back." : "Every connect, refusal, takeover, throttle, command and change is written down here."),
      cursor ? h("p.center", null, button("Further back", more, { busy: older.busy })) : null,
    ];
  }

  return {
    shown: loader.load,
    leave: () => loader.stop(),
    view: () => card("Timeline", { note: "newest first", actions: h("select", { "aria-label": "Kind of entries", value: kind, onchange: (event) => {
      kind = event.target.value;
      redraw();
    } }, KINDS.map(([value, text]) => h("option", { value, selected: value === kind }, text))) }, loaded(loader, view, 8)),
  };
}

// The newest events, oldest first.
async function presence(path, signal) {
  let cursor = "";
  let events = [];
  for (let page = 0; page < PRESENCE_PAGES_MAX; page += 1) {
    const answer = await get(`${path}/presence`, { limit: 500, cursor }, signal);
    events = events.concat(answer.events);
    cursor = answer.next_cursor;
    if (!cursor) return { events: events.reverse(), complete: true };
  }
  return { events: events.reverse(), complete: false };
}

// [from, to, online] of consecutive events.
export function spansOf(events, end) {
  return events.map((event, i) => [Date.parse(event.time), i + 1 < events.length ? Date.parse(events[i + 1].time) : end, event.online]);
}

export function presenceTab(context) {
  const loader = new Loader((signal) => presence(context.path, signal));
  const listener = (kind) => kind === "presence" && loader.load();
  context.listeners.add(listener);

  const columns = [
    { title: "When", cell: (row) => at(row.event.time) },
    { title: "What", cell: (row) => badge(row.event.online ? "good" : reasonTone(row.event.reason), row.event.online ? "online" : "offline") },
    { title: "Why", cell: (row) => (row.event.reason ? h("span", { title: reasonLong(row.event.reason) }, reasonShort(row.event.reason)) : h("span.muted", null, "\u2013")) },
    { title: "For", class: "num", cell: (row) => (row.now ? `${about(row.ms)} so far` : duration(row.ms)) },
    { title: "Node", cell: (row) => row.event.node },
    { title: "Epoch", class: "num", cell: (row) => row.event.epoch },
  ];

  function view({ events, complete }) {
    if (!events.length) return empty("Never connected", "Each time the device comes and goes is logged here, with the reason.");
    const end = now();
    const spans = spansOf(events, end);
    const rows = events.map((event, i) => ({ event, ms: spans[i][1] - spans[i][0], now: i === events.length - 1 })).reverse().slice(0, SHOWN);
    const day = spans.filter(([, to]) => to > end - DAY_MS);
    const covered = day.reduce((all, [from, to]) => all + to - Math.max(from, end - DAY_MS), 0);
    const online = day.reduce((all, [from, to, on]) => all + (on ? to - Math.max(from, end - DAY_MS) : 0), 0);
    const share = covered ? (online / covered) * 100 : 0;
    return [
      h("div.availability", null, h("p.line", null, h("strong", null, `${share.toFixed(share > 99 && share < 100 ? 2 : 1)} % online`), h("span.muted", null, covered < DAY_MS - 60000 ? `of the ${about(covered)} that are known of the last day` : "of the last 24 hours")),
        strip(day, end - DAY_MS, end, `Online ${share.toFixed(1)} percent of the time known in the last 24 hours`),
        h("p.strip-scale.muted.small", { "aria-hidden": "true" }, h("span", null, "24 h ago"), h("span", null, "now"))),
      table("Presence log", columns, rows, (row) => row.event.number),
      complete ? null : h("p.muted.small", null, "There is more than this page reads; the API has all of it."),
    ];
  }

  return {
    shown: loader.load,
    leave() {
      loader.stop();
      context.listeners.delete(listener);
    },
    view: () => card("Presence log", { note: "newest first" }, loaded(loader, view, 6)),
  };
}
