// How an output is sorted and filtered.

import assert from "node:assert/strict";
import { test } from "node:test";

import { chosenValues, conditionsOf, emptyCondition, filtersOf, filterText, inputType } from "../../../jupyter_extension/static/filters.js";
import { freshSheet, look, nextSort } from "../../../jupyter_extension/static/sheet.js";

const PAGE = { columns: [{ name: "day", dtype: "Date" }, { name: "at", dtype: "Datetime('us')" }, { name: "amount", dtype: "Int64" }, { name: "who", dtype: "String" }] };
const values = { column: "who", values: [{ value: "Ann", count: 2 }, { value: null, count: 1 }, { value: "Bo", count: 1 }] };

test("a click sorts up, then down, then not at all; with Shift it joins the others", () => {
  const up = nextSort([], "a", false);
  const down = nextSort(up, "a", false);

  assert.deepEqual([up, down, nextSort(down, "a", false)], [[["a", false]], [["a", true]], []]);
  assert.deepEqual(nextSort([["a", false], ["b", false]], "a", true), [["b", false], ["a", true]]);
  assert.deepEqual(nextSort([["a", false]], "b", false), [["b", false]]);
});

test("a bound is typed as its column is", () => {
  assert.deepEqual(PAGE.columns.map(({ dtype }) => inputType(dtype)), ["date", "datetime-local", "text", "text"]);
  assert.deepEqual(PAGE.columns.map(({ dtype }) => emptyCondition(dtype).op), [">=", ">=", ">=", "contains"]);
});

test("a form shows the conditions its column has, or one to begin with", () => {
  const filters = [{ column: "amount", op: ">", value: "3" }, { column: "amount", op: "in", value: [1] }, { column: "who", op: "ends", value: "n" }];

  assert.deepEqual(conditionsOf(filters, PAGE, "amount"), [{ op: ">", text: "3" }]);
  assert.deepEqual(conditionsOf(filters, PAGE, "day"), [{ op: ">=", text: "" }]);
});

test("an empty condition is none, unless it asks for blanks; a moment is written as the data has it", () => {
  const form = { conditions: [{ op: ">=", text: "2026-01-05T08:00" }, { op: "<", text: "" }, { op: "not blank", text: "" }], chosen: new Set() };

  assert.deepEqual(filtersOf("at", "Datetime('us')", form), [{ column: "at", op: ">=", value: "2026-01-05 08:00" }, { column: "at", op: "not blank", value: "" }]);
});

test("chosen values are a filter, all of them are none, and they are found again", () => {
  const form = (/** @type {number[]} */ ...chosen) => ({ conditions: [], values, chosen: new Set(chosen) });
  const made = filtersOf("who", "String", form(0, 1));

  assert.deepEqual(made, [{ column: "who", op: "in", value: ["Ann", null] }]);
  assert.deepEqual([filtersOf("who", "String", form(0, 1, 2)), filtersOf("who", "String", form())], [[], []]);
  assert.deepEqual([...chosenValues(made, values)], [0, 1]);
  assert.deepEqual([...chosenValues([], values)], [0, 1, 2]);
  assert.equal(filterText(made[0]), "who in Ann, blank");
});

test("of two questions the answer to the last one is shown", async () => {
  const answers = [];
  const app = {
    looks: 0, state: { sheet: freshSheet("/a.csv") }, set: (/** @type {object} */ changes) => Object.assign(app.state, changes),
    get sheet() { return app.state.sheet; },
    transport: { call: () => new Promise((resolve) => answers.push(resolve)) },
  };
  const first = look(app, { offset: 200 });
  const second = look(app, { offset: 400 });
  answers[1]({ result: { offset: 400 } });
  answers[0]({ result: { offset: 200 } });
  await Promise.all([first, second]);

  assert.deepEqual(app.sheet.page, { offset: 400 });
  assert.equal(app.sheet.busy, false);
});

test("a filter that fails leaves the rows that were there, and says why", async () => {
  const app = {
    looks: 0, state: { sheet: { ...freshSheet("/a.csv"), page: PAGE } }, set: (/** @type {object} */ changes) => Object.assign(app.state, changes),
    get sheet() { return app.state.sheet; },
    transport: { call: async () => ({ error: { what: "'x' is not a number", fix: "give a number" } }) },
  };
  await look(app, { filters: [{ column: "amount", op: ">", value: "x" }] });

  assert.equal(app.sheet.page, PAGE);
  assert.equal(app.sheet.said, "'x' is not a number; give a number");
});
