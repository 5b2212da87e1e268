// What the panel makes of a view, as descriptions that no page is needed for.

import assert from "node:assert/strict";
import { test } from "node:test";

import { h, Memo } from "../../../jupyter_extension/static/dom.js";
import { moreHeld } from "../../../jupyter_extension/static/flow_notes.js";
import { questionOf, whyNone } from "../../../jupyter_extension/static/chosen.js";
import { FILTERS, secondText, shownFlows, stateText } from "../../../jupyter_extension/static/flows.js";
import { besidePath } from "../../../jupyter_extension/static/jupyter.js";
import { onKey, staysHere } from "../../../jupyter_extension/static/keys.js";
import { defaultText, givenOf, typedParams } from "../../../jupyter_extension/static/parameters.js";
import { lasting } from "../../../jupyter_extension/static/page.js";
import { button, drawing, whyNot } from "../../../jupyter_extension/static/pieces.js";
import { countsText, logText } from "../../../jupyter_extension/static/runs.js";
import SHAPES from "../../../jupyter_extension/static/shapes.js";
import { elsewhere, firstState, keptSaid, runsOf } from "../../../jupyter_extension/static/state.js";
import { axisOf, spots, ticksOf } from "../../../jupyter_extension/static/today.js";
import { applied } from "../../../jupyter_extension/static/transport.js";

const mark = (/** @type {string} */ word, tone = "idle", shape = "ring") => ({ word, tone, shape, kind: word.replaceAll(" ", "_") });
const row = (changes = {}) => ({
  name: "claims", title: "Claims", group: "Month", mode: "poll", trigger: "every 5 s", mark: mark("polling", "good", "half"),
  reason: "all 3 files are done", next_run_utc: null, edit: null, is_failing: false, ...changes,
});

test("children are flat, and what is nothing is left out", () => {
  assert.deepEqual(h("p", null, "a", null, [undefined, [false, "b", 0]], "").children, ["a", "b", 0, ""]);
});

test("a description is made once for the same inputs, and forgotten when it is no longer asked for", () => {
  const memo = new Memo();
  const made = (/** @type {string} */ text) => memo.get("row", [text], () => h("p", null, text));
  const first = made("a");
  memo.sweep();

  assert.equal(made("a"), first);
  assert.notEqual(made("b"), first);
  memo.sweep();
  memo.sweep();
  assert.notEqual(made("b"), made("a"));
});

test("what a description was made of is known as long as that one is", () => {
  const memo = new Memo();
  const line = (/** @type {string} */ name) => memo.get(name, [], () => h("p", null, name));
  const list = (/** @type {string} */ search) => memo.get("list", [search], () => h("div", null, line("a"), line("b")));
  const { children } = list("");
  memo.sweep();
  list("");
  memo.sweep();

  assert.deepEqual(list("a").children.map((child, index) => child === children[index]), [true, true]);
});

test("a flow is found by its words, and by the filter", () => {
  const names = (/** @type {string} */ filter, rows = [row(), row({ mark: mark("running") }), row({ is_failing: true }), row({ edit: "cell 3" }), row({ mode: "manual" })]) =>
    rows.flatMap((one, index) => (shownFlows("month CLAIMS", filter)(one) ? [index] : []));

  assert.deepEqual(FILTERS.map(([name]) => names(name)), [[0, 1, 2, 3, 4], [1], [2], [3]]);
  assert.equal(shownFlows("weekly", "all")(row()), false);
});

