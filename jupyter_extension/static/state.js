// The panel's state: how it begins, and what of it belongs to one workspace. Nothing here knows the page or the server.

/** @import { FlowDetails, PanelView, State } from "./types" */

/** @returns {State} */
export function firstState() {
  return {
    view: null, takenAt: null, workspaces: [], helloed: false, lost: null, problem: null,
    tab: "flows", section: "steps", search: "", filter: "all", closed: new Set(),
    selected: null, details: null, run: null, runLimit: 100, runSearch: "", onlyFailed: false,
    trends: null, trendsSaid: null, files: null, filesSaid: null, fileSearch: "", fileGroup: "", fileLimit: 200,
    showParams: false, typed: {}, backfill: null, plan: null, planKey: "", params: [{ name: "", value: "" }],
    sheet: null, frames: null, written: null, writtenSearch: "", writtenLimit: 100, settings: null,
    pending: new Map(), ending: new Set(), confirming: null, said: null, showKeys: false,
  };
}

/**
 * What another workspace begins with: everything that is of one workspace, as at the start.
 *
 * @returns {Partial<State>}
 */
export function elsewhere() {
  const { view, selected, sheet, frames, written, writtenSearch, writtenLimit, settings, problem, search, section } = firstState();
  return { view, selected, sheet, frames, written, writtenSearch, writtenLimit, settings, problem, search, section, ...ofFlow() };
}

/**
 * What another flow begins with when it is looked at closely.
 *
 * @returns {Partial<State>}
 */
export function ofFlow() {
  const { details, run, runLimit, showParams, typed, backfill, plan, planKey, runSearch, onlyFailed } = firstState();
  const { trends, trendsSaid, files, filesSaid, fileSearch, fileGroup, fileLimit } = firstState();
  return { details, run, runLimit, showParams, typed, backfill, plan, planKey, runSearch, onlyFailed, trends, trendsSaid, files, filesSaid, fileSearch, fileGroup, fileLimit };
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

/**
 * What is known of a flow whose details cannot be read.
 *
 * @type {FlowDetails}
 */
export const NO_DETAILS = {
  name: "", title: "", description: "", path: "", about: [], parameters: null, last_params: null, warnings: [], steps: [], run_id: null, runs: [], changes: [], gate: "none", deployments: [],
  error: null, error_cells: [],
};
