// Looking into an output file: the page that is asked for, how it is sorted and filtered, and the file that is made of it.

import { saveFile } from "./actions.js";
import { chosenValues, conditionsOf } from "./filters.js";

/** @import { Sheet, TablePage } from "./types" */
/** @import { Panel } from "./panel.js" */

const PAGE = 200;
const EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/**
 * A file that nothing is known of yet.
 *
 * @param {string} path
 * @returns {Sheet}
 */
export function freshSheet(path) {
  return { path, offset: 0, limit: PAGE, sort: [], filters: [], page: null, said: null, menu: null, conditions: [], chosen: new Set(), valueSearch: "" };
}

/**
 * The order after a click on a column: ascending, descending, none. With `also` it joins the order there is, in its place.
 *
 * @param {Sheet["sort"]} sort
 * @param {string} column
 * @param {boolean} also
 * @returns {Sheet["sort"]}
 */
export function nextSort(sort, column, also) {
  const found = sort.find(([name]) => name === column);
  /** @type {Sheet["sort"]} */
  const next = !found ? [[column, false]] : found[1] ? [] : [[column, true]];
  return also ? [...sort.filter(([name]) => name !== column), ...next] : next;
}

/**
 * @param {Panel} app
 * @param {string} path
 */
export function inspect(app, path) {
  app.set({ tab: "outputs", sheet: freshSheet(path) });
  look(app, {});
}

/**
 * Asks for the page of the sheet as it is after these changes; of several answers the one to the last question counts.
 *
 * @param {Panel} app
 * @param {Partial<Sheet>} changes
 */
export async function look(app, changes) {
  const sheet = { ...app.sheet, ...changes, busy: true };
  app.set({ sheet });
  const number = (app.looks += 1);
  const { path, offset, limit, sort, filters } = sheet;
  const answer = await app.transport.call("inspect", { path, offset, limit, sort, filters, sheet: sheet.sheet || null });
  const now = app.state.sheet;
  if (!now || app.looks !== number) return;
  const page = answer.result || (answer.error && changes.filters ? now.page : null);
  app.set({ sheet: { ...now, page, said: answer.error ? `${answer.error.what} ${answer.error.fix || ""}` : null, busy: false } });
}

/**
 * Shows the filters of a column and the values it has, or hides them again.
 *
 * @param {Panel} app
 * @param {TablePage} page
 * @param {string} column
 */
export async function filterMenu(app, page, column) {
  const { path, filters, sheet, menu } = app.sheet;
  if (menu === column) {
    app.set({ sheet: { ...app.sheet, menu: null } });
    return;
  }
  app.set({ sheet: { ...app.sheet, menu: column, values: null, valueSearch: "", chosen: new Set(), conditions: conditionsOf(filters, page, column) } });
  const others = filters.filter((one) => one.column !== column);
  const answer = await app.transport.call("inspect", { path, filters: others, distinct: column, sheet: sheet || null });
  const now = app.state.sheet;
  if (!now || now.menu !== column) return;
  const values = answer.result || { column, values: [] };
  app.set({ sheet: { ...now, values, chosen: chosenValues(filters, values) } });
}

/**
 * All rows that pass, in their order, as a spreadsheet.
 *
 * @param {Panel} app
 */
export async function download(app) {
  const { path, sort, filters, sheet, page } = app.sheet;
  const answer = await app.transport.call("inspect", { path, sort, filters, sheet: sheet || null, export: true });
  if (answer.error || !page) {
    app.say(answer);
    return;
  }
  const bytes = Uint8Array.from(atob(answer.result.base64), (letter) => letter.charCodeAt(0));
  saveFile(`${page.name.replace(/\.[^.]+$/, "")}.xlsx`, EXCEL, [bytes]);
  app.say({ result: answer.result.said });
}

/** @param {Panel} app */
export async function loadFrames(app) {
  const answer = await app.transport.call("debug", {});
  app.set({ frames: answer.result ? answer.result.frames : [] });
}