test("a flow's second line is its run, else why and when it runs next", () => {
  assert.equal(secondText(row(), { source: "C:\\in\\a.csv", step: "Read", done: 2, total: 5 }), "a.csv · Read · 2 of 5");
  assert.equal(secondText(row(), undefined), "every 5 s · all 3 files are done");
  assert.equal(secondText(row({ mark: mark("broken"), reason: "SyntaxError" }), undefined), "SyntaxError");
  assert.equal(secondText(row({ mode: "manual", trigger: "-" }), undefined), "");
  assert.equal(secondText(row({ mode: "manual", trigger: "-", waits: "1 run waits for rates" }), undefined), "1 run waits for rates");
  const long = row({ mode: "schedule", trigger: `every day at ${"06:30, ".repeat(30)}Asia/Tokyo`, next_run_utc: new Date(Date.now() + 3e6).toISOString() });
  assert.match(secondText(long, undefined), /^next in 50 min.* · every day at 06:30, /);
  const draft = { reason: "not deployed: data-engine deploy claims", why: { kind: "not_deployed", error: null, goes_live_s: null, shares_with: null } };
  assert.equal(secondText(row({ mark: mark("not deployed"), ...draft }), undefined), "every 5 s", "its mark says it");
  const shares = { reason: "it writes to the same mirror as rates", why: { ...draft.why, shares_with: "rates" } };
  assert.equal(secondText(row({ mark: mark("not deployed"), ...shares }), undefined), "every 5 s · it writes to the same mirror as rates");
  const late = { expected: { kind: "late" }, expected_text: "late since 07:00: the engine is off" };
  assert.equal(secondText(row({ mode: "manual", trigger: "-", ...late }), undefined), "late since 07:00: the engine is off");
});

test("a state names its mode where its word does not", () => {
  assert.equal(stateText(row()), "polling");
  assert.equal(stateText(row({ mark: mark("idle") })), "poll · idle");
  assert.equal(stateText(row({ mark: mark("disabled") })), "poll · disabled");
  assert.equal(stateText(row({ mode: "manual", mark: mark("manual") })), "manual");
});

test("what is typed counts while the form of that flow is open", () => {
  const details = { parameters: [{ name: "share", default: 0.5 }] };
  const state = { ...firstState(), selected: "claims", showParams: true, details, typed: { share: "0,2" } };
  const none = { ...state, details: { parameters: null } };

  assert.deepEqual(typedParams({ state }, "claims"), { share: "0,2" });
  assert.deepEqual(typedParams({ state: none }, "claims"), {});
  assert.deepEqual(typedParams({ state: { ...state, showParams: false } }, "claims"), {});
  assert.deepEqual(typedParams({ state }, "rates"), {});
  assert.deepEqual(typedParams({ state: { ...state, details: null } }, "claims"), {});
});

test("a button says why it cannot be used, and does nothing", () => {
  const pressed = [];
  const app = { state: firstState(), during: (/** @type {string} */ key) => pressed.push(key) };
  const off = button(app, "stop", "Stop", "no run of it is under way", () => pressed.push("act"));
  const on = button(app, "run", "Run", null, () => pressed.push("act"));
  off.props.onclick();
  on.props.onclick();

  assert.deepEqual([off.props["aria-disabled"], off.props.title], ["true", "Stop: no run of it is under way"]);
  assert.equal(on.props["aria-disabled"], undefined);
  assert.deepEqual(pressed, ["act", "b run"]);
  assert.deepEqual(whyNot(null, "Run"), { "aria-disabled": undefined, title: "Run", "data-why": undefined });
});

test("a button that asks again acts at the second press", () => {
  const pressed = [];
  const state = firstState();
  const app = { state, set: (/** @type {object} */ changes) => Object.assign(state, changes), during: () => pressed.push("acted") };
  const kill = () => button(app, "kill", "Kill", null, () => {}, { confirm: "Really kill?" });
  kill().props.onclick();
  const asked = kill();
  asked.props.onclick();

  assert.deepEqual(asked.children, ["Really kill?"]);
  assert.deepEqual([pressed, state.confirming], [["acted"], null]);
});

test("a shape that is not known draws nothing, all others draw", () => {
  assert.match(drawing("disc"), /^<svg [^>]*><circle .*<\/svg>$/);
  assert.match(drawing("no such"), /^<svg [^>]*><\/svg>$/);
  assert.ok(Object.values(SHAPES).every((one) => one.startsWith("<")));
});

test("a form sends what somebody changed, as texts", () => {
  const one = { name: "days", kind: "int", choices: [], is_list: false, is_optional: false, has_default: true, default: 3, label: "", title: "Days", help: "", type: "int" };
  const parameters = [one, { ...one, name: "tags", is_list: true, default: ["a", "b"] }, { ...one, name: "at", default: null }];

  assert.deepEqual(givenOf(parameters, { days: "3", tags: "a, c" }), { tags: "a, c" });
  assert.deepEqual(parameters.map(defaultText), ["3", "a, b", ""]);
});

