// Looking into an output file: the page that is asked for, how it is sorted and filtered, and the file that is made of it.

import { saveFile } from "./actions.js";
import { chosenValues, conditionsOf } from "./filters.js";

/** @import { Sheet, TablePage } from "./types" */
/** @import { Panel } from "./panel.js" */

const PAGE = 200;

/** So many rows come in one answer (inspector.py, CHUNK). */
export const CHUNK = 1000;
const EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/**
 * A file that nothing is known of yet.
 *
 * @param {string} path
 * @returns {Sheet}
 */
export function freshSheet(path) {
  return { path, offset: 0, limit: PAGE, sort: [], filters: [], page: null, said: null, menu: null, conditions: [], chosen: new Set(), valueSearch: "", chunks: new Map(), top: 0, cells: null };
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
 * Shows a file: among the outputs of the flow that is looked at, else of all.
 *
 * @param {Panel} app
 * @param {string} path
 */
export function inspect(app, path) {
  const { tab, selected } = app.state;
  app.set({ ...(tab === "flows" && selected ? { section: "data" } : { tab: "outputs" }), sheet: freshSheet(path) });
  look(app, {});
}

/**
 * Asks for the page of the sheet as it is after these changes; of several answers the one to the last question counts.
 *
 * @param {Panel} app
 * @param {Partial<Sheet>} changes
 */
export async function look(app, changes) {
  const sheet = { ...app.sheet, ...changes, busy: true, cells: null };
  app.set({ sheet });
  const number = (app.looks += 1);
  const { path, offset, limit, sort, filters } = sheet;
  const answer = await app.transport.call("inspect", { path, offset, limit, sort, filters, sheet: sheet.sheet || null });
  const now = app.state.sheet;
  if (!now || app.looks !== number) return;
  const page = answer.result || (answer.error && changes.filters ? now.page : null);
  const fresh = page === now.page ? {} : { chunks: new Map(page && page.kind === "table" ? [[0, page.rows]] : []), top: 0 };
  app.set({ sheet: { ...now, ...fresh, page, said: answer.error ? [answer.error.what, answer.error.fix].filter(Boolean).join("; ") : null, busy: false } });
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
 * Asks for the rows of a long page that are seen from row `top` on, where they are not here yet.
 *
 * @param {Panel} app
 * @param {number} top
 * @param {number} count
 */
export async function scrollTo(app, top, count) {
  const { path, offset, limit, sort, filters, sheet, chunks } = app.sheet;
  app.set({ sheet: { ...app.sheet, top } });
  const number = app.looks;
  for (let chunk = Math.floor(top / CHUNK); chunk <= Math.floor((top + count) / CHUNK); chunk += 1) {
    if (chunks.has(chunk)) continue;
    chunks.set(chunk, null);
    const answer = await app.transport.call("inspect", { path, offset, limit, sort, filters, sheet: sheet || null, first: chunk * CHUNK });
    if (!app.state.sheet || app.looks !== number) return;
    if (answer.result) chunks.set(chunk, answer.result.rows);
    else chunks.delete(chunk);
    app.set({ sheet: { ...app.sheet } });
  }
}

/**
 * Cells of the page as text into the clipboard: whole columns, or the rows from `first` on.
 *
 * @param {Panel} app
 * @param {string[]} columns
 * @param {number} first
 * @param {number} count
 */
export async function copyCells(app, columns, first, count) {
  const { path, offset, limit, sort, filters, sheet } = app.sheet;
  const answer = await app.transport.call("inspect", { path, offset, limit, sort, filters, sheet: sheet || null, copy: { first, count, columns } });
  if (answer.error) {
    app.say(answer);
    return;
  }
  const { text, rows } = answer.result;
  const did = await toClipboard(text);
  app.say(did ? { result: `Copied ${rows.toLocaleString()} row${rows === 1 ? "" : "s"} of ${columns.length === 1 ? columns[0] : `${columns.length} columns`}.` }
    : { error: { what: "The browser does not allow copying here.", fix: "open JupyterLab under https:// or on localhost" } });
}

/**
 * Puts a cell into a notebook that makes the table as it is shown.
 *
 * @param {Panel} app
 * @param {boolean} hasQuak
 */
export async function openInCell(app, hasQuak) {
  const { path, sort, filters, sheet } = app.sheet;
  const answer = await app.transport.call("inspect", { path, sort, filters, sheet: sheet || null, code: hasQuak ? "quak" : "plain" });
  if (answer.error) app.say(answer);
  else app.jupyter.insert(answer.result.code);
}

/**
 * All rows that pass, in their order, as a spreadsheet, which comes in parts.
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
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const parts = [];
  for (let offset = 0, isLast = false; !isLast;) {
    const part = await app.transport.call("inspect", { path, part: { name: answer.result.name, offset } });
    if (part.error) {
      app.say(part);
      return;
    }
    parts.push(Uint8Array.from(atob(part.result.base64), (letter) => letter.charCodeAt(0)));
    offset += parts[parts.length - 1].length;
    isLast = part.result.is_last;
  }
  saveFile(`${page.name.replace(/\.[^.]+$/, "")}.xlsx`, EXCEL, parts);
  app.say({ result: answer.result.said });
}

/**
 * Whether a text is in the clipboard now; a page without https has only the older way.
 *
 * @param {string} text
 */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const did = document.execCommand("copy");
    area.remove();
    return did;
  }
}

/** @param {Panel} app */
export async function loadFrames(app) {
  const answer = await app.transport.call("debug", {});
  app.set({ frames: answer.result ? answer.result.frames : [] });
}
