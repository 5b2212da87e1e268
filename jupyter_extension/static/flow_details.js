import { h } from "./dom.js";
import { agoText, clock, dayTime, duration, icon, middle, pathText, plural, shortClock, sign, since } from "./format.js";
import { progressText, whyNot } from "./flows.js";

// A flow in detail: what it does now, its steps, runs, files, deployment and settings.

export const SECTIONS = [["steps", "Steps"], ["runs", "Runs"], ["files", "Files"], ["deployment", "Deployment"], ["about", "About"]];

export function flowDetails(app) {
  const { view, selected, details, section } = app.state;
  const row = view.flows[selected];
  if (!row) return h("div", { class: "de-detail", key: "detail" }, backButton(app), h("p", { class: "de-empty" }, `${selected} is no flow of this workspace any more.`));
  const runs = view.active.filter((run) => run.flow === selected);
  return h("div", { class: "de-detail", key: "detail", "data-flow": selected },
    backButton(app),
    h("div", { class: "de-detail-head" },
      h("h3", { class: "de-detail-title" }, row.title),
      sign(row.mark)),
    details && details.description ? h("p", { class: "de-description" }, details.description) : null,
    row.reason && row.mode !== "manual" && !row.error ? h("p", { class: "de-description", key: "reason" }, row.reason) : null,
    toolbar(app, row, runs),
    runs.map((run) => activeLine(app, run, runs.length > 1)),
    row.error ? errorBox(app, row.error, details ? details.error_cells : []) : lastFailure(app, details),
    row.edit ? editLine(app, row) : null,
    details ? timeline(app, details.runs) : null,
    tabs(app, "section", SECTIONS, section, (name) => countOf(details, name)),
    details === null ? h("p", { class: "de-empty" }, "Reading…") : details.error_text
      ? h("p", { class: "de-empty" }, details.error_text)
      : h("div", { class: "de-section", key: `section ${section}`, role: "tabpanel", "aria-label": section }, {
        steps: stepsTable, runs: runsTable, files: filesTable, deployment: deploymentPart, about: aboutPart,
      }[section](app, details, row)));
}

function lastFailure(app, details) {
  const run = details && details.runs ? details.runs.find((one) => !one.from_the_future) : null;
  if (!run || run.mark.tone !== "bad" || app.state.run) return null;
  return h("div", { class: "de-note de-bad", key: "last failure" },
    icon(run.mark),
    h("div", { class: "de-grow" },
      h("div", null, h("span", { class: "de-strong" }, `Last run ${run.mark.word} `), agoText(run.started_at_utc), run.source_name ? h("span", { class: "de-faint" }, ` · ${run.source_name}`) : null),
      h("div", { class: "de-few", title: run.error || "" }, run.error || run.cause || ""),
      h("div", { class: "de-line de-wrap" }, cellLinks(app, run.cells), h("button", { class: "de-link", onclick: () => app.openRun(run.run_id) }, "Whole error and log"))));
}

function backButton(app) {
  return h("button", { class: "de-back", key: "back", onclick: () => app.select(null) }, "‹ All flows");
}

export function tabs(app, key, names, chosen, countOf) {
  const move = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...event.currentTarget.querySelectorAll("[role=tab]")];
    const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
    next.focus();
    next.click();
  };
  return h("div", { class: `de-tabs de-tabs-${key}`, role: "tablist", key: `tabs ${key}`, onkeydown: move }, names.map(([name, label]) => {
    const count = countOf ? countOf(name) : null;
    return h("button", {
      key: name, role: "tab", class: "de-tab", "aria-selected": String(name === chosen), tabindex: name === chosen ? "0" : "-1",
      onclick: () => app.set({ [key]: name }),
    }, label, count ? h("span", { class: "de-count" }, count) : null);
  }));
}

function countOf(details, name) {
  if (!details || !details.runs) return null;
  if (name === "files") return details.files.length ? String(details.files.length) : null;
  if (name === "deployment") return Object.keys(details.diff).length ? String(Object.keys(details.diff).length) : null;
  return null;
}

