// SPDX-License-Identifier: Apache-2.0
//
// Light or dark: as the system has it, until somebody says otherwise.

import { redraw } from "./view.js";

const KEY = "fieldgate.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
system.addEventListener("change", redraw);

const chosen = () => localStorage.getItem(KEY);
export const themeIsDark = () => (chosen() ? chosen() === "dark" : system.matches);

export function applyTheme() {
  const theme = chosen();
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

export function toggleTheme() {
  const dark = !themeIsDark();
  // Back to what the system has: then follow it again.
  if (dark === system.matches) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, dark ? "dark" : "light");
  applyTheme();
  redraw();
}
