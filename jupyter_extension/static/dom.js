// A description of the page (h) and the smallest change that makes the page so (patch).
// Nodes are kept where key and tag match, so focus, selection and scroll survive every refresh.

/** @import { Child, Listener, Props, Shown, VNode } from "./types" */

/** @typedef {HTMLElement & { __v?: VNode, __on?: Record<string, Listener | undefined>, __tick?: () => string }} Drawn */

/**
 * @param {string} tag
 * @param {Props | null} [props]
 * @param {...Child} children
 * @returns {VNode}
 */
export function h(tag, props, ...children) {
  props = props || {};
  return { tag, props, key: props.key, children: flat(children) };
}

/**
 * @param {Child[]} children
 * @returns {Shown[]}
 */
function flat(children) {
  /** @type {Shown[]} */
  const found = [];
  for (const one of children) {
    if (Array.isArray(one)) found.push(...flat(one));
    else if (one !== null && one !== undefined && one !== false) found.push(one);
  }
  return found;
}

/**
 * Makes the children of `parent` what is described.
 *
 * @param {Element} parent
 * @param {Child[]} children
 */
export function patch(parent, children) {
  const wanted = flat(children);
  /** @type {Map<string, Drawn>} */
  const keyed = new Map();
  /** @type {Drawn[]} */
  const plain = [];
  for (const node of /** @type {Iterable<Drawn>} */ (/** @type {unknown} */ (parent.childNodes))) {
    const key = node.__v && node.__v.key;
    if (key !== undefined) keyed.set(key, node);
    else plain.push(node);
  }
  const chosen = wanted.map((one) => {
    if (typeof one === "object" && one.key !== undefined) {
      const node = keyed.get(one.key);
      if (node && node.__v && node.__v.tag === one.tag) {
        keyed.delete(one.key);
        return node;
      }
      return null;
    }
    const at = plain.findIndex((node) => (typeof one === "object" ? node.__v && node.__v.tag === one.tag : node.nodeType === Node.TEXT_NODE));
    return at < 0 ? null : plain.splice(at, 1)[0];
  });
  for (const node of [...keyed.values(), ...plain]) node.remove();
  let cursor = parent.firstChild;
  wanted.forEach((one, index) => {
    const node = madeSo(chosen[index], one);
    if (node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(node, cursor);
  });
}

/**
 * @param {Drawn | null} node
 * @param {Shown} one
 * @returns {Node}
 */
function madeSo(node, one) {
  if (node === null) return create(one);
  if (typeof one === "object") update(node, one);
  else if (node.nodeValue !== String(one)) node.nodeValue = String(one);
  return node;
}

/** @param {Shown} one */
function create(one) {
  if (typeof one !== "object") return document.createTextNode(String(one));
  const node = /** @type {Drawn} */ (document.createElement(one.tag));
  node.__v = { tag: one.tag, props: {}, key: one.key, children: [] };
  update(node, one);
  if (one.props.focus) requestAnimationFrame(() => node.focus());
  return node;
}

/**
 * @param {Drawn} node
 * @param {VNode} one
 */
function update(node, one) {
  const before = node.__v;
  if (before === one) return;
  node.__v = one;
  /** @type {Props} */
  const shown = before ? before.props : {};
  for (const name of Object.keys(shown)) if (!(name in one.props)) setProp(node, name, undefined);
  for (const [name, value] of Object.entries(one.props)) if (shown[name] !== value) setProp(node, name, value);
  if (one.props.html === undefined && one.props.tick === undefined) patch(node, one.children);
}

const PROPERTIES = new Set(["value", "checked", "selected", "indeterminate"]);

/**
 * @param {Drawn} node
 * @param {string} name
 * @param {Props[string]} value
 */
function setProp(node, name, value) {
  if (name === "key" || name === "focus") return;
  if (name.startsWith("on")) listen(node, name, /** @type {Listener | undefined} */ (value));
  else if (name === "html") node.innerHTML = String(value || "");
  else if (name === "drawn" && typeof value === "function") value(node);
  else if (name === "tick") {
    // text that changes with the clock: tick() says it now, and runTicks says it again
    node.__tick = /** @type {(() => string) | undefined} */ (value);
    if (node.__tick) {
      node.setAttribute("data-tick", "");
      setText(node, node.__tick());
    }
  } else if (PROPERTIES.has(name)) {
    const properties = /** @type {Record<string, unknown>} */ (/** @type {unknown} */ (node));
    if (properties[name] !== value && value !== undefined) properties[name] = value;
  } else if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}

/**
 * @param {Drawn} node
 * @param {string} name
 * @param {Listener | undefined} listener
 */
function listen(node, name, listener) {
  /** @type {Record<string, Listener | undefined>} */
  const listeners = (node.__on = node.__on || {});
  if (!(name in listeners)) {
    node.addEventListener(name.slice(2), (event) => {
      const newest = listeners[name];
      if (newest) newest(event);
    });
  }
  listeners[name] = listener;
}

/** @param {Element} root */
export function runTicks(root) {
  for (const node of /** @type {NodeListOf<Drawn>} */ (root.querySelectorAll("[data-tick]"))) if (node.__tick) setText(node, node.__tick());
}

/**
 * @param {Element} node
 * @param {string} text
 */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @typedef {{ inputs: unknown[], made: VNode, within: string[] }} Kept a description, what it was made of, and the keys of those inside it */

/** One description is made once for the same inputs, and patch leaves its part of the page alone. */
export class Memo {
  constructor() {
    /** @type {Map<string, Kept>} */
    this.kept = new Map();
    /** @type {Map<string, Kept>} */
    this.used = new Map();
    /** @type {string[]} */
    this.within = [];
  }

  /**
   * @param {string} key
   * @param {unknown[]} inputs
   * @param {() => VNode} make
   */
  get(key, inputs, make) {
    const known = this.kept.get(key);
    const isSame = known && known.inputs.length === inputs.length && known.inputs.every((one, index) => one === inputs[index]);
    const entry = isSame ? known : this.make(inputs, make);
    this.within.push(key);
    this.use(key, entry);
    return entry.made;
  }

  /**
   * @param {unknown[]} inputs
   * @param {() => VNode} make
   */
  make(inputs, make) {
    const around = this.within;
    this.within = [];
    const made = make();
    const { within } = this;
    this.within = around;
    return { inputs, made, within };
  }

  /**
   * @param {string} key
   * @param {Kept} entry
   */
  use(key, entry) {
    this.used.set(key, entry);
    for (const inner of entry.within) if (!this.used.has(inner)) this.use(inner, /** @type {Kept} */ (this.kept.get(inner)));
  }

  /** Forgets what was not asked for since the last sweep. */
  sweep() {
    this.kept = this.used;
    this.used = new Map();
    this.within = [];
  }
}
