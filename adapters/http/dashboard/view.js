// SPDX-License-Identifier: Apache-2.0
//
// The view layer: a page is a function that gives a tree of h(...), and draw() makes the document look so, touching
// only what differs, so that focus, selection and scrolling stay. Text is only ever put in as text nodes and
// attributes, never parsed as HTML.
//
// h(tag, props, ...children): `tag` is "div" or "div.class.class". Props: `key` (what a child is recognised
// by among its siblings), on... (event handlers), created(el) / updated(el) / removed(el), `css` ({"--name": value}), live properties
// such as value and checked, and else attributes (false and null: absent). Children: nodes, strings, numbers, lists;
// null and false keep their place.

const SVG = "http://www.w3.org/2000/svg";
const LIVE = new Set(["value", "checked", "selected", "indeterminate"]);

export function h(tag, props, ...children) {
  const dot = tag.indexOf(".");
  const own = props ?? {};
  let classes = dot < 0 ? "" : tag.slice(dot + 1).replaceAll(".", " ");
  if (own.class) classes += (classes && " ") + own.class;
  return { tag: dot < 0 ? tag : tag.slice(0, dot), key: own.key, props: classes ? { ...own, class: classes } : own,
           children: flat(children, []), el: null };
}

function flat(children, out) {
  for (const child of children) {
    if (Array.isArray(child)) flat(child, out);
    else if (child && child.tag) out.push(child);
    else out.push({ text: child === null || child === undefined || child === false ? "" : String(child), el: null });
  }
  return out;
}

function setProp(el, name, value, old) {
  if (name === "key" || name === "created" || name === "updated" || name === "removed") return;
  if (name.startsWith("on")) el[name] = value ?? null;
  else if (LIVE.has(name)) {
    if (el[name] !== value) el[name] = value ?? "";
  } else if (value === old) return;
  else if (name === "css") {
    for (const [key, text] of Object.entries(value ?? {})) el.style.setProperty(key, text);
  } else if (value === null || value === undefined || value === false) el.removeAttribute(name);
  else el.setAttribute(name, value === true ? "" : value);
}

function create(node, svg) {
  if (node.tag === undefined) return (node.el = document.createTextNode(node.text));
  const inSvg = svg || node.tag === "svg";
  const el = (node.el = inSvg ? document.createElementNS(SVG, node.tag) : document.createElement(node.tag));
  for (const child of node.children) el.appendChild(create(child, inSvg));
  for (const name in node.props) setProp(el, name, node.props[name]);  // after the children: a select's value needs them
  if (node.props.created) created.push(node);
  return el;
}

let created = [];

function discard(node) {
  if (node.tag === undefined) return;
  node.props.removed?.(node.el);
  node.children.forEach(discard);
}

const alike = (a, b) => a.tag === b.tag && a.key === b.key;

function patch(old, node, svg) {
  const el = (node.el = old.el);
  if (node.tag === undefined) {
    if (old.text !== node.text) el.nodeValue = node.text;
    return;
  }
  const inSvg = svg || node.tag === "svg";
  patchChildren(el, old.children, node.children, inSvg);
  for (const name in old.props) if (!(name in node.props)) setProp(el, name, null, old.props[name]);
  for (const name in node.props) setProp(el, name, node.props[name], old.props[name]);
  node.props.updated?.(el);
}

function patchChildren(el, olds, news, svg) {
  const byKey = new Map();
  const others = [];  // those without a key are matched in their order
  for (const old of olds) {
    if (old.key !== undefined) byKey.set(old.key, old);
    else others.push(old);
  }
  const taken = new Set();
  let place = el.firstChild;
  let next = 0;
  for (const node of news) {
    const old = node.key === undefined ? others[next++] : byKey.get(node.key);
    if (old && !taken.has(old) && alike(old, node)) {
      taken.add(old);
      patch(old, node, svg);
      if (node.el === place) place = place.nextSibling;
      else el.insertBefore(node.el, place);
    } else {
      el.insertBefore(create(node, svg), place);
    }
  }
  for (const old of olds) {
    if (taken.has(old)) continue;
    discard(old);
    old.el.remove();
  }
}

let root = null;
let view = null;
let wanted = false;

function render() {
  wanted = false;
  const next = { tag: root.el.localName, props: {}, children: flat([view()], []), el: root.el };
  patchChildren(root.el, root.children, next.children, false);
  root = next;
  const fresh = created;
  created = [];
  for (const node of fresh) node.props.created(node.el);
}

// Draws `of` into `el` now, and again whenever redraw() was called.
export function mount(el, of) {
  root = { el, children: [] };
  view = of;
  render();
}

// Soon, once for many calls. A hidden page draws nothing; it does so when it is seen again.
export function redraw() {
  if (wanted || !root) return;
  wanted = true;
  requestAnimationFrame(render);
}
