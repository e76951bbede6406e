// SPDX-License-Identifier: Apache-2.0
//
// Sends a command, shows its answer, and what has been sent before.

import { call, get, part } from "../api.js";
import { attempt, confirm } from "../dialog.js";
import { decodeText, duration, hexDump, json } from "../format.js";
import { Loader } from "../loader.js";
import { at, badge, button, card, empty, failure, field, input, loaded, pre, when } from "../ui.js";
import { h, redraw } from "../view.js";
import { commandTone, stateWord } from "../words.js";

const PAGE = 20;

// crypto.randomUUID() is there over HTTPS and on localhost alone.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

// {value} or {error}; nothing typed is no payload.
export function readJson(text) {
  if (!text.trim()) return {};
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error: `Not JSON: ${error.message}` };
  }
}

function body(value, base64, name) {
  if (value !== null && value !== undefined) return pre(json(value), name);
  if (!base64) return null;
  return pre(decodeText(base64) ?? hexDump(base64), name);
}

const steps = (command) => h("ol.steps", { "aria-label": "Steps" }, command.steps.map((step, i) => {
  const before = i ? Date.parse(step.time) - Date.parse(command.steps[i - 1].time) : 0;
  return h("li", { key: i, class: commandTone(step.state) }, h("span.step-dot", { "aria-hidden": "true" }),
    h("div", null, h("p.step-title", null, stateWord(step.state), i ? h("span.muted", null, ` after ${duration(before)}`) : null),
      h("p.muted.small", null, at(step.time), step.epoch && step.epoch !== "0" ? ` \u00b7 epoch ${step.epoch}` : "", step.detail ? ` \u00b7 ${step.detail}` : "")));
}));

const details = (command) => [
  command.result?.text ? h("p.result-text", null, command.result.text) : null,
  command.result ? body(command.result.payload, command.result.payload_base64, "Answer") : null,
  steps(command),
];

