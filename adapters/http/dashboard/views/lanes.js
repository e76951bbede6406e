// SPDX-License-Identifier: Apache-2.0
//
// The lanes: what goes north, how it goes, and the account of it.

import { call, get, part } from "../api.js";
import { attempt, confirm, toast } from "../dialog.js";
import { bytes, count, duration, number } from "../format.js";
import { Loader } from "../loader.js";
import { link } from "../router.js";
import { badge, button, card, definition, empty, icon, loaded, when } from "../ui.js";
import { h } from "../view.js";
import { LANE } from "../words.js";

const ACCOUNT = [["forwarded_records", "Forwarded", "good"], ["pending_records", "Pending", "info"], ["filtered_records", "Filtered out", "idle"],
                 ["dead_lettered_records", "Dead letters", "bad"], ["expired_records", "Expired", "warn"], ["skipped_records", "Skipped", "warn"]];

export const lanes = () => {
  const loader = new Loader((signal) => get("/lanes", {}, signal), 2000);

  const act = (lane, what) => async () => {
    await call("POST", `/lanes/${part(lane.name)}/${what}`);
    toast(what === "pause" ? `${lane.name} is paused.` : `${lane.name} goes on.`);
    loader.load();
  };
  const pause = (lane) => confirm({
    title: `Pause ${lane.name}?`, verb: "Pause",
    text: lane.required ? "Its records wait in the log. It is a required lane: when the log fills up, devices are told to send less, and then nothing." : "Its records wait in the log. When there is no more room, the oldest are given up.",
    act: act(lane, "pause"),
  });

  // Where its records have gone, to the last one.
  const account = (lane) => {
    const shown = ACCOUNT.filter(([name]) => lane[name] > 0);
    return [
      h("div.stacked", { role: "img", "aria-label": shown.map(([name, text]) => `${text}: ${number(lane[name])}`).join(", ") || "No records yet" },
        shown.map(([name, , tone]) => h("span", { key: name, class: tone, css: { "--share": String(lane[name] / lane.records_in) } }))),
      h("dl.account", null, h("div", null, h("dt", null, "In"), h("dd", null, number(lane.records_in))),
        ACCOUNT.map(([name, text, tone]) => h("div", { key: name }, h("dt", null, h(`span.swatch.${tone}`, { "aria-hidden": "true" }), text), h("dd", null, number(lane[name]))))),
    ];
  };

  const one = (lane) => {
    const [word, tone] = lane.held ? ["Paused", "warn"] : LANE[lane.state] ?? [lane.state, "warn"];
    return h("div", { key: lane.name }, card(lane.name, {
      note: badge(tone, word),
      actions: lane.type === "store" ? null : lane.held ? button("Resume", () => attempt(act(lane, "resume")), { scope: "admin", kind: "primary", name: `Resume ${lane.name}` }) : button("Pause", () => pause(lane), { scope: "admin", name: `Pause ${lane.name}` }),
    }, definition([["To", `${lane.type} \u00b7 ${lane.destination}`], ["Required", lane.required ? "yes" : "no, best effort"], [lane.held ? "State" : `${word} since`, lane.held ? `paused by an operator; ${lane.state.replaceAll("_", " ")}` : when(lane.since)],
                   ["Oldest waiting", lane.pending_records ? `for ${duration(lane.oldest_pending_ms)}` : "nothing waits"],
                   ["Dead letters kept", lane.dead_letters?.kept ? h("a", { href: link("dead-letters", { lane: lane.name }) }, `${count(lane.dead_letters.kept, "letter")}, ${bytes(lane.dead_letters.bytes)}`) : "none"]]),
    lane.last_error ? h("p.last-error", null, icon("warn"), h("span", null, h("span.muted", null, "Last error: "), lane.last_error)) : null,
    h("h3", null, "Account"), account(lane)));
  };

  return {
    title: "Lanes",
    leave: () => loader.stop(),
    view: () => loaded(loader, (data) => (data.lanes.length ? h("div.grid.halves", null, data.lanes.map(one))
      : card("Lanes", {}, empty("No lanes", "Nothing is sent north. Add an MQTT broker (mqtt) or a webhook (webhooks) to the configuration."))), 6),
  };
};
