// The rows that checks of a flow reject now: by source, and each rule over the last runs.

import { h } from "./dom.js";
import { nameOf, plural } from "./format.js";
import { inspect } from "./sheet.js";

/** @import { RejectedRows, TrendRow } from "./records" */
/** @import { Panel } from "./panel.js" */

/**
 * Reads what is rejected of the flow that is looked at.
 *
 * @param {Panel} app
 */
export async function loadRejected(app) {
  const name = app.state.selected;
  if (!name || app.state.tab !== "flows" || app.isStatic) return;
  const { result } = await app.transport.call("rejected", { flow: name });
  if (result && !app.isGone && app.state.selected === name) app.set({ rejected: result });
}

/** @param {Panel} app */
export function rejectedPart(app) {
  const { rejected } = app.state;
  if (!rejected || !rejected.rules.length) return null;
  const total = rejected.sources.reduce((sum, one) => sum + one.rows, 0);
  return h("section", { class: "de-saved", key: "rejected" },
    h("h4", { class: "de-h4" }, total ? `${plural(total, "row")} rejected` : "No rows are rejected"),
    rejected.rules.map((row) => ruleRow(row)),
    rejected.sources.map((one) => sourceLine(app, one)));
}

/** @param {TrendRow} row */
function ruleRow(row) {
  return h("div", { key: `rule ${row.name}`, class: "de-file de-trend-row", "data-rule": row.name },
    h("div", { class: "de-line" }, h("span", { class: "de-grow de-strong de-whole" }, row.name)),
    row.picture ? h("div", { class: "de-trend-picture", html: row.picture }) : null,
    h("div", { class: "de-faint" }, row.words));
}

/**
 * @param {Panel} app
 * @param {RejectedRows} one
 */
function sourceLine(app, one) {
  const path = one.path || "";
  const rules = Object.entries(one.rules).map(([rule, count]) => `${rule} ${count.toLocaleString()}`).join(", ");
  return h("button", { key: path, class: "de-frame", title: path, "data-rejected": nameOf(path), onclick: () => inspect(app, path) },
    h("span", { class: "de-grow" }, h("span", { class: "de-clip" }, one.source || "All sources"), h("span", { class: "de-faint de-clip" }, rules)),
    h("span", { class: "de-faint de-fixed" }, plural(one.rows, "row")));
}
