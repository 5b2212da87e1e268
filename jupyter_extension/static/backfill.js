// Running a flow again for a range: what would run is shown, then asked for; and how far it is.

import { h } from "./dom.js";
import { clock } from "./format.js";
import { field, givenOf } from "./parameters.js";
import { button, errorBox, whyNot } from "./pieces.js";

/** @import { BackfillForm, BackfillView, PanelFlow } from "./types" */
/** @import { Panel } from "./panel.js" */

const SHOWN = 12;
const BY_NAME = "To choose by name: Files, such as *2026-12*.";
/** @type {[string, string][]} */
const CHOICES = [["failed", "failed or held"], ["missing", "never succeeded"], ["outdated", "outdated: what they read has changed"], ["all", "all"]];

/**
 * How far the flow's backfill is, and what can be done with it.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
export function backfillLine(app, row) {
  const one = row.backfill;
  if (!one) return null;
  const isRunning = one.state === "running";
  const share = one.total ? Math.min(100, (100 * one.ended) / one.total) : 0;
  const params = Object.entries(one.params).map(([name, value]) => `${name}=${value}`).join(", ");
  const left = one.failed ? `Retry the ${one.failed} failed` : "Continue";
  return h("div", { class: "de-active", key: `backfill ${one.id}`, "data-backfill": one.state },
    h("div", { class: "de-line de-wrap" },
      h("span", { class: "de-clip de-grow", title: `asked by ${one.by}` }, h("span", { class: "de-strong" }, "Backfill "), one.text, params ? h("span", { class: "de-faint" }, ` · ${params}`) : null),
      isRunning
        ? button(app, "backfill stop", "Stop", row.buttons.backfill_stop, () => app.act("stop_backfill", { id: one.id }), { small: true, confirm: "Really?", title: "Stop the backfill" })
        : one.failed || one.ended < one.total
          ? button(app, "backfill retry", left, row.buttons.backfill, () => app.act("retry_backfill", { id: one.id }), { small: true, primary: one.failed > 0 })
          : null),
    isRunning ? h("div", {
      class: "de-bar", role: "progressbar", "aria-label": "backfill", "aria-valuenow": String(Math.round(share)), "aria-valuemin": "0", "aria-valuemax": "100",
    }, h("span", { style: `width: ${share}%` })) : null);
}

/**
 * The form: a range, which of it, the parameters; then exactly what would run, and the button that begins it.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
export function backfillForm(app, row) {
  const form = app.state.backfill;
  const { details } = app.state;
  if (!form) return null;
  // what is typed before the next drawing builds on what is, not on what was drawn
  /** @type {(part: Partial<BackfillForm>) => void} */
  const change = (part) => app.set({ backfill: { ...(app.state.backfill || form), ...part, shown: null, error: null } });
  const isLooking = Boolean(app.state.pending.get("b backfill show"));
  const parameters = (details && details.parameters) || [];
  return h("form", {
    class: "de-params", key: "backfill form", "aria-label": `Backfill of ${row.title}`, onsubmit: (event) => {
      event.preventDefault();
      if (!row.buttons.backfill && !isLooking) app.during("b backfill show", show(app, row));
    },
  },
  h("div", { class: "de-line de-wrap" },
    range(form, change, "since", "From"),
    range(form, change, "until", "To the end of"),
    h("p", { class: "de-hint de-wide", key: "days" }, row.mode === "schedule" ? "From and To choose by the days of its schedule." : `From and To choose by the day on which a file changed. ${BY_NAME}`),
    h("div", { class: "de-field" },
      h("label", { for: "de-backfill-reprocess" }, "Run"),
      h("select", { id: "de-backfill-reprocess", class: "de-input", "data-backfill": "reprocess", onchange: (event) => change({ reprocess: event.target.value }) },
        CHOICES.map(([value, label]) => h("option", { key: value, value, selected: value === form.reprocess }, value === "all" && row.mode !== "schedule" ? "all files" : label)))),
    h("div", { class: "de-field" },
      h("label", { for: "de-backfill-where" }, "Files"),
      h("input", { id: "de-backfill-where", class: "de-input", placeholder: "all, or *2026-12*", "data-backfill": "where", value: form.where, oninput: (event) => change({ where: event.target.value }) }))),
  parameters.map((one) => field(app, one)),
  h("div", { class: "de-line de-wrap" },
    h("button", { type: "submit", key: "show", class: `de-button${form.shown ? "" : " de-primary"}`, "aria-busy": isLooking ? "true" : undefined, ...whyNot(row.buttons.backfill, "Show what would run") },
      isLooking ? "Looking…" : "Show what would run"),
    form.shown && form.shown.total ? button(app, "backfill begin", `Run ${form.shown.total === 1 ? "it" : `these ${form.shown.total.toLocaleString("en")}`}`, row.buttons.backfill, () => begin(app, row), { primary: true, busy: "Beginning…" }) : null),
  form.error ? errorBox(app, form.error, []) : null,
  form.shown ? planned(form.shown, form, row) : null);
}

