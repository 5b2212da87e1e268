// What both ways of asking share, and the one that asks nothing: a snapshot's.

/** @import { Answer, PanelView, Transport, ViewChange } from "./types" */

/**
 * A view after a change of it was heard.
 *
 * @param {PanelView} view
 * @param {ViewChange} change
 * @returns {PanelView}
 */
export function applied(view, change) {
  const flows = { ...view.flows, ...(change.flows || {}) };
  for (const name of change.gone || []) delete flows[name];
  return { ...view, ...(change.set || {}), flows };
}

/**
 * @param {string} what
 * @param {string} fix
 * @returns {Answer}
 */
export function failure(what, fix) {
  return { error: { what, where: null, fix } };
}

/** @type {Transport} */
export const STILL = {
  kind: "static",
  root: null,
  hello: async () => ({}),
  at: () => STILL,
  call: async () => failure("this is a snapshot", "run its cell again"),
  subscribe: () => () => {},
};
