// SPDX-License-Identifier: Apache-2.0
//
// The address behind the #: "#/devices/pump-1?tab=x". The back button works because every page and filter is one.

export function parse(hash) {
  const text = hash.replace(/^#/, "") || "/";
  const cut = text.indexOf("?");
  const path = (cut < 0 ? text : text.slice(0, cut)).split("/").filter(Boolean).map(decode);
  return { path, query: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// link("devices", id) or link("devices", {text: "x", label: ["a", "b"]}).
export function link(...parts) {
  const query = typeof parts.at(-1) === "object" ? parts.pop() : {};
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one) search.append(name, one);
  }
  const text = search.toString();
  return "#/" + parts.map(encodeURIComponent).join("/") + (text && "?" + text);
}

// `replace`: without a step in the history, as for each letter of a search.
export function go(to, replace = false) {
  if (to === location.hash) return;
  if (replace) {
    history.replaceState(null, "", to);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  } else {
    location.hash = to;
  }
}
