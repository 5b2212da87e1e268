// The small pieces that every part of the panel is made of.

import { h } from "./dom.js";
import { ago, clock } from "./format.js";
import SHAPES from "./shapes.js";

/** @import { ButtonOptions, CellPlace, Child, ErrorParts, Mark, Shape, Tone, WhyNot } from "./types" */
/** @import { Panel } from "./panel.js" */

const CONFIRM_MS = 4000;

/**
 * The drawing of a shape, as HTML. The tone is that of what is around.
 *
 * @param {Shape} shape
 */
export function drawing(shape) {
  return `<svg class="de-icon" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">${SHAPES[shape] || ""}</svg>`;
}

/** @param {{ shape: Shape, tone: Tone }} mark */
export function icon(mark) {
  return h("span", { class: `de-shape de-${mark.tone}`, html: drawing(mark.shape), "aria-hidden": "true" });
}

/**
 * A mark with its word, or with another text.
 *
 * @param {Mark} mark
 * @param {string} [text]
 */
export function sign(mark, text) {
  return h("span", { class: `de-sign de-${mark.tone}` }, icon(mark), h("span", { class: "de-word" }, text || mark.word));
}

/** @param {string} utc */
export function agoText(utc) {
  return h("span", { class: "de-ago", title: clock(utc), tick: () => ago(utc) });
}

/**
 * A path that may break behind its separators, never inside a name.
 *
 * @param {string} path
 * @returns {Child[]}
 */
export function pathText(path) {
  return path.split(/(?<=[\\/])/).map((part, index) => [index ? h("wbr") : null, part]);
}

/**
 * A box with a sign of its tone.
 *
 * @param {"bad" | "warn"} tone
 * @param {string} key
 * @param {...Child} inside
 */
export function note(tone, key, ...inside) {
  return h("div", { class: `de-note de-${tone}`, key },
    icon({ shape: tone === "bad" ? "cross" : "triangle", tone }), h("div", { class: "de-grow" }, ...inside));
}

const LONG = 90;

/**
 * A text in which what stands between backticks is code.
 *
 * @param {string} text
 */
