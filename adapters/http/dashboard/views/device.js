// SPDX-License-Identifier: Apache-2.0
//
// One device: how it is, and its pages.

import { call, get, part } from "../api.js";
import { attempt, confirm, toast } from "../dialog.js";
import { about, ago, now } from "../format.js";
import { openStream } from "../live.js";
import { Loader } from "../loader.js";
import { link } from "../router.js";
import { button, failure, icon, labels, skeleton, when } from "../ui.js";
import { h, redraw } from "../view.js";
import { reasonLong } from "../words.js";
import { commandsTab } from "./device_commands.js";
import { liveTab, Metrics } from "./device_live.js";
import { presenceTab, timelineTab } from "./device_history.js";
import { settingsTab } from "./device_settings.js";
import { twinTab } from "./device_twin.js";
import { status } from "./devices.js";

const EVERY_MS = 3000;
const TABS = { live: ["Live", liveTab], commands: ["Commands", commandsTab], twin: ["Twin", twinTab],
               timeline: ["Timeline", timelineTab], presence: ["Presence", presenceTab], settings: ["Registry", settingsTab] };
const KINDS = "telemetry,event,state,presence,command,twin";

// How it is, in a sentence.
function story(d) {
  if (d.online) {
    return ["Online for ", when(d.since, (time) => about(now() - Date.parse(time))), d.inactive ? ["; no data since ", when(d.last_data)] : ["; last heard of ", when(d.last_seen)], "."];
  }
  if (!d.since && !d.last_seen) return ["It has never been connected. Give it a credential on the page \u201cRegistry\u201d, and let it connect."];
  return ["Offline since ", when(d.since, (time) => ago(time)), d.reason ? `, because ${reasonLong(d.reason)}.` : ".",
          d.enabled === false ? " It is disabled, so it will not be let in again." : ""];
}

// What the tabs share: {id, loader, metrics, stream, tell(listener)}.
function shared(id) {
  const context = { id, path: `/devices/${part(id)}`, metrics: new Metrics(), stream: "connecting", streamText: "", listeners: new Set(), events: [] };
  context.loader = new Loader(async (signal) => {
    const data = await get(context.path, {}, signal);
    context.metrics.seed(data.last_values ?? []);
    return data;
  }, EVERY_MS);
  const stream = openStream({ kinds: KINDS, device: id }, {
    state(state, text) {
      Object.assign(context, { stream: state, streamText: text });
      redraw();
    },
    event(kind, data) {
      if (data.device !== undefined && data.device !== id) return;
      if (kind === "telemetry") context.metrics.take(data);
      if (kind === "event") context.events = [data, ...context.events].slice(0, 20);
      if (kind === "presence") context.loader.load();
      for (const listener of context.listeners) listener(kind, data);
      redraw();
    },
  });
  context.stop = () => {
    stream.close();
    context.loader.stop();
  };
  return context;
}

export function device(id, tabName = "live") {
  const context = shared(id);
  const known = TABS[tabName] ? tabName : "live";
  const tabs = new Map();
  let current = known;

  // A tab is made when it is first looked at, and stays.
  const tab = () => {
    if (!tabs.has(current)) tabs.set(current, TABS[current][1](context));
    return tabs.get(current);
  };

  const kick = () => confirm({
    title: "End the connection?", verb: "End connection",
    text: `The gateway says goodbye to ${id}. A device in good order comes back after a moment.`,
    act: async () => {
      await call("DELETE", `${context.path}/session`);
      toast("The connection was ended.");
      context.loader.load();
    },
  });

  const setEnabled = (enabled) => {
    const act = async () => {
      await call("PATCH", context.path, { body: { enabled }, type: "application/merge-patch+json" });
      toast(enabled ? "The device may connect." : "The device is disabled.");
      context.loader.load();
    };
    if (enabled) attempt(act);
    else confirm({ title: "Disable this device?", verb: "Disable", text: `${id} is disconnected, and not let in again until you enable it.`, act });
  };

  function heading() {
    const d = context.loader.data;
    return h("div.device-head", null,
      h("a.back", { href: "#/devices" }, icon("back"), "Devices"),
      h("div.heading", null, h("h1.id", { id: "title", tabindex: "-1" }, id), d ? status(d) : null,
        d ? h("div.actions", null,
          button("End connection", kick, { scope: "command", reason: d.online ? "" : "The device is not connected." }),
          d.registry ? button(d.registry.enabled ? "Disable" : "Enable", () => setEnabled(!d.registry.enabled), { scope: "admin", kind: d.registry.enabled ? "danger" : "primary" }) : null) : null),
      d ? h("p.story", null, story(d)) : h("p.story", null, "\u00a0"),
      d && (d.firmware || Object.keys(d.labels ?? {}).length) ? h("p.under", null, d.firmware ? h("span.chip", null, h("span.chip-key", null, "firmware"), d.firmware) : null, labels(d.labels)) : null,
      h("nav.tabs", { "aria-label": "Pages of this device" }, Object.entries(TABS).map(([name, [text]]) =>
        h("a", { key: name, href: link("devices", id, name), "aria-current": name === current ? "page" : null }, text))));
  }

  return {
    title: id,
    heading,
    // Tabs are pages of one thing: what it has learnt stays.
    change({ path }) {
      current = TABS[path[2]] ? path[2] : "live";
      tab().shown?.();
    },
    leave() {
      context.stop();
      for (const one of tabs.values()) one.leave?.();
    },
    view() {
      const { data, error, load } = context.loader;
      if (!data) return error ? failure(error, load) : skeleton(6);
      return [error ? failure(error, load) : null, h("div.tab", { key: current }, tab().view(data))];
    },
  };
}
