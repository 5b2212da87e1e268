// What a flow's details say where something is to be done: why it fails, what holds it, how its feed or a reference has changed.

import { run } from "./actions.js";
import { makeAgain } from "./backfill.js";
import { h } from "./dom.js";
import { lookAtHeld } from "./files.js";
import { plural } from "./format.js";
import { typedParams } from "./parameters.js";
import { agoText, button, cellLinks, folded, icon, pathText, withCode } from "./pieces.js";
import { replayButton } from "./replay.js";

/** @import { FileView, FlowDetails, PanelFlow, RunView } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * What holds a batch whose sources are gone, and the button that accepts it.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
export function shrunk(app, row) {
  if (!row.why || row.why.kind !== "feed_shrunk") return null;
  return h("div", { class: "de-note de-bad", key: "shrunk" },
    icon({ shape: "cross", tone: "bad" }),
    h("div", { class: "de-grow" },
      h("div", null, row.reason || ""),
      h("div", { class: "de-line de-wrap" },
        acceptButton(app, row, "Really run it with the sources that are there?"))));
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {string} confirm
 */
function acceptButton(app, row, confirm) {
  return button(app, "accept", "Accept", row.buttons.accept, () => app.act("retry", { flow: row.name, accept: true }), { small: true, confirm });
}

/**
 * How the columns of its feed have changed though it runs well; nothing where they have not.
 *
 * @param {PanelFlow} row
 */
export function driftLine(row) {
  if (!row.drift || !row.drift.length) return null;
  return h("div", { class: "de-note de-warn", key: "drift" }, icon({ shape: "triangle", tone: "warn" }),
    h("div", { class: "de-grow" }, h("div", { class: "de-strong" }, "Its feed has changed"), row.drift.map((one) => h("div", { key: one.name }, withCode(one.text)))));
}

/**
 * The references that have changed since outputs were made, and the button that makes these again.
 *
 * @param {Panel} app
 * @param {PanelFlow} row
 */
export function outdated(app, row) {
  const [first] = row.changed || [];
  if (!first) return null;
  return h("div", { class: "de-note", key: "outdated" },
    icon({ shape: "triangle", tone: "warn" }),
    h("div", { class: "de-grow" },
      h("div", null, row.changed_text || ""),
      h("div", { class: "de-line de-wrap" },
        first.by_hand
          ? button(app, "again", "Make them again", row.buttons.run, () => run(app, row.name, null, typedParams(app, row.name)), { small: true })
          : button(app, "again", "Make them again…", row.buttons.backfill, () => makeAgain(app, row), { small: true }))));
}

/**
 * Why the flow is failing: its last run, else the first file that is held though later runs were good.
 *
 * @param {Panel} app
 * @param {FlowDetails} details
 * @param {PanelFlow} row
 */
export function failure(app, details, row) {
  const last = details.runs.find((one) => !one.from_the_future);
  const isLast = Boolean(last && last.mark.tone === "bad");
  const [file = null, ...others] = row.held ? app.state.held : [];
  const shown = isLast ? last : file && details.runs.find((one) => one.run_id === file.run_id);
  if (!row.is_failing || app.state.run || !(shown || file)) return null;
  const isFeed = Boolean(shown && shown.why && shown.why.kind === "feed_changed");
  return h("div", { class: "de-note de-bad", key: "last failure" },
    icon(shown ? shown.mark : { shape: "cross", tone: "bad" }),
    h("div", { class: "de-grow" },
      failureText(shown || null, file, isLast),
      h("div", { class: "de-line de-wrap" },
        shown ? shownRun(app, shown) : file && file.run_id ? wholeError(app, file.run_id) : null),
      isFeed ? h("div", { class: "de-line de-wrap" }, acceptButton(app, row, "Really let these columns pass from now on?")) : null,
      row.held ? heldLine(app, row, file, others) : null));
}

/**
 * @param {Panel} app
 * @param {RunView} shown
 */
function shownRun(app, shown) {
  return [cellLinks(app, shown.cells), wholeError(app, shown.run_id), shown.error ? replayButton(app, shown.run_id) : null];
}

/**
 * @param {Panel} app
 * @param {string} runId
 */
function wholeError(app, runId) {
  return h("button", { class: "de-link", onclick: () => app.openRun(runId) }, "Whole error and log");
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {FileView | null} file
 * @param {FileView[]} others
 */
function heldLine(app, row, file, others) {
  return h("div", { class: "de-line de-wrap" },
    button(app, "retry", `Retry ${row.held} held`, row.buttons.retry, () => app.act("retry", { flow: row.name }), { small: true, primary: !row.buttons.retry }),
    row.held > 1 && file ? h("button", { class: "de-link", onclick: () => lookAtHeld(app) }, moreHeld(file, others, row.held)) : null);
}

/**
 * @param {RunView | null} failed
 * @param {FileView | null} file
 * @param {boolean} isLast whether it is the newest run
 */
function failureText(failed, file, isLast) {
  const name = failed ? failed.source_name : file && file.name;
  const at = failed ? failed.ended_at_utc || failed.started_at_utc : file && file.last_at_utc;
  const fix = failed && failed.why && failed.why.fix;
  return [
    h("div", { key: "when" }, h("span", { class: "de-strong" }, isLast && failed ? `Last run ${failed.mark.word} ` : "Held since a run failed "), at ? agoText(at) : null, name ? h("span", { class: "de-faint" }, " · ", pathText(name)) : null),
    folded((failed ? failed.error || failed.cause : file && file.reason) || ""),
    fix ? h("div", { class: "de-faint", key: "fix" }, folded(String(fix))) : null,
  ];
}

/**
 * How many more files are held, and whether by the same error.
 *
 * @param {FileView} first
 * @param {FileView[]} others those that are known
 * @param {number} held
 */
export function moreHeld(first, others, held) {
  const alike = others.filter(({ error }) => error === first.error).length;
  const rest = held - 1 - alike;
  if (!rest) return `${alike.toLocaleString()} more like it`;
  return alike ? `${alike.toLocaleString()} more like it, ${rest.toLocaleString()} with another error` : `${plural(rest, "more file")} held`;
}