export function withCode(text) {
  return text.split(/`([^`\n]+)`/).map((part, index) => index % 2 ? h("code", { key: String(index) }, part) : part);
}

/**
 * A text of which a long one shows two lines, and all of it with what belongs to it when it is opened.
 *
 * @param {string} text
 * @param {...Child} rest
 */
export function folded(text, ...rest) {
  const more = rest.filter(Boolean);
  if (text.length <= LONG && !more.length) return h("div", null, withCode(text));
  return h("details", { class: "de-fold", key: `fold ${text}` }, h("summary", null, h("div", { class: "de-grow" }, withCode(text))), more);
}

/**
 * @param {Panel} app
 * @param {ErrorParts} error
 * @param {CellPlace[]} cells
 */
export function errorBox(app, error, cells) {
  const parts = [error.where ? h("div", { class: "de-faint" }, error.where) : null, error.fix ? h("div", null, withCode(error.fix)) : null];
  const isLong = [error.what, error.where, error.fix].join(" ").length > 2 * LONG;
  return h("div", { class: "de-note de-bad", role: "group", key: "error" },
    icon({ shape: "cross", tone: "bad" }),
    h("div", { class: "de-grow" },
      isLong ? folded(error.what, ...parts) : [h("div", { class: "de-strong" }, withCode(error.what)), parts],
      cellLinks(app, cells)));
}

/**
 * A button for each place in a notebook.
 *
 * @param {Panel} app
 * @param {CellPlace[]} cells
 */
export function cellLinks(app, cells) {
  if (!cells.length) return null;
  return h("div", { class: "de-links" }, cells.map((one) => h("button", {
    key: `${one.notebook} ${one.cell} ${one.line}`, class: "de-link", onclick: () => app.jupyter.openCell(one),
  }, `Open ${one.notebook}, cell ${one.cell}${one.line ? `, line ${one.line}` : ""}`)));
}

/**
 * What a button with a reason against it has: it keeps its place in the tab order, so that its reason can be read there.
 *
 * @param {WhyNot} reason
 * @param {string} title
 */
export function whyNot(reason, title) {
  return reason
    ? { "aria-disabled": "true", title: `${title}: ${reason}`, "data-why": reason }
    : { "aria-disabled": undefined, title, "data-why": undefined };
}

/**
 * A button that says why it cannot be used, is busy until its answer is there, and asks again where it should.
 *
 * @param {Panel} app
 * @param {string} key
 * @param {string} label
 * @param {WhyNot} why
 * @param {() => unknown} act
 * @param {ButtonOptions} options
 */
export function button(app, key, label, why, act, options = {}) {
  const asks = options.confirm !== undefined && app.state.confirming === key;
  const isPending = app.state.pending.get(options.pending || `b ${key}`);
  const press = () => {
    if (why || isPending) return;
    if (options.confirm && !asks) {
      app.set({ confirming: key });
      setTimeout(() => app.state.confirming === key && app.set({ confirming: null }), CONFIRM_MS);
      return;
    }
    if (asks) app.state.confirming = null;
    app.during(`b ${key}`, act());
  };
  return h("button", {
    key: `b ${key}`, type: "button", class: buttonClass(options, asks), "data-action": key, "aria-busy": isPending ? "true" : undefined,
    "aria-expanded": options.expanded === undefined ? undefined : String(options.expanded), ...whyNot(why, options.title || label),
    "aria-label": options.title, onclick: press,
  }, options.shape ? h("span", { class: "de-shape", html: drawing(options.shape), "aria-hidden": "true" }) : null,
  asks ? options.confirm : (isPending && options.busy) || label);
}

/**
 * @param {ButtonOptions} options
 * @param {boolean} asks
 */
function buttonClass({ primary, small, quiet, square }, asks) {
  const kinds = { "de-primary": primary, "de-small": small, "de-quiet": quiet, "de-square": square, "de-asks": asks };
  return ["de-button", ...Object.entries(kinds).filter(([, is]) => is).map(([name]) => name)].join(" ");
}

/**
 * A button with what is done seldom behind it. It closes when something of it was pressed, and by Esc or a click elsewhere.
 *
 * @param {Panel} app
 * @param {string} title
 * @param {Child[]} items
 */
export function menu(app, title, items) {
  const { isMenuOpen } = app.state;
  /** @param {MouseEvent} event */
  const pressed = (event) => {
    const item = /** @type {HTMLElement} */ (event.target).closest("[data-action]");
    if (!item || item.hasAttribute("aria-disabled") || app.state.confirming === item.getAttribute("data-action")) return;
    app.focusNext = app.focusNext || "[data-action=more]";
    app.set({ isMenuOpen: false });
  };
  return h("span", { class: "de-menu-place", key: "menu" },
    button(app, "more", "⋯", null, () => app.set({ isMenuOpen: !isMenuOpen }), { square: true, title, expanded: isMenuOpen }),
    isMenuOpen ? h("div", { class: "de-menu", role: "group", "aria-label": title, onclick: pressed }, items) : null);
}

/**
 * A row of tabs; arrows move among them.
 *
 * @param {Panel} app
 * @param {"tab" | "section"} key the part of the state that holds the chosen one
 * @param {[string, string][]} names
 * @param {string} chosen
 * @param {(name: string) => string | null} countOf
 */
export function tabs(app, key, names, chosen, countOf = () => null) {
  /** @param {KeyboardEvent} event */
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [.../** @type {HTMLElement} */ (event.currentTarget).querySelectorAll("[role=tab]")];
    const next = /** @type {HTMLElement} */ (all[(all.indexOf(/** @type {HTMLElement} */ (event.target)) + step + all.length) % all.length]);
    next.focus();
    next.click();
  };
  return h("div", { class: `de-tabs de-tabs-${key}`, role: "tablist", key: `tabs ${key}`, onkeydown: move }, names.map(([name, label]) => {
    const count = countOf(name);
    return h("button", {
      key: name, role: "tab", class: "de-tab", "aria-selected": String(name === chosen), tabindex: name === chosen ? "0" : "-1",
      onclick: () => app.set({ [key]: name, question: null }),
    }, label, count ? h("span", { class: "de-count" }, count) : null);
  }));
}
