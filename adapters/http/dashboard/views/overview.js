// SPDX-License-Identifier: Apache-2.0
//
// The fleet and the gateway at a glance, moving by itself.

import { chart, sparkline } from "../chart.js";
import { about, bytes, count, duration, number, rate, short } from "../format.js";
import { followFleet, lastRate, leaveFleet, pulse, rates, risen, WINDOW_MS } from "../pulse.js";
import { link } from "../router.js";
import { badge, card, definition, empty, failure, icon, meter, skeleton, when } from "../ui.js";
import { h } from "../view.js";
import { LANE, reasonLong, reasonShort, reasonTone } from "../words.js";

const tile = (title, value, { note, spark, href, tone = "" }) =>
  h(href ? "a.tile" : "div.tile", { href, class: tone }, h("span.tile-title", null, title), h("span.tile-value", null, value),
    h("span.tile-note", null, note ?? "\u00a0"), spark ?? null);

function tiles(o) {
  const d = o.devices;
  const share = d.known ? d.online / d.known : 0;
  const offline = d.known - d.online;
  const records = rates((s) => s.records);
  return h("div.tiles", null,
    tile("Online", short(d.online), { href: link("devices", { online: "true" }), note: `of ${short(d.known)} known`,
      spark: h("span.share", { role: "img", "aria-label": `${Math.round(share * 100)} percent online`, css: { "--share": String(share) } }, h("span", null)) }),
    tile("Offline", short(offline), { href: link("devices", { online: "false", sort: "-since" }), note: d.registered === undefined || d.registered === null ? "known, not connected" : `${short(d.registered)} registered` }),
    tile("Inactive", short(d.inactive), { href: link("devices", { inactive: "true" }), note: "online, but silent", tone: d.inactive ? "attention" : "" }),
    tile("Records/s", rate(lastRate((s) => s.records)), { note: `${bytes(lastRate((s) => s.bytes))}/s received`, spark: sparkline(records, "Records per second, last five minutes") }),
    tile("Connects/min", rate(lastRate((s) => s.admitted) * 60), { note: `${short(o.connections?.handshakes ?? 0)} shaking hands`, spark: sparkline(rates((s) => s.admitted), "Connects per second, last five minutes") }),
    tile("Disconnects/min", rate(lastRate((s) => s.endsAll) * 60), { note: `${short(o.connections?.open ?? d.sessions)} connections open`, spark: sparkline(rates((s) => s.endsAll), "Disconnects per second, last five minutes") }));
}

function banner(o) {
  const reasons = o.readiness?.reasons ?? [];
  if (!reasons.length) return null;
  const blocked = !o.readiness.ready;
  return h("div.banner", { class: blocked ? "bad" : "warn", role: "status" }, icon(blocked ? "bad" : "warn"),
    h("div", null, h("p.banner-title", null, blocked ? "This gateway takes no new devices" : "Needs attention"),
      h("ul", null, reasons.map((reason) => h("li", { key: reason.name }, reason.text || reason.name.replaceAll("_", " "))))));
}

function ends() {
  const { span_ms, rows } = risen((s) => s.ends);
  const shown = rows.filter((row) => row.recent > 0);
  const max = Math.max(1, ...shown.map((row) => row.recent));
  return card("Why devices left", { note: span_ms ? `in the last ${about(span_ms)}` : "" },
    shown.length ? h("ul.bars", null, shown.slice(0, 8).map((row) => h("li", { key: row.name, title: `Because ${reasonLong(row.name)}; ${count(row.total, "time")} since the gateway started` },
      h("a", { href: link("devices", { online: "false", reason: row.name }) }, reasonShort(row.name)), h("span.bar", { class: reasonTone(row.name), "aria-hidden": "true" }, h("span", { css: { "--share": String(row.recent / max) } })),
      h("span.value", null, number(row.recent)))))
    : empty("Nobody has left", rows.length ? `Since the gateway started: ${rows.slice(0, 3).map((row) => `${reasonShort(row.name).toLowerCase()} ${number(row.total)}`).join(", ")}.` : "Disconnects are counted here by their reason."));
}

const feedState = { live: ["good", "live"], connecting: ["info", "connecting"], waiting: ["warn", "reconnecting"], absent: ["warn", "reconnecting"],
                    off: ["idle", "not available"] };

function feed() {
  const [tone, text] = feedState[pulse.stream];
  return card("Comings and goings", { note: badge(tone, text) },
    pulse.events.length ? h("ul.feed", null, pulse.events.slice(0, 10).map((event) => h("li", { key: event.number },
      h(`span.feed-dot.${event.online ? "good" : reasonTone(event.reason)}`, { "aria-hidden": "true" }), h("a.id", { href: link("devices", event.device) }, event.device),
      h("span.muted", null, event.online ? "came online" : reasonShort(event.reason ?? "").toLowerCase()), when(new Date(event.at).toISOString()))))
    : empty("All quiet", "Each device that comes or goes is shown here as it happens."));
}

