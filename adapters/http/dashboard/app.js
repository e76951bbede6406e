// SPDX-License-Identifier: Apache-2.0
//
// Where it starts: sign-in or the frame with its page.

import { confirm, overlays } from "./dialog.js";
import { pulse, startPulse, stopPulse } from "./pulse.js";
import { link, parse } from "./router.js";
import { session, signIn, signOut } from "./session.js";
import { applyTheme, toggleTheme, themeIsDark } from "./theme.js";
import { badge, button, icon } from "./ui.js";
import { h, mount, redraw } from "./view.js";
import { deadLetters } from "./views/dead_letters.js";
import { device } from "./views/device.js";
import { devices } from "./views/devices.js";
import { lanes } from "./views/lanes.js";
import { nodes, refusals } from "./views/nodes.js";
import { overview } from "./views/overview.js";
import { signInPage } from "./views/signin.js";

applyTheme();

const NAV = [["", "overview", "Overview"], ["devices", "devices", "Devices"], ["lanes", "lanes", "Lanes"],
             ["dead-letters", "letters", "Dead letters"], ["nodes", "nodes", "Nodes"], ["refusals", "refusals", "Refusals"]];

const missing = () => ({ title: "Not found", leave() {}, view: () => h("p", null, "There is no such page. ", h("a", { href: link() }, "Go to the overview.")) });

let page = null;
let pageName = null;

// The same page with another query goes on; another path is another page.
function pageFor({ path, query }) {
  const [first = "", second, ...rest] = path;
  if (first === "" && second === undefined) return ["overview", overview];
  if (first === "devices" && second === undefined) return ["devices", () => devices(query)];
  if (first === "devices" && rest.length <= 1) return [`device ${second}`, () => device(second, rest[0])];
  if (second === undefined) {
    const plain = { lanes, nodes, refusals }[first];
    if (plain) return [first, plain];
    if (first === "dead-letters") return ["dead-letters", () => deadLetters(query)];
  }
  return ["missing", missing];
}

// "/#token=..." signs in once. Whoever is signed in already is asked first: a link that somebody
// else made is not to change in whose name things are done.
function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  let token = "";
  try {
    token = decodeURIComponent(found[1]);
  } catch {}  // a link that was cut short, in the middle of a %xx
  const usable = /^[\x21-\x7e]+$/.test(token);
  if (usable && session.token && session.token !== token) return askFor(token);
  if (usable) signIn(token);
  else session.message = "The link that you followed has no token that could be used: was all of it copied?";
}

function askFor(token) {
  confirm({
    title: "Sign in with the link's token?",
    text: `The link that you followed has a token in it, and you are signed in${session.name ? ` as ${session.name}` : ""} already. `
      + "Go on with the link's token only if you know who made the link.",
    verb: "Use the link's token",
    act: async () => {
      leaveAll();
      signIn(token);
      route();
    },
  });
}

function route() {
  takeToken();
  if (!session.token) return redraw();
  if (!pulse.loader) startPulse();
  const at = parse(location.hash);
  const [name, make] = pageFor(at);
  const before = pageName;
  if (name === pageName) page.change?.(at);
  else {
    page?.leave();
    pageName = name;
    page = make();
    window.scrollTo(0, 0);
  }
  document.title = `${page.title} \u00b7 Fieldgate`;
  redraw();
  requestAnimationFrame(() => {
    // Another page is read out from its title on, once it is drawn.
    if (before !== null && before !== name) document.getElementById("title")?.focus({ preventScroll: true });
    // On a phone, bars are wider than the screen.
    for (const here of document.querySelectorAll("nav a[aria-current]")) here.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}

function leaveAll() {
  page?.leave();
  page = pageName = null;
  stopPulse();
}

function status() {
  const { data, error } = pulse.loader;
  if (error) return badge("bad", "no answer", error.message);
  if (!data) return badge("info", "connecting");
  const { ready, reasons } = data.readiness ?? { ready: true, reasons: [] };
  return ready ? badge(reasons.length ? "warn" : "good", reasons.length ? "attention" : "ready") : badge("bad", "not ready");
}

function frame() {
  const here = parse(location.hash).path[0] ?? "";
  const letters = pulse.loader.data?.dead_letters?.count;
  return [
    h("a.skip", { href: "#main", onclick: (event) => {
      event.preventDefault();
      document.getElementById("main").focus();
    } }, "Skip to content"),
    h("div.frame", null,
      h("header.side", null,
        h("div.brand", null, h("span.brand-mark", null, icon("lanes")), "Fieldgate"),
        h("div.side-status", null, status()),
        h("nav", { "aria-label": "Main" }, h("ul", null, NAV.map(([to, glyph, text]) => h("li", { key: text },
          h("a", { href: to ? link(to) : "#/", "aria-current": here === to ? "page" : null }, icon(glyph), h("span", null, text),
            to === "dead-letters" && letters ? h("span.count", null, letters > 999 ? "999+" : String(letters)) : null))))),
        h("div.side-foot", null, session.name ? h("span.muted.small.who", null, `${session.name} (${session.scope})`) : null,
          button(themeIsDark() ? "Use the light theme" : "Use the dark theme", toggleTheme, { kind: "quiet", iconOnly: true, glyph: themeIsDark() ? "sun" : "moon" }),
          button("Sign out", () => {
            signOut();
            redraw();
          }, { kind: "quiet", iconOnly: true, glyph: "out" }))),
      h("main", { id: "main", tabindex: "-1" },
        h("div.page", { key: pageName }, page.heading ? page.heading() : h("h1", { id: "title", tabindex: "-1" }, page.title), page.view()))),
  ];
}

function everything() {
  if (!session.token) {
    if (page) leaveAll();
    return [signInPage(route), overlays()];
  }
  return [page ? frame() : null, overlays()];
}

function start() {
  takeToken();
  const root = document.body.appendChild(document.createElement("div"));
  root.id = "root";
  mount(root, everything);
  window.addEventListener("hashchange", route);
  route();
}

document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
