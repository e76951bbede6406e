// SPDX-License-Identifier: Apache-2.0
//
// The twin: what the device says of itself, what it is wished to become, and how far that has come.

import { call, get } from "../api.js";
import { toast } from "../dialog.js";
import { json } from "../format.js";
import { Loader } from "../loader.js";
import { badge, button, card, empty, failure, field, input, loaded, pre, select, when } from "../ui.js";
import { h, redraw } from "../view.js";
import { readJson } from "./device_commands.js";

const isEmpty = (value) => !value || Object.keys(value).length === 0;

// Of a merge patch, what it sets: its nulls are what the device reports and nobody has wished for.
export const wished = (delta) => Object.fromEntries(Object.entries(delta ?? {}).flatMap(([name, value]) => {
  if (value === null) return [];
  if (typeof value !== "object" || Array.isArray(value) || isEmpty(value)) return [[name, value]];
  const inner = wished(value);
  return isEmpty(inner) ? [] : [[name, inner]];
}));

// [tone, words] of how the desired document stands.
function progress({ desired, acknowledged }) {
  if (!desired.version) return ["idle", "nothing desired"];
  if (acknowledged.version < desired.version) return ["info", `waiting for the device (it has version ${acknowledged.version || "none"})`];
  return acknowledged.error ? ["bad", "refused by the device"] : ["good", "taken over by the device"];
}

export function twinTab(context) {
  const loader = new Loader((signal) => get(`${context.path}/twin`, {}, signal), 5000);
  const edit = { open: false, text: "", mode: "replace", etag: "", version: 0, error: "", failed: null, busy: false };
  const listener = (kind) => (kind === "twin" || kind === "state") && loader.load();
  context.listeners.add(listener);

  function begin(twin) {
    Object.assign(edit, { open: true, text: json(twin.desired.document), mode: "replace", etag: twin.desired.etag ?? `"d${twin.desired.version}"`, version: twin.desired.version, error: "", failed: null });
    redraw();
  }

  async function save(event) {
    event.preventDefault();
    const { value, error } = readJson(edit.text);
    edit.error = error ?? (value === null || typeof value !== "object" || Array.isArray(value) ? "It must be a JSON object: { \u2026 }" : "");
    edit.failed = null;
    if (edit.error) return redraw();
    edit.busy = true;
    redraw();
    try {
      const patch = edit.mode === "patch";
      const done = await call(patch ? "PATCH" : "PUT", `${context.path}/twin/desired`, {
        body: value, headers: { "If-Match": edit.etag }, ...(patch && { type: "application/merge-patch+json" }) });
      loader.data = done.data;
      edit.open = false;
      toast("The desired state is saved.");
    } catch (failed) {
      if (failed.status === 412) {
        failed.message = "Somebody has changed it meanwhile. Copy what you wrote, and begin again with the new document.";
      }
      edit.failed = failed;
    }
    edit.busy = false;
    redraw();
  }

  const form = (twin) => h("form.form", { onsubmit: save, novalidate: true },
    field("How", select(edit.mode, [["replace", "Replace the whole document"], ["patch", "Merge into it (null removes a member)"]], (mode) => {
      edit.mode = mode;
      edit.text = mode === "patch" ? "{\n  \n}" : json(twin.desired.document);
      redraw();
    }), { key: "twin-mode" }),
    field("Desired state (JSON)", input(edit, "text", { rows: 12, class: "code-input" }), { error: edit.error, key: "twin-text", hint: `Changes version ${edit.version}.` }),
    edit.failed ? failure(edit.failed, edit.failed.status === 412 ? () => loader.load().then(() => begin(loader.data)) : null) : null,
    h("div.form-foot", null, button("Cancel", () => {
      edit.open = false;
      redraw();
    }), button("Save", null, { kind: "primary", type: "submit", scope: "command", busy: edit.busy })));

  function view(twin) {
    const [tone, words] = progress(twin);
    const differs = wished(twin.delta);
    return h("div.grid.halves", null,
      card("Desired", { note: twin.desired.version ? `version ${twin.desired.version}` : "", actions: edit.open ? null : button("Edit", () => begin(twin), { scope: "command" }) },
        h("p.line", null, badge(tone, words), twin.desired.time ? h("span.muted.small", null, "changed ", when(twin.desired.time)) : null),
        twin.acknowledged.error ? h("p.error-text", null, `Version ${twin.acknowledged.version}: ${twin.acknowledged.error}`) : null,
        edit.open ? form(twin) : isEmpty(twin.desired.document) ? empty("Nothing desired", "What you write here is sent to the device, at once or as soon as it connects.") : pre(json(twin.desired.document), "Desired state")),
      h("div.stack", null,
        card("Reported", { note: twin.reported.version ? `version ${twin.reported.version}` : "" },
          twin.reported.time ? h("p.line.muted.small", null, "changed ", when(twin.reported.time)) : null,
          isEmpty(twin.reported.document) ? empty("Nothing reported", "The device has said nothing of its state.") : pre(json(twin.reported.document), "Reported state")),
        card("What differs", { note: "of what is desired" },
          isEmpty(differs) ? empty("Nothing", twin.desired.version ? "The device is as it is wished to be." : "There is nothing it is wished to be.") : pre(json(differs), "Delta"))));
  }

  return {
    shown: loader.load,
    leave() {
      loader.stop();
      context.listeners.delete(listener);
    },
    view: () => loaded(loader, view, 6),
  };
}
