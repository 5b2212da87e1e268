import { h } from "./dom.js";
import { agoText, bytes, icon, middle } from "./format.js";
import { whyNot } from "./flows.js";

// Output files, a page at a time, sorted and filtered where the data is; and the frames that steps saved for a look.

const PAGE = 200;
const OPS = ["contains", "not contains", "equals", "not equals", "begins", "ends", ">=", "<=", ">", "<", "blank", "not blank"];

export function freshSheet(path) {
  return { path, offset: 0, limit: PAGE, sort: [], filters: [], page: null, said: null, menu: null };
}

export function outputsTab(app) {
  const sheet = app.state.sheet;
  return h("div", { class: "de-outputs", key: "outputs" },
    h("form", {
      class: "de-line", key: "open", onsubmit: (event) => {
        event.preventDefault();
        const path = event.target.elements.path.value.trim();
        if (path) app.inspect(path);
      },
    },
      h("input", { class: "de-input de-grow", name: "path", placeholder: "A Parquet, CSV, Excel, JSON or text file, or a folder of Parquet files", "aria-label": "File to inspect", value: sheet ? sheet.path : "" }),
      h("button", { class: "de-button", type: "submit" }, "Inspect")),
    sheet ? sheetPart(app, sheet) : h("p", { class: "de-hint" }, "Inspect a step's output from the list of steps, or name a file above. Relative paths start in flow_modules."),
    savedFrames(app));
}

function savedFrames(app) {
  const frames = app.state.frames;
  return h("section", { class: "de-saved", key: "saved" },
    h("div", { class: "de-line" },
      h("h4", { class: "de-h4 de-grow" }, "Saved with context.debug"),
      app.button("refresh debug", "Refresh", null, () => app.loadFrames(), { small: true }),
      app.button("clear debug", "Clear all", frames && frames.length ? null : "nothing is saved", () => app.act("clear_debug", {}).then(() => app.loadFrames()), { small: true, confirm: "Really clear?" })),
    !frames ? null : frames.length === 0 ? h("p", { class: "de-hint" }, "No frames are saved.") : frames.map((frame) => h("button", {
      key: frame.path, class: "de-frame", title: frame.path, onclick: () => app.inspect(frame.path),
    },
      h("span", { class: "de-grow de-clip" }, `${frame.flow_name} / ${frame.step_name || "Step"}`),
      frame.rows !== null && frame.rows !== undefined ? h("span", { class: "de-faint" }, `${frame.rows.toLocaleString()} rows`) : h("span", { class: "de-faint" }, frame.artifact_kind),
      agoText(frame.saved_at_utc))));
}

function sheetPart(app, sheet) {
  const page = sheet.page;
  return h("section", { class: "de-sheet", key: `sheet ${sheet.path}`, "aria-busy": sheet.busy ? "true" : undefined },
    h("div", { class: "de-line de-wrap" },
      h("span", { class: "de-strong de-clip", title: sheet.path }, middle(sheet.path.split(/[\\/]/).pop(), 60)),
      page ? h("span", { class: "de-faint" }, sizeText(page)) : null,
      h("span", { class: "de-grow" }),
      page && page.kind === "table" ? app.button("download", "Download rows", page.rows.length ? null : "there are no rows", () => app.download(), { small: true }) : null,
      app.button("as cell", "Open in a cell", null, () => app.insertRead(sheet.path), { small: true }),
      app.button("close sheet", "Close", null, () => app.set({ sheet: null }), { small: true })),
    sheet.said ? h("div", { class: "de-note de-bad", key: "said" }, icon({ shape: "cross", tone: "bad" }), h("div", { class: "de-grow" }, sheet.said)) : null,
    !page ? (sheet.said ? null : h("p", { class: "de-empty" }, "Reading…"))
      : page.kind === "text" ? h("pre", { class: "de-pre de-text", tabindex: "0" }, page.text + (page.is_cut ? "\n…" : ""))
        : page.kind === "note" ? h("p", { class: "de-empty" }, page.note) : grid(app, sheet, page));
}

function sizeText(page) {
  if (page.kind !== "table") return bytes(page.size_bytes);
  return `${page.total.toLocaleString()} rows · ${page.columns.length} columns`;
}

