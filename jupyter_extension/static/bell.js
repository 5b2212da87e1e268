// Which troubles people are told of, once for each: decided of a view and of what this browser was told before.

import { besidePath } from "./jupyter.js";

/** @import { PanelFlow, PanelView, Told } from "./types" */

/** So many are told one by one; of more only how many they are. */
export const MOST_AT_ONCE = 5;

const RECENT_MS = 10 * 60 * 1000;

/**
 * What this browser has been told of and is not over, by the ids of the troubles, and the ids of those that are new.
 *
 * @param {PanelView} view
 * @param {Record<string, Told>} before
 * @returns {{ kept: Record<string, Told>, news: string[] }}
 */
export function toTell(view, before) {
  /** @type {Record<string, Told>} */
  const kept = {};
  for (const [id, told] of Object.entries(before)) if (stands(told, view.flows[told.flow])) kept[id] = told;
  const news = [];
  for (const row of Object.values(view.flows)) {
    for (const trouble of row.troubles) {
      const told = kept[trouble.id];
      const isNew = !told || isAnother(told, trouble);
      if (isNew) news.push(trouble.id);
      kept[trouble.id] = { ...trouble, flow: row.name, away: isNew ? false : told.away };
    }
  }
  return { kept, news };
}

/**
 * Whether a trouble is so new that it is told aloud: a browser that has not been told of an old one shows it in the list only.
 *
 * @param {Told} told
 * @param {number} nowMs
 */
export function isRecent(told, nowMs) {
  return nowMs - Date.parse(told.at_utc) < RECENT_MS;
}

/**
 * Whether a trouble that was told is still there: a failure until its flow has recovered, whatever failed since.
 *
 * @param {Told} told
 * @param {PanelFlow | undefined} row
 */
function stands(told, row) {
  if (!row) return false;
  if (row.mark.kind === "being_read" || row.troubles.some((one) => one.id === told.id)) return true;
  return told.kind === "failed" && !row.has_recovered;
}

/**
 * Whether the trouble is over and there again since it was told.
 *
 * @param {Told} told
 * @param {import("./types").TroubleLine} trouble
 */
function isAnother(told, trouble) {
  if (trouble.kind !== "failed") return trouble.at_utc !== told.at_utc;
  return trouble.good_utc !== null && trouble.good_utc > told.at_utc;
}

/**
 * How many flows need somebody, and the same in words; "" for none.
 *
 * @param {PanelView} view
 * @returns {{ count: number, words: string }}
 */
export function inTrouble(view) {
  const count = Object.values(view.flows).filter((row) => row.is_failing).length;
  return { count, words: count === 0 ? "" : `${count.toLocaleString()} ${count === 1 ? "flow" : "flows"} in trouble` };
}

/**
 * The notebook and the cell that a trouble leads to; null where it names none.
 *
 * @param {Told} told
 * @param {PanelView} view
 */
export function cellOf(told, view) {
  const [place] = told.cells;
  if (!place) return null;
  const { workspace_root: root } = view;
  return { path: besidePath(place.notebook, null, root), cell: place.cell, line: place.line, root, name: `${place.notebook}, cell ${place.cell}` };
}
