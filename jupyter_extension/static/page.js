// The page around the lists: the head with workspace, engine and owner, what a person should know, and what was said last.

import { freshForm } from "./backfill.js";
import { h } from "./dom.js";
import { flowDetails } from "./flow_details.js";
import { flowList } from "./flows.js";
import { clock, nameOf } from "./format.js";
import { mapTab } from "./lineage.js";
import { outputsTab } from "./outputs.js";
import { button, icon, note, sign, tabs } from "./pieces.js";
import { questionPart } from "./question.js";
import { runBeside } from "./runs.js";
import { serverBase } from "./server.js";
import { settingsTab } from "./settings.js";
import { todayTab } from "./today.js";

/** @import { Child, PanelNotice, PanelView } from "./types" */
/** @import { Panel } from "./panel.js" */

const TOLD_MS = 10 * 60 * 1000;

/** @type {[string, string][]} */
const TABS = [["flows", "Flows"], ["today", "Today"], ["map", "Map"], ["outputs", "Outputs"], ["settings", "Settings"]];

/**
 * The whole page of a panel.
 *
 * @param {Panel} app
 * @returns {Child[]}
 */
export function page(app) {
  const { view, tab } = app.state;
  if (app.isStatic) return [snapshotLine(app), snapshotHead(app.view), flowList(app)];
  if (!view) return [head(app), notices(app), tab === "settings" ? [tabs(app, "tab", TABS, tab), settingsTab(app)] : waiting(app)];
  const shape = app.state.selected === null || tab !== "flows" ? "" : app.columns === 1 ? " de-one" : runBeside(app) ? " de-pair de-three" : " de-pair";
  return [
    head(app),
    notices(app),
    h("div", { class: "de-top", key: "top" }, tabs(app, "tab", TABS, tab), help()),
    h("div", { class: `de-body de-body-${tab}${shape}`, key: `body ${tab}`, role: "tabpanel", "aria-label": tab }, body(app)),
    questionPart(app),
    errorLine(app),
    answerLine(app),
  ];
}

/**
 * @param {Panel} app
 * @returns {Child}
 */
function body(app) {
  const { tab, selected } = app.state;
  if (tab === "outputs") return outputsTab(app);
  if (tab === "today") return todayTab(app);
  if (tab === "map") return mapTab(app);
  if (tab === "settings") return settingsTab(app);
  return [flowList(app), selected === null ? null : flowDetails(app, selected), runBeside(app)]; // to make the list anew takes longer than to hide it
}

/** @param {Panel} app */
function waiting(app) {
  const { problem, helloed, workspaces } = app.state;
  if (app.transport.root && !problem) return h("p", { class: "de-empty", key: "waiting" }, "Reading the workspace…");
  if (problem || !helloed) return h("p", { class: "de-empty", key: "waiting" }, helloed ? "" : "Looking for workspaces…");
  return h("div", { class: "de-empty", key: "waiting" },
    h("p", null, workspaces.length ? "Choose a workspace above." : "No workspace was found."),
    workspaces.length ? null : h("p", { class: "de-faint" }, "Make one, or name the folder that holds them, in the settings."),
    h("button", { class: "de-button de-primary", onclick: () => app.set({ tab: "settings" }) }, "Settings"),
    h("p", null, help()));
}

/** @param {Panel} app */
function snapshotLine(app) {
  return h("div", { class: "de-note de-snapshot", key: "snapshot" }, icon({ shape: "ring", tone: "idle" }),
    h("div", null, `Snapshot of ${clock(app.state.takenAt || "")}. `, h("span", { class: "de-faint" }, "Run this cell again to go live.")));
}

/** @param {PanelView} view */
function snapshotHead(view) {
  return h("div", { class: "de-head-bar", key: "head" }, h("span", { class: "de-workspace-name" }, view.workspace_id), h("span", { class: "de-grow" }), sign(view.engine, `engine ${view.engine.word}`));
}

/** @param {Panel} app */
function head(app) {
  const { view, workspaces } = app.state;
  const root = view ? view.workspace_root : app.transport.root;
  const listed = root && !workspaces.some((one) => one.root === root) ? [{ root, id: nameOf(root) }, ...workspaces] : workspaces;
  return h("header", { class: "de-head-bar", key: "head" },
    h("div", { class: "de-line" },
      h("select", {
        class: "de-input de-workspace", "aria-label": "Workspace", title: root || "",
        onchange: (event) => app.switchTo(event.target.value), onfocus: () => app.readWorkspaces(), value: root || "",
      }, root ? null : h("option", { key: "", value: "" }, listed.length ? "Choose a workspace" : "No workspace"), listed.map((one) => h("option", { key: one.root, value: one.root, selected: one.root === root, title: one.root }, one.id))),
      view && view.lease.kind === "mine" && !view.lease_line ? h("span", { class: "de-faint de-owned", key: "owned" }, view.lease.word) : null,
      view ? engineParts(app, view) : null),
    view ? leaseLine(app, view) : null);
}

/**
 * @param {Panel} app
 * @param {PanelView} view
 */
function engineParts(app, { engine, buttons, details }) {
  const isOn = engine.kind === "on" || engine.kind === "stopping";
  return h("div", { class: "de-line de-engine-line", key: "engine line" },
    h("span", { class: "de-engine", key: "engine", title: details.daemon }, sign(engine, `Engine ${engine.word}`)),
    h("span", { class: "de-grow", key: "grow" }),
    isOn
      ? button(app, "stop engine", engine.kind === "stopping" ? "Stopping…" : "Stop engine", buttons.stop_engine, () => app.act("stop_engine", {}), { busy: "Stopping…" })
      : button(app, "start engine", engine.kind === "starting" ? "Starting…" : "Start engine", buttons.start_engine, () => app.act("start_engine", {}), { primary: true, busy: "Starting…" }));
}

