// SPDX-License-Identifier: Apache-2.0
//
// Numbers and times for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

export const DASH = "\u2013";

export const number = (n) => (n === null || n === undefined ? DASH : whole.format(n));
export const short = (n) => (n === null || n === undefined ? DASH : Math.abs(n) < 10000 ? whole.format(n) : compact.format(n));

// A rate: 0.4, 12, 1,204, 15.2K.
export function rate(n) {
  if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
  return n > 0 && n < 9.95 ? n.toFixed(1) : short(n);
}

export function bytes(n) {
  if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
  let at = 0;
  while (n >= 1024 && at < 5) {
    n /= 1024;
    at += 1;
  }
  return `${at && n < 10 ? n.toFixed(1) : Math.round(n)} ${["B", "KiB", "MiB", "GiB", "TiB", "PiB"][at]}`;
}

// A measured value, at most about seven characters of it.
export function measure(value) {
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return whole.format(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
  return size >= 1000 ? value.toFixed(1) : size >= 10 ? value.toFixed(2) : value.toFixed(3);
}

export const count = (n, one, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`;

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// The two largest units: "3 h 12 min".
export function duration(ms) {
  let seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 1) return ms >= 1 ? `${Math.round(ms)} ms` : "0 s";
  const out = [];
  for (const [unit, size] of UNITS) {
    const n = Math.floor(seconds / size);
    seconds -= n * size;
    if (n || out.length) out.push(n && `${n} ${unit}`);
    if (out.length === 2) break;
  }
  return out.filter(Boolean).join(" ");
}

// The largest unit alone: "3 h".
export const about = (ms) => duration(ms).split(" ").slice(0, 2).join(" ");

// How far the gateway's clock is ahead of this machine's.
let skew = 0;
export const setClock = (serverTime) => {
  const at = Date.parse(serverTime);
  if (Number.isFinite(at)) skew = at - Date.now();
};
export const now = () => Date.now() + skew;

export const ago = (time) => {
  const ms = now() - Date.parse(time);
  return ms < 2000 ? "just now" : `${about(ms)} ago`;
};

export function moment(time) {
  const at = new Date(time);
  const today = new Date().toDateString() === at.toDateString();
  return today ? clock.format(at) : `${day.format(at)}, ${clock.format(at)}`;
}

export const exactly = (time) => full.format(new Date(time));

export function json(value) {
  return JSON.stringify(value, null, 2);
}

// Base64 as text, if it is UTF-8 without control characters, else null.
export function decodeText(base64) {
  try {
    const raw = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const text = new TextDecoder("utf-8", { fatal: true }).decode(raw);
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

// Base64 as a hex dump, 16 bytes a line.
export function hexDump(base64) {
  let raw = "";
  try {
    raw = atob(base64);
  } catch {
    return base64;
  }
  const lines = [];
  for (let at = 0; at < raw.length; at += 16) {
    const codes = [...raw.slice(at, at + 16)].map((c) => c.charCodeAt(0));
    const hex = codes.map((c) => c.toString(16).padStart(2, "0")).join(" ");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(47)}  ${codes.map((c) => (c > 31 && c < 127 ? String.fromCharCode(c) : ".")).join("")}`);
  }
  return lines.join("\n");
}
