// SPDX-License-Identifier: Apache-2.0
//
// As much of a browser as the modules touch while they are loaded, and what a test holds of it. Import it first.

const kept = new Map();

globalThis.sessionStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, String(value)),
  removeItem: (key) => kept.delete(key),
};
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = { addEventListener() {}, removeEventListener() {} };
globalThis.requestAnimationFrame = () => 0;

export const stored = kept;
