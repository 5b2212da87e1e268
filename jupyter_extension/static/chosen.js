// The same done with several flows that were chosen, after one question that names them.

import { h } from "./dom.js";
import { plural } from "./format.js";
import { typedParams } from "./parameters.js";
import { button } from "./pieces.js";
import { ask } from "./question.js";

/** @import { Answer, PanelFlow } from "./types" */
/** @import { Panel } from "./panel.js" */

/** @type {[string, string][]} */
const DOES = [["run", "Run"], ["enable", "Enable"], ["disable", "Disable"], ["deploy", "Deploy"], ["retry", "Retry"]];
const MOST_NAMED = 12;

/** @param {Panel} app */
export function chooseButton(app) {
  const { chosen } = app.state;
  return h("button", { key: "choose", class: "de-chip", "aria-pressed": String(chosen !== null), title: "Choose several flows", onclick: () => app.set({ chosen: chosen ? null : new Set() }) }, "Choose");
}

/**
 * What can be done with the flows that are chosen; null while nobody chooses.
 *
 * @param {Panel} app
 * @param {PanelFlow[]} shown the flows that the list shows
 */
export function chosenPart(app, shown) {
  const { chosen } = app.state;
  if (!chosen) return null;
  const rows = shown.filter((row) => chosen.has(row.name));
  const isAll = rows.length === shown.length;
  return h("div", { class: "de-chosen", role: "toolbar", "aria-label": "What to do with the chosen flows", key: "chosen" },
    h("div", { class: "de-line de-wrap" },
      h("label", { class: "de-line" }, h("input", { type: "checkbox", checked: isAll && rows.length > 0, onchange: () => app.set({ chosen: new Set(isAll ? [] : shown.map((row) => row.name)) }) }),
        h("span", { class: "de-strong" }, `${plural(rows.length, "flow")} chosen`)),
      DOES.map(([action, label]) => button(app, `${action} chosen`, label, whyNone(rows, action), () => askOnce(app, action, label, rows), { small: true }))));
}

/**
 * The box that chooses a flow.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
export function chooseBox(app, { name, title }) {
  if (!app.state.chosen) return null;
  const change = () => { // of those that are chosen then: the row is drawn only when it changes itself
    const chosen = new Set(app.state.chosen);
    if (!chosen.delete(name)) chosen.add(name);
    app.set({ chosen });
  };
  return h("input", { type: "checkbox", class: "de-choose", "aria-label": `Choose ${title}`, checked: app.state.chosen.has(name), onchange: change });
}

/**
 * Why an action can be done with none of the flows.
 *
 * @param {PanelFlow[]} rows
 * @param {string} action
 */
export function whyNone(rows, action) {
  if (!rows.length) return "choose flows first";
  return rows.every((row) => row.buttons[action]) ? rows[0].buttons[action] : null;
}

/**
 * The question before an action, with all names; what it cannot be done with, and why.
 *
 * @param {string} label
 * @param {string} action
 * @param {PanelFlow[]} rows
 */
export function questionOf(label, action, rows) {
  const names = rows.filter((row) => !row.buttons[action]).map((row) => row.name);
  const listed = names.length > MOST_NAMED ? [...names.slice(0, MOST_NAMED), `${names.length - MOST_NAMED} more`] : names;
  const left = rows.filter((row) => row.buttons[action]).map((row) => `${row.name} (${row.buttons[action]})`);
  return `${label} ${listed.join(", ")}?${left.length ? ` Not ${left.join(", ")}.` : ""}`;
}

/**
 * @param {Panel} app
 * @param {string} action
 * @param {string} label
 * @param {PanelFlow[]} rows
 */
function askOnce(app, action, label, rows) {
  const able = rows.filter((row) => !row.buttons[action]);
  ask(app, questionOf(label, action, rows), [[`${label} ${plural(able.length, "flow")}`, () => app.during(`b ${action} chosen`, doAll(app, action, label, able))]]);
}

/**
 * @param {Panel} app
 * @param {string} action
 * @param {string} label
 * @param {PanelFlow[]} rows
 */
async function doAll(app, action, label, rows) {
  const refused = [];
  for (const { name } of rows) {
    const { error, result } = await doOne(app, action, name);
    if (error) refused.push(`${name}: ${error.what}`);
    else if (result && result.question) refused.push(`${name} asks first: ${result.question.text}`);
  }
  if (app.isGone) return;
  app.set({ chosen: null });
  const done = `${label}: done with ${plural(rows.length - refused.length, "flow")}`;
  app.say(refused.length ? { error: { what: `${done}, not with ${refused.length}. ${refused.join(". ")}` } } : { result: `${done}.` });
}

/**
 * A flow that is polled runs for the files that are due.
 *
 * @param {Panel} app
 * @param {string} action
 * @param {string} flow
 * @returns {Promise<Answer>}
 */
async function doOne(app, action, flow) {
  const args = { flow, params: typedParams(app, flow) };
  if (action !== "run") return app.transport.call(action, { flow });
  const found = await app.transport.call("run", { ...args, take: "ask" });
  const { question } = found.result || {};
  const isDueOffered = question && question.answers.some((/** @type {[string, string]} */ [, take]) => take === "due");
  return isDueOffered ? app.transport.call("run", { ...args, take: "due" }) : found;
}
