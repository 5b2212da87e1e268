// One flow in detail: what it does now, what can be done with it, why it fails, and the four tabs that say more.

import { end, run } from "./actions.js";
import { backfillForm, backfillLine, freshForm } from "./backfill.js";
import { h } from "./dom.js";
import { filesTable } from "./files.js";
import { driftLine, failure, outdated, shrunk } from "./flow_notes.js";
import { codePart, deployButton, stepsTable } from "./flow_parts.js";
import { stateText } from "./flows.js";
import { duration, nameOf, progressText, since } from "./format.js";
import { outputsTab } from "./outputs.js";
import { parametersForm, typedParams } from "./parameters.js";
import { button, errorBox, folded, icon, menu, sign, tabs } from "./pieces.js";
import { runsTable, timeline } from "./runs.js";
import { SLOW_STOP_MS } from "./state.js";
import { trendsPart } from "./trends.js";

/** @import { ActiveRun, FlowDetails, PanelFlow } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * The tabs of a flow: one without source files has none for them.
 *
 * @param {PanelFlow} row
 * @param {FlowDetails | null} details
 * @returns {[string, string, (app: Panel, details: FlowDetails, row: PanelFlow) => import("./types").Child][]}
 */
function sectionsOf(row, details) {
  const hasFiles = details ? details.about.some(([label]) => label === "Source") : row.mode === "poll";
  return [
    ["runs", "Runs", runsPart],
    ...(hasFiles ? [/** @type {[string, string, typeof filesTable]} */ (["files", "Files", filesTable])]
      : row.mode === "schedule" ? [/** @type {[string, string, typeof slotsPart]} */ (["slots", "Slots", slotsPart])] : []),
    ["data", "Data", (app) => outputsTab(app, row.name)],
    ["code", "Code", codePart],
  ];
}

/**
 * @param {Panel} app
 * @param {string} selected
 */
export function flowDetails(app, selected) {
  const { details } = app.state;
  const row = app.view.flows[selected];
  if (!row) return h("div", { class: "de-detail", key: "detail" }, backButton(app), h("p", { class: "de-empty" }, `${selected} is not a flow of this workspace any more.`));
  const active = app.view.active.filter((one) => one.flow === selected);
  const failed = row.error ? errorBox(app, row.error, details ? details.error_cells : []) : shrunk(app, row) || (details && failure(app, details, row));
  const sections = sectionsOf(row, details);
  const section = sections.some(([name]) => name === app.state.section) ? app.state.section : "runs";
  return h("div", { class: "de-detail", key: "detail", "data-flow": selected },
    h("div", { class: "de-detail-head" },
      backButton(app),
      h("h3", { class: "de-detail-title" }, row.title),
      sign(row.mark, row.mark.kind === "manual" && row.is_failing ? "failed" : stateText(row))),
    row.reason && row.mode !== "manual" && !failed && !isDraft(row) ? h("p", { class: "de-reason", key: "reason" }, row.reason) : null,
    toolbar(app, row, active),
    active.map((one) => activeLine(app, one, active.length > 1)),
    backfillLine(app, row),
    failed,
    driftLine(row),
    outdated(app, row),
    section === "code" && tellsOfItself(row) ? null : row.edit ? editLine(app, row, row.edit) : isDraft(row) ? draftLine(app, row) : null,
    tabs(app, "section", sections.map(([name, label]) => [name, label]), section, (name) => countOf(app, details, name)),
    sectionPart(app, details, row, sections.find(([name]) => name === section) || sections[0]));
}

/**
 * @param {Panel} app
 * @param {FlowDetails | null} details
 * @param {PanelFlow} row
 * @param {ReturnType<typeof sectionsOf>[number]} section
 */
function sectionPart(app, details, row, [name, , part]) {
  if (details === null) return h("p", { class: "de-empty" }, "Reading…");
  if (details.error_text) return h("p", { class: "de-empty" }, details.error_text);
  return h("div", { class: "de-section", key: `section ${name}`, role: "tabpanel", "aria-label": name }, part(app, details, row));
}

/**
 * @param {Panel} app
 * @param {FlowDetails | null} details
 * @param {string} name
 */
function countOf(app, details, name) {
  const { files } = app.state;
  const count = name === "files" ? files && files.total : name === "code" ? details && details.changes.length : 0;
  return count ? count.toLocaleString() : null;
}

/** @param {Panel} app */
function backButton(app) {
  return h("button", { class: "de-back de-icon-button", key: "back", title: "All flows", "aria-label": "All flows", onclick: () => app.select(null) }, "‹");
}

