// The files of a flow's source: how many of which kind, those that a search finds, and what can be done with the one that is open.

import { run } from "./actions.js";
import { h } from "./dom.js";
import { clock, endsApart } from "./format.js";
import { agoText, button, icon, note, pathText } from "./pieces.js";

/** @import { FileView, FilesView, FlowDetails } from "./types" */
/** @import { Panel } from "./panel.js" */

const FEW_FILES = 5;
const MORE_FILES = 1000;
const TYPING_MS = 100;
const BUSY_MS = 50;
const AFTER_ERROR_S = 5;

/**
 * Reads the files of the selected flow in so many milliseconds, or as soon as what was asked before is answered; again while they are shown.
 *
 * @param {Panel} app
 * @param {number} after
 */
export function refreshFiles(app, after = 0) {
  clearTimeout(app.filesDue);
  app.filesDue = setTimeout(() => readFiles(app), after);
}

/** @param {Panel} app */
async function readFiles(app) {
  const { selected: flow, fileSearch: search, fileGroup: group, fileLimit: limit } = app.state;
  if (!flow || app.isGone) return;
  if (app.isReadingFiles) {
    refreshFiles(app, BUSY_MS);
    return;
  }
  app.isReadingFiles = true;
  const { result, error } = await app.transport.call("files", { flow, search, group, limit });
  app.isReadingFiles = false;
  if (app.isGone || app.state.selected !== flow) return;
  const held = result && !search && (!group || group === "held") ? { held: heldOf(result) } : {};
  app.set({ files: result || app.state.files, filesSaid: error ? error.what : null, ...held });
  const { fileSearch, fileGroup, fileLimit } = app.state;
  if (fileSearch !== search || fileGroup !== group || fileLimit !== limit) refreshFiles(app);
  else if (app.state.section === "files" && app.state.tab === "flows") refreshFiles(app, 1000 * (result ? result.again_s : AFTER_ERROR_S));
}

/**
 * The files that wait for a person, of those that were sent.
 *
 * @param {FilesView} files
 */
function heldOf({ files }) {
  return files.filter((one) => one.retry === null);
}

/**
 * Shows the files that are held.
 *
 * @param {Panel} app
 */
export function lookAtHeld(app) {
  app.set({ section: "files", fileGroup: "held", fileSearch: "" });
  refreshFiles(app);
}

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
export function filesTable(app, details) {
  const { files, filesSaid, openFile } = app.state;
  const row = app.view.flows[details.name];
  const names = files ? endsApart(files.files.map((file) => file.name)) : new Map();
  if (!files) return h("div", { class: "de-files" }, filesSaid ? note("bad", "said", filesSaid) : h("p", { class: "de-empty" }, "Reading the files…"));
  return h("div", { class: "de-files" },
    filesSaid ? note("bad", "said", filesSaid) : null,
    files.notes.slice(row.mode !== "manual" && row.why && row.why.kind === files.noted ? 1 : 0).map((text) => h("p", { class: "de-hint", key: `n ${text}` }, text)),
    files.progress ? progressPart(files) : null,
    files.total > FEW_FILES ? findFiles(app, files) : null,
    files.alike.map(({ mark, reason, count }) => h("button", {
      key: `alike ${reason}`, class: "de-file-main de-alike", title: "Show these files", onclick: () => ask(app, { fileGroup: "waiting" }),
    }, icon(mark), h("span", { class: "de-strong" }, `${count.toLocaleString()} files`), h("span", { class: "de-grow" }, reason))),
    files.files.map((file) => app.memo.get(`file ${file.path}`, [JSON.stringify(file), row.buttons.run, openFile === file.path, names.get(file.name)], () => fileLine(app, details.name, file, names.get(file.name)))),
    files.total && !files.found ? h("p", { class: "de-empty", key: "none" }, `None of the ${files.total.toLocaleString()} files matches.`) : null,
    files.found > files.files.length ? moreFiles(app, files) : null);
}

