// SPDX-License-Identifier: Apache-2.0
//
// The fleet as a table: search, filters, order, pages. All of that is in the address.

import { call, get, part } from "../api.js";
import { closeDialog, showDialog, toast } from "../dialog.js";
import { count } from "../format.js";
import { Loader } from "../loader.js";
import { lackingStore } from "../pulse.js";
import { go, link } from "../router.js";
import { badge, button, card, empty, failure, field, icon, input, labels, select, skeleton, table, when } from "../ui.js";
import { h, redraw } from "../view.js";
import { reasonLong, reasons, reasonShort, reasonTone } from "../words.js";

const PAGE = 50;
const EVERY_MS = 5000;
const SEARCH_DELAY_MS = 250;
const STATES = { "": "All devices", online: "Online", inactive: "Online, but silent", offline: "Offline" };
const STATE_QUERY = { online: { online: "true" }, inactive: { inactive: "true" }, offline: { online: "false" } };
const SORTS = { id: "Id", "-since": "Latest change", since: "Longest unchanged", "-last_seen": "Seen last", last_seen: "Not seen for longest", "-last_data": "Latest data", firmware: "Firmware" };
const NAMES = ["text", "firmware", "reason", "enabled", "registered", "sort", "cursor", "node"];

// The address' query: one value per name, but for labels.
function read(query) {
  const at = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
  at.label = query.getAll("label");
  at.state = query.get("inactive") === "true" ? "inactive" : { true: "online", false: "offline" }[query.get("online")] ?? "";
  return at;
}

const write = ({ state, ...rest }) => link("devices", { ...rest, ...(STATE_QUERY[state] ?? {}) });

export function status(device) {
  if (device.online) return device.inactive ? badge("warn", "silent", "Connected, but no data for a while") : badge("good", "online");
  return badge(device.reason ? reasonTone(device.reason) : "idle", device.since ? "offline" : "never seen", device.reason ? `Because ${reasonLong(device.reason)}` : undefined);
}

const COLUMNS = [
  { title: "Device", sort: "id", class: "id-cell", cell: (d) => [h("a.id", { href: link("devices", d.id) }, d.id), d.note ? h("span.muted.small.clip", null, d.note) : null] },
  { title: "State", cell: (d) => [status(d), d.enabled === false ? badge("idle", "disabled") : null, !d.online && d.reason ? h("span.muted.small", null, reasonShort(d.reason)) : null] },
  { title: "Since", sort: "since", cell: (d) => when(d.since) },
  { title: "Last seen", sort: "last_seen", cell: (d) => when(d.last_seen) },
  { title: "Firmware", sort: "firmware", cell: (d) => d.firmware || h("span.muted", null, "\u2013") },
  { title: "Labels", class: "labels-cell", cell: (d) => labels(d.labels) ?? h("span.muted", null, "\u2013") },
];

function registerDialog(done) {
  const state = { id: "", note: "", busy: false, error: "" };
  async function submit() {
    state.busy = true;
    redraw();
    try {
      await call("PUT", `/devices/${part(state.id.trim())}`, { body: { enabled: true, ...(state.note && { note: state.note }) }, headers: { "If-None-Match": "*" } });
      toast(`${state.id.trim()} is registered.`);
      closeDialog();
      go(link("devices", state.id.trim(), "settings"));
      done();
    } catch (error) {
      state.error = error.status === 412 ? "There is such a device already." : error.message;
    }
    state.busy = false;
    redraw();
  }
  showDialog({
    title: "Register a device", submit,
    body: () => [
      h("p.muted", null, "It may then connect with its certificate, or with a token that you give it on its page."),
      field("Device id", input(state, "id", { required: true, maxlength: 128, pattern: "[A-Za-z0-9][A-Za-z0-9._:\\-]*" }), { hint: "Letters, digits and . _ : - ; it cannot be changed later.", error: state.error, key: "register-id" }),
      field("Note", input(state, "note", { maxlength: 256 }), { key: "register-note" }),
    ],
    actions: () => [button("Cancel", closeDialog), button("Register", null, { kind: "primary", type: "submit", busy: state.busy, scope: "admin" })],
  });
}

