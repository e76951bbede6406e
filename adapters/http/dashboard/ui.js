// SPDX-License-Identifier: Apache-2.0
//
// The parts that pages are made of.

import { lacking } from "./session.js";
import { ago, exactly, moment } from "./format.js";
import { h, redraw } from "./view.js";

const ICONS = {
  overview: "M4 13h6V4H4zm10 7h6V4h-6zM4 20h6v-3H4z",
  devices: "M7 3h10v18H7zM10.5 17.5h3M7 6.5h10",
  lanes: "M4 7h13l-3-3M20 17H7l3 3",
  letters: "M3 6h18v12H3zM3 7l9 7 9-7",
  nodes: "M4 4h16v6H4zm0 10h16v6H4zM8 7h.01M8 17h.01",
  refusals: "M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6zM9 9l6 6M15 9l-6 6",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  out: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5L20 20",
  close: "M6 6l12 12M18 6L6 18",
  good: "M5 12.5l4.5 4.5L19 7",
  bad: "M12 7v6M12 16.5v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  warn: "M12 9v4.5M12 17v.2M12 3.5L2.5 20h19z",
  info: "M12 11v6M12 7.5v.2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  idle: "M7 12h10",
  plus: "M12 5v14M5 12h14",
  back: "M14 6l-6 6 6 6",
};

export const icon = (name) =>
  h("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, h("path", { d: ICONS[name] ?? ICONS.info }));

export const badge = (tone, text, title) => h(`span.badge.${tone}`, { title }, h("span.dot", { "aria-hidden": "true" }), text);

export const when = (time, how = ago) =>
  time ? h("time", { datetime: time, title: exactly(time) }, how(time)) : h("span.muted", null, "never");
export const at = (time) => when(time, moment);

// options: kind ("primary", "danger", "quiet"), scope (what the token must be good for), busy, reason (why it is not
// possible), icon. A button that is not possible stays reachable and says why.
export function button(label, onclick, options = {}) {
  const { kind = "", scope = "", busy = false, reason = "", type = "button", name, iconOnly, glyph } = options;
  const why = reason || (scope ? lacking(scope) : "");
  const off = Boolean(why) || busy;
  return h("button", {
    key: options.key, type, class: `${kind}${iconOnly ? " icon-only" : ""}`, title: why || (iconOnly ? label : undefined),
    "aria-disabled": off ? "true" : null, "aria-busy": busy ? "true" : null, "aria-label": name ?? (iconOnly ? label : null),
    "aria-description": why || null, onclick: (event) => (off ? event.preventDefault() : onclick?.(event)),
  }, glyph ? icon(glyph) : null, iconOnly ? null : label);
}

let ids = 0;
const idOf = new Map();
function stableId(name) {
  if (!idOf.has(name)) idOf.set(name, `f${(ids += 1)}`);
  return idOf.get(name);
}

// A control with its label, and what is to be known or wrong. `control(id, describedby)` gives the input.
export function field(label, control, { hint = "", error = "", key = label, wide = false } = {}) {
  const id = stableId(key);
  const note = error || hint;
  return h("div.field", { class: wide ? "wide" : "" }, h("label", { for: id }, label), control(id, note ? `${id}-n` : null, error ? "true" : null),
           note ? h(error ? "p.error-text" : "p.hint", { id: `${id}-n` }, note) : null);
}

export const input = (state, name, props = {}) => (id, described, invalid) => {
  const take = (event) => {
    if (state[name] === event.target.value) return;
    state[name] = event.target.value;
    props.oninput?.(event);
    redraw();
  };
  return h(props.rows ? "textarea" : "input", {
    id, autocomplete: "off", spellcheck: "false", ...props, value: state[name], "aria-describedby": described, "aria-invalid": invalid,
    // Whatever fills a field for somebody may tell of it in only one of these ways.
    oninput: take, onchange: take,
  });
};

export const select = (value, options, onchange, props = {}) => (id, described) =>
  h("select", { id, ...props, value, "aria-describedby": described, onchange: (event) => onchange(event.target.value) },
    options.map(([option, text]) => h("option", { value: option, selected: option === value }, text)));

export const card = (title, { actions, note, class: more = "", bare = false } = {}, ...body) =>
  h("section.card", { class: more, "aria-label": title },
    h("header.card-head", { class: bare ? "visually-hidden" : "" }, h("h2", null, title), note ? h("span.note", null, note) : null, actions ? h("div.actions", null, actions) : null),
    body);

export const empty = (title, text, action) => h("div.empty", null, h("p.empty-title", null, title), h("p", null, text), action ?? null);

export const skeleton = (lines = 3) =>
  h("div.skeleton", { role: "status", "aria-label": "Loading" }, Array.from({ length: lines }, (_, i) => h("span", { class: `w${i % 3}` })));

const TITLES = {
  "no-store": "This gateway keeps no store", "store-unavailable": "The store does not answer", forbidden: "Not for this token",
  "device-not-found": "There is no such device",
};

export function failure(error, retry) {
  const advice = error.type === "no-store" ? "Registry, commands, twins and timelines need one: set store.kind in the configuration." : "";
  return h("div.failure", { role: "alert" }, icon("bad"),
           h("div", null, h("p.failure-title", null, TITLES[error.type] || error.title || "That did not work"),
             h("p", null, error.message, advice && ` ${advice}`)),
           retry ? button("Try again", retry) : null);
}

// What a loader has: its error, a skeleton, or view(data). Old data stay while new ones are on the way.
export function loaded(loader, view, lines) {
  const broken = loader.error ? failure(loader.error, loader.load) : null;
  if (loader.data === null) return broken ?? skeleton(lines);
  return [broken, view(loader.data)];
}

export const definition = (pairs) =>
  h("dl.facts", null, pairs.filter(Boolean).map(([term, value]) => h("div", null, h("dt", null, term), h("dd", null, value ?? "\u2013"))));

export const labels = (all) => {
  const entries = Object.entries(all ?? {});
  return entries.length ? h("span.chips", null, entries.map(([key, value]) => h("span.chip", null, h("span.chip-key", null, key), value))) : null;
};

export const meter = (label, value, max, text) => {
  const share = max > 0 ? Math.min(1, value / max) : 0;
  const tone = share >= 0.8 ? "bad" : share >= 0.5 ? "warn" : "good";
  return h("div.meter", { class: tone }, h("div.meter-head", null, h("span", null, label), h("span.value", null, text)),
           h("div.bar", { role: "meter", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(Math.round(share * 100)), "aria-valuetext": text },
             h("span", { css: { "--share": String(share) } })));
};

export const pre = (text, name) => h("pre.code", { tabindex: "0", role: "region", "aria-label": name }, text);

// A table that becomes cards on a phone. columns: {title, cell(row), class, sort}; rows need `key(row)`.
export function table(name, columns, rows, key, { head } = {}) {
  return h("div.table-wrap", null, h("table", { "aria-label": name },
    h("thead", null, h("tr", null, columns.map((column) => (head ? head(column) : h("th", { scope: "col", class: column.class }, column.title))))),
    h("tbody", null, rows.map((row) => h("tr", { key: key(row) }, columns.map((column, i) =>
      h(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: column.class, "data-title": column.title }, column.cell(row))))))));
}
