// The files that flows wrote, the newest first, and a search among all of them.

import { h } from "./dom.js";
import { bytes, clock, plural } from "./format.js";
import { agoText, icon, pathText } from "./pieces.js";
import { inspect } from "./sheet.js";

/** @import { OutputView } from "./types" */
/** @import { Panel } from "./panel.js" */

const FEW = 5;
const MORE = 500;
const TYPING_MS = 100;
/** @type {WeakMap<Panel, { timer?: ReturnType<typeof setTimeout>, asked: number }>} */
const asking = new WeakMap();

/**
 * Reads the list soon; of several answers the one to the last question counts.
 *
 * @param {Panel} app
 * @param {number} after
 */
export function loadWritten(app, after = 0) {
  const now = asking.get(app) || { asked: 0 };
  asking.set(app, now);
  clearTimeout(now.timer);
  now.timer = setTimeout(async () => {
    const number = (now.asked += 1);
    const { tab, selected, writtenSearch: search, writtenLimit: limit } = app.state;
    const answer = await app.transport.call("outputs", { flow: (tab === "flows" && selected) || "", search, limit });
    if (answer.result && number === now.asked && !app.isGone) app.set({ written: answer.result });
  }, after);
}

/**
 * @param {Panel} app
 * @param {string | null} flow whose files are listed, of all flows without one
 */
export function writtenPart(app, flow) {
  const { written, writtenSearch, writtenLimit } = app.state;
  if (!written) return h("p", { class: "de-hint", key: "written" }, "Reading what was written…");
  return h("section", { class: "de-saved", key: "written" },
    h("h4", { class: "de-h4" }, flow ? "Written by it " : "Written by flows ", h("span", { class: "de-count" }, written.total.toLocaleString())),
    written.total > FEW ? h("input", {
      type: "search", class: "de-input", key: "search", placeholder: "Search files and flows", "aria-label": "Search outputs", value: writtenSearch,
      oninput: (event) => {
        app.set({ writtenSearch: event.target.value });
        loadWritten(app, TYPING_MS);
      },
    }) : null,
    written.files.map((file) => outputLine(app, file, flow)),
    written.total ? null : h("p", { class: "de-hint", key: "none" }, `${flow ? "It" : "No flow"} has ${flow ? "not written" : "written"} a file yet. A file that a step writes through context.mirror, or returns, is listed here.`),
    written.total && !written.found ? h("p", { class: "de-hint", key: "none" }, `None of the ${plural(written.total, "file")} matches.`) : null,
    written.found > written.files.length ? h("button", {
      class: "de-button de-small de-more", key: "more", onclick: () => {
        app.set({ writtenLimit: writtenLimit + MORE });
        loadWritten(app);
      },
    }, `Show more of ${written.found.toLocaleString()}`) : null);
}

/**
 * @param {Panel} app
 * @param {OutputView} file
 * @param {string | null} flow
 */
function outputLine(app, file, flow) {
  const isGone = file.is_there === false;
  const facts = [flow ? "" : file.flow, file.rows === null ? "" : plural(file.rows, "row"), file.size_bytes === null ? "" : bytes(file.size_bytes), isGone ? "not there any more" : file.is_source_gone ? "source gone" : ""];
  return h("button", {
    key: file.path, class: "de-frame", "data-output": file.name,
    title: `${file.path}\n${clock(file.at_utc)}, run ${file.run_id}${file.is_source_gone ? "\nThe file it was made from is gone: data-engine tidy moves it aside" : ""}`,
    "aria-disabled": isGone ? "true" : undefined, onclick: () => !isGone && inspect(app, file.path),
  },
  isGone || file.is_source_gone ? icon({ shape: "bar", tone: "warn" }) : null,
  h("span", { class: "de-grow" },
    h("span", { class: "de-whole de-strong" }, pathText(file.name)),
    h("span", { class: "de-faint de-whole" }, facts.filter(Boolean).join(" · "), file.folder === "." ? null : [" · ", pathText(file.folder)])),
  agoText(file.at_utc));
}