test("a change makes the next view of the last one, which stays as it was", () => {
  const view = { engine: { word: "off" }, flows: { a: 1, b: 2 } };
  const next = applied(view, { set: { engine: { word: "on" } }, flows: { c: 3 }, gone: ["b"] });

  assert.deepEqual(next, { engine: { word: "on" }, flows: { a: 1, c: 3 } });
  assert.deepEqual(view, { engine: { word: "off" }, flows: { a: 1, b: 2 } });
});

test("runs are compared by what is under way and where", () => {
  const view = (/** @type {string} */ step) => ({ active: [{ run_id: "1", flow: "a", step, done: 1 }, { run_id: "2", flow: "b", step }] });

  assert.equal(runsOf(view("Read"), "a"), runsOf(view("Read"), "a"));
  assert.notEqual(runsOf(view("Read"), "a"), runsOf(view("Load"), "a"));
  assert.equal(runsOf(view("Read"), "c"), "[]");
});

test("another workspace forgets what was shown of this one, and keeps the tab", () => {
  const next = { ...firstState(), tab: "settings", selected: "claims", search: "x", workspaces: [1], ...elsewhere() };

  assert.deepEqual([next.tab, next.selected, next.search, next.workspaces], ["settings", null, "", [1]]);
});

test("a log is a file of lines with tabs, then the error", () => {
  const lines = [{ at_utc: "2026", level: "INFO", step: "Read", message: "3 rows" }, { at_utc: "2026", level: "WARNING", step: null, message: "odd" }];

  assert.equal(logText({ lines, error: "KeyError: 3" }), "2026\tINFO\tRead\t3 rows\n2026\tWARNING\t-\todd\n\nKeyError: 3\n");
  assert.equal(logText({ lines: [], error: null }), "");
});

test("the ends of runs are counted in words", () => {
  assert.equal(countsText(["success", "failed", "success"].map((word) => ({ mark: { word } }))), "2 success, 1 failed");
});

test("a notebook that an error names lies beside its flow", () => {
  assert.equal(besidePath("b.ipynb", "/ws/flow_modules/a.ipynb", "/ws"), "/ws/flow_modules/b.ipynb");
  assert.equal(besidePath("b.ipynb", "C:\\ws\\flow_modules\\a.ipynb", "C:\\ws"), "C:\\ws\\flow_modules\\b.ipynb");
  assert.equal(besidePath("b.ipynb", null, "/ws"), "/ws/flow_modules/b.ipynb");
});

test("the panel keeps its keys; those with Ctrl, Alt, Cmd and the function keys stay the editor's", () => {
  const key = (/** @type {string} */ name, changes = {}) => ({ key: name, ctrlKey: false, metaKey: false, altKey: false, ...changes });

  assert.deepEqual([key("d"), key("Enter", { ctrlKey: true }), key("s", { ctrlKey: true }), key("F1")].map(staysHere), [true, true, false, false]);
});

test("a letter typed by mistake stops no engine: the second one does", () => {
  const done = /** @type {string[]} */ ([]);
  const app = /** @type {any} */ ({
    state: { view: {}, selected: null, said: null, pending: new Map() },
    view: { buttons: { stop_engine: null, start_engine: "the engine is on" }, flows: {} },
    set(/** @type {any} */ changes) { done.push(changes.said.text); },
    act(/** @type {string} */ action) { return action; },
    during(/** @type {string} */ key, /** @type {string} */ action) { done.push(action); },
  });
  const event = /** @type {any} */ ({ key: "s", target: { tagName: "DIV" }, preventDefault() {} });

  onKey(app, event);
  assert.deepEqual(done, ["Stop the engine? Press s again."]);
  onKey(app, event);
  assert.deepEqual(done, ["Stop the engine? Press s again.", "stop_engine"]);
});