function grid(app, sheet, page) {
  const last = Math.min(page.offset + page.rows.length, page.total);
  return [
    page.sheets && page.sheets.length > 1 ? h("select", { key: "sheets", class: "de-input", "aria-label": "Sheet", onchange: (event) => app.look({ sheet: event.target.value, offset: 0 }) },
      page.sheets.map((name) => h("option", { key: name, value: name }, name))) : null,
    sheet.filters.length ? h("div", { class: "de-chips", key: "filters" }, sheet.filters.map((one, index) => h("button", {
      key: String(index), class: "de-chip", "aria-label": `Remove filter ${one.column} ${one.op}`, onclick: () => app.look({ filters: sheet.filters.filter((_, at) => at !== index), offset: 0 }),
    }, `${one.column} ${one.op} ${Array.isArray(one.value) ? one.value.map((value) => value ?? "blank").join(", ") : one.value ?? ""} ×`))) : null,
    h("div", { class: "de-grid", key: "grid", tabindex: "0", role: "region", "aria-label": "Rows" },
      h("table", null,
        h("thead", null, h("tr", null, h("th", { key: "#", class: "de-rownum" }, "#"), page.columns.map((column) => {
          const rank = sheet.sort.findIndex(([name]) => name === column.name);
          const order = rank < 0 ? "none" : sheet.sort[rank][1] ? "descending" : "ascending";
          return h("th", { key: column.name, "aria-sort": order },
            h("button", { class: "de-head", title: `Sort by ${column.name} (with Shift: also)`, onclick: (event) => app.sortBy(column.name, event.shiftKey) },
              h("span", { class: "de-head-name" }, column.name),
              rank < 0 ? null : h("span", null, `${sheet.sort[rank][1] ? "▼" : "▲"}${sheet.sort.length > 1 ? rank + 1 : ""}`)),
            h("button", { class: "de-filter", "aria-label": `Filter ${column.name}`, "aria-expanded": String(sheet.menu === column.name), onclick: () => app.filterMenu(column.name) }, "⋯"),
            h("div", { class: "de-dtype" }, column.dtype));
        }))),
        h("tbody", null, page.rows.map((row, index) => h("tr", { key: String(page.offset + index) },
          h("td", { class: "de-rownum" }, String(page.offset + index + 1)),
          row.map((value, at) => h("td", { key: String(at), class: typeof value === "number" ? "de-num" : value === null ? "de-null" : undefined },
            value === null ? "null" : typeof value === "number" ? value.toLocaleString(undefined, { maximumFractionDigits: 6, useGrouping: false }) : String(value)))))))),
    sheet.menu ? filterPart(app, sheet) : null,
    h("div", { class: "de-line de-wrap", key: "pages" },
      h("button", { class: "de-button de-small", ...whyNot(page.offset > 0 ? null : "this is the first page", "Previous rows"), onclick: () => page.offset > 0 && app.look({ offset: Math.max(0, page.offset - sheet.limit) }) }, "‹ Previous"),
      h("span", { class: "de-faint" }, page.total ? `${(page.offset + 1).toLocaleString()}–${last.toLocaleString()} of ${page.total.toLocaleString()}` : "no rows"),
      h("button", { class: "de-button de-small", ...whyNot(last < page.total ? null : "this is the last page", "Next rows"), onclick: () => last < page.total && app.look({ offset: page.offset + sheet.limit }) }, "Next ›"),
      h("span", { class: "de-grow" }),
      h("label", { class: "de-faint" }, "Rows ", h("select", { class: "de-input", "aria-label": "Rows a page", value: String(sheet.limit), onchange: (event) => app.look({ limit: Number(event.target.value), offset: 0 }) },
        [50, 200, 500, 1000].map((count) => h("option", { key: String(count), value: String(count), selected: count === sheet.limit }, String(count)))))),
  ];
}

function filterPart(app, sheet) {
  const column = sheet.menu;
  const values = sheet.values;
  return h("form", {
    class: "de-filter-form", key: `filter ${column}`, "aria-label": `Filter ${column}`, onsubmit: (event) => {
      event.preventDefault();
      const form = event.target.elements;
      const op = form.op.value;
      const chosen = [...event.target.querySelectorAll("input[name=value]:checked")].map((box) => sheet.values.values[Number(box.value)].value);
      const kept = sheet.filters.filter((one) => one.column !== column);
      const text = form.text.value;
      const fresh = [];
      if (chosen.length) fresh.push({ column, op: "in", value: chosen });
      if (text || op.includes("blank")) fresh.push({ column, op, value: text });
      app.look({ filters: [...kept, ...fresh], offset: 0, menu: null });
    },
  },
    h("div", { class: "de-line de-wrap" },
      h("span", { class: "de-strong" }, column),
      h("select", { class: "de-input", name: "op", "aria-label": "Condition" }, OPS.map((op) => h("option", { key: op, value: op }, op))),
      h("input", { class: "de-input de-grow", name: "text", "aria-label": "Value", focus: true }),
      h("button", { class: "de-button de-primary de-small", type: "submit" }, "Apply"),
      h("button", { class: "de-button de-small", type: "button", onclick: () => app.look({ filters: sheet.filters.filter((one) => one.column !== column), offset: 0, menu: null }) }, "Clear")),
    values && values.column === column ? h("div", { class: "de-values", role: "group", "aria-label": "Values" }, values.values.map((one, index) => h("label", { key: String(index), class: "de-value" },
      h("input", { type: "checkbox", name: "value", value: String(index) }), h("span", { class: "de-grow de-clip" }, one.value === null ? "blank" : String(one.value)), h("span", { class: "de-count" }, one.count.toLocaleString()))),
      values.is_cut ? h("p", { class: "de-hint" }, "Only the most frequent 500 values.") : null) : h("p", { class: "de-hint" }, "Reading values…"));
}
