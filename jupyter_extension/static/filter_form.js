// The form that filters one column of a table.

import { h } from "./dom.js";
import { dtypeOf, emptyCondition, filtersOf, inputType, isBlankTest, OPS } from "./filters.js";
import { look } from "./sheet.js";

/** @import { ColumnValues, Condition, Sheet, TablePage } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * @param {Panel} app
 * @param {Sheet} sheet
 * @param {TablePage} page
 * @param {string} column
 */
export function filterForm(app, sheet, page, column) {
  const { values, conditions } = sheet;
  const dtype = dtypeOf(page, column);
  // what is pressed and typed before the next drawing builds on what is, not on what was drawn
  const now = () => app.sheet;
  /** @type {(changes: Partial<Sheet>) => void} */
  const change = (changes) => app.set({ sheet: { ...now(), ...changes } });
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
      look(app, { filters: [...others, ...filtersOf(column, dtype, now())], offset: 0, menu: null });
    },
  },
  conditions.map((one, index) => conditionLine(column, inputType(dtype), one, index, conditions.length > 1, now, change)),
  values && values.column === column ? valuesPart(values, sheet, now, change) : h("p", { class: "de-hint", key: "reading" }, "Reading values…"),
  h("div", { class: "de-line de-wrap", key: "does" },
    h("button", { class: "de-button de-primary de-small", type: "submit" }, "Apply"),
    h("button", { class: "de-button de-small", type: "button", onclick: () => change({ conditions: [...now().conditions, emptyCondition(dtype)] }) }, "Add condition"),
    h("button", { class: "de-button de-small", type: "button", onclick: () => look(app, { filters: others, offset: 0, menu: null }) }, "Clear column")));
}

/**
 * @param {string} column
 * @param {string} type
 * @param {Condition} one
 * @param {number} index
 * @param {boolean} isOneOfSeveral
 * @param {() => Sheet} now
 * @param {(changes: Partial<Sheet>) => void} change
 */
function conditionLine(column, type, one, index, isOneOfSeveral, now, change) {
  /** @type {(part: Partial<Condition>) => void} */
  const edit = (part) => change({ conditions: now().conditions.map((other, at) => (at === index ? { ...other, ...part } : other)) });
  return h("div", { class: "de-line", key: `c ${index}` },
    h("span", { class: index ? "de-faint" : "de-strong" }, index ? "and" : column),
    h("select", { class: "de-input", "aria-label": "Condition", value: one.op, onchange: (event) => edit({ op: event.target.value }) },
      OPS.map((op) => h("option", { key: op, value: op, selected: op === one.op }, op))),
    isBlankTest(one.op) ? h("span", { class: "de-grow" }) : h("input", {
      class: "de-input de-grow", type: /^[<>]/.test(one.op) ? type : "text", "aria-label": "Value", value: one.text, focus: true,
      oninput: (event) => edit({ text: event.target.value }),
    }),
    isOneOfSeveral ? h("button", {
      type: "button", class: "de-icon-button", "aria-label": `Remove condition ${index + 1}`,
      onclick: () => change({ conditions: now().conditions.filter((_, at) => at !== index) }),
    }, "×") : null);
}

/**
 * @param {ColumnValues} values
 * @param {Sheet} sheet
 * @param {() => Sheet} now
 * @param {(changes: Partial<Sheet>) => void} change
 */
function valuesPart(values, { chosen, valueSearch }, now, change) {
  const shown = (/** @type {unknown} */ value) => (value === null ? "blank" : String(value));
  const passing = values.values.flatMap((one, index) => (shown(one.value).toLowerCase().includes(valueSearch.toLowerCase()) ? [{ ...one, index }] : []));
  const ticked = passing.filter((one) => chosen.has(one.index)).length;
  /** @type {(indices: number[], isOn: boolean) => void} */
  const tick = (indices, isOn) => {
    const next = new Set(now().chosen);
    for (const index of indices) {
      if (isOn) next.add(index);
      else next.delete(index);
    }
    change({ chosen: next });
  };
  return [
    h("div", { class: "de-line", key: "find values" },
      h("label", { class: "de-value" }, h("input", {
        type: "checkbox", "aria-label": "All values", checked: passing.length > 0 && ticked === passing.length, indeterminate: ticked > 0 && ticked < passing.length,
        onchange: (event) => tick(passing.map((one) => one.index), event.target.checked),
      }), "All"),
      h("input", { class: "de-input de-grow", type: "search", placeholder: "Search values", "aria-label": "Search values", value: valueSearch, oninput: (event) => change({ valueSearch: event.target.value }) })),
    h("div", { class: "de-values", key: "values", role: "group", "aria-label": "Values" },
      passing.map((one) => h("label", { key: String(one.index), class: "de-value" },
        h("input", { type: "checkbox", checked: chosen.has(one.index), onchange: (event) => tick([one.index], event.target.checked) }),
        h("span", { class: "de-grow de-clip" }, shown(one.value)), h("span", { class: "de-count" }, one.count.toLocaleString()))),
      values.is_cut ? h("p", { class: "de-hint", key: "cut" }, "Only the most frequent 500 values.") : null),
  ];
}
