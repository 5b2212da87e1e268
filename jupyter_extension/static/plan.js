// What deploying an edit would change: its code on the left, what that does to the data on the right.

import { agreeOn } from "./actions.js";
import { h } from "./dom.js";
import { nameOf } from "./format.js";
import { button, errorBox } from "./pieces.js";

/** @import { FlowDetails, PanelFlow, PlanOf } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {PanelFlow} row
 */
export function planPart(app, details, row) {
  const { plan: made } = app.state; // what was compared with another deployment is old
  const plan = made && made.flow === row.name && made.runs === liveOf(details) ? made : null;
  const isOld = Boolean(plan && plan.view && plan.view.digest !== details.digest);
  return h("div", { class: "de-plan", key: "plan" },
    h("div", { class: "de-plan-code" }, codePart(app, details)),
    h("div", { class: "de-plan-data", role: "region", "aria-label": `Plan of ${row.name}`, "aria-live": "polite" }, dataPart(app, row, plan, isOld)));
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
function codePart(app, details) {
  return details.changes.map(([where, lines]) => {
    const cell = /^cell (\d+)$/.exec(where);
    return h("div", { key: where, class: "de-diff" },
      cell ? h("button", { class: "de-link", onclick: () => app.jupyter.openCell({ notebook: nameOf(details.path), cell: Number(cell[1]) }) }, `Cell ${cell[1]}`)
        : h("span", { class: "de-strong" }, where),
      h("pre", { class: "de-pre" }, lines.map((line, index) => h("span", { key: String(index), class: line.startsWith("+") ? "de-added" : "de-removed" }, `${line}\n`))));
  });
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {PlanOf | null} plan
 * @param {boolean} isOld whether the code was edited since it was made
 */
function dataPart(app, row, plan, isOld) {
  const key = app.state.planKey;
  const again = () => { if (!app.state.pending.get("b plan")) app.during("b plan", ask(app, row.name)); };
  return [
    h("form", { class: "de-line de-wrap", key: "plan form", onsubmit: (event) => { event.preventDefault(); again(); } },
      button(app, "plan", "Show what it changes in the data", row.buttons.plan, () => ask(app, row.name),
        { small: true, primary: !plan && row.deployment_status.kind === "edited", busy: "Running both versions…", pending: "b plan" }),
      h("input", { class: "de-input de-grow", placeholder: "key columns: id, day", "aria-label": "Columns that match rows", value: key, oninput: (event) => app.set({ planKey: event.target.value }) })),
    plan && plan.error ? errorBox(app, plan.error, []) : null,
    isOld ? h("p", { key: "old", class: "de-hint" }, "The code was edited since: show it again.") : null,
    plan && plan.view ? h("div", { key: "data", html: plan.view.html }) : null,
  ];
}

/**
 * @param {Panel} app
 * @param {string} flow
 */
async function ask(app, flow) {
  await app.jupyter.compare(flow);
  const key = app.state.planKey.split(",").map((part) => part.trim()).filter(Boolean);
  /** @type {{ name: string, key: string[], agreed?: string[] }} */
  const given = { name: flow, key };
  return agreeOn(app, given, async (args) => {
    const { result, error } = await app.during("b plan", app.transport.call("plan", args));
    if (app.isGone || app.state.selected !== flow) return null;
    const view = result && !result.question ? result : null;
    // what it was compared with is told with it: what the panel knows of deployments may be older
    app.set({ plan: { flow, runs: view ? view.live : liveOf(app.state.details), view, error: error || null } });
    return result;
  });
}

/**
 * The deployment that production runs.
 *
 * @param {FlowDetails | null} details
 */
function liveOf(details) {
  const live = details && details.deployments.find((one) => one.word === "live");
  return live ? live.id : null;
}
