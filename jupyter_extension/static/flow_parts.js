// Parts of a flow's details: its steps, and its code: what production runs of it, what a deploy would change, and what it is.

import { deploy } from "./actions.js";
import { h } from "./dom.js";
import { clock, duration, progressText, since } from "./format.js";
import { agoText, button, icon, note, pathText } from "./pieces.js";
import { planPart } from "./plan.js";
import { inspect } from "./sheet.js";

/** @import { ActiveRun, FlowDetails, PanelFlow, Mark, StepView } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
export function stepsTable(app, details) {
  if (!details.steps.length) return h("p", { class: "de-empty" }, "The flow has no steps.");
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
    step.inspect ? null : button(app, `inspect ${index}`, "Inspect", null, () => step.output && inspect(app, step.output), { small: true }));
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {PanelFlow} row
 */
export function codePart(app, details, row) {
  return [deploymentPart(app, details, row), details.deployments.length ? deploymentsList(app, details, row) : null, aboutPart(app, details)];
}

/**
 * What production runs, in one line where there is nothing to do.
 *
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {PanelFlow} row
 */
function deploymentPart(app, details, row) {
  const isUnsaved = isOnlyUnsaved(app, row);
  if (row.deployment_status.kind === "as_deployed" && !isUnsaved) return h("div", { class: "de-deployment" }, h("p", { class: "de-hint" }, "Production runs the notebook as it is."));
  return h("div", { class: "de-deployment" },
    isUnsaved ? h("p", { class: "de-hint" }, "Production runs the notebook as it was saved last; it has unsaved edits.") : null,
    h("div", { class: "de-line de-wrap" }, h("span", { class: "de-grow" }, row.deployment),
      row.buttons.deploy ? null : h("input", {
        key: "note", class: "de-input de-grow", placeholder: "Note (optional)", "aria-label": "Note of the deployment (optional)", maxlength: "1000", value: app.state.note, oninput: (event) => app.set({ note: event.target.value }),
      }),
      deployButton(app, row, "deploy now", { primary: !row.deployment_status.rolled_back_to }),
      details.gate === "golden" ? deployButton(app, row, "approve", { quiet: true, small: true, confirm: "Really deploy, although its goldens do not hold?" }) : null),
    row.deployment_status.kind === "not_deployed" || isUnsaved ? null : planPart(app, details, row));
}

/**
 * The button that deploys; the one called "approve" does so although goldens do not hold.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {string} key
 * @param {import("./types").ButtonOptions} options
 */
export function deployButton(app, row, key, options) {
  const { name, deployment_status: { shares_with: other }, buttons } = row;
  const why = buttons.deploy && isOnlyUnsaved(app, row) ? "not saved: save it first" : buttons.deploy;
  return button(app, key, key === "approve" ? "Approve and deploy" : "Deploy", why, () => deploy(app, { name, yes: Boolean(other), approve: key === "approve", note: app.state.note, shown: shownOf(app, name) }),
    { confirm: other ? `Really write the mirror of ${other} too?` : undefined, ...options });
}

/**
 * What of a flow's code is shown: where another was saved meanwhile, that is said when it is deployed.
 *
 * @param {Panel} app
 * @param {string} flow
 */
function shownOf(app, flow) {
  const { details } = app.state;
  return details && details.name === flow && details.digest ? details.digest : undefined;
}

/**
 * Whether a flow is deployed as it was saved, and JupyterLab has edits of it that are not.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
function isOnlyUnsaved(app, row) {
  return row.deployment_status.kind === "as_deployed" && app.jupyter.unsaved(row.name).length > 0;
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {PanelFlow} row
 */
function deploymentsList(app, details, row) {
  return h("div", { class: "de-deployments", role: "list", "aria-label": `Deployments of ${row.name}` },
    details.deployments.map((one) => h("div", { key: one.id, class: "de-file", role: "listitem", "data-deployment": one.id },
      h("div", { class: "de-line de-both" }, h("span", { class: "de-grow de-clip de-strong", title: one.who }, [one.id.slice(0, 8), one.word, one.who].filter(Boolean).join(" · ")),
        h("span", { class: "de-faint de-fixed", title: clock(one.at_utc) }, agoText(one.at_utc))),
      one.changed || one.git || one.note
        ? h("div", { class: "de-file-reason de-few", title: one.note }, [one.changed, one.git, one.note].filter(Boolean).join(" · ")) : null,
      one.compared ? h("div", { class: "de-file-reason de-few", title: one.compared }, one.compared) : null,
      one.word === "live" ? null : h("div", { class: "de-line" },
        button(app, `roll back ${one.id}`, "Roll back", row.buttons.rollback || one.rollback,
          () => app.act("rollback", { name: row.name, to: one.id }), { small: true, quiet: true, confirm: `Roll back to ${one.id.slice(0, 8)} of ${clock(one.at_utc)}?` })))));
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
function aboutPart(app, details) {
  return h("div", { key: "about" },
    details.description ? h("p", { class: "de-hint" }, details.description) : null,
    h("dl", { class: "de-about" }, details.about.map(([label, value]) => [h("dt", { key: `t ${label}` }, label), h("dd", { key: `d ${label}`, title: value }, pathText(value))])),
    details.warnings.map((text, index) => note("warn", `w ${index}`, text)),
    h("div", { class: "de-line" },
      button(app, "reset", "Reset flow", app.view.flows[details.name].buttons.reset, () => app.act("reset", { flow: details.name }), { confirm: "Really forget its history?" }),
      h("span", { class: "de-faint de-hint" }, "Forgets its history and which files are done.")));
}