function toolbar(app, row, runs) {
  const isRunning = runs.length > 0;
  const isEnding = isRunning && runs.every((run) => app.state.ending.has(run.run_id));
  return h("div", { class: "de-toolbar", role: "toolbar", "aria-label": `Actions for ${row.title}`, key: "toolbar" },
    app.button("run", "Run", row.buttons.run, () => app.run(row.name), { primary: !isRunning, shape: "play", pending: `run ${row.name}`, busy: "Starting…" }),
    app.button("params", "Parameters…", row.buttons.run, () => app.set({ showParams: !app.state.showParams }), { quiet: true, expanded: app.state.showParams }),
    app.button("stop", isEnding ? "Stopping…" : "Stop", isEnding ? "it ends at its next step, item or log line" : row.buttons.stop, () => app.end("stop_run", row.name), { primary: isRunning, shape: "square", busy: "Stopping…" }),
    app.button("kill", "Kill", row.buttons.kill, () => app.end("kill_run", row.name), { confirm: "Really kill?" }),
    h("span", { class: "de-break", key: "break" }),
    app.button("open", "Open notebook", app.state.details && app.state.details.path ? null : "its path is not known yet", () => app.open(app.state.details.path), { small: true }),
    app.button("retry", row.held ? `Retry ${row.held} held` : "Retry held", row.buttons.retry, () => app.act("retry", { flow: row.name }), { small: true, primary: row.held > 0 && !row.buttons.retry }),
    row.enabled
      ? app.button("disable", "Disable", row.buttons.disable, () => app.act("disable", { flow: row.name }), { small: true })
      : app.button("enable", "Enable", row.buttons.enable, () => app.act("enable", { flow: row.name }), { small: true }),
    app.state.showParams ? paramsForm(app, row) : null);
}

function paramsForm(app, row) {
  // what is pressed and typed before the next drawing builds on what is, not on what was drawn
  const now = () => app.state.params;
  const change = (index, part, value) => app.set({ params: now().map((one, at) => (at === index ? { ...one, [part]: value } : one)) });
  return h("form", {
    class: "de-params", key: "params form", onsubmit: (event) => {
      event.preventDefault();
      app.run(row.name, null, now());
    },
  },
    now().map((one, index) => h("div", { class: "de-param", key: String(index) },
      h("input", { class: "de-input", placeholder: "name", "aria-label": `Parameter ${index + 1} name`, value: one.name, oninput: (event) => change(index, "name", event.target.value) }),
      h("input", { class: "de-input", placeholder: "value: 3, \"text\", [1, 2]", "aria-label": `Parameter ${index + 1} value`, value: one.value, oninput: (event) => change(index, "value", event.target.value) }),
      h("button", { type: "button", class: "de-icon-button", "aria-label": `Remove parameter ${index + 1}`, onclick: () => app.set({ params: now().filter((_, at) => at !== index) }) }, "×"))),
    h("div", { class: "de-line" },
      h("button", { type: "button", class: "de-button", onclick: () => app.set({ params: [...now(), { name: "", value: "" }] }) }, "Add parameter"),
      h("button", { type: "submit", class: "de-button de-primary", ...whyNot(row.buttons.run, "Run with these parameters") }, "Run with these")),
    h("p", { class: "de-faint de-hint" }, "Steps read them from context.params; values are JSON, anything else is text."));
}

function activeLine(app, run, isOneOfSeveral) {
  const elsewhere = run.in_daemon ? null : `it runs in process ${run.pid}: stop it there`;
  const share = run.total ? Math.min(100, (100 * (run.done || 0)) / run.total) : null;
  return h("div", { class: "de-active", key: `active ${run.run_id}` },
    h("div", { class: "de-line" },
      h("span", { class: "de-clip de-grow", title: run.source || "" }, [run.source ? run.source.split(/[\\/]/).pop() : "", app.state.ending.has(run.run_id) ? "stopping" : run.source ? "" : "running", run.step, progressText(run)].filter(Boolean).join(" · ")),
      h("span", { class: "de-live", tick: () => duration(since(run.step_started_at_utc || run.started_at_utc)) }),
      isOneOfSeveral ? app.button(`stop ${run.run_id}`, "Stop", elsewhere, () => app.end("stop_run", run.flow, run.run_id), { small: true }) : null,
      isOneOfSeveral ? app.button(`kill ${run.run_id}`, "Kill", elsewhere, () => app.end("kill_run", run.flow, run.run_id), { small: true, confirm: "Really?" }) : null),
    h("div", {
      class: `de-bar${share === null ? " de-bar-open" : ""}`, role: "progressbar", "aria-label": run.step || "progress",
      "aria-valuenow": share === null ? undefined : String(Math.round(share)), "aria-valuemin": "0", "aria-valuemax": "100",
    }, h("span", { style: share === null ? undefined : `width: ${share}%` })));
}

function editLine(app, row) {
  const [first, ...rest] = row.edit.split("\n");
  return h("div", { class: "de-note de-warn", key: "edit" },
    icon({ shape: "triangle", tone: "warn" }), h("div", { class: "de-grow" }, first, rest.length ? h("pre", { class: "de-pre" }, rest.join("\n")) : null),
    app.button("deploy", "Deploy", row.buttons.deploy, () => app.act("deploy", { flow: row.name }), { small: true, primary: true }));
}

