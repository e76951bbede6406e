// SPDX-License-Identifier: Apache-2.0
//
// What a far side would not take: look at it, mend the cause, send it again or delete it.

import { call, get, part } from "../api.js";
import { attempt, closeDialog, confirm, showDialog, toast } from "../dialog.js";
import { bytes, count, decodeText, hexDump, json } from "../format.js";
import { Loader } from "../loader.js";
import { go, link } from "../router.js";
import { at, button, card, definition, empty, failure, field, input, loaded, pre, select, skeleton, table, when } from "../ui.js";
import { h, redraw } from "../view.js";

const PAGE = 50;
const SEARCH_DELAY_MS = 300;
const read = (query) => ({ lane: query.get("lane") ?? "", device: query.get("device") ?? "" });

function readable(base64) {
  const text = decodeText(base64);
  if (text === null) return hexDump(base64);
  try {
    return json(JSON.parse(text));
  } catch {
    return text;
  }
}

export function deadLetters(query) {
  let filter = read(query);
  const search = { device: filter.device };
  const older = { letters: [], next: undefined, busy: false };
  let timer = 0;
  const bulk = { running: "", done: 0, stopped: "" };

  const loader = new Loader((signal) => get("/dead-letters", { ...filter, limit: PAGE }, signal), 5000);
  const lanes = new Loader((signal) => get("/lanes", {}, signal));
  const set = (change, replace) => go(link("dead-letters", { ...filter, ...change }), replace);
  const forget = () => Object.assign(older, { letters: [], next: undefined });

  async function more() {
    older.busy = true;
    redraw();
    const page = await attempt(() => get("/dead-letters", { ...filter, limit: PAGE, cursor: older.next ?? loader.data.next_cursor }));
    older.busy = false;
    if (page) {
      older.letters.push(...page.dead_letters);
      older.next = page.next_cursor ?? "";
    }
    redraw();
  }

  const drop = (id) => {
    older.letters = older.letters.filter((letter) => letter.id !== id);
    loader.load();
  };
  const replay = (letter) => attempt(async () => {
    await call("POST", `/dead-letters/${part(letter.id)}/replay`);
    drop(letter.id);
  }, `Letter ${letter.id} is on its way again.`);
  const remove = (letter) => confirm({
    title: "Delete this dead letter?", verb: "Delete", text: `The ${letter.kind} of ${letter.device} is then lost for ${letter.lane}.`,
    act: async () => {
      await call("DELETE", `/dead-letters/${part(letter.id)}`);
      drop(letter.id);
      toast(`Letter ${letter.id} is deleted.`);
    },
  });

  function openLetter(letter) {
    const state = { full: null, error: null };
    get(`/dead-letters/${part(letter.id)}`).then((full) => { state.full = full; }, (error) => { state.error = error; }).finally(redraw);
    showDialog({
      title: `Dead letter ${letter.id}`,
      body: () => [
        definition([["Device", h("a", { href: link("devices", letter.device), onclick: closeDialog }, letter.device)], ["Lane", letter.lane], ["Kind", letter.name ? `${letter.kind} ${letter.name}` : letter.kind],
                    ["Meant for", letter.target], ["Refused", at(letter.refused)], ["Reason", letter.reason.replaceAll("_", " ")], ["Detail", letter.detail || null],
                    ["Received", at(letter.received)], ["Stream, frame", `${letter.stream}, ${letter.seq}`], ["Epoch", letter.epoch]]),
        h("h3", null, `Payload, ${bytes(letter.payload_bytes)}`),
        state.error ? failure(state.error) : state.full ? (state.full.payload ? pre(readable(state.full.payload), "Payload") : h("p.muted", null, "Empty.")) : skeleton(3),
      ],
      actions: () => [button("Delete", () => remove(letter), { kind: "danger", scope: "admin" }), button("Replay", () => {
        closeDialog();
        replay(letter);
      }, { kind: "primary", scope: "admin" })],
    });
  }

  // Page by page until nothing of what was there at first is left.
  async function runAll(method, path, verb) {
    Object.assign(bulk, { running: verb, done: 0, stopped: "" });
    redraw();
    let cursor = "";
    try {
      do {
        const { data } = await call(method, path, { query: { ...filter, limit: 200, cursor } });
        bulk.done += data.done;
        bulk.stopped = data.stopped ?? "";
        cursor = data.more && !data.stopped ? data.next_cursor : "";
        redraw();
      } while (cursor);
      toast(bulk.stopped ? `${verb}: ${count(bulk.done, "letter")}, then stopped (${bulk.stopped.replace("/problems/", "").replaceAll("-", " ")}).` : `${verb}: ${count(bulk.done, "letter")}.`, bulk.stopped ? "bad" : "good");
    } finally {
      bulk.running = "";
      forget();
      loader.load();
    }
  }

  const which = () => [filter.lane && `of lane ${filter.lane}`, filter.device && `of device ${filter.device}`].filter(Boolean).join(" ");
  const bulkButton = (label, title, text, verb, kind, method, path) => button(label, () => confirm({ title, text, verb: label, danger: kind === "danger", act: () => runAll(method, path, verb) }),
    { kind, scope: "admin", busy: Boolean(bulk.running), reason: which() ? (loader.data?.dead_letters.length ? "" : "There is nothing to do.") : "Choose a lane or a device first." });

  const columns = [
    { title: "Letter", class: "id-cell", cell: (l) => h("button.link", { type: "button", "aria-label": `Open letter ${l.id}`, onclick: () => openLetter(l) }, l.id) },
    { title: "Refused", cell: (l) => when(l.refused) },
    { title: "Lane", cell: (l) => l.lane },
    { title: "Device", cell: (l) => h("a.id", { href: link("devices", l.device) }, l.device) },
    { title: "What", cell: (l) => [l.name ? `${l.kind} ${l.name}` : l.kind, h("span.muted.small", null, ` ${bytes(l.payload_bytes)}`)] },
    { title: "Why", class: "why-cell", cell: (l) => [l.reason.replaceAll("_", " "), l.detail ? h("span.muted.small.clip", { title: l.detail }, l.detail) : null] },
    { title: "", class: "act-cell", cell: (l) => h("span.actions", null, button("Replay", () => replay(l), { scope: "admin", name: `Replay ${l.id}` }), button("Delete", () => remove(l), { kind: "danger", scope: "admin", name: `Delete ${l.id}` })) },
  ];

  function view({ dead_letters: letters, next_cursor: next }) {
    const seen = new Set(letters.map((letter) => letter.id));
    const all = [...letters, ...older.letters.filter((letter) => !seen.has(letter.id))];
    if (!all.length) return which() ? empty("None like that", "There may be others: show all lanes and devices.", button("Show all", () => go("#/dead-letters"))) : empty("No dead letters", "Everything that was sent north has been taken, or is on its way. What a far side will never take is kept here.");
    return [table("Dead letters", columns, all, (l) => l.id), (older.next ?? next) ? h("p.center", null, button("More", more, { busy: older.busy })) : null];
  }

  const laneNames = () => [...new Set([...(lanes.data?.lanes ?? []).map((lane) => lane.name), filter.lane].filter(Boolean))];

  return {
    title: "Dead letters",
    change({ query: next }) {
      filter = read(next);
      if (!timer && search.device.trim() !== filter.device) search.device = filter.device;
      forget();
      loader.restart();
    },
    leave() {
      clearTimeout(timer);
      loader.stop();
      lanes.stop();
    },
    view: () => [
      h("search.filters.few", { "aria-label": "Filters" },
        field("Lane", select(filter.lane, [["", "All lanes"], ...laneNames().map((name) => [name, name])], (lane) => set({ lane })), { key: "letters-lane" }),
        field("Device", input(search, "device", { type: "search", maxlength: 128, placeholder: "Its whole id", oninput: () => {
          clearTimeout(timer);
          timer = setTimeout(() => {
            timer = 0;
            set({ device: search.device.trim() }, true);
          }, SEARCH_DELAY_MS);
        } }), { key: "letters-device" }),
        h("div.actions", null, bulk.running ? h("span.muted", { role: "status" }, `${bulk.running}: ${bulk.done} so far`) : null,
          bulkButton("Replay all", "Replay all of them?", `Every dead letter ${which()} goes to its lane again. Mend the cause first, or they come back.`, "Replayed", "", "POST", "/dead-letters/replay"),
          bulkButton("Delete all", "Delete all of them?", `Every dead letter ${which()} is lost for good.`, "Deleted", "danger", "DELETE", "/dead-letters"))),
      card("Dead letters", { class: "flush", note: "oldest first" }, loaded(loader, view, 6)),
    ],
  };
}
