// SPDX-License-Identifier: Apache-2.0
//
// The gateway's nodes, and who was turned away before it was known who they are.

import { get } from "../api.js";
import { number } from "../format.js";
import { Loader } from "../loader.js";
import { link } from "../router.js";
import { at, badge, card, definition, empty, icon, loaded, table, when } from "../ui.js";
import { h } from "../view.js";
import { reasonLong, reasonShort, reasonTone } from "../words.js";

const state = (node) => {
  if (node.ready === true) return badge("good", "ready");
  if (node.ready === false) return badge("bad", "not ready");
  return badge(node.live ? "good" : "idle", node.live ? "live" : "gone");
};

// Members that are not shown by name: whatever the gateway says of a node is to be seen.
const SHOWN = new Set(["name", "boot_id", "version", "started", "shards", "sessions", "ready", "reasons", "live"]);
const plain = (value) => (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? when(value) : typeof value === "number" ? number(value) : String(value));

const one = (node) => {
  const { name } = node;
  return h("div", { key: `${name} ${node.boot_id}` }, card(name, { note: state(node), actions: h("a", { href: link("devices", { node: name }) }, "Its devices") },
    node.reasons?.length ? h("ul.reasons", null, node.reasons.map((reason) => h("li", { key: reason.name, class: reason.blocks ? "bad" : "warn" }, icon(reason.blocks ? "bad" : "warn"), reason.text || reason.name))) : null,
    definition([node.version ? ["Version", node.version] : null, node.started ? ["Started", at(node.started)] : null, node.sessions !== undefined ? ["Sessions", number(node.sessions)] : null,
                node.shards ? ["Shards", number(node.shards)] : null, ["Boot", h("span.mono", null, node.boot_id)],
                ...Object.entries(node).filter(([key, value]) => !SHOWN.has(key) && value !== null && typeof value !== "object").map(([key, value]) => [key.replaceAll("_", " "), plain(value)])])));
};

export const nodes = () => {
  const loader = new Loader((signal) => get("/nodes", {}, signal), 5000);
  // This one, and the others that the store knows of.
  const all = ({ nodes: own, known }) => [...own, ...(known ?? []).filter((row) => !own.some((node) => node.boot_id === row.boot_id))];
  return {
    title: "Nodes",
    leave: () => loader.stop(),
    view: () => loaded(loader, (data) => h("div.grid.halves", null, all(data).map(one)), 5),
  };
};

const COLUMNS = [
  { title: "When", cell: (r) => at(r.time) },
  { title: "Why", cell: (r) => badge(reasonTone(r.reason), reasonShort(r.reason), reasonLong(r.reason)) },
  { title: "From", cell: (r) => h("span.mono", null, r.address) },
  { title: "Detail", class: "why-cell", cell: (r) => r.detail || `${reasonLong(r.reason)}` },
];

export const refusals = () => {
  const loader = new Loader((signal) => get("/refusals", { limit: 200 }, signal), 5000);
  const keyOf = (r) => `${r.time} ${r.address} ${r.reason}`;
  return {
    title: "Refusals",
    leave: () => loader.stop(),
    view: () => card("Turned away", { class: "flush", note: "before it was known who they are, newest first" }, loaded(loader, (data) => (data.refusals.length
      ? table("Refusals", COLUMNS, [...new Map(data.refusals.map((r) => [keyOf(r), r])).values()], keyOf)
      : empty("Nobody was turned away", "Whoever fails at TLS, the upgrade or the credential is listed here. What happens to a known device is on its timeline.")), 6)),
  };
};
