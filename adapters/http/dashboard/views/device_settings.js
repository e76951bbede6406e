// SPDX-License-Identifier: Apache-2.0
//
// The registry's entry of a device, and its credentials.

import { call, get, part } from "../api.js";
import { attempt, closeDialog, confirm, showDialog, toast } from "../dialog.js";
import { Loader } from "../loader.js";
import { lackingStore } from "../pulse.js";
import { link, go } from "../router.js";
import { lacking, learn, session } from "../session.js";
import { at, badge, button, card, definition, empty, failure, field, icon, input, loaded, when } from "../ui.js";
import { h, redraw } from "../view.js";

const MERGE = "application/merge-patch+json";
const EXPIRIES = [["", "Never"], ["24h", "In a day"], ["7d", "In a week"], ["30d", "In 30 days"], ["365d", "In a year"]];
const OVERLAPS = [["", "Stay as they are"], ["0s", "Expire at once"], ["1h", "Expire in an hour"], ["24h", "Expire in a day"], ["7d", "Expire in a week"]];

const choose = (state, name, options) => (id, described) => h("select", { id, "aria-describedby": described, value: state[name], onchange: (event) => {
  state[name] = event.target.value;
  redraw();
} }, options.map(([value, text]) => h("option", { value, selected: value === state[name] }, text)));

// The token, this once.
function showToken(token) {
  const state = { copied: false };
  showDialog({
    title: "The new token",
    body: () => [
      h("p", null, "Give it to the device now. The gateway keeps only its hash: it cannot be shown again."),
      h("p.token", { tabindex: "0", role: "region", "aria-label": "Token" }, token),
      h("p.muted.small", null, "The device sends it as ", h("code", null, "Authorization: Bearer \u2026"), "."),
    ],
    actions: () => [button(state.copied ? "Copied" : "Copy", async () => {
      // navigator.clipboard is there over HTTPS and on localhost alone.
      if (navigator.clipboard) {
        await attempt(() => navigator.clipboard.writeText(token));
        state.copied = true;
      } else {
        getSelection().selectAllChildren(document.querySelector(".token"));
        toast("Selected: copy it with Ctrl+C.", "info");
      }
      redraw();
    }), button("Done", closeDialog, { kind: "primary" })],
  });
}

function credentialDialog(context, kind, done) {
  const state = { note: "", expires_in: "", retire: "", pem: "", busy: false, failed: null };
  async function submit() {
    if (kind === "certificate" && !state.pem.trim()) {
      state.failed = new Error("Paste the device\u2019s certificate.");
      return redraw();
    }
    state.busy = true;
    redraw();
    try {
      const body = { kind, ...(state.note && { note: state.note }), ...(state.expires_in && { expires_in: state.expires_in }), ...(state.retire && { retire_others_in: state.retire }),
                     ...(kind === "certificate" && { certificate_pem: state.pem.trim() + "\n" }) };
      const { data } = await call("POST", `${context.path}/credentials`, { body });
      closeDialog();
      done();
      if (data.token) showToken(data.token);
      else toast("The certificate is pinned.");
    } catch (error) {
      state.failed = error;
    }
    state.busy = false;
    redraw();
  }
  showDialog({
    title: kind === "token" ? "Add a token" : "Pin a certificate", submit,
    body: () => [
      h("p.muted", null, kind === "token" ? "The gateway makes it, and shows it once." : "With a certificate pinned, no other one will do for this device."),
      kind === "certificate" ? field("Certificate (PEM)", input(state, "pem", { rows: 6, class: "code-input", placeholder: "-----BEGIN CERTIFICATE-----" }), { key: "credential-pem" }) : null,
      field("Note", input(state, "note", { maxlength: 256, placeholder: "What it is for" }), { key: "credential-note" }),
      field("Expires", choose(state, "expires_in", EXPIRIES), { key: "credential-expires" }),
      field(`Its other ${kind}s`, choose(state, "retire", OVERLAPS), { key: "credential-retire", hint: "To replace one without a gap." }),
      state.failed ? h("p.error-text", { role: "alert" }, state.failed.message) : null,
    ],
    actions: () => [button("Cancel", closeDialog), button(kind === "token" ? "Make token" : "Pin certificate", null, { kind: "primary", type: "submit", busy: state.busy, scope: "admin" })],
  });
}

