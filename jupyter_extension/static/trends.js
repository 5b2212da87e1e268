// How the rows and the durations of a flow went over its runs.

import { h } from "./dom.js";
import { note } from "./pieces.js";

/** @import { TrendRow } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * Reads the trends of the flow that is looked at.
 *
 * @param {Panel} app
 */
export async function refreshTrends(app) {
  const name = app.state.selected;
  if (!name || app.isStatic) return;
  const { result, error } = await app.transport.call("trends", { flow: name });
  if (app.isGone || app.state.selected !== name) return;
  app.set(error ? { trendsSaid: error.what } : { trends: result, trendsSaid: null });
}

/** @param {Panel} app */
export function trendsPart(app) {
  const { trends, trendsSaid } = app.state;
  if (trendsSaid) return note("bad", "said", trendsSaid);
  if (!trends) return h("p", { class: "de-empty" }, "Reading its runs…");
  if (!trends.rows.length) return h("p", { class: "de-empty" }, "A trend needs two good runs.");
  return h("div", { class: "de-trends" }, h("p", { class: "de-hint", key: "said" }, trends.said), trends.rows.map((row, index) => trendRow(row, index)));
}

/**
 * @param {TrendRow} row
 * @param {number} index
 */
function trendRow(row, index) {
  return h("div", { key: String(index), class: "de-file de-trend-row", "data-trend": row.name },
    h("div", { class: "de-line" }, h("span", { class: "de-grow de-strong de-whole" }, row.name)),
    h("div", { class: "de-trend-picture", html: row.picture }),
    h("div", { class: "de-faint" }, row.words));
}
