// What people are told of troubles: once for each, on every page of the browser, until it is over.

import assert from "node:assert/strict";
import { test } from "node:test";

import { cellOf, inTrouble, isRecent, toTell } from "../../../jupyter_extension/static/bell.js";
import { stateText } from "../../../jupyter_extension/static/flows.js";

const AT = "2026-01-05T06:30:00+00:00";
const LATER = "2026-01-05T07:30:00+00:00";
const LATEST = "2026-01-05T08:30:00+00:00";
const trouble = (changes = {}) => ({ id: "t1", kind: "failed", text: "claims failed in Clean: KeyError: 3", at_utc: AT, good_utc: null, cells: [], ...changes });
const row = (/** @type {object[]} */ troubles, changes = {}) => ({
  name: "claims", mark: { word: "scheduled", kind: "scheduled", tone: "good", shape: "half" }, held: 0, mode: "schedule",
  is_failing: troubles.length > 0, has_recovered: troubles.length === 0, troubles, ...changes,
});
const view = (/** @type {any[]} */ ...rows) => /** @type {any} */ ({ workspace_id: "ws", workspace_root: "/ws", flows: Object.fromEntries(rows.map((one) => [one.name, one])) });
const after = (/** @type {any[]} */ ...views) => views.reduce((/** @type {any} */ told, one) => toTell(one, told.kept), { kept: {}, news: [] });
const away = (/** @type {any} */ { kept }) => Object.fromEntries(Object.entries(kept).map(([id, one]) => [id, { .../** @type {object} */ (one), away: true }]));

test("a trouble is told once, whichever page sees it again", () => {
  const first = after(view(row([trouble()])));
  const again = toTell(view(row([trouble({ at_utc: LATER })])), JSON.parse(JSON.stringify(first.kept)));

  assert.deepEqual([first.news, again.news, Object.keys(again.kept)], [["t1"], [], ["t1"]]);
});

test("what failed long ago is not told aloud to a browser that hears of it first", () => {
  const { kept } = after(view(row([trouble()])));

  assert.deepEqual([5, 30].map((minutes) => isRecent(kept.t1, Date.parse(AT) + minutes * 60000)), [true, false]);
});

test("what a person put away stays away while it lasts", () => {
  const put = away(after(view(row([trouble()]))));
  const same = toTell(view(row([trouble({ at_utc: LATER })])), put);

  assert.deepEqual([same.news, same.kept.t1.away], [[], true]);
});

test("one that was over and came again is told again", () => {
  const bad = view(row([trouble()]));
  const seen = after(bad, view(row([])), bad);
  const unseen = toTell(view(row([trouble({ at_utc: LATEST, good_utc: LATER })])), away(after(bad)));

  assert.deepEqual([seen.news, unseen.news, unseen.kept.t1.away], [["t1"], ["t1"], false]);
});

test("a failure stands until its flow has recovered, whatever fails or runs since", () => {
  const other = trouble({ id: "t2", text: "claims failed in Read" });
  const running = row([], { has_recovered: false });
  const both = after(view(row([trouble()])), view(row([other])), view(row([trouble()])));
  const none = toTell(view(row([])), both.kept);

  assert.deepEqual([Object.keys(both.kept).sort(), both.news], [["t1", "t2"], []]);
  assert.deepEqual(Object.keys(after(view(row([trouble()])), view(running)).kept), ["t1"]);
  assert.deepEqual(none.kept, {});
});

test("a flow that is late is over when it is not late any more, and late again is news", () => {
  const late = (at_utc = AT) => row([trouble({ id: "l1", kind: "late", at_utc })], { has_recovered: false });

  assert.deepEqual(after(view(late()), view(row([], { has_recovered: false }))).kept, {});
  assert.deepEqual(after(view(late()), view(late())).news, []);
  assert.deepEqual(after(view(late()), view(late(LATER))).news, ["l1"]);
});

test("a flow that is not read yet changes nothing, one that is gone has no trouble", () => {
  const told = after(view(row([trouble()])));
  const unread = row([], { has_recovered: true, mark: { kind: "being_read" } });

  assert.deepEqual(toTell(view(unread), told.kept).kept, told.kept);
  assert.deepEqual(toTell(view(), told.kept).kept, {});
});

test("flows in trouble are counted in words, and lead to a cell", () => {
  const bad = view(row([trouble()]), row([], { name: "other", is_failing: true }), row([], { name: "good" }));
  const told = /** @type {any} */ (trouble({ cells: [{ notebook: "claims.ipynb", cell: 4, line: 3 }] }));

  assert.deepEqual(inTrouble(bad), { count: 2, words: "2 flows in trouble" });
  assert.deepEqual(inTrouble(view()), { count: 0, words: "" });
  assert.deepEqual(cellOf(told, bad), { path: "/ws/flow_modules/claims.ipynb", cell: 4, line: 3, root: "/ws", name: "claims.ipynb, cell 4" });
  assert.equal(cellOf(/** @type {any} */ (trouble()), bad), null);
});

test("a flow that holds files says so beside its state, whatever that is", () => {
  const look = (/** @type {string} */ word, state = `${word}, 3 held`) => {
    const mark = { word, tone: "bad", shape: "cross", kind: word.replaceAll(" ", "_") };
    return stateText(/** @type {any} */ (row([], { state_text: state, mode: "poll", mark })));
  };

  assert.equal(look("failing"), "failing, 3 held");
  assert.equal(look("idle"), "idle, 3 held");
  assert.equal(look("running"), "running, 3 held");
  assert.equal(look("failing", "failing"), "poll · failing");
});
