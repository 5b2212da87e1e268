import { h } from "./dom.js";
import { agoText, bytes, clock, icon, middle } from "./format.js";
import { whyNot } from "./flows.js";

// Output files, a page at a time, sorted and filtered where the data is; and the frames that steps saved for a look.

const PAGE = 200;
const OPS = ["contains", "not contains", "equals", "not equals", "begins", "ends", ">=", "<=", ">", "<", "blank", "not blank"];

export function freshSheet(path) {
  return { path, offset: 0, limit: PAGE, sort: [], filters: [], page: null, said: null, menu: null, conditions: [], chosen: new Set(), valueSearch: "" };
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
      h("h4", { class: "de-h4 de-grow" }, "Saved frames"),
      app.button("refresh debug", "Refresh", null, () => app.loadFrames(), { small: true }),
      app.button("clear debug", "Clear all", frames && frames.length ? null : "nothing is saved", () => app.act("clear_debug", {}).then(() => app.loadFrames()), { small: true, confirm: "Really clear?" })),
    !frames ? null : frames.length === 0 ? h("p", { class: "de-hint" }, "No frames are saved. A step saves one with context.debug.save_frame(df).") : frames.map((frame) => h("button", {
      key: frame.path, class: "de-frame", title: `${clock(frame.saved_at_utc)}\n${frame.source_path || ""}\n${frame.path}`, onclick: () => app.inspect(frame.path),
    },
      h("span", { class: "de-grow" },
        h("span", { class: "de-clip" }, [frame.label || "artifact", frame.source_path ? frame.source_path.split(/[\\/]/).pop() : null].filter(Boolean).join(" · ")),
        h("span", { class: "de-faint de-clip" }, `${frame.flow_name} / ${frame.step_name || "Step"}`)),
      frame.rows !== null && frame.rows !== undefined ? h("span", { class: "de-faint de-fixed" }, `${frame.rows.toLocaleString()} rows`) : h("span", { class: "de-faint de-fixed" }, frame.artifact_kind),
      agoText(frame.saved_at_utc))));
}

function sheetPart(app, sheet) {
  const page = sheet.page;
  return h("section", { class: "de-sheet", key: `sheet ${sheet.path}`, "aria-busy": sheet.busy ? "true" : undefined },
    h("div", { class: "de-line de-wrap" },
      h("span", { class: "de-strong de-clip", title: sheet.path }, middle(sheet.path.split(/[\\/]/).pop(), 60)),
      page ? h("span", { class: "de-faint" }, sizeText(page)) : null,
      h("span", { class: "de-grow" }),
      page && page.kind === "table" ? app.button("download", "Download Excel", page.rows.length ? null : "there are no rows", () => app.download(), { small: true, busy: "Writing…" }) : null,
      app.button("as cell", page && page.has_quak ? "Open with quak" : "Open in a cell", null, () => app.insertRead(sheet.path), { small: true }),
      app.button("close sheet", "Close", null, () => app.set({ sheet: null }), { small: true })),
    sheet.said ? h("div", { class: "de-note de-bad", key: "said" }, icon({ shape: "cross", tone: "bad" }), h("div", { class: "de-grow" }, sheet.said)) : null,
    !page ? (sheet.said ? null : h("p", { class: "de-empty" }, "Reading…"))
      : page.kind === "text" ? h("pre", { class: "de-pre de-text", tabindex: "0" }, page.text + (page.is_cut ? "\n…" : ""))
        : page.kind === "note" ? h("p", { class: "de-empty" }, page.note) : grid(app, sheet, page));
}

