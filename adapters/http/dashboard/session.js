// SPDX-License-Identifier: Apache-2.0
//
// Who is signed in: the API token, for as long as the browser's tab, and what it is good for as far as is known.

const KEY = "fieldgate.token";
const SCOPE = "fieldgate.scope";
const RANKS = { read: 0, command: 1, admin: 2 };

export const session = {
  token: sessionStorage.getItem(KEY) ?? "",
  name: "",
  scope: sessionStorage.getItem(SCOPE) ?? "",  // "": not known
  tooLow: new Set(),  // scopes that the gateway has said it lacks
  message: "",  // why the sign-in page is shown
};

export function signIn(token) {
  session.token = token;
  session.message = "";
  session.scope = session.name = "";
  session.tooLow.clear();
  sessionStorage.removeItem(SCOPE);
  sessionStorage.setItem(KEY, token);
}

export function signOut(message = "") {
  session.token = "";
  session.message = message;
  sessionStorage.removeItem(SCOPE);
  sessionStorage.removeItem(KEY);
}

export function learn({ name, scope }) {
  session.name = name ?? "";
  session.scope = scope in RANKS ? scope : "";
  sessionStorage.setItem(SCOPE, session.scope);
}

// "" if the token will do for `scope` as far as is known; else why not, for people.
export function lacking(scope) {
  const known = session.scope && RANKS[session.scope] < RANKS[scope];
  const refused = [...session.tooLow].some((low) => RANKS[low] <= RANKS[scope]);
  return known || refused ? `Needs a token with scope ${scope}.` : "";
}
