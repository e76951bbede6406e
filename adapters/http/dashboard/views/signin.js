// SPDX-License-Identifier: Apache-2.0
//
// Sign-in with an API token. It is tried before it is kept.

import { get } from "../api.js";
import { session, signIn, signOut } from "../session.js";
import { button, field, icon, input } from "../ui.js";
import { h, redraw } from "../view.js";

const state = { token: "", error: "", busy: false };

async function submit(event, done) {
  event.preventDefault();
  const token = state.token.trim();
  if (!token) {
    state.error = "Paste an API token first.";
    return redraw();
  }
  if (!/^[\x21-\x7e]+$/.test(token)) {
    state.error = "A token has no blanks and no special characters: was all of it copied, and nothing else?";
    return redraw();
  }
  state.busy = true;
  redraw();
  signIn(token);
  try {
    await get("/nodes");
    Object.assign(state, { token: "", error: "" });
    done();
  } catch (error) {
    signOut();
    state.error = error.status === 401 ? "The gateway does not know this token." : error.message;
  }
  state.busy = false;
  redraw();
}

export const signInPage = (done) =>
  h("main.signin", { id: "main", tabindex: "-1" }, h("form.card", { onsubmit: (event) => submit(event, done) },
    h("div.brand", null, h("span.brand-mark", null, icon("lanes")), "Fieldgate"),
    h("h1", null, "Sign in"), h("p.muted", null, "With a token that this gateway knows. It stays in this browser tab, until you close it or sign out."),
    session.message ? h("p.banner.warn.small", { role: "status" }, icon("warn"), session.message) : null,
    field("API token", input(state, "token", { type: "password", autocomplete: "current-password", autofocus: true, required: true }), { error: state.error, key: "signin-token" }),
    button("Sign in", null, { kind: "primary", type: "submit", busy: state.busy }),
    h("details.help", null, h("summary", null, "Where do I get a token?"),
      h("p", null, "Whoever runs the gateway adds a line to the file named by ", h("code", null, "api.token_file"), ": a name, the token\u2019s SHA-256 and its scope (read, command or admin). ", h("code", null, "fieldgate token"), " makes one."))));
