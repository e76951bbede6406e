// SPDX-License-Identifier: Apache-2.0
//
// Run in the page: what is wrong with it for people who read it or have it read to them. Gives a list of sentences.

const problems = [];
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

// [r, g, b, a] of any CSS colour.
function colour(text) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = text;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];

// What is behind the element's text: its own background and those of what it stands in.
function behind(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const background = colour(getComputedStyle(at).backgroundColor);
    layers.push(background);
    if (background[3] === 1) break;
    if (at.localName === "dialog") break;
  }
  return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
}

// WCAG 2.2, relative luminance and contrast ratio.
function luminance([r, g, b]) {
  const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}

function ratio(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

const seen = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0 && !element.closest(".visually-hidden, .skip");
let texts = 0;

function contrast(element, text, style) {
  const background = behind(element);
  const ink = over(colour(element.closest("svg") ? style.fill : style.color), background);
  const found = ratio(ink, background);
  texts += 1;
  if (found < 4.5) problems.push(`contrast ${found.toFixed(2)} of "${text.trim().slice(0, 40)}" in ${element.localName}.${element.getAttribute("class") ?? ""}`);
}

const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (!walker.currentNode.nodeValue.trim() || !seen(element) || ["script", "style", "noscript", "option", "datalist"].includes(element.localName)) continue;
  contrast(element, walker.currentNode.nodeValue, getComputedStyle(element));
}
for (const input of document.querySelectorAll("input, textarea, select")) {
  if (!seen(input)) continue;
  if (input.value) contrast(input, input.value, getComputedStyle(input));
  if (input.placeholder) contrast(input, input.placeholder, getComputedStyle(input, "::placeholder"));
}

function name(element) {
  const named = (element.getAttribute("aria-labelledby") ?? "").split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
  const labels = [...(element.labels ?? [])].map((label) => label.textContent).join(" ");
  return (named + (element.getAttribute("aria-label") ?? "") + labels + (["button", "a", "summary"].includes(element.localName) ? element.textContent : "")).trim();
}

const describe = (element) => element.outerHTML.slice(0, 120);
for (const element of document.querySelectorAll("button, a, input, select, textarea, summary, dialog, table, [role=img], [role=meter], [role=region], nav, section")) {
  if (seen(element) && !name(element)) problems.push(`no name: ${describe(element)}`);
}
for (const element of document.querySelectorAll("[tabindex]")) {
  if (Number(element.getAttribute("tabindex")) > 0) problems.push(`tabindex above 0: ${describe(element)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) problems.push(`id twice: ${id}`);
if (document.querySelectorAll("main").length !== 1) problems.push("not exactly one main");
if (document.querySelectorAll("h1").length !== 1) problems.push("not exactly one h1");
if (document.documentElement.scrollWidth > innerWidth) problems.push(`wider than the window: ${document.documentElement.scrollWidth} of ${innerWidth}`);
if (texts < 5) problems.push(`only ${texts} texts: nothing to look at`);
return problems;
