// The list of groups and flows, with search and filters.

import { run } from "./actions.js";
import { chooseBox, chooseButton, chosenPart } from "./chosen.js";
import { h } from "./dom.js";
import { ahead, duration, expectedText, matches, nameOf, plural, progressText, since } from "./format.js";
import { typedParams } from "./parameters.js";
import { agoText, button, drawing, icon, sign, whyNot } from "./pieces.js";

/** @import { ActiveRun, PanelFlow, PanelView } from "./types" */
/** @import { Panel } from "./panel.js" */

/** @type {[string, string, (row: PanelFlow) => boolean][]} */
export const FILTERS = [
  ["all", "All", () => true],
  ["running", "Running", (row) => row.mark.kind === "running" || row.mark.kind === "stopping"],
  ["failing", "Failing", (row) => row.is_failing],
  ["edited", "Edited", (row) => Boolean(row.edit)],
];

/**
 * Whether the list shows a flow, for a search text and the name of a filter.
 *
 * @param {string} search
 * @param {string} filter
 * @returns {(row: PanelFlow) => boolean}
 */
export function shownFlows(search, filter) {
  const [, , passes] = FILTERS.find(([name]) => name === filter) || FILTERS[0];
  return (row) => passes(row) && matches(`${row.name} ${row.title} ${row.group || ""} ${row.mode} ${row.mark.word} ${row.trigger}`, search);
}

/**
 * The list, made anew when something changes that it shows: beside the details of a flow it mostly stays as it is.
 *
 * @param {Panel} app
 */
export function flowList(app) {
  const { search, filter, closed, selected, pending, chosen } = app.state;
  return app.memo.get("list", [app.view, app.isStatic, search, filter, closed, selected, [...pending.keys()].join(), chosen], () => listOf(app));
}

/** @param {Panel} app */
function listOf(app) {
  const { view } = app;
  const { search, filter, closed, selected, pending, chosen } = app.state;
  const passes = shownFlows(search, filter);
  /** @type {Map<string, ActiveRun>} */
  const actives = new Map();
  for (const active of view.active) if (!actives.has(active.flow)) actives.set(active.flow, active);
  /** @type {PanelFlow[]} */
  const shown = [];
  const ofOne = (/** @type {{ flows: string[] }} */ group) => group.flows.length === 1;
  const groups = [...view.groups.filter(ofOne), ...view.groups.filter((group) => !ofOne(group))].map((group) => {
    const rows = group.flows.map((name) => view.flows[name]).filter((row) => row && passes(row));
    shown.push(...rows);
    if (rows.length === 0) return null;
    const isClosed = closed.has(group.name) && !search && !ofOne(group);
    return h("section", { key: `g ${group.name}`, class: "de-group" },
      ofOne(group) ? null : h("button", { class: "de-group-head", "aria-expanded": String(!isClosed), onclick: () => toggleGroup(app, group.name) },
        h("span", { class: "de-chevron", "aria-hidden": "true" }, isClosed ? "▸" : "▾"),
        h("span", { class: "de-group-name" }, group.name || "No group"),
        h("span", { class: "de-faint" }, group.summary)),
      isClosed ? null : h("div", { class: "de-rows" }, rows.map((row) => app.memo.get(
        `row ${row.name}`, [row, actives.get(row.name), selected === row.name, pending.get(`run ${row.name}`), app.isStatic, chosen && chosen.has(row.name)],
        () => flowRow(app, row, actives.get(row.name))))));
  });
  return h("div", { class: "de-list", key: "list" },
    app.isStatic ? null : findPart(app, view),
    chosenPart(app, shown),
    groups,
    view.empty ? emptyWorkspace(app, view.empty) : shown.length === 0 ? h("p", { class: "de-empty" }, "No flow matches the search and filter.") : null,
    (view.not_flows || []).map((text) => h("p", { class: "de-not-flow de-faint" }, text)));
}

/**
 * @param {Panel} app
 * @param {PanelView} view
 */
function findPart(app, view) {
  const { search, filter } = app.state;
  const rows = Object.values(view.flows);
  return h("div", { class: "de-find" },
    h("div", { class: "de-line" },
      h("input", {
        type: "search", class: "de-input de-grow", placeholder: "Search flows", "aria-label": "Search flows", value: search,
        oninput: (event) => app.set({ search: event.target.value }), onkeydown: (event) => leaveSearch(app, event),
      }),
      button(app, "reload", "↻", null, () => app.reload(), { square: true, title: "Refresh: read the flow definitions again" })),
    h("div", { class: "de-chips", role: "group", "aria-label": "Show" }, FILTERS.map(([name, label, test]) => {
      const count = String(rows.filter(test).length);
      return h("button", {
        key: name, class: "de-chip", "aria-pressed": String(filter === name), onclick: () => app.set({ filter: name }),
      }, label, name === "all" ? null : h("span", { class: "de-count", "data-count": count }, count));
    }), chooseButton(app)));
}

/**
 * @param {Panel} app
 * @param {string} why
 */
function emptyWorkspace(app, why) {
  return h("div", { class: "de-empty" },
    h("p", null, why),
    h("p", { class: "de-faint" }, "A notebook in flow_modules with a build() function is a flow."),
    app.isStatic ? null : h("button", { class: "de-button de-primary", onclick: () => app.jupyter.newFlow() }, "New flow notebook"));
}

/**
 * @param {Panel} app
 * @param {string} name
 */
