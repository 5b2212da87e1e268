// The rows of a table: of a long page only those that are seen are on the page, and cells are chosen and copied.

import { h } from "./dom.js";
import { CHUNK, copyCells, filterMenu, look, nextSort, scrollTo } from "./sheet.js";

/** @import { Sheet, TablePage, Value } from "./types" */
/** @import { Panel } from "./panel.js" */

const COPY = '<svg width="11" height="11" viewBox="0 0 12 12" aria-hidden="true"><path d="M4.5 4.5h6v6h-6z M2 7.5V1.5h6" fill="none" stroke="currentColor"/></svg>';
const ROW_PX = 22;
const SEEN = 60;
const SPARE = 20;

/**
 * @param {Panel} app
 * @param {Sheet} sheet
 * @param {TablePage} page
 */
export function gridPart(app, sheet, page) {
  const isLong = page.count > CHUNK;
  const first = isLong ? Math.max(0, Math.min(sheet.top - SPARE, page.count - SEEN - 2 * SPARE)) : 0;
  const end = isLong ? Math.min(page.count, first + SEEN + 2 * SPARE) : page.rows.length;
  const rows = [];
  for (let at = first; at < end; at += 1) rows.push(rowOf(app, sheet, page, at));
  const space = (/** @type {string} */ key, /** @type {number} */ count) =>
    count > 0 ? h("tr", { key, "aria-hidden": "true" }, h("td", { class: "de-space", style: `height: ${count * ROW_PX}px` })) : null;
  return h("div", {
    class: `de-grid${isLong ? " de-long" : ""}`, key: "grid", tabindex: "0", role: "region", "aria-label": "Rows",
    onscroll: isLong ? (event) => scrolled(app, event.currentTarget || event.target) : undefined,
    onkeydown: (event) => copyKey(app, page, event),
  },
  h("table", null,
    h("thead", null, h("tr", null, h("th", { key: "#", class: "de-rownum" }, "#"), page.columns.map((column) => columnHead(app, sheet, page, column)))),
    h("tbody", null, space("above", first), rows, space("below", page.count - end))));
}

/**
 * @param {Panel} app
 * @param {Element} grid
 */
function scrolled(app, grid) {
  const top = Math.max(0, Math.floor(grid.scrollTop / ROW_PX));
  if (Math.abs(top - app.sheet.top) >= SPARE / 2 || top === 0) scrollTo(app, top, SEEN);
}

/**
 * @param {Panel} app
 * @param {Sheet} sheet
 * @param {TablePage} page
 * @param {number} at the row of the page
 */
function rowOf(app, sheet, page, at) {
  const chunk = sheet.chunks.get(Math.floor(at / CHUNK));
  const row = chunk ? chunk[at % CHUNK] : at < page.rows.length ? page.rows[at] : null;
  return h("tr", { key: String(page.offset + at) },
    h("td", { class: "de-rownum" }, String(page.offset + at + 1)),
    page.columns.map((_, column) => {
      const value = row ? row[column] : "…";
      const kind = typeof value === "number" ? "de-num" : value === null ? "de-null" : "";
      const isChosen = isIn(sheet.cells, at, column);
      return h("td", {
        key: String(column), class: `${kind}${isChosen ? " de-chosen" : ""}` || undefined, "aria-selected": isChosen ? "true" : undefined,
        onclick: (event) => choose(app, at, column, event.shiftKey),
      }, cellText(value));
    }));
}

/**
 * @param {Panel} app
 * @param {number} row
 * @param {number} column
 * @param {boolean} also
 */
function choose(app, row, column, also) {
  const { cells } = app.sheet;
  app.set({ sheet: { ...app.sheet, cells: { from: also && cells ? cells.from : [row, column], to: [row, column] } } });
}

/**
 * @param {Sheet["cells"]} cells
 * @param {number} row
 * @param {number} column
 */
function isIn(cells, row, column) {
  if (!cells) return false;
  const within = (/** @type {number} */ one, /** @type {number} */ a, /** @type {number} */ b) => one >= Math.min(a, b) && one <= Math.max(a, b);
  return within(row, cells.from[0], cells.to[0]) && within(column, cells.from[1], cells.to[1]);
}

/**
 * Ctrl or Cmd and C copies the chosen cells, whole; text that is marked is the browser's to copy.
 *
 * @param {Panel} app
 * @param {TablePage} page
 * @param {KeyboardEvent} event
 */
function copyKey(app, page, event) {
  const { cells } = app.sheet;
  if (event.key.toLowerCase() !== "c" || !(event.ctrlKey || event.metaKey) || !cells || String(getSelection())) return;
  event.preventDefault();
  event.stopPropagation();
  const [top, bottom] = [cells.from[0], cells.to[0]].sort((a, b) => a - b);
  const [left, right] = [cells.from[1], cells.to[1]].sort((a, b) => a - b);
  copyCells(app, page.columns.slice(left, right + 1).map((one) => one.name), top, bottom - top + 1);
}

/** @param {Value} value */
function cellText(value) {
  return typeof value === "number" ? value.toLocaleString(undefined, { maximumFractionDigits: 6, useGrouping: false }) : String(value);
}

/**
 * @param {Panel} app
 * @param {Sheet} sheet
 * @param {TablePage} page
 * @param {TablePage["columns"][number]} column
 */
function columnHead(app, sheet, page, { name, dtype }) {
  const { sort, menu } = sheet;
  const rank = sort.findIndex(([one]) => one === name);
  const isDescending = rank >= 0 && sort[rank][1];
  return h("th", { key: name, "aria-sort": rank < 0 ? "none" : isDescending ? "descending" : "ascending" },
    h("button", { class: "de-head", title: `Sort by ${name} (with Shift: also)`, onclick: (event) => look(app, { sort: nextSort(app.sheet.sort, name, event.shiftKey), offset: 0 }) },
      h("span", { class: "de-head-name" }, name),
      rank < 0 ? null : h("span", null, `${isDescending ? "▼" : "▲"}${sort.length > 1 ? rank + 1 : ""}`)),
    h("button", { class: "de-filter", "aria-label": `Filter ${name}`, "aria-expanded": String(menu === name), onclick: () => filterMenu(app, page, name) }, "⋯"),
    h("button", { class: "de-filter", "aria-label": `Copy ${name}`, title: `Copy this column of all ${page.count.toLocaleString()} rows of the page`, onclick: () => copyCells(app, [name], 0, page.count), html: COPY }),
    h("div", { class: "de-dtype" }, dtype));
}
