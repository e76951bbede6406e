// SPDX-License-Identifier: Apache-2.0
//
// Dialogs, and messages that go by themselves. One dialog at a time.

import { button, icon } from "./ui.js";
import { h, redraw } from "./view.js";

let open = null;
let toasts = [];
let numbers = 0;

// {title, body(), actions(close)}; `closed()` is told.
export function showDialog(dialog) {
  open = dialog;
  redraw();
}

export function closeDialog() {
  const was = open;
  open = null;
  was?.closed?.();
  redraw();
}

// Asks before something that cannot be undone. `act` may take its time, and throw.
export function confirm({ title, text, verb, danger = true, act }) {
  const state = { busy: false, error: "" };
  async function go() {
    state.busy = true;
    redraw();
    try {
      await act();
      closeDialog();
    } catch (error) {
      state.error = error.message;
    }
    state.busy = false;
    redraw();
  }
  showDialog({
    title,
    body: () => [h("p", null, text), state.error ? h("p.error-text", { role: "alert" }, state.error) : null],
    actions: () => [button("Cancel", closeDialog), button(verb, go, { kind: danger ? "danger" : "primary", busy: state.busy })],
  });
}

export function toast(text, tone = "good") {
  const one = { text, tone, number: (numbers += 1) };
  toasts = [...toasts.slice(-2), one];
  setTimeout(() => {
    toasts = toasts.filter((other) => other !== one);
    redraw();
  }, tone === "bad" ? 10000 : 5000);
  redraw();
}

// Runs `act`; what goes wrong is said.
export async function attempt(act, done = "") {
  try {
    const value = await act();
    if (done) toast(done);
    return value;
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message, "bad");
    return undefined;
  }
}

function showModal(el) {
  el.showModal();
  (el.querySelector(".dialog-body input, .dialog-body select, .dialog-body textarea") ?? el.querySelector(".dialog-foot button"))?.focus();
}

const overlay = () => open && h("dialog", {
  key: "dialog", "aria-labelledby": "dialog-title", created: showModal, removed: (el) => el.close(),
  oncancel: (event) => {
    event.preventDefault();
    closeDialog();
  },
}, h("form", { method: "dialog", onsubmit: (event) => {
  event.preventDefault();
  open?.submit?.();
} }, h("header.dialog-head", null, h("h2", { id: "dialog-title" }, open.title), button("Close", closeDialog, { kind: "quiet", iconOnly: true, glyph: "close" })),
h("div.dialog-body", null, open.body()), h("footer.dialog-foot", null, open.actions())));

export const overlays = () => [
  overlay(),
  h("div.toasts", { key: "toasts", role: "status", "aria-live": "polite" }, toasts.map((one) =>
    h(`div.toast.${one.tone}`, { key: one.number }, icon(one.tone), one.text))),
];