function toggleGroup(app, name) {
  const closed = new Set(app.state.closed);
  if (!closed.delete(name)) closed.add(name);
  app.set({ closed });
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {ActiveRun | undefined} active
 */
function flowRow(app, row, active) {
  const { selected, pending } = app.state;
  const isSelected = selected === row.name;
  const { deployment_status } = row; // none in a snapshot that an earlier version kept
  return h("div", { key: row.name, class: `de-row${isSelected ? " de-selected" : ""}`, "data-flow": row.name },
    chooseBox(app, row),
    h("button", {
      class: "de-row-main", "aria-current": isSelected ? "true" : undefined, title: row.name,
      onclick: () => app.select(row.name), onkeydown: moveAmongRows,
    },
    h("span", { class: "de-line" },
      h("span", { class: "de-row-name" }, icon(row.mark), h("span", { class: "de-title" }, row.title)),
      h("span", { class: "de-row-facts" }, row.edit ? h("span", { class: "de-badge", title: row.edit }, deployment_status?.kind === "gone" ? "gone" : deployment_status?.rolled_back_to ? "rolled back" : "edited") : null,
      lastRun(row, active))),
    h("span", { class: "de-line de-second" },
      h("span", { class: `de-state de-${stateText(row) === row.mode ? "faint" : row.mark.tone}`, title: row.held ? `${plural(row.held, "file")} held: the last run failed or was stopped; Retry runs them again` : undefined }, stateText(row)),
      h("span", { class: "de-faint de-clip", tick: () => secondText(row, active) }))),
    app.isStatic ? null : h("button", {
      class: "de-icon-button de-run", "aria-label": `Run ${row.title}`, "aria-busy": pending.get(`run ${row.name}`) ? "true" : undefined,
      ...whyNot(row.buttons.run, `Run ${row.title}`), onclick: () => !row.buttons.run && run(app, row.name, null, typedParams(app, row.name)),
      html: drawing("play"),
    }));
}

// States whose word names the mode.
const BY_ITSELF = new Set(["polling", "scheduled"]);

/**
 * What a flow does, in words, with what is bad besides a last run that may have ended well.
 *
 * @param {PanelFlow} row
 */
export function stateText(row) {
  const { mark: { kind, word }, mode, state_text: state = word } = row;
  return state === word && mode !== "manual" && !BY_ITSELF.has(kind) ? `${mode} · ${word}` : state;
}

/**
 * Whether it only has to be deployed, which its mark says.
 *
 * @param {PanelFlow} row
 */
function isPlainDraft({ mark, why }) {
  return mark.kind === "not_deployed" && why && !why.error && !why.shares_with && !why.goes_live_s;
}

/**
 * The second line of a flow: what its run does now, else when and why it runs next.
 *
 * @param {PanelFlow} row
 * @param {ActiveRun | undefined} active
 */
export function secondText(row, active) {
  const { waits } = row;
  if (active) return [active.source ? nameOf(active.source) : "", active.step || "", progressText(active), waits].filter(Boolean).join(" · ");
  if (row.mark.kind === "broken") return row.reason || "";
  const parts = [row.trigger === "-" ? "" : row.trigger];
  if (waits) parts.unshift(waits);
  else if (row.next_run_utc && row.mode === "schedule") {
    const next = ahead(row.next_run_utc, Date.now(), row.tz);
    parts.unshift(`next ${row.tz && row.trigger.endsWith(row.tz) ? next.replace(` ${row.tz}`, "") : next}`); // the rest may be cut
  }
  else if (row.reason && row.mode !== "manual" && !isPlainDraft(row)) parts.push(row.reason);
  if (row.changed_text) parts.unshift(row.changed_text);
  if (row.expected && row.expected.kind !== "expected") parts.unshift(row.expected_text || "");
  else if (row.expected) parts.push(expectedText(row));
  return parts.filter(Boolean).join(" · ");
}

/**
 * @param {PanelFlow} row
 * @param {ActiveRun | undefined} active
 */
function lastRun(row, active) {
  if (active) return h("span", { class: "de-last de-live", tick: () => duration(since(active.started_at_utc)) });
  const { last_run: last, last_mark: mark } = row;
  if (!last || !mark) return h("span", { class: "de-last de-faint" }, "never ran");
  return h("span", { class: "de-last", title: row.is_source_gone ? "its file is gone" : last.cause || "" },
    mark.kind === "success" ? [icon(mark), h("span", { class: "de-sr" }, "success")] : sign(mark), agoText(last.finished_at_utc || last.started_at_utc));
}

/**
 * From the search to what it found: Arrow Down to the first flow, Enter shows it.
 *
 * @param {Panel} app
 * @param {KeyboardEvent} event
 */
function leaveSearch(app, event) {
  if (event.key !== "ArrowDown" && event.key !== "Enter") return;
  app.draw(); // what is pressed now means what was typed before it
  const input = /** @type {HTMLElement} */ (event.target);
  const first = /** @type {HTMLElement | null} */ (/** @type {HTMLElement} */ (input.closest(".de-list")).querySelector(".de-row-main"));
  if (!first) return;
  event.preventDefault();
  if (event.key === "Enter") first.click();
  else first.focus();
}

/** @param {KeyboardEvent} event */
function moveAmongRows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const row = /** @type {HTMLElement} */ (event.target);
  const list = /** @type {HTMLElement} */ (row.closest(".de-list"));
  const rows = /** @type {HTMLElement[]} */ ([...list.querySelectorAll(".de-row-main")]);
  const next = rows[rows.indexOf(row) + step];
  if (next) next.focus();
}
