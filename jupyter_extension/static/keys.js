// The panel by keyboard; the documentation lists the keys (topics/jupyterlab.md).

import { press, run } from "./actions.js";
import { closeQuestion } from "./question.js";

/** @import { Panel } from "./panel.js" */

/**
 * Whether a key meant for the panel goes no further: VS Code hears what reaches the window, and there "d d" deletes the cell and
 * Enter with Ctrl or Shift runs it. The editor keeps what is its own: save, find, copy, its palette.
 *
 * @param {Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey">} event
 */
export function staysHere(event) {
  return event.key === "Enter" || !(event.ctrlKey || event.metaKey || event.altKey || /^F\d+$/.test(event.key));
}

/**
 * Does what a key means in the panel.
 *
 * @param {Panel} app
 * @param {KeyboardEvent} event
 */
export function onKey(app, event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if ((event.ctrlKey || event.metaKey) && event.key === "s") {
    event.preventDefault();
    app.jupyter.save();
    return;
  }
  const isTyping = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName);
  const leavesField = isTyping && event.key === "Escape" && !(target.getAttribute("type") === "search" && /** @type {HTMLInputElement} */ (target).value);
  if (event.ctrlKey || event.metaKey || event.altKey || (isTyping && !leavesField)) return;
  if (!app.state.view || app.isStatic) return;
  const does = event.shiftKey ? withShift(app, target)[event.key] : plain(app)[event.key];
  if (!does) return;
  event.preventDefault();
  does();
}

/**
 * @param {Panel} app
 * @param {HTMLElement} target
 * @returns {Record<string, () => unknown>}
 */
function withShift(app, target) {
  const row = /** @type {HTMLElement | null} */ (target.closest("[data-flow]"));
  const name = row && row.dataset.flow;
  return { Enter: () => name && !app.view.flows[name]?.buttons.run && run(app, name), "?": () => help(app) };
}

/** @param {Panel} app */
function help(app) {
  const link = /** @type {HTMLElement | null} */ (app.root.querySelector(".de-help"));
  if (link) link.click();
}

let askedAt = -Infinity;

/**
 * One letter typed by mistake stops nothing: the first asks, the second within three seconds does it.
 *
 * @param {Panel} app
 */
function stopWhenPressedTwice(app) {
  const why = app.view.buttons.stop_engine;
  const isAskedAgain = performance.now() - askedAt < 3000;
  askedAt = why || isAskedAgain ? -Infinity : performance.now();
  if (why || isAskedAgain) press(app, "stop engine", why, "stop_engine");
  else app.set({ said: { text: "Stop the engine? Press s again." } });
}

/**
 * Closes what was opened last, one layer at a time; below all of them is the list of flows.
 *
 * @param {Panel} app
 */
function closeTopmost(app) {
  const { chosen, isMenuOpen, confirming, said, showParams, backfill, isDisabling, sheet, run: openRun, openFile, selected, tab, section } = app.state;
  const isAtOutputs = tab === "outputs" || (tab === "flows" && selected && section === "data");
  /** @type {[unknown, Partial<import("./types").State>][]} */
  const layers = [
    [confirming, { confirming: null }],
    [isMenuOpen, { isMenuOpen: false }],
    [said && said.error, { said: null }],
    [showParams || backfill || isDisabling, { showParams: false, backfill: null, isDisabling: false }],
    [isAtOutputs && sheet && sheet.menu !== null, { sheet: sheet && { ...sheet, menu: null } }],
    [isAtOutputs && sheet, { sheet: null }],
    [tab === "flows" && section === "runs" && openRun, { run: null }],
    [tab === "flows" && section === "files" && openFile, { openFile: null }],
  ];
  if (tab === "flows" && !selected) layers.push([chosen, { chosen: null }]);
  const top = layers.find(([isOpen]) => isOpen);
  if (top) app.set(top[1]);
  else if (tab !== "flows") app.set({ tab: "flows" });
  else if (selected) app.select(null);
}

/**
 * @param {Panel} app
 * @returns {Record<string, () => unknown>}
 */
function plain(app) {
  const { view } = app;
  const { selected } = app.state;
  return {
    "/": () => /** @type {HTMLElement | null} */ (app.root.querySelector(".de-find input"))?.focus(),
    Escape: () => (app.state.question ? closeQuestion(app) : closeTopmost(app)),
    "?": () => help(app),
    e: () => press(app, "start engine", view.buttons.start_engine, "start_engine"),
    s: () => stopWhenPressedTwice(app),
    r: () => app.reload(),
    v: () => {
      const last = selected && view.flows[selected] && view.flows[selected].last_run;
      if (last) app.openRun(last.run_id);
    },
  };
}
