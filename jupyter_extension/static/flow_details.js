// One flow in detail: what it does now, what can be done with it, and the tabs that say more.

import { end, run } from "./actions.js";
import { backfillForm, backfillLine, freshForm } from "./backfill.js";
import { h } from "./dom.js";
import { filesTable } from "./files.js";
import { aboutPart, deployButton, deploymentPart, stepsTable } from "./flow_parts.js";
import { stateText } from "./flows.js";
import { duration, nameOf, progressText, since } from "./format.js";
import { parametersForm, typedParams } from "./parameters.js";
import { agoText, button, cellLinks, errorBox, folded, icon, sign, tabs } from "./pieces.js";
import { runsTable, timeline } from "./runs.js";
import { trendsPart } from "./trends.js";

/** @import { ActiveRun, FlowDetails, PanelFlow } from "./types" */
/** @import { Panel } from "./panel.js" */

/** @type {[string, string, (app: Panel, details: FlowDetails, row: PanelFlow) => import("./types").VNode][]} */
const SECTIONS = [
  ["steps", "Steps", stepsTable],
  ["runs", "Runs", runsTable],
  ["trends", "Trends", trendsPart],
  ["files", "Files", filesTable],
  ["deployment", "Deployment", deploymentPart],
  ["about", "About", aboutPart],
];

/**
 * @param {Panel} app
 * @param {string} selected
 */
export function flowDetails(app, selected) {
  const { details } = app.state;
  const row = app.view.flows[selected];
  if (!row) return h("div", { class: "de-detail", key: "detail" }, backButton(app), h("p", { class: "de-empty" }, `${selected} is not a flow of this workspace any more.`));
  const active = app.view.active.filter((one) => one.flow === selected);
  return h("div", { class: "de-detail", key: "detail", "data-flow": selected },
    h("div", { class: "de-detail-head" },
      backButton(app),
      h("h3", { class: "de-detail-title" }, row.title),
      sign(row.mark, stateText(row))),
    details && details.description ? h("p", { class: "de-description" }, details.description) : null,
    row.reason && row.mode !== "manual" && !row.error && !isDraft(row) ? h("p", { class: "de-description", key: "reason" }, row.reason) : null,
    toolbar(app, row, active),
    active.map((one) => activeLine(app, one, active.length > 1)),
    backfillLine(app, row),
    row.error ? errorBox(app, row.error, details ? details.error_cells : []) : details && row.is_failing ? lastFailure(app, details) : null,
    row.edit ? editLine(app, row, row.edit) : isDraft(row) && app.state.section !== "deployment" ? draftLine(app, row) : null, // that tab offers it itself
    details ? timeline(app, details.runs) : null,
    tabs(app, "section", SECTIONS.map(([name, label]) => [name, label]), app.state.section, (name) => countOf(app, details, name)),
    sectionPart(app, details, row));
}

/**
 * @param {Panel} app
 * @param {FlowDetails | null} details
 * @param {PanelFlow} row
 */
function sectionPart(app, details, row) {
  if (details === null) return h("p", { class: "de-empty" }, "Reading…");
  if (details.error_text) return h("p", { class: "de-empty" }, details.error_text);
  const { section } = app.state;
  const [, , part] = SECTIONS.find(([name]) => name === section) || SECTIONS[0];
  return h("div", { class: "de-section", key: `section ${section}`, role: "tabpanel", "aria-label": section }, part(app, details, row));
}

/**
 * @param {Panel} app
 * @param {FlowDetails | null} details
 * @param {string} name
 */
function countOf(app, details, name) {
  const { files } = app.state;
  const count = name === "files" ? files && files.total : name === "deployment" ? details && details.changes.length : 0;
  return count ? count.toLocaleString() : null;
}