/** @param {FilesView} files */
function progressPart({ progress, share }) {
  return h("div", { class: "de-active", key: "progress" }, h("div", null, progress),
    h("div", { class: `de-bar${share === null ? " de-bar-open" : ""}`, role: "progressbar", "aria-label": "Files done", "aria-valuenow": share === null ? undefined : String(Math.round(100 * share)), "aria-valuemin": "0", "aria-valuemax": "100" },
      h("span", { style: share === null ? undefined : `width: ${100 * share}%` })));
}

/**
 * @param {Panel} app
 * @param {Partial<import("./types").State>} changes
 * @param {number} after
 */
function ask(app, changes, after = 0) {
  app.set({ fileLimit: Math.min(app.state.fileLimit, 200), ...changes });
  refreshFiles(app, after);
}

/**
 * @param {Panel} app
 * @param {FilesView} files
 */
function findFiles(app, { total, groups }) {
  const { fileSearch, fileGroup } = app.state;
  const chips = groups.length > 1 || fileGroup ? [["", "All", total], ...groups] : []; // of one kind there is nothing to choose
  return h("div", { class: "de-find-files", key: "find" },
    h("input", {
      type: "search", class: "de-input", placeholder: "Search files and reasons", "aria-label": "Search files",
      value: fileSearch, oninput: (event) => ask(app, { fileSearch: event.target.value }, TYPING_MS),
    }),
    chips.length === 0 ? null : h("div", { class: "de-chips", role: "group", "aria-label": "Show files" }, chips.map(([group, word, count]) => h("button", {
      key: String(group), class: "de-chip", "aria-pressed": String(fileGroup === group), "data-group": String(group), onclick: () => ask(app, { fileGroup: String(group) }),
    }, String(word), h("span", { class: "de-count" }, count.toLocaleString())))));
}

/**
 * @param {Panel} app
 * @param {FilesView} files
 */
function moreFiles(app, { found, files }) {
  const more = () => {
    app.set({ fileLimit: app.state.fileLimit + MORE_FILES });
    refreshFiles(app);
  };
  return h("div", { class: "de-line de-wrap", key: "more" },
    h("span", { class: "de-hint" }, `${files.length.toLocaleString()} of ${found.toLocaleString()} shown; a search looks at all of them.`),
    h("button", { class: "de-button de-small", onclick: more }, "Show more"));
}

/**
 * A file as one line; the one that is open says why, and what can be done with it.
 *
 * @param {Panel} app
 * @param {string} flow
 * @param {FileView} file
 * @param {string} name the end of its path that tells it from the others
 */
function fileLine(app, flow, file, name) {
  const { run_id: runId } = file;
  const isOpen = app.state.openFile === file.path;
  return h("div", { key: file.path, class: `de-file${isOpen ? " de-open" : ""}`, "data-file": file.name },
    h("button", { class: "de-file-main", "aria-expanded": String(isOpen), title: file.path, onclick: () => app.set({ openFile: isOpen ? null : file.path }) },
      icon(file.mark),
      h("span", { class: `de-grow de-strong ${isOpen ? "de-whole" : "de-clip"}` }, isOpen ? pathText(file.name) : name),
      file.last_at_utc ? h("span", { class: "de-faint de-fixed", title: clock(file.last_at_utc) }, file.last ? h("span", { class: "de-word" }, `${file.last.word} `) : null, agoText(file.last_at_utc)) : null,
      isOpen ? null : h("span", { class: file.last_at_utc ? "de-sr" : "de-faint de-clip" }, file.reason)),
    isOpen ? h("div", { class: "de-file-reason" }, file.reason) : null,
    isOpen ? h("div", { class: "de-line de-wrap" },
      file.retry ? null : button(app, `retry ${file.path}`, "Retry", null, () => app.act("retry", { flow, source: file.path }), { small: true, primary: true }),
      button(app, `run ${file.path}`, "Run", file.read || app.view.flows[flow].buttons.run, () => run(app, flow, file.path), { small: true, quiet: true }),
      button(app, `preview ${file.path}`, "Preview this file", file.read || app.jupyter.noPreview, () => app.jupyter.preview(file.path), { small: true, quiet: true }),
      runId ? button(app, `history ${file.path}`, "Last run", null, () => app.openRun(runId), { small: true, quiet: true }) : null) : null);
}
