// Output files, a page at a time, sorted and filtered where the data is; and the frames that steps saved for a look.

import { h } from "./dom.js";
import { filterForm } from "./filter_form.js";
import { filterText } from "./filters.js";
import { gridPart } from "./grid.js";
import { bytes, clock, nameOf, plural } from "./format.js";
import { lineagePart } from "./lineage.js";
import { agoText, button, note, whyNot } from "./pieces.js";
import { download, inspect, loadFrames, look, openInCell } from "./sheet.js";
import { loadRejected, rejectedPart } from "./rejected.js";
import { loadWritten, writtenPart } from "./written.js";

/** @import { FilePage, SavedFrame, Sheet, TablePage } from "./types" */
/** @import { Panel } from "./panel.js" */

const PAGES = [50, 200, 1000, 10000, 100000, 500000];

/**
 * Reads what the tab lists.
 *
 * @param {Panel} app
 */
export function loadOutputs(app) {
  loadWritten(app);
  loadFrames(app);
  loadRejected(app);
}

/**
 * @param {Panel} app
 * @param {string | null} flow whose outputs are shown, of all flows without one
 */
export function outputsTab(app, flow = null) {
  const { sheet, frames } = app.state;
  const saved = frames && flow ? frames.filter((one) => one.flow_name === flow) : frames;
  return h("div", { class: "de-outputs", key: "outputs" },
    flow ? null : pathForm(app, sheet),
    sheet ? sheetPart(app, sheet) : flow ? null : h("p", { class: "de-hint" }, "Choose a file below, or name one above. Relative paths start in flow_modules or in the workspace."),
    sheet || flow ? lineagePart(app, sheet ? sheet.path : flow || "") : null,
    flow ? rejectedPart(app) : null,
    writtenPart(app, flow),
    flow && !(saved && saved.length) ? null : savedFrames(app, saved));
}

/**
 * @param {Panel} app
 * @param {Sheet | null} sheet
 */
function pathForm(app, sheet) {
  return h("form", {
    class: "de-line", key: "open", onsubmit: (event) => {
      event.preventDefault();
      const path = event.target.elements.path.value.trim();
      if (path) inspect(app, path);
    },
  },
  h("input", { class: "de-input de-grow", name: "path", placeholder: "Path of a file or folder", title: "A Parquet, CSV, Excel, JSON or text file, or a folder of such tables", "aria-label": "File to inspect", value: sheet ? sheet.path : "" }),
  h("button", { class: "de-button", type: "submit" }, "Inspect"));
}

/**
 * @param {Panel} app
 * @param {SavedFrame[] | null} frames
 */
function savedFrames(app, frames) {
  const clear = () => app.act("clear_debug", {}).then(() => loadFrames(app));
  return h("section", { class: "de-saved", key: "saved" },
    h("div", { class: "de-line" },
      h("h4", { class: "de-h4 de-grow" }, "Saved frames"),
      button(app, "refresh debug", "Refresh", null, () => loadFrames(app), { small: true }),
      button(app, "clear debug", "Clear all", frames && frames.length ? null : "nothing is saved", clear, { small: true, confirm: "Really clear?" })),
    !frames ? null : frames.length ? frames.map((frame) => frameLine(app, frame)) : h("p", { class: "de-hint" }, "No frames are saved. A step saves one with context.debug.save_frame(df)."));
}

/**
 * @param {Panel} app
 * @param {SavedFrame} frame
 */
function frameLine(app, frame) {
  return h("button", {
    key: frame.path, class: "de-frame", title: `${clock(frame.saved_at_utc)}\n${frame.source_path || ""}\n${frame.path}`, onclick: () => inspect(app, frame.path),
  },
  h("span", { class: "de-grow" },
    h("span", { class: "de-clip" }, [frame.label || "artifact", frame.source_path ? nameOf(frame.source_path) : null].filter(Boolean).join(" · ")),
    h("span", { class: "de-faint de-clip" }, `${frame.flow_name} / ${frame.step_name || "Step"}`)),
  h("span", { class: "de-faint de-fixed" }, frame.rows === null || frame.rows === undefined ? frame.artifact_kind : plural(frame.rows, "row")),
  agoText(frame.saved_at_utc));
}