/** @param {Panel} app */
function backButton(app) {
  return h("button", { class: "de-back de-icon-button", key: "back", title: "All flows", "aria-label": "All flows", onclick: () => app.select(null) }, "‹");
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
function lastFailure(app, details) {
  const last = details.runs.find((one) => !one.from_the_future);
  if (!last || last.mark.tone !== "bad" || app.state.run) return null;
  return h("div", { class: "de-note de-bad", key: "last failure" },
    icon(last.mark),
    h("div", { class: "de-grow" },
      h("div", null, h("span", { class: "de-strong" }, `Last run ${last.mark.word} `), agoText(last.ended_at_utc || last.started_at_utc), last.source_name ? h("span", { class: "de-faint" }, ` · ${last.source_name}`) : null),
      folded(last.error || last.cause || ""),
      last.why && last.why.fix ? h("div", { class: "de-faint" }, folded(String(last.why.fix))) : null,
      h("div", { class: "de-line de-wrap" }, cellLinks(app, last.cells), h("button", { class: "de-link", onclick: () => app.openRun(last.run_id) }, "Whole error and log"))));
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {ActiveRun[]} active
 */
function toolbar(app, row, active) {
  const { details, ending, isDisabling, showParams } = app.state;
  const isRunning = active.length > 0;
  const isEnding = isRunning && active.every((one) => one.stopping || ending.has(one.run_id));
  const path = details ? details.path : "";
  return h("div", { class: "de-toolbar", role: "toolbar", "aria-label": `Actions for ${row.title}`, key: "toolbar" },
    button(app, "run", "Run", row.buttons.run, () => run(app, row.name, null, typedParams(app, row.name)), { primary: !isRunning, shape: "play", pending: `run ${row.name}`, busy: "Starting…" }),
    button(app, "stop", isEnding ? "Stopping…" : "Stop", isEnding ? "it ends at its next step, map item, context.log or context.progress" : row.buttons.stop, () => end(app, "stop_run", row.name), { primary: isRunning, shape: "square", busy: "Stopping…" }),
    button(app, "kill", "Kill", row.buttons.kill, () => end(app, "kill_run", row.name), { confirm: "Really kill?" }),
    button(app, "params", "Parameters…", row.buttons.run, () => app.set({ showParams: !app.state.showParams, backfill: null }), { quiet: true, expanded: showParams }),
    button(app, "backfill", "Backfill…", row.buttons.backfill, () => app.set({ backfill: app.state.backfill ? null : freshForm(), showParams: false, question: null }), { quiet: true, expanded: app.state.backfill !== null }),
    h("span", { class: "de-break", key: "break" }),
    button(app, "open", "Open notebook", row.standing.kind === "gone" ? "its notebook is gone" : path ? null : "its path is not known yet", () => app.jupyter.open(path), { small: true }),
    button(app, "retry", row.held ? `Retry ${row.held} held` : "Retry held", row.buttons.retry, () => app.act("retry", { flow: row.name }), { small: true, primary: row.held > 0 && !row.buttons.retry }),
    row.enabled
      ? button(app, "disable", "Disable…", row.buttons.disable, () => app.set({ isDisabling: !isDisabling }), { small: true, expanded: isDisabling })
      : button(app, "enable", "Enable", row.buttons.enable, () => app.act("enable", { flow: row.name }), { small: true }),
    isDisabling && row.enabled ? disableForm(app, row) : null,
    showParams ? parametersForm(app, row) : null,
    backfillForm(app, row));
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
  const state = active.stopping || app.state.ending.has(active.run_id) ? "stopping" : active.source ? "" : "running";
  const text = [active.source ? nameOf(active.source) : "", state, active.step, progressText(active), active.worker ? `on ${active.worker}` : ""].filter(Boolean).join(" · ");
  return h("div", { class: "de-active", key: `active ${active.run_id}` },
    h("div", { class: "de-line" },
      h("span", { class: "de-clip de-grow", title: active.source || "" }, text),
      h("span", { class: "de-live", tick: () => duration(since(active.step_started_at_utc || active.started_at_utc)) }),
      isOneOfSeveral ? button(app, `stop ${active.run_id}`, "Stop", elsewhere, () => end(app, "stop_run", active.flow, active.run_id), { small: true }) : null,
      isOneOfSeveral ? button(app, `kill ${active.run_id}`, "Kill", elsewhere, () => end(app, "kill_run", active.flow, active.run_id), { small: true, confirm: "Really?" }) : null),
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
  return row.standing.kind === "not_deployed" && !row.error && !(row.why && row.why.kind === "not_deployed" && row.why.error);
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
  const isGone = row.standing.kind === "gone"; // its further lines are commands, for which there are buttons
  const [first, ...rest] = edit.split("\n");
  const isBack = Boolean(row.standing.rolled_back_to); // which nobody shall undo by a button that invites to it
  return h("div", { class: `de-note de-wraps${isBack ? "" : " de-warn"}`, key: "edit" },
    icon(isBack ? { shape: "ring", tone: "idle" } : { shape: "triangle", tone: "warn" }), h("div", { class: "de-grow" }, folded(first, rest.length && !isGone ? h("pre", { class: "de-pre" }, rest.join("\n")) : null)),
    !isGone
      ? deployButton(app, row, "deploy", { small: true, primary: !isBack })
      : h("span", { class: "de-line" },
        row.buttons.restore ? h("span", { class: "de-faint" }, row.buttons.restore) : button(app, `restore ${row.name}`, "Restore", null, () => app.act("restore", { flow: row.name }), { small: true, primary: true }),
        button(app, `undeploy ${row.name}`, "Undeploy", row.buttons.undeploy, () => app.act("undeploy", { flow: row.name }),
          { small: true, confirm: "Really undeploy it?" })));
}