/**
 * @param {Panel} app
 * @param {PanelView} view
 */
function leaseLine(app, view) {
  const { buttons, lease, lease_line: line, heartbeat_age_s: age } = view;
  const does = (/** @type {string} */ what, extra = {}) => () => app.act(what, extra);
  const shown = (/** @type {string} */ name) => !buttons[name];
  if (!line) return null; // there is nothing to do about the ownership
  return h("div", { class: "de-lease", key: "lease" },
    icon(lease),
    h("span", { class: "de-grow", title: age !== null ? `last heartbeat ${Math.round(age)} s ago` : "" }, line),
    lease.kind === "mine" ? null : shown("withdraw")
      ? button(app, "withdraw", "Withdraw request", null, does("withdraw_request"), { small: true })
      : button(app, "request", "Request control", buttons.request, does("request_control"), { small: true, busy: "Requesting…" }),
    shown("take_over") ? button(app, "take over", "Take over", null, does("take_over"), { small: true, primary: true, confirm: "Really take over?" }) : null,
    shown("repair") ? button(app, "repair", "Repair", null, does("repair_lease"), { small: true, primary: true, confirm: "Really repair?" }) : null,
    shown("hand_over") ? [
      button(app, "hand over", "Hand over when done", null, does("release_control"), { small: true, primary: true }),
      button(app, "hand over now", "Now", null, does("release_control", { now: true }), { small: true, confirm: "Really stop runs?" }),
    ] : null);
}

/**
 * Those of the notices that nobody put away and whose time is not over.
 *
 * @param {PanelNotice[]} all
 * @param {Set<string>} away
 * @param {number} nowMs
 */
export function lasting(all, away, nowMs) {
  return all.filter(({ id, at_utc: at }) => !id || (!away.has(id) && nowMs - Date.parse(at || "") < TOLD_MS));
}

/** @param {Panel} app */
function notices(app) {
  const { view, lost, problem } = app.state;
  const all = [
    ...(lost ? [{ tone: "warn", text: lost, fix: null }] : []),
    ...(problem ? [{ tone: "bad", text: problem.what, fix: problem.fix }] : []),
    ...(view ? lasting(view.notices, app.state.away, Date.now()) : []),
  ];
  return h("div", { class: "de-notices", key: "notices", role: "status" }, all.map((one, index) =>
    note(one.tone === "bad" ? "bad" : "warn", `${index} ${one.text}`, h("div", null, one.text), one.fix ? h("div", { class: "de-faint" }, one.fix) : null, "id" in one && one.id ? h("button", { class: "de-icon-button de-away", "aria-label": "Dismiss", title: "Dismiss", onclick: () => putAway(app, one.id) }, "×") : null)));
}

/**
 * @param {Panel} app
 * @param {string | null | undefined} id of the notice
 */
function putAway(app, id) {
  app.set({ away: new Set([...app.state.away, id || ""]) });
}

/**
 * An error stays at the foot until it is read; anything else is said there for a while, where it covers nothing.
 *
 * @param {Panel} app
 */
function errorLine(app) {
  const said = app.state.said && app.state.said.error ? app.state.said : null;
  return h("div", { class: "de-said", key: "said", role: "alert" }, said ? h("div", { class: "de-note de-bad" },
    icon({ shape: "cross", tone: "bad" }),
    h("div", { class: "de-grow" }, saidText(said), said.fix ? h("div", { class: "de-faint" }, said.fix) : null),
    h("button", { class: "de-icon-button", "aria-label": "Dismiss", title: "Dismiss (Esc)", onclick: () => app.set({ said: null }) }, "×")) : null);
}

/** @param {import("./types").Said} said */
function saidText(said) {
  return said.html ? h("div", { class: "de-said-text", key: said.html, html: said.html }) : h("span", { class: "de-said-text" }, said.text);
}

/**
 * What was done, for a while, with where it leads.
 *
 * @param {Panel} app
 */
function answerLine(app) {
  const said = app.state.said && !app.state.said.error ? app.state.said : null;
  const { backfill: again = null, retry: held = null } = (said && said.offers) || {};
  const open = () => {
    app.focusNext = "[data-backfill=since]";
    app.set({ said: null, showParams: false, backfill: { ...freshForm(), reprocess: "all" } });
  };
  return h("div", { class: "de-answer", key: "answer", role: "status" }, said ? [icon({ shape: "disc", tone: "good" }), saidText(said),
    held && held === app.state.selected && app.view.flows[held].enabled ? h("button", { key: "held", class: "de-link de-fixed", onclick: () => app.act("retry", { flow: held }) }, "Retry") : null,
    again && again === app.state.selected ? h("button", { key: "again", class: "de-link de-fixed", onclick: open }, "Backfill…") : null] : null);
}

/** The way to the documentation, where a Jupyter server has it. */
function help() {
  const base = serverBase();
  if (base === null) return null;
  return h("a", { key: "help", class: "de-help", href: `${base}docs/`, target: "data-engine-docs", title: "The documentation: \"I want to ...\", the panel's keys (?), the guides, the reference and the glossary" }, "Help");
}
