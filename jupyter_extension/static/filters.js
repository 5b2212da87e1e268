// What a column's filter form makes and understands: conditions, and the values that pass. Nothing here knows the page.

/** @import { ColumnValues, Condition, Filter, Sheet, TablePage } from "./types" */

export const OPS = ["contains", "not contains", "equals", "not equals", "begins", "ends", ">=", "<=", ">", "<", "blank", "not blank"];
/** @type {[RegExp, string][]} */
const INPUTS = [[/^Date$/, "date"], [/^Datetime/, "datetime-local"], [/^Time$/, "time"], [/^(U?Int|Float|Decimal)/, "text"]];

/** @param {string} op */
export function isBlankTest(op) {
  return op.includes("blank");
}

/**
 * The kind of input that takes a bound of a column.
 *
 * @param {string} dtype
 */
export function inputType(dtype) {
  const found = INPUTS.find(([pattern]) => pattern.test(dtype));
  return found ? found[1] : "text";
}

/**
 * @param {TablePage} page
 * @param {string} column
 */
export function dtypeOf(page, column) {
  const found = page.columns.find((one) => one.name === column);
  return found ? found.dtype : "";
}

/**
 * The first condition of a column: numbers and times have bounds, anything else contains a text.
 *
 * @param {string} dtype
 * @returns {Condition}
 */
export function emptyCondition(dtype) {
  return { op: INPUTS.some(([pattern]) => pattern.test(dtype)) ? ">=" : "contains", text: "" };
}

/**
 * The conditions of a column as its form shows them.
 *
 * @param {Filter[]} filters
 * @param {TablePage} page
 * @param {string} column
 * @returns {Condition[]}
 */
export function conditionsOf(filters, page, column) {
  const found = filters.filter((one) => one.column === column && one.op !== "in").map((one) => ({ op: one.op, text: String(one.value) }));
  return found.length ? found : [emptyCondition(dtypeOf(page, column))];
}

/**
 * The indices of the values that pass now: all where no filter names values.
 *
 * @param {Filter[]} filters
 * @param {ColumnValues} values
 */
export function chosenValues(filters, values) {
  const among = filters.find((one) => one.column === values.column && one.op === "in");
  const kept = among && Array.isArray(among.value) ? among.value : null;
  return new Set(values.values.flatMap((one, index) => (!kept || kept.includes(one.value) ? [index] : [])));
}

/**
 * The filters that a form of a column makes. Choosing every value is no filter.
 *
 * @param {string} column
 * @param {string} dtype
 * @param {Pick<Sheet, "conditions" | "values" | "chosen">} form
 * @returns {Filter[]}
 */
export function filtersOf(column, dtype, { conditions, values, chosen }) {
  const isMoment = inputType(dtype) === "datetime-local";
  /** @type {Filter[]} */
  const made = conditions.filter((one) => one.text || isBlankTest(one.op))
    .map((one) => ({ column, op: one.op, value: isMoment ? one.text.replace("T", " ") : one.text }));
  if (values && chosen.size && chosen.size < values.values.length) {
    made.push({ column, op: "in", value: values.values.filter((_, index) => chosen.has(index)).map((one) => one.value) });
  }
  return made;
}

/** @param {Filter} filter */
export function filterText({ column, op, value }) {
  return `${column} ${op} ${Array.isArray(value) ? value.map((one) => one ?? "blank").join(", ") : value ?? ""}`;
}
