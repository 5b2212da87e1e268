// What feeds what: the map of all flows and the places between them, and one step around a flow or a file. Each flow has its state as it is now.

import { h } from "./dom.js";
import { note } from "./pieces.js";
import SHAPES from "./shapes.js";
import { inspect } from "./sheet.js";

/** @import { PanelFlow } from "./types" */
/** @import { Panel } from "./panel.js" */

const AGAIN_MS = 10000, BORDER = 16, NARROWEST = 240;
/** @type {WeakMap<Panel, Set<string>>} what each panel is just reading */
const reading = new WeakMap();

/**
 * Reads the picture around `x`, of all flows without one, where it is not known for this width, or not of late.
 *
 * @param {Panel} app
 * @param {string} x
 */
async function loadLineage(app, x) {
  const { transport } = app;
  const around = /** @type {HTMLElement} */ (app.root.querySelector(x ? ".de-detail, .de-outputs" : ".de-body") || app.root);
  const width = Math.max(NARROWEST, around.offsetWidth - 2 * BORDER); // with room for a scroll bar, or it would come and go
  const known = app.state.lineage[x];
  const now = reading.get(app) || new Set();
  reading.set(app, now);
  if (app.isStatic || now.has(x) || (known && known.width === width && Date.now() - known.at < AGAIN_MS)) return;
  now.add(x);
  const { result, error } = await transport.call("lineage", { x, width });
  now.delete(x);
  if (app.isGone || app.transport !== transport) return;
  const found = { svg: "", edges: [], ...result, said: error ? error.what : "", width, at: Date.now() };
  app.set({ lineage: { "": app.state.lineage[""], [x]: found } });
}

/** @type {WeakMap<Element, string>} what each box shows */
const states = new WeakMap();
const TONES = ["good", "bad", "warn", "live", "idle"].map((tone) => `de-${tone}`);

/**
 * Gives the boxes of flows in a drawn picture the states of these flows. Names are only ever set as texts and attributes: none becomes markup.
 *
 * @param {Element} drawn
 * @param {Record<string, PanelFlow>} flows
 */
export function showStates(drawn, flows) {
  for (const box of drawn.querySelectorAll("[data-kind=flow]")) {
    const name = box.getAttribute("data-node") || "";
    const row = Object.hasOwn(flows, name) ? flows[name] : null;
    const { tone, shape, word } = row ? row.mark : { tone: "idle", shape: /** @type {const} */ ("ring"), word: "" };
    const tip = row ? `${row.title}: ${[row.state_text, row.reason].filter(Boolean).join(", ")}` : name;
    const part = (/** @type {string} */ selector) => /** @type {Element} */ (box.querySelector(selector));
    const state = [tone, shape, word, tip].join("\n");
    if (states.get(box) === state) continue; // a tip stays open
    states.set(box, state);
    box.classList.remove(...TONES);
    box.classList.add(`de-${tone}`);
    box.setAttribute("aria-label", tip);
    part("title").textContent = tip;
    part(".de-s").textContent = word;
    part(".de-i").innerHTML = SHAPES[shape];
  }
}

/** @param {Panel} app */
export function mapTab(app) {
  loadLineage(app, "");
  const known = app.state.lineage[""];
  if (!known) return h("p", { class: "de-empty" }, "Reading what feeds what…");
  if (known.said) return note("bad", "said", known.said);
  return h("div", { class: "de-map" }, picture(app, known.svg),
    known.svg.includes("de-o") ? h("p", { class: "de-hint", key: "hint" }, "Where a line is dashed, no run has read or written yet.") : null);
}

/**
 * One step around a flow or a file, with a sentence for each line; nothing where nothing is known.
 *
 * @param {Panel} app
 * @param {string} x
 */
export function lineagePart(app, x) {
  loadLineage(app, x);
  const known = app.state.lineage[x];
  if (!known || !known.edges.length) return null;
  return h("section", { class: "de-saved", key: `lineage ${x}` },
    h("h4", { class: "de-h4" }, "What feeds what"),
    picture(app, known.svg),
    known.edges.map((text) => h("div", { key: text, class: "de-faint de-whole" }, text)));
}

/**
 * @param {Panel} app
 * @param {string} svg
 */
function picture(app, svg) {
  /** @type {import("./types").Listener} */
  const lead = (event) => {
    const box = /** @type {Element} */ (event.target).closest("[data-node]");
    if (!(box instanceof SVGElement) || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    const { node = "", kind, path = "" } = box.dataset;
    if (kind === "flow") app.select(node);
    else inspect(app, path);
  };
  return h("div", { class: "de-picture de-scroll", key: "picture", html: svg, drawn: (node) => showStates(node, app.view.flows), onclick: lead, onkeydown: lead });
}