test("Esc closes one layer at a time: a question, the menu, an error, a form, a run, then the flow", () => {
  const state = {
    ...firstState(), view: {}, selected: "claims", section: "runs", question: { text: "?", answers: [] }, isMenuOpen: true, said: { text: "no", error: true }, showParams: true, run: { id: "1" },
  };
  const closed = /** @type {string[]} */ ([]);
  const app = /** @type {any} */ ({
    state, view: { buttons: {}, flows: {} }, select: () => closed.push("flow"),
    set(/** @type {any} */ changes) { Object.assign(state, changes); closed.push(Object.keys(changes)[0]); },
  });
  const event = /** @type {any} */ ({ key: "Escape", target: { tagName: "DIV" }, preventDefault() {} });
  for (let press = 0; press < 6; press += 1) onKey(app, event);

  assert.deepEqual(closed, ["question", "isMenuOpen", "said", "showParams", "run", "flow"]);
});

test("what is held says how many more there are, and whether by the same error", () => {
  const held = (/** @type {string} */ error) => /** @type {any} */ ({ error });

  assert.equal(moreHeld(held("no amount"), [held("no amount"), held("no amount")], 3), "2 more like it");
  assert.equal(moreHeld(held("no amount"), [held("no amount"), held("no city")], 3), "1 more like it, 1 with another error");
  assert.equal(moreHeld(held("no amount"), [held("no city")], 2), "1 more file held");
});

test("a notice of a request can be put away, and goes after its time; others stay", () => {
  const at = "2026-01-05T06:30:00+00:00";
  const told = { tone: "bad", text: "ann asked to run claims: failed", fix: null, id: "q1", at_utc: at };
  const stays = { tone: "bad", text: "the drive is away", fix: null };
  const shown = (/** @type {string[]} */ away, /** @type {number} */ minutes) => lasting([told, stays], new Set(away), Date.parse(at) + minutes * 60000);

  assert.deepEqual([shown([], 9), shown([], 10), shown(["q1"], 1)], [[told, stays], [stays], [stays]]);
});

test("an error does not stay when another flow is looked at, and what was done does", () => {
  const said = { text: "The engine is on." };

  assert.deepEqual([{ ...said, error: true }, { ...said, offers: { backfill: "claims" } }, said, null].map(keptSaid), [null, null, said, null]);
});

test("one question names all chosen flows, and those it cannot be done with", () => {
  const rows = [row({ name: "a", buttons: { run: null } }), row({ name: "b", buttons: { run: "it runs" } })];
  assert.equal(questionOf("Run", "run", rows), "Run a? Not b (it runs).");
  assert.equal(whyNone([rows[1]], "run"), "it runs");
  assert.equal(whyNone([], "run"), "choose flows first");
  const many = Array.from({ length: 14 }, (_, index) => row({ name: `f${index}`, buttons: { run: null } }));
  assert.ok(questionOf("Run", "run", many).endsWith("f11, 2 more?"));
});

test("of the runs on one spot of the day a failure is the one that is seen, unless its retry was good", () => {
  const at = (/** @type {string} */ time, /** @type {string} */ tone, source = "a.csv") =>
    /** @type {any} */ ({ run_id: time, source, params: "", started_at_utc: `2026-12-01T${time}Z`, elapsed_s: 60, mark: mark(tone, tone) });
  const runs = [at("07:00:00", "good"), at("06:00:20", "good", "c.csv"), at("06:00:10", "bad", "b.csv"), at("06:00:00", "good"), at("03:00:00", "bad")];
  const found = spots(runs, axisOf(runs, Date.parse("2026-12-01T11:00:00Z")));

  assert.deepEqual(found.map(({ left, tone, shown, all }) => [left, tone, shown.run_id, all.length]),
    [[0, "idle", "03:00:00", 1], [37.5, "bad", "06:00:10", 3], [50, "good", "07:00:00", 1]]);
});

test("the axis of a day begins with the hour of its first run and ends now", () => {
  const begin = new Date(2026, 11, 1, 7, 40).getTime();
  const runs = /** @type {any} */ ([{ started_at_utc: new Date(begin).toISOString() }]);
  const ticks = (/** @type {number} */ later) => ticksOf(axisOf(runs, begin + later)).map((one) => new Date(one).toTimeString().slice(0, 5));

  assert.deepEqual(ticks(60000), ["07:00", "07:15", "07:30", "07:45"]);
  assert.deepEqual(ticks(9 * 3600000), ["07:00", "10:00", "13:00", "16:00"]);
});
