// The tabs of a flow's details that are not its runs: steps, files, deployment, and what it is.

import { run } from "./actions.js";
import { h } from "./dom.js";
import { clock, duration, middle, progressText, since } from "./format.js";
import { agoText, button, icon, note, pathText } from "./pieces.js";
import { planPart } from "./plan.js";
import { inspect } from "./sheet.js";

/** @import { ActiveRun, FileView, FlowDetails, FlowRow, Mark, StepView } from "./types" */
/** @import { Panel } from "./panel.js" */

const MOST_SHOWN = 300;
const FEW_FILES = 5;

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
export function stepsTable(app, details) {
  if (!details.steps.length) return h("p", { class: "de-empty" }, "No steps configured.");
  const longest = Math.max(...details.steps.map((step) => step.elapsed_s || 0), 0.001);
  const active = app.view.active.find((one) => one.run_id === details.run_id);
  return h("ol", { class: "de-steps" }, details.steps.map((step, index) =>
    stepLine(app, step, index, longest, active && active.step === step.label ? active : null)));
}

/**
 * @param {Panel} app
 * @param {StepView} step
 * @param {number} index
 * @param {number} longest
 * @param {ActiveRun | null} active the run that is in this step now
 */
function stepLine(app, step, index, longest, active) {
  const [head, ...tail] = step.label.split(":");
  const startedAt = active && active.step_started_at_utc;
  /** @type {Mark} */
  const mark = active ? { word: "running", shape: "play", tone: "live", kind: "running" } : step.mark;
  return h("li", { key: String(index), class: `de-step${active ? " de-now" : ""}`, "data-step": step.label, "data-status": mark.word },
    h("span", { class: "de-number" }, String(index + 1)),
    icon(mark),
    h("span", { class: "de-grow de-clip", title: step.error || step.label }, h("span", { class: "de-strong" }, head), tail.length ? h("em", null, `:${tail.join(":")}`) : null,
      active && progressText(active) ? h("span", { class: "de-faint" }, ` ${progressText(active)}`) : null),
    h("span", { class: "de-sr" }, mark.word),
    h("span", { class: "de-spark", "aria-hidden": "true" }, h("span", { style: `width: ${step.elapsed_s ? Math.max(2, (100 * step.elapsed_s) / longest) : 0}%` })),
    startedAt ? h("span", { class: "de-time", key: "live", tick: () => duration(since(startedAt)) })
      : h("span", { class: "de-time", key: "done" }, step.mark.kind === "not_run" ? "" : duration(step.elapsed_s)),
    button(app, `inspect ${index}`, "Inspect", step.inspect, () => step.output && inspect(app, step.output), { small: true }));
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
export function filesTable(app, details) {
  const search = app.state.fileSearch.toLowerCase();
  const files = details.files.filter((file) => `${file.name} ${file.reason}`.toLowerCase().includes(search));
  return h("div", { class: "de-files" },
    details.files_note ? h("p", { class: "de-hint" }, details.files_note) : null,
    details.files.length > FEW_FILES ? h("input", {
      type: "search", class: "de-input", key: "file search", placeholder: "Search files and reasons", "aria-label": "Search files",
      value: app.state.fileSearch, oninput: (event) => app.set({ fileSearch: event.target.value }),
    }) : null,
    files.slice(0, MOST_SHOWN).map((file) => app.memo.get(`file ${file.path}`, [file], () => fileLine(app, details.name, file))),
    files.length > MOST_SHOWN ? h("p", { class: "de-hint" }, `${(files.length - MOST_SHOWN).toLocaleString()} more; search to see them.`) : null,
    !details.files.length && !details.files_note ? h("p", { class: "de-empty" }, "No files.") : null);
}

/**
 * @param {Panel} app
 * @param {string} flow
 * @param {FileView} file
 */
function fileLine(app, flow, file) {
  const { run_id: runId } = file;
  return h("div", { key: file.path, class: "de-file", "data-file": file.name },
    h("div", { class: "de-line" }, icon(file.mark), h("span", { class: "de-grow de-clip de-strong", title: file.path }, middle(file.name, 60)),
      file.last_at_utc ? h("span", { class: "de-faint", title: clock(file.last_at_utc) }, file.last ? `${file.last.word} ` : "", agoText(file.last_at_utc)) : null),
    h("div", { class: "de-file-reason de-few", title: file.reason }, file.reason),
    h("div", { class: "de-line de-wrap" },
      button(app, `retry ${file.path}`, "Retry", file.retry, () => app.act("retry", { flow, source: file.path }), { small: true, primary: !file.retry }),
      button(app, `run ${file.path}`, "Run", app.view.flows[flow].buttons.run, () => run(app, flow, file.path), { small: true, quiet: true }),
      button(app, `preview ${file.path}`, "Preview this file", null, () => app.jupyter.preview(file.path), { small: true, quiet: true }),
      runId ? button(app, `history ${file.path}`, "Last run", null, () => app.openRun(runId), { small: true, quiet: true }) : null));
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {FlowRow} row
 */
export function deploymentPart(app, details, row) {
  return h("div", { class: "de-deployment" },
    h("div", { class: "de-line" }, h("span", { class: "de-grow" }, row.deployment),
      button(app, "deploy now", "Deploy", row.buttons.deploy, () => deploy(app, row), { primary: true, confirm: sharing(row) }),
      details.gate === "golden" ? button(app, "approve", "Approve and deploy", row.buttons.deploy, () => deploy(app, row, true),
        { quiet: true, small: true, confirm: "Really, whatever its goldens say?" }) : null),
    row.deployment_kind === "not_deployed" ? null : planPart(app, details, row),
    details.changes.length ? null : h("p", { class: "de-hint" }, row.deployment_kind === "as_deployed" ? "Production runs the notebook as it is." : ""),
    details.deployments.length ? deploymentsList(app, details, row) : null);
}

/**
 * What a person has to confirm before this flow is deployed, if anything.
 * @param {FlowRow} row
 */
export function sharing(row) {
  return row.shares_with ? `Really write the mirror of ${row.shares_with} too?` : undefined;
}

/**
 * @param {Panel} app
 * @param {FlowRow} row
 * @param {boolean} approve although its goldens do not hold
 */
export function deploy(app, row, approve = false) {
  return app.act("deploy", { flow: row.name, force: Boolean(row.shares_with), approve });
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {FlowRow} row
 */
function deploymentsList(app, details, row) {
  return h("div", { class: "de-deployments", role: "list", "aria-label": `Deployments of ${row.name}` },
    details.deployments.map((one) => h("div", { key: one.id, class: "de-file", role: "listitem", "data-deployment": one.id },
      h("div", { class: "de-line" }, h("span", { class: "de-grow de-clip de-strong", title: one.who }, [one.word, one.who].filter(Boolean).join(" · ")),
        h("span", { class: "de-faint", title: clock(one.at_utc) }, agoText(one.at_utc))),
      one.changed || one.git || one.note
        ? h("div", { class: "de-file-reason de-few", title: one.note }, [one.changed, one.git, one.note].filter(Boolean).join(" · ")) : null,
      h("div", { class: "de-line" },
        button(app, `roll back ${one.id}`, "Roll back", row.buttons.rollback || one.rollback,
          () => app.act("rollback", { flow: row.name, to: one.id }), { small: true, quiet: true, confirm: "Really run this again?" })))));
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {FlowRow} row
 */
export function aboutPart(app, details, row) {
  /** @type {[string, string][]} */
  const facts = [["State", row.reason && !row.error ? `${row.mark.word}: ${row.reason}` : row.mark.word], ...details.about];
  return h("div", null,
    h("dl", { class: "de-about" }, facts.map(([label, value]) => [h("dt", { key: `t ${label}` }, label), h("dd", { key: `d ${label}`, title: value }, pathText(value))])),
    details.warnings.map((text, index) => note("warn", `w ${index}`, text)),
    h("div", { class: "de-line" },
      button(app, "reset", "Reset flow", app.view.flows[details.name].buttons.reset, () => app.act("reset", { flow: details.name }), { confirm: "Really forget its history?" }),
      h("span", { class: "de-faint de-hint" }, "Forgets its history and which files are done.")));
}
