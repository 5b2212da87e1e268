// The files of a flow's source: how many of which kind, and those that a search finds.

import { run } from "./actions.js";
import { h } from "./dom.js";
import { refreshFiles } from "./file_list.js";
import { clock } from "./format.js";
import { agoText, button, folded, icon, note, pathText } from "./pieces.js";

/** @import { FileView, FilesView, FlowDetails } from "./types" */
/** @import { Panel } from "./panel.js" */

const FEW_FILES = 5;
const MORE_FILES = 1000;
const TYPING_MS = 100;

/**
 * @param {Panel} app
 * @param {FlowDetails} details
 */
export function filesTable(app, details) {
  const { files, filesSaid } = app.state;
  const row = app.view.flows[details.name];
  if (!files) return h("div", { class: "de-files" }, filesSaid ? note("bad", "said", filesSaid) : h("p", { class: "de-empty" }, "Reading the files…"));
  return h("div", { class: "de-files" },
    filesSaid ? note("bad", "said", filesSaid) : null,
    files.notes.map((text) => row.mode !== "manual" && row.reason && row.reason.startsWith(text) ? null : h("p", { class: "de-hint", key: `n ${text}` }, text)),
    files.progress ? progressPart(files) : null,
    files.total > FEW_FILES ? findFiles(app, files) : null,
    files.files.map((file) => app.memo.get(`file ${file.path}`, [JSON.stringify(file), row.buttons.run], () => fileLine(app, details.name, file))),
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
 * @param {FilesView} files
 */
function findFiles(app, { total, groups }) {
  const { fileSearch, fileGroup, fileLimit } = app.state;
  /** @type {(changes: Partial<import("./types").State>, after?: number) => void} */
  const ask = (changes, after = 0) => {
    app.set({ fileLimit: Math.min(fileLimit, 200), ...changes });
    refreshFiles(app, after);
  };
  const chips = [["", "All", total], ...groups];
  return h("div", { class: "de-find-files", key: "find" },
    h("input", {
      type: "search", class: "de-input", placeholder: "Search files and reasons", "aria-label": "Search files",
      value: fileSearch, oninput: (event) => ask({ fileSearch: event.target.value }, TYPING_MS),
    }),
    h("div", { class: "de-chips", role: "group", "aria-label": "Show files" }, chips.map(([group, word, count]) => h("button", {
      key: String(group), class: "de-chip", "aria-pressed": String(fileGroup === group), "data-group": String(group), onclick: () => ask({ fileGroup: String(group) }),
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
 * @param {Panel} app
 * @param {string} flow
 * @param {FileView} file
 */
function fileLine(app, flow, file) {
  const { run_id: runId } = file;
  return h("div", { key: file.path, class: "de-file", "data-file": file.name },
    h("div", { class: "de-line" }, icon(file.mark), h("span", { class: "de-grow de-strong de-whole", title: file.path }, pathText(file.name)),
      file.last_at_utc ? h("span", { class: "de-faint de-fixed", title: clock(file.last_at_utc) }, file.last ? `${file.last.word} ` : "", agoText(file.last_at_utc)) : null),
    h("div", { class: "de-file-reason" }, folded(file.reason)),
    h("div", { class: "de-line de-wrap" },
      button(app, `retry ${file.path}`, "Retry", file.retry, () => app.act("retry", { flow, source: file.path }), { small: true, primary: !file.retry }),
      button(app, `run ${file.path}`, "Run", file.read || app.view.flows[flow].buttons.run, () => run(app, flow, file.path), { small: true, quiet: true }),
      button(app, `preview ${file.path}`, "Preview this file", file.read || app.jupyter.noPreview, () => app.jupyter.preview(file.path), { small: true, quiet: true }),
      runId ? button(app, `history ${file.path}`, "Last run", null, () => app.openRun(runId), { small: true, quiet: true }) : null));
}