export function errorBox(app, error, cells) {
  return h("div", { class: "de-note de-bad", role: "group", key: "error" },
    icon({ shape: "cross", tone: "bad" }),
    h("div", { class: "de-grow" },
      h("div", { class: "de-strong" }, error.what),
      error.where ? h("div", { class: "de-faint" }, error.where) : null,
      error.mend ? h("div", null, error.mend) : null,
      cellLinks(app, cells)));
}

export function cellLinks(app, cells) {
  if (!cells || !cells.length) return null;
  return h("div", { class: "de-links" }, cells.map((one) => h("button", {
    key: `${one.notebook} ${one.cell} ${one.line}`, class: "de-link", onclick: () => app.openCell(one),
  }, `Open ${one.notebook}, cell ${one.cell}${one.line ? `, line ${one.line}` : ""}`)));
}

const NEWEST = 40;
function timeline(app, runs) {
  const timely = (runs || []).filter((run) => !run.from_the_future);
  if (timely.length < 2) return null;
  const shown = timely.slice(0, NEWEST).reverse();
  const longest = Math.max(...shown.map((run) => run.elapsed_s || 0), 0.001);
  const words = {};
  for (const run of shown) words[run.mark.word] = (words[run.mark.word] || 0) + 1;
  const said = Object.entries(words).map(([word, count]) => `${count} ${word}`).join(", ");
  return h("div", { class: "de-timeline", key: "timeline", role: "img", "aria-label": `The last ${plural(shown.length, "run")}: ${said}` },
    shown.map((run) => {
      const told = `${run.mark.word}, ${shortClock(run.started_at_utc)}, ${duration(run.elapsed_s)}${run.source_name ? `, ${run.source_name}` : ""}`;
      return h("button", {
        key: run.run_id, tabindex: "-1", class: `de-tl de-${run.mark.tone} de-tl-${run.mark.shape}`, title: told, "aria-label": told,
        style: `height: ${Math.round(25 + 75 * Math.sqrt((run.elapsed_s || 0) / longest))}%`, onclick: () => app.openRun(run.run_id),
      });
    }));
}

function stepsTable(app, details) {
  if (!details.steps.length) return h("p", { class: "de-empty" }, "No steps configured.");
  const longest = Math.max(...details.steps.map((step) => step.elapsed_s || 0), 0.001);
  const active = app.state.view.active.find((run) => run.run_id === details.run_id);
  return h("ol", { class: "de-steps" }, details.steps.map((step, index) => {
    const isNow = active && active.step === step.label;
    const [head, ...tail] = step.label.split(":");
    const startedAt = isNow ? active.step_started_at_utc : step.started_at_utc;
    const mark = isNow ? { word: "running", shape: "play", tone: "live" } : step.mark;
    return h("li", { key: String(index), class: `de-step${isNow ? " de-now" : ""}`, "data-step": step.label, "data-status": mark.word },
      h("span", { class: "de-number" }, String(index + 1)),
      icon(mark),
      h("span", { class: "de-grow de-clip", title: step.error || step.label }, h("span", { class: "de-strong" }, head), tail.length ? h("em", null, `:${tail.join(":")}`) : null,
        isNow && progressText(active) ? h("span", { class: "de-faint" }, ` ${progressText(active)}`) : null),
      h("span", { class: "de-sr" }, mark.word),
      h("span", { class: "de-spark", "aria-hidden": "true" }, h("span", { style: `width: ${step.elapsed_s ? Math.max(2, (100 * step.elapsed_s) / longest) : 0}%` })),
      isNow && startedAt ? h("span", { class: "de-time", key: "live", tick: () => duration(since(startedAt)) })
        : h("span", { class: "de-time", key: "done" }, step.mark.word === "not run" ? "" : duration(step.elapsed_s)),
      app.button(`inspect ${index}`, "Inspect", step.inspect, () => app.inspect(step.output), { small: true }));
  }));
}

