// SPDX-License-Identifier: Apache-2.0
//
// What a device measures, as it comes in, and the connection it comes over.

import { chart } from "../chart.js";
import { bytes, count, decodeText, measure, now, number } from "../format.js";
import { badge, button, card, definition, empty, table, when } from "../ui.js";
import { h, redraw } from "../view.js";

const [SPAN_MS_MIN, SPAN_MS_MAX] = [30 * 1000, 3 * 60 * 1000];
const POINTS_MAX = 2000;
const CHARTS = 6;
const METRICS_MAX = 200;

// Last values by name, and the points of the numeric ones.
export class Metrics {
  constructor() {
    this.byName = new Map();
  }

  metric(name) {
    let metric = this.byName.get(name);
    if (!metric && this.byName.size < METRICS_MAX) {
      metric = { name, points: [], at: -Infinity, chart: {} };
      this.byName.set(name, metric);
    }
    return metric;
  }

  put({ name, type, value, quality }, at) {
    const metric = this.metric(name);
    if (!metric || !Number.isFinite(at) || at <= metric.at) return;
    Object.assign(metric, { at, type, value, quality: quality ?? "good" });
    const numeric = typeof value === "number" ? value : type === "bool" ? Number(value) : type === "int" ? Number(value) : null;
    if (numeric === null || !Number.isFinite(numeric)) return;
    metric.points.push([at, numeric]);
    if (metric.points.length > POINTS_MAX) metric.points.splice(0, POINTS_MAX / 4);
  }

  // Of GET /devices/{id}.
  seed(lastValues) {
    for (const last of lastValues) this.put(last, Date.parse(last.time));
  }

  // A record of the live stream, as docs/mqtt.md has it.
  take(record) {
    const telemetry = record.telemetry ?? record;
    if (telemetry.historical) return;
    for (const sample of telemetry.samples ?? []) {
      const at = sample.unix_ms ?? record.received_unix_ms ?? now();
      for (const metric of sample.metrics ?? []) this.put(metric, Number(at));
    }
  }

  sorted() {
    return [...this.byName.values()].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  }
}

const shown = ({ type, value }) => {
  if (type === "bool") return value === true || value === "true" ? "true" : "false";
  if (type === "bytes") return decodeText(value) ?? `${Math.floor((value.length * 3) / 4)} bytes`;
  return typeof value === "number" ? measure(value) : String(value);
};

const QUALITY = { good: "good", uncertain: "warn", bad: "bad" };
const STREAM = { live: ["good", "live"], connecting: ["info", "connecting"], waiting: ["warn", "reconnecting"], absent: ["warn", "every 3 s"],
                 off: ["idle", "every 3 s"] };

const COLUMNS = [
  { title: "Metric", class: "id-cell", cell: (m) => h("span.id", null, m.name) },
  { title: "Value", class: "num", cell: (m) => h("span.value", null, shown(m)) },
  { title: "Quality", cell: (m) => badge(QUALITY[m.quality] ?? "idle", m.quality) },
  { title: "When", cell: (m) => when(new Date(m.at).toISOString()) },
];

function connection(d) {
  const { live } = d;
  if (!live) return card("Connection", {}, empty(d.online ? "No word from its shard" : "Not connected", d.online ? "The gateway is busy. This page asks again by itself." : "What the connection is like is shown while the device is online."));
  return card("Connection", {}, definition([
    ["Address", live.address], ["TLS", live.tls ? `${live.tls.version}, ${live.tls.cipher}${live.tls.resumed ? ", resumed" : ""}` : "none (plain text)"],
    ["Credential", live.credential], ["Node", d.node], ["Epoch", d.epoch], ["Acknowledged when", live.ack_stage],
    ["Heartbeat", `${live.heartbeat_seconds} s`], ["Received", `${count(live.frames_received, "frame")}, ${bytes(live.bytes_received)}`],
    ["Unacknowledged", `${number(live.unacked_frames)} of ${number(live.credit_frames)} granted`], ["Last data", when(d.last_data)]]),
  (d.streams ?? []).length ? [h("h3", null, "Streams"), h("ul.rows", null, d.streams.map((stream) => h("li", { key: stream.id },
    h("div.row-main", null, h("span.id", null, stream.id), h("span.muted", null, `received through ${stream.received_through}, forwarded through ${stream.forwarded_through}`)),
    h("span.muted.small", null, `${count(stream.gaps, "gap")}, ${count(stream.duplicates, "duplicate")}`))))] : null);
}

function events(context) {
  if (!context.events.length) return null;
  const tone = { warning: "warn", error: "bad", critical: "bad" };
  return card("Events", { note: "since you opened this page" }, h("ul.rows", null, context.events.map((record, i) => {
    const event = record.event ?? record;
    return h("li", { key: `${record.stream} ${record.seq ?? i}` }, h("div.row-main", null, h("span.id", null, event.name ?? record.name), h("span.muted", null, event.text ?? "")),
      badge(tone[event.severity] ?? "info", event.severity ?? "event"), when(new Date(event.unix_ms ?? record.received_unix_ms ?? now()).toISOString()));
  })));
}

export function liveTab(context) {
  let all = false;
  return {
    view(d) {
      const metrics = context.metrics.sorted();
      const numeric = metrics.filter((metric) => metric.points.length);
      const drawn = all ? numeric : numeric.slice(0, CHARTS);
      const [tone, text] = STREAM[context.stream];
      const end = now();
      // As much as is known, within bounds.
      const first = Math.min(...numeric.map((metric) => metric.points.find(([at]) => at > end - SPAN_MS_MAX)?.[0] ?? end));
      const span_ms = Math.max(SPAN_MS_MIN, end - first);
      return [
        metrics.length ? null : card("Live", { note: badge(tone, text) }, empty("No measurements yet", d.online ? "They are shown as soon as the device sends telemetry." : "The device is offline, and what it said before is not kept over a restart of the gateway.")),
        drawn.length ? h("div.charts", null, drawn.map((metric) => h("section.card.chart-card", { key: metric.name, "aria-label": metric.name },
          h("header.card-head", null, h("h2", null, metric.name), h("span.reading-now", null, shown(metric))),
          chart(metric.chart, { name: `${metric.name} over the last minutes`, points: metric.points, end, span_ms, zero: metric.type === "bool" })))) : null,
        numeric.length > CHARTS ? h("p.center", null, button(all ? "Fewer charts" : `All ${numeric.length} charts`, () => {
          all = !all;
          redraw();
        })) : null,
        h("div.grid.halves", null,
          metrics.length ? card("Last values", { note: badge(tone, text, context.streamText || undefined), class: "flush" }, table("Last values", COLUMNS, metrics, (m) => m.name),
            d.truncated ? h("p.muted.small.pad", null, "Some values had to go for want of room.") : null) : null,
          connection(d), events(context)),
      ];
    },
  };
}