/**
 * @param {Panel} app
 * @param {Sheet} sheet
 */
function sheetPart(app, sheet) {
  const { page, path } = sheet;
  const hasQuak = page !== null && page.kind === "table" && page.has_quak;
  return h("section", { class: "de-sheet", key: `sheet ${path}`, "aria-busy": sheet.busy ? "true" : undefined },
    h("div", { class: "de-line de-wrap" },
      h("span", { class: "de-strong de-whole", title: path }, nameOf(path)),
      page ? h("span", { class: "de-faint" }, sizeText(page)) : null,
      h("span", { class: "de-grow" }),
      page && page.kind === "table" ? button(app, "download", "Download Excel", page.count ? null : "there are no rows", () => download(app), { small: true, busy: "Writing…" }) : null,
      button(app, "as cell", hasQuak ? "Open with quak" : "Open in a cell", null, () => openInCell(app, hasQuak), { small: true, title: "A cell that reads it, filtered and sorted as here" }),
      button(app, "close sheet", "Close", null, () => app.set({ sheet: null }), { small: true })),
    sheet.said ? note("bad", "said", sheet.said) : null,
    page ? pagePart(app, sheet, page) : sheet.said ? null : h("p", { class: "de-empty" }, "Reading…"));
}

/** @param {FilePage} page */
function sizeText(page) {
  return page.kind === "table" ? `${plural(page.total, "row")} · ${plural(page.columns.length, "column")}` : bytes(page.size_bytes);
}

/**
 * @param {Panel} app
 * @param {Sheet} sheet
 * @param {FilePage} page
 */
function pagePart(app, sheet, page) {
  if (page.kind === "text") return h("pre", { class: "de-pre de-text", tabindex: "0" }, page.text + (page.is_cut ? "\n…" : ""));
  if (page.kind === "page") return h("iframe", { class: "de-page", key: page.name, sandbox: "", title: page.name, srcdoc: page.html });
  if (page.kind === "note") return h("p", { class: "de-empty" }, page.note);
  return [
    page.sheets && page.sheets.length > 1 ? h("select", { key: "sheets", class: "de-input", "aria-label": "Sheet", onchange: (event) => look(app, { sheet: event.target.value, offset: 0 }) },
      page.sheets.map((name) => h("option", { key: name, value: name }, name))) : null,
    sheet.filters.length ? h("div", { class: "de-chips", key: "filters" }, sheet.filters.map((one, index) => h("button", {
      key: String(index), class: "de-chip", "aria-label": `Remove filter ${one.column} ${one.op}`, onclick: () => look(app, { filters: sheet.filters.filter((_, at) => at !== index), offset: 0 }),
    }, `${filterText(one)} ×`))) : null,
    gridPart(app, sheet, page),
    sheet.menu !== null ? filterForm(app, sheet, page, sheet.menu) : null,
    pagesLine(app, sheet, page),
  ];
}

/**
 * @param {Panel} app
 * @param {Sheet} sheet
 * @param {TablePage} page
 */
function pagesLine(app, { limit }, page) {
  const last = Math.min(page.offset + page.count, page.total);
  return h("div", { class: "de-line de-wrap", key: "pages" },
    h("button", { class: "de-button de-small", ...whyNot(page.offset > 0 ? null : "this is the first page", "Previous rows"), onclick: () => page.offset > 0 && look(app, { offset: Math.max(0, page.offset - limit) }) }, "‹ Previous"),
    h("span", { class: "de-faint" }, page.total ? `${(page.offset + 1).toLocaleString()}–${last.toLocaleString()} of ${page.total.toLocaleString()}` : "no rows"),
    h("button", { class: "de-button de-small", ...whyNot(last < page.total ? null : "this is the last page", "Next rows"), onclick: () => last < page.total && look(app, { offset: page.offset + limit }) }, "Next ›"),
    h("span", { class: "de-grow" }),
    h("label", { class: "de-faint" }, "Rows ", h("select", { class: "de-input", "aria-label": "Rows a page", value: String(limit), onchange: (event) => look(app, { limit: Number(event.target.value), offset: 0 }) },
      PAGES.map((count) => h("option", { key: String(count), value: String(count), selected: count === limit }, count.toLocaleString())))));
}