export function commandsTab(context) {
  const form = { name: "", payload: "", timeout: "10s", ttl: "", once: false, error: {}, failed: null, busy: false };
  let sent = null;  // the command of this page
  let open = "";
  const older = { pages: [], next: null, busy: false };

  const loader = new Loader((signal) => get(`${context.path}/commands`, { limit: PAGE }, signal));
  const update = (command) => {
    if (sent?.id === command.id) sent = command;
    if (loader.data) loader.data = { ...loader.data, commands: loader.data.commands.map((other) => (other.id === command.id ? command : other)) };
    redraw();
  };
  const listener = (kind) => kind === "command" && loader.load();
  context.listeners.add(listener);

  async function follow(command) {
    while (!command.final && sent?.id === command.id) {
      command = (await call("GET", `/commands/${part(command.id)}`, { query: { wait: "10s" } })).data;
      update(command);
    }
  }

  async function submit(event) {
    event.preventDefault();
    const payload = readJson(form.payload);
    form.error = {
      ...(!/^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/.test(form.name.trim()) && { name: "Letters, digits and . _ : - ; say what the device is to do." }),
      ...(payload.error && { payload: payload.error }),
      ...(form.timeout && !/^\d+(ms|s|m|h|d)?$/.test(form.timeout.trim()) && { timeout: "Such as 10s, 5m or 2h." }),
    };
    form.failed = null;
    if (Object.keys(form.error).length) return redraw();
    form.busy = true;
    redraw();
    try {
      const request = { name: form.name.trim(), ...("value" in payload && { payload: payload.value }), ...(form.timeout.trim() && { timeout: form.timeout.trim() }),
                        ...(form.ttl.trim() && { ttl: form.ttl.trim() }), ...(form.once && { at_most_once: true }) };
      // A short wait first, so that its first steps are to be seen early.
      sent = (await call("POST", `${context.path}/commands`, { body: request, query: { wait: "2s" }, headers: { "Idempotency-Key": newKey() } })).data;
      loader.load();
      form.busy = false;
      redraw();
      await follow(sent);
      loader.load();
    } catch (error) {
      form.failed = error;
    }
    form.busy = false;
    redraw();
  }

  const cancel = (command) => confirm({
    title: "Cancel this command?", verb: "Cancel command",
    text: command.state === "queued" ? "It has not been sent: it will not be." : "It has been sent already: the device is asked to stop, and may not be able to.",
    act: async () => update((await call("DELETE", `/commands/${part(command.id)}`)).data),
  });

  const cancelButton = (command) => (command.final ? null : button(command.cancel_wanted ? "Cancelling" : "Cancel", () => cancel(command), { scope: "command", reason: command.cancel_wanted ? "The device has been asked." : "" }));

  const sendForm = (d) => card("Send a command", {}, h("form.form", { onsubmit: submit, novalidate: true },
    d.online ? null : h("p.banner.warn.small", { role: "status" }, "The device is offline. The command waits for it, up to its time to live."),
    field("Command", input(form, "name", { required: true, placeholder: "ping", list: "command-names" }), { error: form.error.name, key: "command-name", hint: "What devices understand is theirs to say." }),
    h("datalist", { id: "command-names" }, [...new Set((loader.data?.commands ?? []).map((one) => one.name))].map((name) => h("option", { key: name, value: name }))),
    field("Payload (JSON)", input(form, "payload", { rows: 5, class: "code-input", placeholder: "{\"level\": 3}" }), { error: form.error.payload, key: "command-payload" }),
    h("div.form-row", null,
      field("Timeout", input(form, "timeout", { placeholder: "10s", size: 6 }), { error: form.error.timeout, key: "command-timeout", hint: "For the answer." }),
      field("Time to live", input(form, "ttl", { placeholder: "default", size: 6 }), { key: "command-ttl", hint: "Waiting for the device." })),
    h("div.check", null, h("input", { id: "command-once", type: "checkbox", checked: form.once, onchange: (event) => {
      form.once = event.target.checked;
    } }), h("label", { for: "command-once" }, "Send at most once, even if it may have been lost")),
    form.failed ? failure(form.failed) : null,
    h("div.form-foot", null, button("Send command", null, { kind: "primary", type: "submit", scope: "command", busy: form.busy }))));

  const answer = () => sent && card(`Answer to ${sent.name}`, { note: badge(commandTone(sent.state), stateWord(sent.state)), actions: cancelButton(sent), class: "answer" },
    h("div", { role: "status", "aria-live": "polite" }, sent.final ? null : h("p.muted", null, sent.state === "queued" ? "Waiting for the device to take it\u2026" : "The device has it. Waiting for its answer\u2026"), details(sent)));

  async function more() {
    older.busy = true;
    redraw();
    const cursor = older.next ?? loader.data.next_cursor;
    const page = await attempt(() => get(`${context.path}/commands`, { limit: PAGE, cursor }));
    older.busy = false;
    if (page) {
      older.pages.push(...page.commands);
      older.next = page.next_cursor ?? "";
    }
    redraw();
  }

  const row = (command) => h("li", { key: command.id }, h("details", { open: open === command.id, ontoggle: (event) => {
    if (event.target.open) open = command.id;
    else if (open === command.id) open = "";
    redraw();
  } }, h("summary", null, h("span.id", null, command.name), badge(commandTone(command.state), stateWord(command.state)), when(command.created), h("span.muted.small", null, command.source ?? "")),
  open === command.id ? h("div.command-body", null, body(command.payload, command.payload_base64, "Payload"), details(command), cancelButton(command)) : null));

  function list({ commands, next_cursor: next }) {
    const all = [...commands, ...older.pages.filter((old) => !commands.some((command) => command.id === old.id))];
    if (!all.length) return empty("No commands yet", "What is sent to this device, from here, by another program or over MQTT, is listed with all its steps.");
    return [h("ul.commands", null, all.map(row)), (older.next ?? next) ? h("p.center", null, button("Older", more, { busy: older.busy })) : null];
  }

  return {
    shown: loader.load,
    leave() {
      loader.stop();
      context.listeners.delete(listener);
      sent = null;
    },
    view: (d) => h("div.grid.halves", null, h("div.stack", null, sendForm(d), answer()), card("Recent commands", {}, loaded(loader, list, 4))),
  };
}