function lanes(o) {
  if (!o.lanes?.length) return card("Lanes", {}, empty("No lanes", "Nothing is sent north: add an MQTT broker or a webhook to the configuration."));
  return card("Lanes", { actions: h("a", { href: link("lanes") }, "All lanes") }, h("ul.rows", null, o.lanes.map((lane) => {
    const [word, tone] = lane.held ? ["Paused", "warn"] : LANE[lane.state] ?? [lane.state, "warn"];
    return h("li", { key: lane.name }, h("div.row-main", null, h("a.id", { href: link("lanes") }, lane.name), h("span.muted", null, `${lane.type} \u00b7 ${lane.destination}`)),
      badge(tone, word, lane.last_error ?? undefined),
      h("span.value", null, lane.pending_records ? `${short(lane.pending_records)} waiting, oldest ${about(lane.oldest_pending_ms)}` : "nothing waiting"));
  })));
}

function room(o) {
  const { uplink, spool, store } = o;
  return card("Buffers and store", { actions: o.dead_letters?.count ? h("a", { href: link("dead-letters") }, count(o.dead_letters.count, "dead letter")) : null },
    uplink ? meter("Uplink log", uplink.bytes, uplink.bytes_max, `${bytes(uplink.bytes)} of ${bytes(uplink.bytes_max)}, ${count(uplink.records, "record")}`) : null,
    spool ? meter(`Spool on disk (${spool.state})`, spool.bytes, spool.bytes_max, `${bytes(spool.bytes)} of ${bytes(spool.bytes_max)}`)
          : h("p.muted.small", null, "No spool: records wait in memory alone."),
    definition([["Overload level", badge(uplink?.level === "normal" || !uplink?.level ? "good" : "bad", uplink?.level ?? "normal")],
                ["Dead letters", o.dead_letters ? `${number(o.dead_letters.count)} (${bytes(o.dead_letters.bytes)})` : null],
                ["Store", store ? badge(store.available ? "good" : "bad", store.available ? "available" : "not answering", store.last_error ?? undefined) : "none"],
                store ? ["Kept in", store.description] : null, store ? ["Waiting for the store", number(store.waiting)] : null]));
}

function node(o) {
  const history = pulse.history;
  const cpu = history.length > 1 ? lastRate((s) => s.cpu) * 100 : null;
  const soon = (days) => (days < 7 ? "bad" : days < 30 ? "warn" : "good");
  const name = typeof o.node === "string" ? o.node : o.node?.name;
  return card("This node", { actions: h("a", { href: link("nodes") }, "Details") },
    definition([["Name", name], o.node?.version ? ["Version", o.node.version] : null, ["Up for", duration((o.process?.uptime_seconds ?? 0) * 1000)],
                ["Memory", bytes(o.process?.memory_bytes)], ["CPU", cpu === null ? null : `${cpu.toFixed(0)} % of a core`],
                ["Sessions", number(o.devices.sessions)], ["Stream readers", number(o.stream?.subscribers)]]),
    h("h3", null, "Certificates"),
    o.certificates?.length ? h("ul.rows", null, o.certificates.map((one) => {
      const days = Math.floor((Date.parse(one.not_after) - Date.parse(o.time)) / 86400000);
      return h("li", { key: one.name }, h("span.id", null, one.name), badge(soon(days), days < 0 ? "expired" : days === 0 ? "expires today" : `${count(days, "day")} left`, `Valid until ${one.not_after}`));
    })) : h("p.muted.small", null, "No certificates in use."));
}

export function overview() {
  followFleet();
  return { title: "Overview", leave: leaveFleet, view };
}

function view() {
  const { data: o, error, load } = pulse.loader;
  if (!o) return error ? failure(error, load) : [h("div.tiles", null, Array.from({ length: 6 }, () => h("div.tile", null, skeleton(2)))), card("Traffic", {}, h("div.chart-room", null, skeleton(3)))];
  const end = pulse.history.at(-1)?.at ?? 0;
  // As much as is known, but no less than a minute.
  const span = Math.min(WINDOW_MS, Math.max(60000, end - (pulse.history[0]?.at ?? end)));
  return [
    error ? failure(error, load) : null, banner(o), tiles(o),
    h("div.grid", null,
      card("Traffic", { note: "records per second", class: "span-2" }, chart(traffic, { name: "Records per second", points: rates((s) => s.records), end, span_ms: span, zero: true, unit: rate, scale: rate, height: 220 })),
      ends(), lanes(o), feed(), room(o), node(o)),
  ];
}

const traffic = {};
