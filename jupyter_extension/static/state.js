// The panel's state: how it begins, and what of it belongs to one workspace. Nothing here knows the page or the server.

/** @import { PanelView, State } from "./types" */

/** @returns {State} */
export function firstState() {
  return {
    view: null, takenAt: null, workspaces: [], helloed: false, lost: null, problem: null,
    tab: "flows", section: "steps", search: "", filter: "all", closed: new Set(),
    selected: null, details: null, run: null, runLimit: 100, runSearch: "", onlyFailed: false, fileSearch: "",
    showParams: false, typed: {}, backfill: null, plan: null, planKey: "", params: [{ name: "", value: "" }],
    sheet: null, frames: null, settings: null,
    pending: new Map(), ending: new Set(), confirming: null, said: null,
  };
}

/**
 * What another workspace begins with: everything that is of one workspace, as at the start.
 *
 * @returns {Partial<State>}
 */
export function elsewhere() {
  const { view, selected, details, run, backfill, plan, planKey, sheet, frames, settings, problem, search, section, runSearch, onlyFailed } = firstState();
  return { view, selected, details, run, backfill, plan, planKey, sheet, frames, settings, problem, search, section, runSearch, onlyFailed };
}

/**
 * The runs of a flow that are under way and where they are, as one text to compare.
 *
 * @param {PanelView} view
 * @param {string} flow
 */
export function runsOf(view, flow) {
  return JSON.stringify(view.active.filter((run) => run.flow === flow).map((run) => [run.run_id, run.step]));
}