const FEW_RUNS = 5;
function runsTable(app, details) {
  if (!details.runs.length) return h("p", { class: "de-empty" }, "It has not run on this machine yet.");
  const { runSearch, onlyFailed, runLimit } = app.state;
  const words = runSearch.toLowerCase().split(/\s+/).filter(Boolean);
  const open = app.state.run;
  const runs = details.runs.filter((run) => (open && open.id === run.run_id) || ((!onlyFailed || run.mark.tone === "bad")
    && words.every((word) => `${run.mark.word} ${run.source || ""} ${run.error || ""} ${run.cause || ""} ${run.run_id}`.toLowerCase().includes(word))));
  const rows = runs.map((run) => app.memo.get(`run ${run.run_id}`, [run.mark.word, run.elapsed_s, run.from_the_future, open && open.id === run.run_id ? open : null], () => runRow(app, run)));
  const failed = details.runs.filter((run) => run.mark.tone === "bad").length;
  return h("div", { class: "de-runs" },
    details.runs.length > FEW_RUNS ? h("div", { class: "de-line", key: "find runs" },
      h("input", { type: "search", class: "de-input de-grow", placeholder: "Search runs, files and errors", "aria-label": "Search runs", value: runSearch, oninput: (event) => app.set({ runSearch: event.target.value }) }),
      h("button", { class: "de-chip", "aria-pressed": String(onlyFailed), onclick: () => app.set({ onlyFailed: !onlyFailed }) }, "Failed", h("span", { class: "de-count", "data-count": String(failed) }, String(failed)))) : null,
    rows,
    rows.length ? null : h("p", { class: "de-empty", key: "none" }, `None of the newest ${plural(details.runs.length, "run")} is so.`),
    details.runs.length >= runLimit
      ? h("button", { class: "de-button de-more", key: "more", onclick: () => app.moreRuns() }, "Show more runs") : null);
}

// A run that a wrong clock dated later than now is marked.
function startOf(run) {
  return run.from_the_future ? `${clock(run.started_at_utc)} (from the future)` : shortClock(run.started_at_utc);
}

function runRow(app, run) {
  const isOpen = app.state.run && app.state.run.id === run.run_id;
  return h("div", { key: run.run_id, class: `de-run-row${isOpen ? " de-open" : ""}`, "data-run": run.run_id },
    h("button", { class: "de-run-main", "aria-expanded": String(Boolean(isOpen)), onclick: () => app.openRun(isOpen ? null : run.run_id) },
      icon(run.mark),
      h("span", { class: "de-word de-run-word" }, run.mark.word),
      h("span", { class: "de-run-when", title: clock(run.started_at_utc) }, startOf(run)),
      h("span", { class: "de-grow de-clip de-faint", title: run.source || "" }, run.source_name ? middle(run.source_name, 48) : ""),
      run.elapsed_s === null ? h("span", { class: "de-time", tick: () => duration(since(run.started_at_utc)) }) : h("span", { class: "de-time" }, duration(run.elapsed_s))),
    run.error && !isOpen ? h("div", { class: "de-run-error de-clip", title: run.error }, run.error) : null,
    isOpen ? runDetails(app, run) : null);
}

function runDetails(app, run) {
  const found = app.state.run;
  if (!found.details) return h("p", { class: "de-empty" }, found.said || "Reading…");
  const { error, lines, steps, left_out } = found.details;
  return h("div", { class: "de-run-detail" },
    h("div", { class: "de-line de-wrap" },
      run.cause ? h("span", { class: "de-faint" }, run.cause) : null,
      h("span", { class: "de-faint" }, `run ${run.run_id.slice(0, 8)}`),
      run.source ? h("span", { class: "de-faint de-clip", title: run.source }, run.source) : null),
    error ? h("div", { class: "de-note de-bad" }, icon({ shape: "cross", tone: "bad" }),
      h("div", { class: "de-grow" }, h("pre", { class: "de-pre" }, error), cellLinks(app, run.cells))) : null,
    steps.length ? h("ul", { class: "de-log-steps" }, steps.map((step, index) => h("li", { key: String(index) },
      icon(step.mark), h("span", { class: "de-grow" }, step.label), h("span", { class: "de-word" }, step.mark.word), h("span", { class: "de-time" }, duration(step.elapsed_s))))) : null,
    h("div", { class: "de-log", role: "log", "aria-label": "Run log", tabindex: "0" },
      left_out ? h("div", { class: "de-faint" }, `${left_out.toLocaleString()} earlier lines are left out`) : null,
      lines.length ? lines.map((line, index) => h("div", { key: String(index), class: `de-log-line de-level-${line.level.toLowerCase()}` },
        h("span", { class: "de-log-time", title: clock(line.at_utc) }, dayTime(line.at_utc)),
        line.step ? h("span", { class: "de-log-step" }, line.step) : null,
        line.level === "INFO" ? null : h("span", { class: "de-log-level" }, line.level),
        h("span", { class: "de-log-text" }, line.message))) : h("div", { class: "de-faint" }, "It printed and logged nothing.")),
    h("div", { class: "de-line de-wrap" },
      run.source ? app.button(`again ${run.run_id}`, "Run this file again", app.state.view.flows[app.state.selected].buttons.run, () => app.run(app.state.selected, run.source), { small: true }) : null,
      run.source ? app.button(`preview ${run.run_id}`, "Preview this file", null, () => app.preview(run.source), { small: true }) : null,
      app.button(`save ${run.run_id}`, "Download log", lines.length || error ? null : "it logged nothing", () => app.save(`${app.state.selected}-${run.run_id.slice(0, 8)}.log`, "text/plain", [logText(found.details)]), { small: true })));
}

