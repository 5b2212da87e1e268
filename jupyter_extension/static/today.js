// The runs of today: a row for each flow, each run where the day was then; a click leads to it.

import { h } from "./dom.js";
import { duration, plural, shortClock } from "./format.js";
import { note } from "./pieces.js";
import { countsText } from "./runs.js";

/** @import { RunView } from "./types" */
/** @import { Panel } from "./panel.js" */

const DAY_MS = 24 * 3600 * 1000;
/** The panels that are reading them. */
const reading = new WeakSet();
const SPOTS = 240;
const HOURS = [0, 6, 12, 18];

/**
 * Reads the runs of today, unless they are just being read.
 *
 * @param {Panel} app
 */
export async function loadToday(app) {
  if (reading.has(app)) return;
  reading.add(app);
  const { result, error } = await app.transport.call("today", {});
  reading.delete(app);
  if (!app.isGone) app.set(error ? { todaySaid: error.what } : { today: result, todaySaid: null });
}

/** @param {Panel} app */
export function todayTab(app) {
  const { today, todaySaid } = app.state;
  if (todaySaid) return note("bad", "said", todaySaid);
  if (!today) return h("p", { class: "de-empty" }, "Reading the runs of today…");
  const names = Object.keys(app.view.flows);
  const ran = names.filter((name) => today[name]);
  const rest = names.length - ran.length;
  return h("div", { class: "de-day" },
    ran.length ? h("div", { class: "de-day-row de-faint", key: "hours", "aria-hidden": "true" }, h("span", { class: "de-day-name" }),
      h("span", { class: "de-day-lane" }, HOURS.map((hour) => h("span", { key: String(hour), class: "de-day-hour", style: `left: ${(100 * hour) / 24}%` }, `${String(hour).padStart(2, "0")}:00`)))) : null,
    ran.map((name) => dayRow(app, name, today[name])),
    rest ? h("p", { class: "de-hint", key: "rest" }, ran.length ? `${plural(rest, "other flow")} did not run today.` : "No flow ran today.") : null);
}

/**
 * @param {Panel} app
 * @param {string} name
 * @param {RunView[]} runs
 */
function dayRow(app, name, runs) {
  const { title } = app.view.flows[name];
  const midnight = new Date().setHours(0, 0, 0, 0);
  return h("div", { class: "de-day-row", key: name, "data-day": name },
    h("button", { class: "de-day-name de-link de-clip", title, onclick: () => app.select(name) }, title),
    h("span", { class: "de-day-lane", role: "group", "aria-label": `${title}: ${countsText(runs)}` }, spots(runs, midnight).map(({ left, wide, shown, all }) => {
      const told = [all.length > 1 ? countsText(all) : shown.mark.word, shortClock(shown.started_at_utc), duration(shown.elapsed_s), shown.source_name].filter(Boolean).join(", ");
      return h("button", {
        key: shown.run_id, class: `de-day-run de-${shown.mark.tone}`, title: told, "aria-label": told, style: `left: ${left}%; width: max(5px, ${wide}%)`,
        onclick: () => { app.select(name); app.openRun(shown.run_id); },
      });
    })));
}

/**
 * The runs by their place in the day, in percent; of those that fall on one spot the newest that is bad, else the newest, stands for all.
 *
 * @param {RunView[]} runs the newest first
 * @param {number} midnight
 */
export function spots(runs, midnight) {
  /** @type {Map<number, RunView[]>} */
  const found = new Map();
  for (const run of runs) {
    const spot = Math.floor((SPOTS * (Date.parse(run.started_at_utc) - midnight)) / DAY_MS);
    if (spot >= 0 && spot < SPOTS) found.set(spot, [...(found.get(spot) || []), run]);
  }
  return [...found].sort(([one], [other]) => one - other).map(([spot, all]) => {
    const shown = all.find((run) => run.mark.tone === "bad") || all[0];
    const left = (100 * spot) / SPOTS;
    return { left, wide: Math.min(100 - left, (100000 * (shown.elapsed_s || 0)) / DAY_MS), shown, all };
  });
}
