// What deploying an edit would change: its code on the left, what that does to the data on the right.

import { h } from "./dom.js";
import { nameOf } from "./format.js";
import { button, errorBox, note, sign } from "./pieces.js";

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
    plan && plan.view ? shown(app, row, plan.view) : null,
  ];
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {import("./types").PlanView} view
 */
function shown(app, row, view) {
  return h("div", { key: "planned" },
    h("div", { class: "de-line de-wrap" }, sign(view.mark), h("span", { class: "de-grow de-few", title: view.text }, view.text)),
    view.needs.length ? note("warn", "needs", h("div", null, "These steps would run for real, once for each version:"),
      h("ul", null, view.needs.map((one) => h("li", { key: one }, one))),
      button(app, "plan all the same", "Run them", null, () => ask(app, row.name, true), { small: true, confirm: "Really?", busy: "Running both versions…" })) : null,
    view.html ? h("div", { key: "data", html: view.html }) : null);
}

/**
 * @param {Panel} app
 * @param {string} flow
 * @param {boolean} yes
 */
export async function ask(app, flow, yes = false) {
  await app.jupyter.compare(flow);
  const { result, error } = await app.transport.call("plan", { flow, key: app.state.planKey, yes });
  if (app.isGone || app.state.selected !== flow) return;
  // what it was compared with is told with it: what the panel knows of deployments may be older
  app.set({ plan: { flow, runs: result ? result.live : liveOf(app.state.details), view: result || null, error: error || null } });
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
