// A description of the page (h) and the smallest change that makes the page so (patch).
// Nodes are kept where key and tag match, so focus, selection and scroll survive every refresh.

export function h(tag, props, ...children) {
  props = props || {};
  return { tag, props, key: props.key, children: children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false) };
}

export function patch(parent, children) {
  const wanted = children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false);
  const keyed = new Map();
  const plain = [];
  for (const node of parent.childNodes) {
    const key = node.__v && node.__v.key;
    if (key !== undefined) keyed.set(key, node);
    else plain.push(node);
  }
  const chosen = wanted.map((one) => {
    const isText = typeof one !== "object";
    if (!isText && one.key !== undefined) {
      const node = keyed.get(one.key);
      if (node && node.__v.tag === one.tag) {
        keyed.delete(one.key);
        return node;
      }
      return null;
    }
    const at = plain.findIndex((node) => (isText ? node.nodeType === 3 : node.__v && node.__v.tag === one.tag));
    return at < 0 ? null : plain.splice(at, 1)[0];
  });
  for (const node of [...keyed.values(), ...plain]) node.remove();
  let cursor = parent.firstChild;
  wanted.forEach((one, index) => {
    let node = chosen[index];
    if (node === null) node = create(one);
    else if (node.nodeType === 3) {
      if (node.data !== String(one)) node.data = String(one);
    } else update(node, one);
    if (node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(node, cursor);
  });
}

function create(one) {
  if (typeof one !== "object") return document.createTextNode(String(one));
  const node = document.createElement(one.tag);
  node.__v = { tag: one.tag, props: {}, key: one.key, children: [] };
  update(node, one);
  if (one.props.focus) requestAnimationFrame(() => node.focus());
  return node;
}

function update(node, one) {
  const before = node.__v;
  if (before === one) return;
  node.__v = one;
  for (const name of Object.keys(before.props)) if (!(name in one.props)) setProp(node, name, undefined);
  for (const [name, value] of Object.entries(one.props)) if (before.props[name] !== value) setProp(node, name, value);
  if (one.props.html === undefined && one.props.tick === undefined) patch(node, one.children);
}

function setProp(node, name, value) {
  if (name === "key" || name === "focus") return;
  if (name.startsWith("on")) {
    if (!node.__on) node.__on = {};
    if (!(name in node.__on)) node.addEventListener(name.slice(2), (event) => node.__on[name] && node.__on[name](event));
    node.__on[name] = value;
  } else if (name === "html") node.innerHTML = value || "";
  else if (name === "tick") {
    // text that changes with the clock: tick() says it now, and runTicks says it again
    node.__tick = value;
    if (value) {
      node.setAttribute("data-tick", "");
      setText(node, value());
    }
  } else if (name === "value" || name === "checked" || name === "selected" || name === "indeterminate") {
    if (node[name] !== value && value !== undefined) node[name] = value;
  } else if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}

export function runTicks(root) {
  for (const node of root.querySelectorAll("[data-tick]")) if (node.__tick) setText(node, node.__tick());
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// One description is made once for the same inputs, and patch leaves its part of the page alone.
export class Memo {
  constructor() {
    this.kept = new Map();
    this.used = new Map();
  }
  get(key, inputs, make) {
    const known = this.kept.get(key);
    const entry = known && known.inputs.length === inputs.length && known.inputs.every((one, index) => one === inputs[index])
      ? known : { inputs, made: make() };
    this.used.set(key, entry);
    return entry.made;
  }
  sweep() {
    this.kept = this.used;
    this.used = new Map();
  }
}
