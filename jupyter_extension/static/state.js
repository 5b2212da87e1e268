// The panel's state: how it begins, and what of it belongs to one workspace. Nothing here knows the page or the server.

/** @import { FlowDetails, PanelView, Said, State } from "./types" */

/** A stop that takes longer leads to *Kill...*. */
export const SLOW_STOP_MS = 5000;

/** @returns {State} */
export function firstState() {
  return {
    ...elsewhere(), takenAt: null, workspaces: [], helloed: false, lost: null, tab: "flows", filter: "all", closed: new Set(),
    pending: new Map(), ending: new Map(), confirming: null, said: null, away: new Set(),
  };
}

/** What another workspace begins with: everything that is of one workspace, as at the start. */
export function elsewhere() {
  return {
    ...ofFlow(), view: null, problem: null, chosen: null, today: null, todaySaid: null, lineage: {}, section: "runs", search: "", selected: null,
    frames: null, settings: null,
  };
}

/** What another flow begins with when it is looked at closely. */
export function ofFlow() {
  return {
    details: null, run: null, runLimit: 100, runSearch: "", onlyFailed: false, showTrend: false, trends: null, trendsSaid: null,
    sheet: null, rejected: null, written: null, writtenSearch: "", writtenLimit: 100, isMenuOpen: false, files: null, held: [], openFile: null, filesSaid: null, fileSearch: "", fileGroup: "", fileLimit: 200, showParams: false, isDisabling: false, note: "", typed: {}, backfill: null, question: null, plan: null, planKey: "",
  };
}

/**
 * What stays said when another flow is looked at: no error, and nothing that leads on in the one before.
 *
 * @param {Said | null} said
 */
export function keptSaid(said) {
  return said && (said.error || Object.keys(said.offers || {}).length) ? null : said;
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
  error: null, error_cells: [], digest: null,
};