/**
 * @param {BackfillForm} form
 * @param {(part: Partial<BackfillForm>) => void} change
 * @param {"since" | "until"} name
 * @param {string} label
 */
function range(form, change, name, label) {
  const id = `de-backfill-${name}`;
  return h("div", { class: "de-field" },
    h("label", { for: id }, label),
    h("input", { id, class: "de-input", placeholder: "2026-12-31", title: "A day (2026-12-31), a month (2026-12), or a time (2026-12-31T06:00)", "data-backfill": name, value: form[name], oninput: (event) => change({ [name]: event.target.value }) }));
}

/**
 * @param {BackfillView} shown
 * @param {BackfillForm} form
 * @param {PanelFlow} row
 */
function planned(shown, { since, until, where, reprocess }, row) {
  const known = shown.known || { all: 0, failed: 0, missing: 0 };
  const more = shown.total - SHOWN;
  const isByDay = !known.all && (since || until) && !where && row.mode !== "schedule";
  const name = since.trim() || until.trim();
  return h("div", { key: "planned", role: "status" },
    h("p", { class: "de-hint" }, shown.total
      ? `${shown.total.toLocaleString("en")} of ${known.all.toLocaleString("en")} in the range:`
      : reprocess === "outdated" ? "Nothing to run: what its runs read has not changed since."
      : `Nothing to run: ${known.all.toLocaleString("en")} in the range, ${known.failed.toLocaleString("en")} failed, ${known.missing.toLocaleString("en")} never succeeded.`),
    isByDay ? h("p", { class: "de-hint" }, `No file changed in these days. To choose by name, leave From and To empty and write *${name}* into Files.`) : null,
    h("ul", { class: "de-plain" }, (shown.planned || []).slice(0, SHOWN).map((one, index) => h("li", { key: String(index) },
      [one.scheduled_for ? clock(one.scheduled_for) : "", one.source === "" ? "the whole folder" : one.source].filter(Boolean).join("  ")))),
    more > 0 ? h("p", { class: "de-faint de-hint" }, `and ${more.toLocaleString("en")} more`) : null);
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 */
function given(app, row) {
  const { backfill, details, typed } = app.state;
  const parameters = (details && details.parameters) || [];
  const texts = Object.fromEntries(["since", "until", "where"].map((name) => [name, /** @type {Record<string, string>} */ (/** @type {unknown} */ (backfill || {}))[name] || null]));
  return { flow: row.name, ...texts, reprocess: backfill ? backfill.reprocess : "failed", params: givenOf(parameters, typed) };
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 */
async function show(app, row) {
  const { result, error } = await app.transport.call("backfill", { ...given(app, row), dry_run: true });
  const form = app.state.backfill;
  if (app.isGone || app.state.selected !== row.name || !form) return;
  app.set({ backfill: { ...form, shown: result || null, error: error || null } });
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 */
async function begin(app, row) {
  const form = app.state.backfill;
  const answer = await app.transport.call("backfill", { ...given(app, row), digest: form && form.shown ? form.shown.digest : null });
  if (app.isGone || app.state.selected !== row.name) return;
  if (answer.error) app.set({ backfill: form && { ...form, shown: null, error: answer.error } });
  else {
    app.set({ backfill: null });
    app.say({ result: answer.result.said });
  }
}

/**
 * Opens the form with what is outdated, and shows what would run.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
export function makeAgain(app, row) {
  app.set({ showParams: false, isDisabling: false, backfill: { ...freshForm(), reprocess: "outdated" } });
  app.during("b backfill show", show(app, row));
}

/** @returns {BackfillForm} */
export function freshForm() {
  return { since: "", until: "", where: "", reprocess: "failed", shown: null, error: null };
}
