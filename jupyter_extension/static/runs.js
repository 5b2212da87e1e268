// The runs of a flow: as a timeline, as a list that can be searched, and one of them with its log.

import { run as runFlow, saveFile } from "./actions.js";
import { h } from "./dom.js";
import { clock, dayTime, duration, matches, nameOf, plural, shortClock, since } from "./format.js";
import { inspect } from "./sheet.js";
import { button, cellLinks, folded, icon, note, pathText, sign } from "./pieces.js";
import { replayButton, replayPart, whyNotDeployed } from "./replay.js";

/** @import { FlowDetails, OpenRun, RunDetails, RunView } from "./types" */
/** @import { Panel } from "./panel.js" */

const NEWEST = 40;
const FEW_RUNS = 5;

/**
 * @param {Panel} app
 * @param {RunView[]} runs
 */
export function timeline(app, runs) {
  const timely = runs.filter((run) => !run.from_the_future);
  if (timely.length < 2) return null;
  const shown = timely.slice(0, NEWEST).reverse();
  const longest = Math.max(...shown.map((run) => run.elapsed_s || 0), 0.001);
  return h("div", { class: "de-timeline", key: "timeline", role: "img", "aria-label": `The last ${plural(shown.length, "run")}: ${countsText(shown)}` },
    shown.map((run) => {
      const told = `${run.mark.word}, ${shortClock(run.started_at_utc)}, ${duration(run.elapsed_s)}${run.source_name ? `, ${run.source_name}` : ""}`;
      return h("button", {
        key: run.run_id, tabindex: "-1", class: `de-tl de-${run.mark.tone} de-tl-${run.mark.shape}`, title: told, "aria-label": told,
        style: `height: ${Math.round(25 + 75 * Math.sqrt((run.elapsed_s || 0) / longest))}%`, onclick: () => app.openRun(run.run_id),
      });
    }));
}

/**
 * How many runs ended in which way, in words.
 *
 * @param {RunView[]} runs
 */