function logText({ lines, error }) {
  const texts = lines.map((line) => [line.at_utc, line.level, line.step || "-", line.message].join("\t"));
  return [...texts, ...(error ? ["", error] : []), ""].join("\n");
}

const MOST_SHOWN = 300;
function filesTable(app, details) {
  const search = app.state.fileSearch.toLowerCase();
  const files = details.files.filter((file) => `${file.name} ${file.reason}`.toLowerCase().includes(search));
  return h("div", { class: "de-files" },
    details.files_note ? h("p", { class: "de-hint" }, details.files_note) : null,
    details.files.length > 5 ? h("input", { type: "search", class: "de-input", key: "file search", placeholder: "Search files and reasons", "aria-label": "Search files", value: app.state.fileSearch, oninput: (event) => app.set({ fileSearch: event.target.value }) }) : null,
    files.slice(0, MOST_SHOWN).map((file) => app.memo.get(`file ${file.path}`, [file], () => h("div", { key: file.path, class: "de-file", "data-file": file.name },
      h("div", { class: "de-line" }, icon(file.mark), h("span", { class: "de-grow de-clip de-strong", title: file.path }, middle(file.name, 60)),
        file.last_at_utc ? h("span", { class: "de-faint", title: clock(file.last_at_utc) }, file.last ? `${file.last.word} ` : "", agoText(file.last_at_utc)) : null),
      h("div", { class: "de-file-reason de-few", title: file.reason }, file.reason),
      h("div", { class: "de-line de-wrap" },
        app.button(`retry ${file.path}`, "Retry", file.retry, () => app.act("retry", { flow: details.name, source: file.path }), { small: true, primary: !file.retry }),
        app.button(`run ${file.path}`, "Run", app.state.view.flows[details.name].buttons.run, () => app.run(details.name, file.path), { small: true, quiet: true }),
        app.button(`preview ${file.path}`, "Preview this file", null, () => app.preview(file.path), { small: true, quiet: true }),
        file.run_id ? app.button(`history ${file.path}`, "Last run", null, () => app.openRun(file.run_id), { small: true, quiet: true }) : null)))),
    files.length > MOST_SHOWN ? h("p", { class: "de-hint" }, `${(files.length - MOST_SHOWN).toLocaleString()} more; search to see them.`) : null,
    !details.files.length && !details.files_note ? h("p", { class: "de-empty" }, "No files.") : null);
}

function deploymentPart(app, details, row) {
  const cells = Object.entries(details.diff);
  return h("div", { class: "de-deployment" },
    h("div", { class: "de-line" }, h("span", { class: "de-grow" }, row.deployment),
      app.button("deploy now", "Deploy", row.buttons.deploy, () => app.act("deploy", { flow: row.name }), { primary: true })),
    cells.map(([cell, lines]) => h("div", { key: cell, class: "de-diff" },
      h("button", { class: "de-link", onclick: () => app.openCell({ notebook: details.path.split(/[\\/]/).pop(), cell: Number(cell) }) }, `Cell ${cell}`),
      h("pre", { class: "de-pre" }, lines.map((line, index) => h("span", { key: String(index), class: line.startsWith("+") ? "de-added" : "de-removed" }, `${line}\n`))))),
    cells.length ? null : h("p", { class: "de-hint" }, row.deployment === "as deployed" ? "Production runs the notebook as it is." : ""));
}

function aboutPart(app, details, row) {
  return h("div", null,
    h("dl", { class: "de-about" }, [["State", row.reason && !row.error ? `${row.mark.word}: ${row.reason}` : row.mark.word], ...details.about].map(([label, value]) => [h("dt", { key: `t ${label}` }, label), h("dd", { key: `d ${label}`, title: value }, pathText(value))])),
    details.warnings.map((text, index) => h("div", { key: `w ${index}`, class: "de-note de-warn" }, icon({ shape: "triangle", tone: "warn" }), h("div", null, text))),
    h("div", { class: "de-line" }, app.button("reset", "Reset flow", app.state.view.flows[details.name].buttons.reset, () => app.act("reset", { flow: details.name }), { confirm: "Really forget its history?" }),
      h("span", { class: "de-faint de-hint" }, "Forgets its history and which files are done.")));
}