/**
 * What ran: the steps of the newest run, how runs went over time, and each of them.
 *
 * @param {Panel} app
 * @param {FlowDetails} details
 */
function runsPart(app, details) {
  const { showTrend } = app.state;
  return [
    stepsTable(app, details),
    details.runs.length < 2 ? null : h("div", { class: "de-line", key: "over time" },
      timeline(app, details.runs), h("span", { class: "de-grow" }),
      button(app, "trend", "Trend", null, () => app.set({ showTrend: !showTrend }), { quiet: true, small: true, expanded: showTrend })),
    showTrend ? trendsPart(app) : null,
    runsTable(app, details),
  ];
}

const BEFORE_DAY = /, (?=[A-Z][a-z]{2} \d{4}-)/;

/**
 * When a flow that goes by the clock runs.
 *
 * @param {Panel} _
 * @param {FlowDetails} details
 */
function slotsPart(_, details) {
  const facts = details.about.filter(([label]) => ["Runs", "Next times", "Expected", "Catch up"].includes(label));
  return h("dl", { class: "de-about" }, facts.map(([label, value]) => [h("dt", { key: `t ${label}` }, label), h("dd", { key: `d ${label}` }, value.split(BEFORE_DAY).map((day) => h("div", { key: day }, day)))]));
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {ActiveRun[]} active
 */
function toolbar(app, row, active) {
  const isRunning = active.length > 0;
  const isEnding = isRunning && active.every((one) => app.state.ending.has(one.run_id));
  return h("div", { class: "de-toolbar", role: "toolbar", "aria-label": `Actions for ${row.title}`, key: "toolbar" },
    button(app, "run", "Run", row.buttons.run, () => run(app, row.name, null, typedParams(app, row.name)), { primary: !isRunning, shape: "play", pending: `run ${row.name}`, busy: "Starting…" }),
    button(app, "stop", isEnding ? "Stopping…" : "Stop", isEnding ? "it ends at its next step, map item, context.log or context.progress" : row.buttons.stop, () => end(app, "stop_run", row.name), { primary: isRunning, shape: "square", busy: "Stopping…" }),
    isRunning && active.some((one) => isSlowToStop(app, one)) ? button(app, "kill", "Kill…", row.buttons.kill, () => end(app, "kill_run", row.name), { confirm: "Really kill?" }) : null,
    h("span", { class: "de-grow" }),
    menu(app, `More for ${row.title}`, menuItems(app, row)),
    app.state.isDisabling && row.enabled ? disableForm(app, row) : null,
    app.state.showParams ? parametersForm(app, row) : null,
    backfillForm(app, row));
}

/**
 * @param {Panel} app
 * @param {ActiveRun} active
 */
function isSlowToStop(app, { run_id: id }) {
  const since_ms = app.state.ending.get(id);
  return since_ms !== undefined && Date.now() - since_ms >= SLOW_STOP_MS;
}

/**
 * What is done with a flow seldom, of that what means something for it.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
function menuItems(app, row) {
  const { details } = app.state;
  const path = details ? details.path : "";
  const hasParams = details && details.parameters && details.parameters.length;
  const hasRange = row.mode !== "manual" || Boolean(details && details.about.some(([label]) => label === "Source"));
  /** @type {(changes: Partial<import("./types").State>, next: string) => () => void} */
  const open = (changes, next) => () => {
    app.focusNext = next;
    app.set({ showParams: false, backfill: null, isDisabling: false, question: null, ...changes });
  };
  return [
    hasParams ? button(app, "params", "Parameters…", row.buttons.run, open({ showParams: true }, "[data-param]")) : null,
    hasRange ? button(app, "backfill", "Backfill…", row.buttons.backfill, open({ backfill: freshForm() }, "[data-backfill=since]")) : null,
    button(app, "open", "Open notebook", row.deployment_status.kind === "gone" ? "its notebook is gone" : path ? null : "its path is not known yet", () => app.jupyter.open(path)),
    row.enabled
      ? row.mode === "manual" ? null : button(app, "disable", "Disable…", row.buttons.disable, open({ isDisabling: true }, "[name=note]"))
      : button(app, "enable", "Enable", row.buttons.enable, () => app.act("enable", { flow: row.name })),
    button(app, "undeploy", "Undeploy", row.buttons.undeploy, () => app.act("undeploy", { name: row.name }), { confirm: "Really undeploy it?" }),
  ];
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 */
function disableForm(app, row) {
  return h("form", {
    class: "de-params", key: "disable form", "aria-label": `Disable ${row.title}`, onsubmit: (event) => {
      event.preventDefault();
      app.set({ isDisabling: false });
      app.during("b disable", app.act("disable", { flow: row.name, note: event.target.elements.note.value.trim() }));
    },
  },
  h("div", { class: "de-line de-wrap" },
    h("input", { class: "de-input de-grow", name: "note", placeholder: "Why? (optional)", "aria-label": "Why? (optional)", maxlength: "1000", focus: true }),
    h("button", { class: "de-button de-primary", type: "submit" }, "Disable")));
}

/**
 * @param {Panel} app
 * @param {ActiveRun} active
 * @param {boolean} isOneOfSeveral
 */
function activeLine(app, active, isOneOfSeveral) {
  const elsewhere = active.in_daemon ? null : `it runs in process ${active.pid}: stop it there`;
  const share = active.total ? Math.min(100, (100 * (active.done || 0)) / active.total) : null;
  const state = app.state.ending.has(active.run_id) ? "stopping" : active.source ? "" : "running";
  const text = [active.source ? nameOf(active.source) : "", state, active.step, progressText(active), active.worker ? `on ${active.worker}` : ""].filter(Boolean).join(" · ");
  return h("div", { class: "de-active", key: `active ${active.run_id}` },
    h("div", { class: "de-line" },
      h("span", { class: "de-clip de-grow", title: active.source || "" }, text),
      h("span", { class: "de-live", tick: () => duration(since(active.step_started_at_utc || active.started_at_utc)) }),
      isOneOfSeveral ? button(app, `stop ${active.run_id}`, "Stop", elsewhere, () => end(app, "stop_run", active.flow, active.run_id), { small: true }) : null,
      isOneOfSeveral && isSlowToStop(app, active) ? button(app, `kill ${active.run_id}`, "Kill…", elsewhere, () => end(app, "kill_run", active.flow, active.run_id), { small: true, confirm: "Really?" }) : null),
    h("div", {
      class: `de-bar${share === null ? " de-bar-open" : ""}`, role: "progressbar", "aria-label": active.step || "progress",
      "aria-valuenow": share === null ? undefined : String(Math.round(share)), "aria-valuemin": "0", "aria-valuemax": "100",
    }, h("span", { style: share === null ? undefined : `width: ${share}%` })));
}

/**
 * Whether nobody has deployed the flow, and nothing is wrong with it.
 *
 * @param {PanelFlow} row
 */
function isDraft(row) {
  return row.deployment_status.kind === "not_deployed" && !row.error && !(row.why && row.why.kind === "not_deployed" && row.why.error);
}

/**
 * Whether the tab *Code* says by itself what of the flow is not deployed, and offers to deploy it.
 *
 * @param {PanelFlow} row
 */
function tellsOfItself(row) {
  return row.edit ? row.deployment_status.kind === "edited" && !row.edit.includes("\n") : isDraft(row);
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 */
function draftLine(app, row) {
  const text = row.deployment === "not deployed" ? "Not deployed yet: production runs it once you press Deploy." : `${row.deployment}.`;
  return h("div", { class: "de-note de-wraps de-warn", key: "draft" },
    icon({ shape: "triangle", tone: "warn" }), h("div", { class: "de-grow" }, text), deployButton(app, row, "deploy", { small: true, primary: true }));
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {string} edit
 */
function editLine(app, row, edit) {
  const isGone = row.deployment_status.kind === "gone"; // its further lines are commands, for which there are buttons
  const [first, ...rest] = edit.split("\n");
  const isBack = Boolean(row.deployment_status.rolled_back_to); // which nobody shall undo by a button that invites to it
  return h("div", { class: `de-note de-wraps${isBack ? "" : " de-warn"}`, key: "edit" },
    icon(isBack ? { shape: "ring", tone: "idle" } : { shape: "triangle", tone: "warn" }), h("div", { class: "de-grow" }, folded(first, rest.length && !isGone ? h("pre", { class: "de-pre" }, rest.join("\n")) : null)),
    !isGone
      ? deployButton(app, row, "deploy", { small: true, primary: !isBack })
      : h("span", { class: "de-line" },
        row.buttons.restore ? h("span", { class: "de-faint" }, row.buttons.restore) : button(app, `restore ${row.name}`, "Restore", null, () => app.act("restore", { name: row.name }), { small: true, primary: true }),
        button(app, `undeploy ${row.name}`, "Undeploy", row.buttons.undeploy, () => app.act("undeploy", { name: row.name }),
          { small: true, confirm: "Really undeploy it?" })));
}