function credentials(context) {
  // The gateway shows them to administrators alone: not asked for in vain.
  const loader = new Loader(async (signal) => {
    if (!session.scope) learn((await get("/overview", {}, signal)).token ?? {});
    return lacking("admin") || lackingStore() ? [] : get(`${context.path}/credentials`, {}, signal);
  });
  const listed = () => (Array.isArray(loader.data) ? loader.data : loader.data.credentials);

  const revoke = (one) => confirm({
    title: "Revoke this credential?", verb: "Revoke",
    text: "It is good for nothing from now on. A connection that stands on it is ended.",
    act: async () => {
      await call("DELETE", `${context.path}/credentials/${part(one.id)}`);
      toast("The credential is revoked.");
      loader.load();
      context.loader.load();
    },
  });

  const done = () => {
    loader.load();
    context.loader.load();
  };

  const row = (one) => h("li", { key: one.id }, h("div.row-main", null, h("span.id", null, one.note || `${one.kind} ${one.id}`), h("span.muted.mono.small.clip", null, `SHA-256 ${one.sha256.slice(0, 16)}\u2026`), h("span.muted.small", null, one.kind, ", added ", when(one.created), one.expires ? [", until ", at(one.expires)] : null)),
    one.expires ? badge(Date.parse(one.expires) < Date.now() ? "bad" : "info", Date.parse(one.expires) < Date.now() ? "expired" : "expires", one.expires) : badge("idle", "no end"),
    button("Revoke", () => revoke(one), { kind: "danger", scope: "admin", name: `Revoke ${one.note || one.id}` }));

  return {
    leave: () => loader.stop(),
    shown: loader.load,
    view: (registered) => card("Credentials", { actions: [
      button("Add a token", () => credentialDialog(context, "token", done), { scope: "admin", reason: registered ? "" : "Register the device first." }),
      button("Pin a certificate", () => credentialDialog(context, "certificate", done), { scope: "admin", reason: registered ? "" : "Register the device first." })] },
    lacking("admin") ? empty("Not shown", lacking("admin"))
      : registered ? loaded(loader, () => (listed().length ? h("ul.rows", null, listed().map(row)) : empty("No credentials of its own", "The device comes in with a certificate that names it, or a token from the token file. A token made here can be revoked here.")), 2)
      : empty("Not registered", "Credentials belong to a registered device.")),
  };
}

export function settingsTab(context) {
  const own = credentials(context);
  let form = null;  // {note, labels: [[key, value]], etag}

  const begin = (registry) => {
    form = { note: registry.note ?? "", labels: Object.entries(registry.labels ?? {}).map(([key, value]) => ({ key, value })), before: registry.labels ?? {}, etag: registry.etag ?? `"r${registry.revision}"`, failed: null, busy: false };
    redraw();
  };

  async function save(event) {
    event.preventDefault();
    const wanted = Object.fromEntries(form.labels.filter((one) => one.key.trim()).map((one) => [one.key.trim(), one.value]));
    const gone = Object.fromEntries(Object.keys(form.before).filter((key) => !(key in wanted)).map((key) => [key, null]));
    form.busy = true;
    redraw();
    try {
      await call("PATCH", context.path, { body: { note: form.note, labels: { ...wanted, ...gone } }, headers: { "If-Match": form.etag }, type: MERGE });
      form = null;
      toast("Saved.");
      context.loader.load();
    } catch (error) {
      if (error.status === 412) error.message = "Somebody has changed it meanwhile. Cancel, look at it, and begin again.";
      form.failed = error;
      form.busy = false;
    }
    redraw();
  }

  const register = () => attempt(async () => {
    await call("PUT", context.path, { body: { enabled: true }, headers: { "If-None-Match": "*" } });
    context.loader.load();
  }, "The device is registered.");

  const remove = () => confirm({
    title: "Remove from the registry?", verb: "Remove",
    text: `${context.id} loses its credentials, labels and note. If it is connected, it is disconnected; where unknown devices are refused, it is not let in again.`,
    act: async () => {
      await call("DELETE", context.path);
      toast(`${context.id} is removed.`);
      go(link("devices"));
    },
  });

  const labelRow = (one, i) => h("div.label-row", { key: i },
    field("Label", input(one, "key", { maxlength: 64, placeholder: "site" }), { key: `label-key-${i}` }),
    field("Value", input(one, "value", { maxlength: 256, placeholder: "berlin" }), { key: `label-value-${i}` }),
    button(`Remove the label ${one.key}`, () => {
      form.labels.splice(i, 1);
      redraw();
    }, { kind: "quiet", iconOnly: true, glyph: "close" }));

  const editor = () => h("form.form", { onsubmit: save },
    field("Note", input(form, "note", { maxlength: 256 }), { key: "registry-note", hint: "For people." }),
    h("fieldset", null, h("legend", null, "Labels"), h("p.hint", null, "They win over the labels that the device itself reports."), form.labels.map(labelRow),
      button("Add a label", () => {
        form.labels.push({ key: "", value: "" });
        redraw();
      }, { glyph: "plus" })),
    form.failed ? failure(form.failed) : null,
    h("div.form-foot", null, button("Cancel", () => {
      form = null;
      redraw();
    }), button("Save", null, { kind: "primary", type: "submit", busy: form.busy, scope: "admin" })));

  function entry(registry) {
    if (!registry) return card("Registry", {}, empty("Not in the registry", "It was let in by the policy of this gateway. Register it to label, disable or give it credentials.", button("Register this device", register, { kind: "primary", scope: "admin" })));
    const own_labels = Object.entries(registry.labels ?? {});
    return card("Registry", { actions: form ? null : [button("Edit", () => begin(registry), { scope: "admin" }), button("Remove", remove, { kind: "danger", scope: "admin" })] },
      form ? editor() : definition([
        ["State", badge(registry.enabled ? "good" : "idle", registry.enabled ? "enabled" : "disabled")], ["Note", registry.note || null],
        ["Labels", own_labels.length ? h("span.chips", null, own_labels.map(([key, value]) => h("span.chip", { key }, h("span.chip-key", null, key), value))) : null],
        ["Registered", [at(registry.created), registry.automatic ? " by itself" : ""]], ["Changed", at(registry.updated)], ["Revision", String(registry.revision)]]));
  }

  return {
    shown: own.shown,
    leave: own.leave,
    view: (d) => (lackingStore()
      ? card("Registry", {}, empty("No registry", `${lackingStore()} Set store.kind in its configuration.`))
      : h("div.grid.halves", null, entry(d.registry), own.view(Boolean(d.registry)))),
  };
}
