// The runs of today: a row for each flow, each run at its time since the first of them; a click leads to it.

import { h } from "./dom.js";
import { duration, plural, shortClock } from "./format.js";
import { note } from "./pieces.js";
import { countsText } from "./runs.js";

/** @import { RunView } from "./types" */
/** @import { Panel } from "./panel.js" */

/** The panels that are reading them. */
const reading = new WeakSet();
const SPOTS = 240, HOUR_MS = 3600 * 1000, MOST_TICKS = 4;
const STEPS_MS = [0.25, 0.5, 1, 2, 3, 6].map((hours) => hours * HOUR_MS);

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
  const axis = axisOf(ran.flatMap((name) => today[name]), Date.now());
  return h("div", { class: "de-day" },
    ran.length ? h("div", { class: "de-day-row de-faint", key: "hours", "aria-hidden": "true" }, h("span", { class: "de-day-name" }),
      h("span", { class: "de-day-lane" }, ticksOf(axis).map((at) => h("span", { key: String(at), class: "de-day-hour", style: `left: ${axis.percent(at)}%` }, timeOf(at))))) : null,
    ran.map((name) => dayRow(app, name, today[name], axis)),
    rest ? h("p", { class: "de-hint", key: "rest" }, ran.length ? `${plural(rest, "other flow")} did not run today.` : "No flow ran today.") : null);
}

/**
 * @param {Panel} app
 * @param {string} name
 * @param {RunView[]} runs
 * @param {ReturnType<typeof axisOf>} axis
 */
function dayRow(app, name, runs, axis) {
  const { title } = app.view.flows[name];
  return h("div", { class: "de-day-row", key: name, "data-day": name },
    h("button", { class: "de-day-name de-link de-clip", title, onclick: () => app.select(name) }, title),
    h("span", { class: "de-day-lane", role: "group", "aria-label": `${title}: ${countsText(runs)}` }, spots(runs, axis).map(({ left, wide, tone, shown, all }) => {
      const told = [all.length > 1 ? countsText(all) : shown.mark.word, shortClock(shown.started_at_utc), duration(shown.elapsed_s), shown.source_name].filter(Boolean).join(", ");
      return h("button", {
        key: shown.run_id, class: `de-day-run de-${tone}`, title: told, "aria-label": told, style: `left: ${left}%; width: max(5px, ${wide}%)`,
        onclick: () => { app.select(name); app.openRun(shown.run_id); },
      });
    })));
}

/** @param {number} at */
function timeOf(at) {
  return new Date(at).toTimeString().slice(0, 5);
}

/**
 * From the hour of the first run to now, at least an hour.
 *
 * @param {RunView[]} runs
 * @param {number} nowMs
 */
export function axisOf(runs, nowMs) {
  const first = new Date(Math.min(nowMs, ...runs.map((run) => Date.parse(run.started_at_utc)))).setMinutes(0, 0, 0);
  const length = Math.max(HOUR_MS, nowMs - first);
  return { first, length, percent: (/** @type {number} */ at) => (100 * (at - first)) / length };
}

/** @param {{ first: number, length: number }} axis */
export function ticksOf({ first, length }) {
  const step = STEPS_MS.find((one) => length / one <= MOST_TICKS) || STEPS_MS[STEPS_MS.length - 1];
  return Array.from({ length: Math.ceil(length / step) }, (_, number) => first + number * step);
}

/**
 * The runs by their place on the axis, in percent; of those that fall on one spot the newest that is bad, else the newest, stands for all.
 * One that failed before its source ran well is not bad any more.
 *
 * @param {RunView[]} runs the newest first
 * @param {ReturnType<typeof axisOf>} axis
 */
export function spots(runs, { length, percent }) {
  /** @type {Map<number, RunView[]>} */
  const found = new Map();
  const good = new Set(), mended = new Set();
  for (const run of runs) {
    const work = `${run.source} ${run.params}`;
    if (run.mark.tone === "good") good.add(work);
    else if (good.has(work)) mended.add(run);
    const spot = Math.floor((SPOTS / 100) * percent(Date.parse(run.started_at_utc)));
    if (spot >= 0 && spot < SPOTS) found.set(spot, [...(found.get(spot) || []), run]);
  }
  return [...found].sort(([one], [other]) => one - other).map(([spot, all]) => {
    const shown = all.find((run) => run.mark.tone === "bad" && !mended.has(run)) || all[0];
    const left = (100 * spot) / SPOTS;
    return { left, wide: Math.min(100 - left, (100000 * (shown.elapsed_s || 0)) / length), tone: mended.has(shown) ? "idle" : shown.mark.tone, shown, all };
  });
}