export function countsText(runs) {
  /** @type {Record<string, number>} */
  const words = {};
  for (const { mark } of runs) words[mark.word] = (words[mark.word] || 0) + 1;
  return Object.entries(words).map(([word, count]) => `${count} ${word}`).join(", ");
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
export function runsTable(app, details) {
  if (!details.runs.length) return h("p", { class: "de-empty" }, "It has not run on this machine yet.");
  const { runSearch, onlyFailed, runLimit, run: open } = app.state;
  const isOpen = (/** @type {RunView} */ run) => (open && open.id === run.run_id ? open : null);
  const runs = details.runs.filter((run) => isOpen(run) || ((!onlyFailed || run.mark.tone === "bad")
    && matches(`${run.mark.word} ${run.source || ""} ${run.error || ""} ${run.cause || ""} ${run.began_by} ${run.params} ${run.run_id}`, runSearch)));
  const rows = runs.map((run) => app.memo.get(`run ${run.run_id}`, [run.mark.word, run.elapsed_s, run.from_the_future, isOpen(run), app.columns, isOpen(run)?.opening && whyNotDeployed(app, details.name)], () => runRow(app, run, isOpen(run))));
  const failed = String(details.runs.filter((run) => run.mark.tone === "bad").length);
  return h("div", { class: "de-runs" },
    details.runs.length > FEW_RUNS ? h("div", { class: "de-line", key: "find runs" },
      h("input", { type: "search", class: "de-input de-grow", placeholder: "Search runs, errors", "aria-label": "Search runs", value: runSearch, oninput: (event) => app.set({ runSearch: event.target.value }) }),
      h("button", { class: "de-chip", "aria-pressed": String(onlyFailed), onclick: () => app.set({ onlyFailed: !onlyFailed }) }, "Failed", h("span", { class: "de-count", "data-count": failed }, failed))) : null,
    rows,
    rows.length ? null : h("p", { class: "de-empty", key: "none" }, `None of the newest ${plural(details.runs.length, "run")} matches.`),
    details.runs.length >= runLimit
      ? h("button", { class: "de-button de-more", key: "more", onclick: () => app.moreRuns() }, "Show more runs") : null);
}

/**
 * When a run began; one that a wrong clock dated later than now is marked.
 *
 * @param {RunView} run
 */
function startOf(run) {
  return run.from_the_future ? `${clock(run.started_at_utc)} (from the future)` : shortClock(run.started_at_utc);
}

/**
 * @param {Panel} app
 * @param {RunView} run
 * @param {OpenRun | null} open
 */
function runRow(app, run, open) {
  const what = [run.source_name, run.params, run.warnings ? plural(run.warnings, "warning") : ""].filter(Boolean).join(" · ");
  return h("div", { key: run.run_id, class: `de-run-row${open ? " de-open" : ""}`, "data-run": run.run_id },
    h("button", { class: "de-run-main", "aria-expanded": String(Boolean(open)), onclick: () => app.openRun(open ? null : run.run_id) },
      icon(run.mark),
      h("span", { class: "de-word de-run-word" }, run.mark.word),
      h("span", { class: "de-run-when", title: clock(run.started_at_utc) }, startOf(run)),
      what ? h("span", { class: "de-grow de-whole de-faint", title: run.source || "" }, what) : null,
      run.mark.kind === "running" ? h("span", { class: "de-time", tick: () => duration(since(run.started_at_utc)) }) : h("span", { class: "de-time" }, duration(run.elapsed_s))),
    run.error && !open ? h("div", { class: "de-run-error" }, folded(run.error)) : null,
    open && app.columns < 3 ? runDetails(app, run, open) : null);
}

/**
 * The open run beside its flow, where there is room for three columns.
 *
 * @param {Panel} app
 */
export function runBeside(app) {
  const { run: open, details, selected, section } = app.state;
  const run = app.columns < 3 || selected === null || section !== "runs" ? null : open && details && details.runs.find((one) => one.run_id === open.id);
  if (!run || !open) return null;
  return h("section", { class: "de-run-beside", key: "run", "aria-label": "Run" },
    h("div", { class: "de-detail-head" },
      h("h3", { class: "de-detail-title" }, run.source_name || startOf(run)), sign(run.mark),
      h("button", { class: "de-icon-button", "aria-label": "Close", title: "Close", onclick: () => app.openRun(null) }, "×")),
    runDetails(app, run, open));
}

/**
 * @param {Panel} app
 * @param {RunView} run
 * @param {OpenRun} open
 */
function runDetails(app, run, open) {
  if (!open.details) return h("p", { class: "de-empty" }, open.said || "Reading…");
  const { error, facts, reports, steps } = open.details;
  const fix = error && run.why && run.why.fix;
  return h("div", { class: "de-run-detail" },
    error ? note("bad", "error", run.error ? h("div", { class: "de-strong" }, run.error) : null, fix ? h("div", null, String(fix)) : null, cellLinks(app, run.cells)) : null,
    h("div", { class: "de-line de-wrap" },
      run.cause && !error ? h("span", { class: "de-faint" }, run.cause) : null,
      h("span", { class: "de-faint" }, `run ${run.run_id.slice(0, 8)}`),
      run.source && !facts.some(([, value]) => value.includes(run.source || "")) ? h("span", { class: "de-faint de-whole", title: run.source }, pathText(run.source)) : null),
    facts.length ? h("dl", { class: "de-about", "aria-label": "Record of the run" }, facts.map(([label, value]) => [h("dt", { key: `t ${label}` }, label), h("dd", { key: `d ${label}`, title: value }, pathText(value))])) : null,
    reports.length ? h("div", { class: "de-line de-wrap", key: "reports" }, reports.map((path) => button(app, `report ${path}`, `Show ${nameOf(path)}`, null, () => inspect(app, path), { small: true }))) : null,
    steps.length ? h("ul", { class: "de-log-steps" }, steps.map((step, index) => h("li", { key: String(index) },
      icon(step.mark), h("span", { class: "de-grow" }, step.label), step.rows ? h("span", { class: "de-faint de-rows", title: "rows in and out" }, rowsText(step.rows)) : null,
      h("span", { class: "de-word" }, step.mark.word), h("span", { class: "de-time" }, duration(step.elapsed_s))))) : null,
    error ? h("div", { class: "de-log", key: "whole", role: "region", "aria-label": "Whole error", tabindex: "0" }, h("pre", { class: "de-pre" }, error)) : null,
    localsPart(open.details),
    replayPart(app, run, open),
    comparePart(app, run, open),
    runLog(open.details),
    runButtons(app, run, open.details));
}

/**
 * The rows of a step, of which only one side may be known.
 *
 * @param {string} rows
 */
export function rowsText(rows) {
  return rows.includes("→") ? `${rows} rows` : rows.replace(" ", rows.startsWith("1 ") ? " row " : " rows ");
}

/**
 * Another run to compare with, and what differs from it to this one.
 *
 * @param {Panel} app
 * @param {RunView} run
 * @param {OpenRun} open
 */
function comparePart(app, run, open) {
  const others = (app.state.details ? app.state.details.runs : []).filter((one) => one.run_id !== run.run_id);
  if (!others.length) return null;
  const id = `de-compare-${run.run_id}`;
  return h("div", { class: "de-compare", key: "compare" },
    h("div", { class: "de-line" }, h("label", { for: id, class: "de-faint" }, "Compare with"),
      h("select", { id, class: "de-input de-grow", onchange: (event) => compareRuns(app, event.target.value, run.run_id) },
        h("option", { key: "none", value: "", selected: !open.other }, "another run"),
        others.slice(0, NEWEST).map((one) => h("option", { key: one.run_id, value: one.run_id, selected: open.other === one.run_id },
          [shortClock(one.started_at_utc), one.mark.word, one.source_name, one.params].filter(Boolean).join(" · "))))),
    open.differences);
}

/**
 * Reads what differs from one run to another, which is open.
 *
 * @param {Panel} app
 * @param {string} other
 * @param {string} runId
 */
async function compareRuns(app, other, runId) {
  const set = (/** @type {import("./types").Child} */ differences) => {
    const { run } = app.state;
    if (run && run.id === runId) app.set({ run: { ...run, other, differences } });
  };
  set(null);
  if (!other) return;
  const { result, error } = await app.transport.call("compare", { run_a: other, run_b: runId });
  if (!app.isGone && app.state.run && app.state.run.other === other) set(error ? h("p", { class: "de-empty" }, error.what) : h("div", { key: other, html: result.html }));
}

/** @param {RunDetails} details */
function localsPart({ locals }) {
  const texts = Object.entries(locals || {}).map(([name, text]) => `${name} = ${text}`);
  return texts.length ? h("details", { class: "de-fold", key: "locals" }, h("summary", null, h("div", { class: "de-grow" }, "variables at the failing line")), h("pre", { class: "de-pre" }, texts.join("\n"))) : null;
}

/** @param {RunDetails} details */
function runLog({ lines, left_out: leftOut }) {
  return h("div", { class: "de-log", role: "log", "aria-label": "Run log", tabindex: "0" },
    leftOut ? h("div", { class: "de-faint" }, `${leftOut.toLocaleString()} earlier lines are left out`) : null,
    lines.length ? lines.map((line, index) => h("div", { key: String(index), class: `de-log-line de-level-${line.level.toLowerCase()}` },
      h("span", { class: "de-log-time", title: clock(line.at_utc) }, dayTime(line.at_utc)),
      line.step ? h("span", { class: "de-log-step" }, line.step) : null,
      line.level === "INFO" ? null : h("span", { class: "de-log-level" }, line.level),
      h("span", { class: "de-log-text" }, line.message))) : h("div", { class: "de-faint" }, "It printed and logged nothing."));
}

/**
 * @param {Panel} app
 * @param {RunView} run
 * @param {RunDetails} details
 */
function runButtons(app, run, details) {
  const { source } = run;
  const { flow, lines, error } = details;
  const save = () => saveFile(`${flow}-${run.run_id.slice(0, 8)}.log`, "text/plain", [logText(details)]);
  return h("div", { class: "de-line de-wrap" },
    source ? button(app, `again ${run.run_id}`, "Run this file again", app.view.flows[flow].buttons.run, () => runFlow(app, flow, source), { small: true }) : null,
    run.mark.tone === "bad" && error ? replayButton(app, run.run_id) : null,
    source ? button(app, `preview ${run.run_id}`, "Preview this file", app.jupyter.noPreview, () => app.jupyter.preview(source), { small: true }) : null,
    button(app, `save ${run.run_id}`, "Download log", lines.length || error ? null : "it logged nothing", save, { small: true }));
}

/**
 * A run's log as a file: a line with tabs for each of its lines, then the error.
 *
 * @param {Pick<RunDetails, "lines" | "error">} details
 */
export function logText({ lines, error }) {
  const texts = lines.map((line) => [line.at_utc, line.level, line.step || "-", line.message].join("\t"));
  return [...texts, ...(error ? ["", error] : []), ""].join("\n");
}
