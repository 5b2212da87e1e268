import { h } from "./dom.js";
import { agoText, ahead, duration, icon, plural, sign, since } from "./format.js";

// The list of groups and flows, with search and filters.

export const FILTERS = [
  ["all", "All", () => true],
  ["running", "Running", (row) => row.mark.kind === "running"],
  ["failing", "Failing", (row) => row.is_failing],
  ["edited", "Edited", (row) => Boolean(row.edit)],
  ["automatic", "Auto", (row) => row.mode !== "manual"],
];

export function shownFlows(view, search, filter) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = FILTERS.find(([name]) => name === filter)[2];
  return (row) => passes(row) && words.every((word) =>
    `${row.name} ${row.title} ${row.group} ${row.mode} ${row.mark.word} ${row.trigger}`.toLowerCase().includes(word));
}

export function flowList(app) {
  const { view, search, filter, closed } = app.state;
  const passes = shownFlows(view, search, filter);
  const actives = new Map();
  for (const run of view.active) if (!actives.has(run.flow)) actives.set(run.flow, run);
  let shown = 0;
  const groups = view.groups.map((group) => {
    const rows = group.flows.map((name) => view.flows[name]).filter((row) => row && passes(row));
    shown += rows.length;
    if (rows.length === 0) return null;
    const isClosed = closed.has(group.name) && !search;
    return h("section", { key: `g ${group.name}`, class: "de-group" },
      h("button", { class: "de-group-head", "aria-expanded": String(!isClosed), onclick: () => app.toggleGroup(group.name) },
        h("span", { class: "de-chevron", "aria-hidden": "true" }, isClosed ? "▸" : "▾"),
        h("span", { class: "de-group-name" }, group.name || "No group"),
        h("span", { class: "de-faint" }, group.summary)),
      isClosed ? null : h("div", { class: "de-rows" }, rows.map((row) => app.memo.get(
        `row ${row.name}`, [row, actives.get(row.name), app.state.selected === row.name, app.state.pending.get(`run ${row.name}`), app.isStatic],
        () => flowRow(app, row, actives.get(row.name))))));
  });
  const total = Object.keys(view.flows).length;
  return h("div", { class: "de-list", key: "list" },
    app.isStatic ? null : h("div", { class: "de-find" },
      h("div", { class: "de-line" },
        h("input", {
          type: "search", class: "de-input de-grow", placeholder: "Search flows", "aria-label": "Search flows", value: search,
          oninput: (event) => app.set({ search: event.target.value }),
        }),
        app.button("reload", "↻", null, () => app.reload(), { square: true, title: "Refresh: read the flow definitions again" })),
      h("div", { class: "de-chips", role: "group", "aria-label": "Show" }, FILTERS.map(([name, label, test]) => {
        const count = name === "all" ? total : Object.values(view.flows).filter(test).length;
        return h("button", {
          key: name, class: "de-chip", "aria-pressed": String(filter === name), onclick: () => app.set({ filter: name }),
        }, label, name === "all" ? null : h("span", { class: "de-count", "data-count": String(count) }, String(count)));
      }))),
    groups,
    view.empty ? emptyWorkspace(app) : shown === 0 ? h("p", { class: "de-empty" }, "No flow passes the search and filter.") : null);
}

function emptyWorkspace(app) {
  return h("div", { class: "de-empty" },
    h("p", null, app.state.view.empty),
    h("p", { class: "de-faint" }, "A notebook in flow_modules with a build() function is a flow."),
    app.isStatic ? null : h("button", { class: "de-button de-primary", onclick: () => app.newFlow() }, "New flow notebook"));
}

function flowRow(app, row, run) {
  const isSelected = app.state.selected === row.name;
  const pending = app.state.pending.get(`run ${row.name}`);
  return h("div", { key: row.name, class: `de-row${isSelected ? " de-selected" : ""}`, "data-flow": row.name },
    h("button", {
      class: "de-row-main", "aria-current": isSelected ? "true" : undefined, title: row.name,
      onclick: () => app.select(row.name), onkeydown: moveAmongRows,
    },
      h("span", { class: "de-line" },
        icon(row.mark),
        h("span", { class: "de-title" }, row.title),
        row.edit ? h("span", { class: "de-badge", title: row.edit }, "edited") : null,
        row.held ? h("span", { class: "de-badge de-badge-bad", title: `${plural(row.held, "file")} failed and held` }, `${row.held} held`) : null,
        h("span", { class: "de-grow" }),
        lastRun(row, run)),
      h("span", { class: "de-line de-second" },
        h("span", { class: `de-state de-${row.mark.tone}` }, stateText(row)),
        h("span", { class: "de-faint de-clip", tick: () => secondText(row, run) }))),
    app.isStatic ? null : h("button", {
      class: "de-icon-button de-run", "aria-label": `Run ${row.title}`, "aria-busy": pending ? "true" : undefined,
      ...whyNot(row.buttons.run, `Run ${row.title}`), onclick: () => !row.buttons.run && app.run(row.name),
      html: SHAPES.play,
    }));
}

// States whose word names the mode.
const BY_ITSELF = new Set(["polling", "poll_ready", "scheduled", "schedule_ready"]);

function stateText(row) {
  return row.mode !== "manual" && !BY_ITSELF.has(row.mark.kind) ? `${row.mode} · ${row.mark.word}` : row.mark.word;
}

function secondText(row, run) {
  if (run) return [run.source ? run.source.split(/[\\/]/).pop() : "", run.step || "", progressText(run)].filter(Boolean).join(" · ");
  if (row.mark.kind === "broken") return row.reason || "";
  const parts = [row.trigger === "-" ? "" : row.trigger];
  if (row.next_run_utc && row.mode === "schedule") parts.push(`next ${ahead(row.next_run_utc)}`);
  else if (row.reason && row.mode !== "manual") parts.push(row.reason);
  return parts.filter(Boolean).join(" · ");
}

export function progressText(run) {
  if (run.done === null || run.done === undefined) return "";
  return run.total ? `${run.done.toLocaleString()} of ${run.total.toLocaleString()}` : run.done.toLocaleString();
}

function lastRun(row, run) {
  if (run) return h("span", { class: "de-live", tick: () => duration(since(run.started_at_utc)) });
  if (!row.last) return h("span", { class: "de-last de-faint" }, "never ran");
  const { kind } = row.last.mark;
  return h("span", { class: "de-last", title: row.last.cause || "" },
    kind === "success" ? null : sign(row.last.mark), kind === "success" ? icon(row.last.mark) : null,
    kind === "success" ? h("span", { class: "de-sr" }, "success") : null, agoText(row.last.at_utc));
}

// A button that cannot be used keeps its place in the tab order, so that its reason can be read there.
export function whyNot(reason, title) {
  return reason
    ? { "aria-disabled": "true", title: `${title}: ${reason}`, "data-why": reason }
    : { "aria-disabled": undefined, title, "data-why": undefined };
}

function moveAmongRows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const rows = [...event.target.closest(".de-list").querySelectorAll(".de-row-main")];
  const next = rows[rows.indexOf(event.target) + step];
  if (next) next.focus();
}

export function footer(view) {
  return view.footer.map((part, index) => [index ? h("span", { "aria-hidden": "true" }, "·") : null, h("span", null, part)]);
}

export function countText(view) {
  return plural(Object.keys(view.flows).length, "flow");
}