export function devices(query) {
  let at = read(query);
  const search = { text: at.text, firmware: at.firmware, label: "" };
  let timer = 0;
  let trail = [];  // cursors of the pages before

  const loader = new Loader((signal) => {
    const { state, cursor, ...rest } = at;
    return get("/devices", { ...rest, ...(STATE_QUERY[state] ?? {}), cursor, limit: PAGE, count: "true" }, signal);
  }, EVERY_MS);

  const set = (change, replace = false) => go(write({ ...at, cursor: "", ...change }), replace);
  const later = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = 0;
      set({ text: search.text.trim(), firmware: search.firmware.trim() }, true);
    }, SEARCH_DELAY_MS);
  };
  const filtered = () => ["text", "firmware", "reason", "enabled", "registered", "state", "node"].some((name) => at[name]) || at.label.length > 0;

  function addLabel(event) {
    event.preventDefault();
    const label = search.label.trim();
    if (!label || at.label.includes(label)) return;
    search.label = "";
    set({ label: [...at.label, label] });
  }

  const typed = { type: "search", maxlength: 256, oninput: later };

  const filters = () => h("search.filters", { "aria-label": "Filters" },
    h("div.search", null, icon("search"), field("Search", input(search, "text", { ...typed, placeholder: "Id, note or label" }), { key: "devices-text" })),
    field("State", select(at.state, Object.entries(STATES), (state) => set({ state })), { key: "devices-state" }),
    field("Left because", select(at.reason, [["", "Any reason"], ...reasons.map((name) => [name, reasonShort(name)])], (reason) => set(reason ? { reason, state: "offline" } : { reason })), { key: "devices-reason" }),
    field("Registry", select(at.enabled ? `enabled=${at.enabled}` : at.registered ? `registered=${at.registered}` : "",
      [["", "All"], ["registered=true", "Registered"], ["registered=false", "Not registered"], ["enabled=true", "Enabled"], ["enabled=false", "Disabled"]],
      (value) => {
        const [name, wanted] = value.split("=");
        set({ enabled: "", registered: "", ...(name && { [name]: wanted }) });
      }), { key: "devices-registry" }),
    field("Firmware", input(search, "firmware", { ...typed, placeholder: "2.1.0" }), { key: "devices-firmware" }),
    h("form.add", { onsubmit: addLabel }, field("Label", input(search, "label", { placeholder: "site=berlin", maxlength: 330 }), { key: "devices-label" }), button("Add", null, { type: "submit", name: "Add the label filter" })),
    field("Order", select(at.sort || "id", Object.entries(SORTS), (sort) => set({ sort: sort === "id" ? "" : sort })), { key: "devices-sort" }));

  const chips = () => {
    const all = at.label.map((label) => [`label ${label}`, { label: at.label.filter((other) => other !== label) }]);
    if (at.node) all.push([`node ${at.node}`, { node: "" }]);
    if (!all.length) return null;
    return h("div.chips.active", null, all.map(([text, change]) => h("button.chip", { key: text, type: "button", "aria-label": `Remove the filter ${text}`, onclick: () => set(change) }, text, icon("close"))));
  };

  const headCell = (column) => {
    if (!column.sort) return h("th", { scope: "col", class: column.class }, column.title);
    const current = at.sort || "id";
    const [up, down] = [current === column.sort, current === `-${column.sort}`];
    const next = up ? `-${column.sort}` : column.sort;
    return h("th", { scope: "col", class: column.class, "aria-sort": up ? "ascending" : down ? "descending" : null },
      h("button.sort", { type: "button", onclick: () => set({ sort: next === "id" ? "" : next }) }, column.title, h("span.arrow", { "aria-hidden": "true" }, up ? "\u2191" : down ? "\u2193" : "")));
  };

  const none = () => (filtered()
    ? empty("No device is like that", "Loosen a filter, or search for less.", button("Clear all filters", () => {
      Object.assign(search, { text: "", firmware: "", label: "" });
      go("#/devices");
    }))
    : empty("No devices yet", "A device appears here when it connects for the first time, or when you register it.", button("Register a device", () => registerDialog(loader.load), { kind: "primary", scope: "admin", reason: lackingStore() })));

  const pager = (page) => h("nav.pager", { "aria-label": "Pages" },
    button("First", () => {
      trail = [];
      go(write({ ...at, cursor: "" }));
    }, { reason: at.cursor ? "" : "This is the first page." }),
    button("Previous", () => {
      const cursor = trail.pop() ?? "";
      go(write({ ...at, cursor }));
    }, { reason: at.cursor ? "" : "This is the first page." }),
    button("Next", () => {
      trail.push(at.cursor);
      go(write({ ...at, cursor: page.next_cursor }));
    }, { reason: page.next_cursor ? "" : "This is the last page." }));

  function body() {
    const { data, error } = loader;
    // A cursor ends with the gateway's process: begin again.
    if (error?.type === "invalid-cursor" && at.cursor) {
      trail = [];
      queueMicrotask(() => go(write({ ...at, cursor: "" }), true));
      return skeleton(6);
    }
    if (!data) return error ? failure(error, loader.load) : h("div.table-room", null, skeleton(9));
    return [
      error ? failure(error, loader.load) : null,
      data.devices.length ? table("Devices", COLUMNS, data.devices, (d) => d.id, { head: headCell }) : none(),
      data.devices.length ? h("div.foot", null, h("span.muted", null, data.count > data.devices.length ? `${data.devices.length} of ${count(data.count, "device")}` : count(data.count ?? data.devices.length, "device")), pager(data)) : null,
    ];
  }

  return {
    title: "Devices",
    heading: () => h("div.heading", null, h("h1", { id: "title", tabindex: "-1" }, "Devices"),
      h("span.muted", { role: "status", "aria-live": "polite" }, loader.data?.count === undefined ? "" : `${count(loader.data.count, "device")}${filtered() ? " found" : ""}`),
      h("div.actions", null, button("Register a device", () => registerDialog(loader.load), { scope: "admin", glyph: "plus", reason: lackingStore() }))),
    change({ query: next }) {
      at = read(next);
      // While somebody types, the address follows the fields; else they follow it.
      if (!timer) {
        if (search.text.trim() !== at.text) search.text = at.text;
        if (search.firmware.trim() !== at.firmware) search.firmware = at.firmware;
      }
      if (!at.cursor) trail = [];
      loader.restart(true);
    },
    leave() {
      clearTimeout(timer);
      loader.stop();
    },
    view: () => [filters(), chips(), card("Devices found", { class: "flush", bare: true }, body())],
  };
}