function sizeText(page) {
  if (page.kind !== "table") return bytes(page.size_bytes);
  return `${page.total.toLocaleString()} row${page.total === 1 ? "" : "s"} · ${page.columns.length} column${page.columns.length === 1 ? "" : "s"}`;
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

const BLANK = (op) => op.includes("blank");
const INPUTS = [[/^Date$/, "date"], [/^Datetime/, "datetime-local"], [/^Time$/, "time"], [/^(U?Int|Float|Decimal)/, "text"]];
export function emptyCondition(page, column) {
  const { dtype } = page.columns.find((one) => one.name === column) || { dtype: "" };
  return { op: INPUTS.some(([pattern]) => pattern.test(dtype)) ? ">=" : "contains", text: "" };
}

function filterPart(app, sheet) {
  const { menu: column, values, conditions, chosen, valueSearch } = sheet;
  const dtype = (sheet.page.columns.find((one) => one.name === column) || {}).dtype || "";
  const [, type] = INPUTS.find(([pattern]) => pattern.test(dtype)) || [null, "text"];
  // what is pressed and typed before the next drawing builds on what is, not on what was drawn
  const now = () => app.state.sheet;
  const change = (changes) => app.set({ sheet: { ...now(), ...changes } });
  const condition = (index, part) => change({ conditions: now().conditions.map((one, at) => (at === index ? { ...one, ...part } : one)) });
  const others = sheet.filters.filter((one) => one.column !== column);
  return h("form", {
    class: "de-filter-form", key: `filter ${column}`, "aria-label": `Filter ${column}`,
    onkeydown: (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      change({ menu: null });
    },
    onsubmit: (event) => {
      event.preventDefault();
      const { conditions, values, chosen } = now();
      const fresh = conditions.filter((one) => one.text || BLANK(one.op)).map((one) => ({ column, op: one.op, value: type === "datetime-local" ? one.text.replace("T", " ") : one.text }));
      if (chosen.size && values && chosen.size < values.values.length) fresh.push({ column, op: "in", value: values.values.filter((_, index) => chosen.has(index)).map((one) => one.value) });
      app.look({ filters: [...others, ...fresh], offset: 0, menu: null });
    },
  },
    conditions.map((one, index) => h("div", { class: "de-line", key: `c ${index}` },
      h("span", { class: index ? "de-faint" : "de-strong" }, index ? "and" : column),
      h("select", { class: "de-input", "aria-label": "Condition", value: one.op, onchange: (event) => condition(index, { op: event.target.value }) },
        OPS.map((op) => h("option", { key: op, value: op, selected: op === one.op }, op))),
      BLANK(one.op) ? h("span", { class: "de-grow" }) : h("input", { class: "de-input de-grow", type: /^[<>]/.test(one.op) ? type : "text", "aria-label": "Value", value: one.text, focus: true, oninput: (event) => condition(index, { text: event.target.value }) }),
      conditions.length > 1 ? h("button", { type: "button", class: "de-icon-button", "aria-label": `Remove condition ${index + 1}`, onclick: () => change({ conditions: now().conditions.filter((_, at) => at !== index) }) }, "×") : null)),
    values && values.column === column ? valuesPart(values, chosen, valueSearch, change, now) : h("p", { class: "de-hint", key: "reading" }, "Reading values…"),
    h("div", { class: "de-line de-wrap", key: "does" },
      h("button", { class: "de-button de-primary de-small", type: "submit" }, "Apply"),
      h("button", { class: "de-button de-small", type: "button", onclick: () => change({ conditions: [...now().conditions, emptyCondition(sheet.page, column)] }) }, "Add condition"),
      h("button", { class: "de-button de-small", type: "button", onclick: () => app.look({ filters: others, offset: 0, menu: null }) }, "Clear column")));
}

function valuesPart(values, chosen, search, change, now) {
  const passing = values.values.map((one, index) => [one, index]).filter(([one]) => String(one.value ?? "blank").toLowerCase().includes(search.toLowerCase()));
  const ticked = passing.filter(([, index]) => chosen.has(index)).length;
  const tick = (indices, isOn) => {
    const next = new Set(now().chosen);
    for (const index of indices) isOn ? next.add(index) : next.delete(index);
    change({ chosen: next });
  };
  return [
    h("div", { class: "de-line", key: "find values" },
      h("label", { class: "de-value" }, h("input", { type: "checkbox", "aria-label": "All values", checked: passing.length > 0 && ticked === passing.length, indeterminate: ticked > 0 && ticked < passing.length, onchange: (event) => tick(passing.map(([, index]) => index), event.target.checked) }), "All"),
      h("input", { class: "de-input de-grow", type: "search", placeholder: "Search values", "aria-label": "Search values", value: search, oninput: (event) => change({ valueSearch: event.target.value }) })),
    h("div", { class: "de-values", key: "values", role: "group", "aria-label": "Values" }, passing.map(([one, index]) => h("label", { key: String(index), class: "de-value" },
      h("input", { type: "checkbox", checked: chosen.has(index), onchange: (event) => tick([index], event.target.checked) }),
      h("span", { class: "de-grow de-clip" }, one.value === null ? "blank" : String(one.value)), h("span", { class: "de-count" }, one.count.toLocaleString()))),
      values.is_cut ? h("p", { class: "de-hint", key: "cut" }, "Only the most frequent 500 values.") : null),
  ];
}
