// SPDX-License-Identifier: Apache-2.0
//
// Small charts in SVG. Points are [time in ms, value], in order; null values leave a gap.

import { measure, moment, short } from "./format.js";
import { h, redraw } from "./view.js";

const path = (points, x, y) => {
  let out = "";
  let pen = "M";
  for (const [at, value] of points) {
    if (value === null || !Number.isFinite(value)) {
      pen = "M";
      continue;
    }
    out += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  }
  return out;
};

// Steps of 1, 2 or 5 times a power of ten.
export function ticks(low, high, wanted) {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => span / n <= wanted) ?? 10 * power;
  const out = [];
  for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) out.push(n * step);
  return out;
}

function bounds(points, zero) {
  let low = Infinity;
  let high = -Infinity;
  for (const [, value] of points) {
    if (value === null || !Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  if (zero) low = Math.min(0, low);
  if (low === high) return zero ? [0, high || 1] : [low - (Math.abs(low) * 0.1 || 1), high + (Math.abs(high) * 0.1 || 1)];
  const margin = (high - low) * 0.08;
  return [zero ? low : low - margin, high + margin];
}

export function sparkline(points, name) {
  const [low, high] = bounds(points, true);
  const [first, last] = [points[0]?.[0] ?? 0, points.at(-1)?.[0] ?? 1];
  const x = (at) => ((at - first) / (last - first || 1)) * 120;
  const y = (value) => 30 - ((value - low) / (high - low)) * 28;
  const line = points.length > 1 ? path(points, x, y) : "";
  return h("svg.spark", { viewBox: "0 0 120 32", preserveAspectRatio: "none", role: "img", "aria-label": name },
           line && h("path.area", { d: `${line}L120 32L${x(first)} 32Z` }), line && h("path.line", { d: line }));
}

// A chart with axes and a reading under the pointer. `state` is the caller's to keep: {} at first. `span_ms`: how much
// time it shows, ending at `end`.
export function chart(state, { name, points, end, span_ms, zero = false, unit = measure, scale = null, height = 160 }) {
  const width = state.width ?? 480;
  const [left, right, top, bottom] = [46, 8, 8, 20];
  const shown = points.filter(([at]) => at >= end - span_ms);
  const [low, high] = bounds(shown, zero);
  const x = (at) => left + ((at - (end - span_ms)) / span_ms) * (width - left - right);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - top - bottom);
  const line = path(shown, x, y);
  const lastAt = shown.at(-1)?.[0];
  const levels = ticks(low, high, 4);
  // All of them with as many decimals as their distance needs.
  const decimals = levels.length > 1 ? Math.min(6, Math.max(0, -Math.floor(Math.log10(levels[1] - levels[0]) + 1e-9))) : 2;
  const level = (value) => (Math.abs(value) >= 1e6 ? short(value) : value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
  const near = state.at === undefined || !shown.length ? null
    : shown.reduce((best, point) => (Math.abs(x(point[0]) - state.at) < Math.abs(x(best[0]) - state.at) ? point : best));
  const step = [10, 15, 30, 60, 120, 300].find((seconds) => span_ms / 1000 / seconds <= (width - left) / 85) ?? 600;
  const ages = Array.from({ length: Math.ceil(span_ms / 1000 / step) - 1 }, (_, i) => (i + 1) * step).filter((age) => age * 1000 < span_ms * 0.93);
  return h("div.chart", {
    created: (el) => watchWidth(el, state), removed: () => state.observer?.disconnect(),
    onpointermove: (event) => {
      state.at = event.clientX - event.currentTarget.getBoundingClientRect().left;
      redraw();
    },
    onpointerleave: () => {
      delete state.at;
      redraw();
    },
  }, h("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": name },
    levels.map((value) => h("g", null,
      h("line.grid", { x1: left, x2: width - right, y1: y(value), y2: y(value) }),
      h("text.tick", { x: left - 6, y: y(value) + 3.5, "text-anchor": "end" }, (scale ?? level)(value)))),
    ages.map((age) => h("text.tick", { x: x(end - age * 1000), y: height - 5, "text-anchor": "middle" }, age % 60 ? `\u2212${age} s` : `\u2212${age / 60} min`)),
    h("text.tick", { x: width - right, y: height - 5, "text-anchor": "end" }, "now"),
    line && zero ? h("path.area", { d: `${line}L${x(lastAt)} ${y(low)}L${x(shown[0][0])} ${y(low)}Z` }) : null,
    line ? h("path.line", { d: line }) : null,
    near && near[1] !== null ? [h("line.cross", { x1: x(near[0]), x2: x(near[0]), y1: top, y2: height - bottom }),
                                h("circle.point", { cx: x(near[0]), cy: y(near[1]), r: 3.5 })] : null),
  near && near[1] !== null ? h("div.reading", { css: { "--x": `${Math.min(Math.max(x(near[0]), 70), width - 70)}px` } },
    h("strong", null, unit(near[1])), ` ${moment(new Date(near[0]).toISOString())}`) : null);
}

function watchWidth(el, state) {
  state.observer = new ResizeObserver(() => {
    const width = Math.max(200, Math.floor(el.clientWidth));
    if (width !== state.width) {
      state.width = width;
      redraw();
    }
  });
  state.observer.observe(el);
}

// When a device was there: spans [from, to, online] over the time shown.
export function strip(spans, from, to, name) {
  const x = (at) => (((Math.max(from, Math.min(to, at)) - from) / (to - from)) * 1000).toFixed(1);
  return h("svg.strip", { viewBox: "0 0 1000 20", preserveAspectRatio: "none", role: "img", "aria-label": name },
           h("rect.unknown", { x: 0, y: 0, width: 1000, height: 20 }),
           spans.map(([begin, end, online]) => h("rect", { class: online ? "on" : "off", x: x(begin), y: 0, height: 20, width: Math.max(1, x(end) - x(begin)) })));
}
