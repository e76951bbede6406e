// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import test from "node:test";

import * as format from "../../../adapters/http/dashboard/format.js";

const { DASH } = format;

test("numbers are grouped, shortened from ten thousand on, and a dash where there is none", () => {
  assert.deepEqual([0, 999, 1204, 9999].map(format.short), ["0", "999", "1,204", "9,999"]);
  assert.deepEqual([10000, 15234, 2500000, -12345].map(format.short), ["10K", "15.2K", "2.5M", "-12.3K"]);
  assert.deepEqual([null, undefined].map(format.number), [DASH, DASH]);
  assert.equal(format.number(1234567.8), "1,234,568");
});

test("rates below ten show a tenth, and what is no number a dash", () => {
  assert.deepEqual([0, 0.44, 9.94, 9.96, 12.4].map(format.rate), ["0", "0.4", "9.9", "10", "12"]);
  assert.deepEqual([NaN, Infinity, null].map(format.rate), [DASH, DASH, DASH]);
});

test("bytes step by 1024 and stop at the largest unit", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 10240, 1024 ** 3].map(format.bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 KiB", "1.0 GiB"]);
  assert.equal(format.bytes(1024 ** 6), "1024 PiB");
});

test("measured values keep about seven characters", () => {
  assert.deepEqual([3, 21.5, 0.25, 1234.56, 0.00012, 2.5e7, "on", true].map(format.measure),
                   ["3", "21.50", "0.250", "1234.6", "1.20e-4", "25,000,000", "on", "true"]);
});

test("durations name their two largest units and leave out what is nought", () => {
  assert.deepEqual([0, 250, 1000, 61_000, 3_600_000, 11_520_000, 86_400_000 + 60_000].map(format.duration),
                   ["0 s", "250 ms", "1 s", "1 min 1 s", "1 h", "3 h 12 min", "1 d"]);
  assert.equal(format.about(11_520_000), "3 h");
  assert.equal(format.duration(-5), "0 s");
});

test("one is one, and all else many", () => {
  assert.deepEqual([0, 1, 2].map((n) => format.count(n, "frame")), ["0 frames", "1 frame", "2 frames"]);
  assert.equal(format.count(2, "entry", "entries"), "2 entries");
});

test("ages are by the gateway's clock, not by this machine's", () => {
  const machine = Date.now;
  const at = Date.parse("2026-03-01T00:00:00Z");
  Date.now = () => at;  // it stands still, or an hour is some milliseconds short of one
  try {
    const here = new Date(at).toISOString();
    format.setClock("2026-03-01T01:00:00Z");
    assert.equal(format.ago(here), "1 h ago");
    format.setClock("not a time");  // changes nothing
    assert.equal(format.ago(here), "1 h ago");
    format.setClock(here);
    assert.equal(format.ago(here), "just now");
  } finally {
    Date.now = machine;
  }
});

test("payloads are text only where all of them is", () => {
  const base64 = (bytes) => Buffer.from(bytes).toString("base64");
  assert.equal(format.decodeText(base64(Buffer.from("zw\u00f6lf\n\t"))), "zw\u00f6lf\n\t");
  assert.equal(format.decodeText(base64([0xff, 0xfe])), null);
  assert.equal(format.decodeText(base64([0x41, 0x00])), null);
  assert.equal(format.decodeText("%"), null);
});

test("a hex dump shows sixteen bytes a line, and what is no base64 as it is", () => {
  const dump = format.hexDump(Buffer.from("0123456789abcdef\x00~").toString("base64")).split("\n");
  assert.equal(dump[0], "0000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef");
  assert.equal(dump[1], `0010  00 7e${" ".repeat(42)}  .~`);
  assert.equal(format.hexDump("%%"), "%%");
});
