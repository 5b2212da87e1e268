// Asking for the files of the flow that is looked at: soon, one question at a time, and again while its files are shown.

/** @import { Panel } from "./panel.js" */

const BUSY_MS = 50;
const AFTER_ERROR_S = 5;

/**
 * Reads the files of the selected flow in so many milliseconds, or as soon as what was asked before is answered.
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
  app.set({ files: result || app.state.files, filesSaid: error ? error.what : null });
  const { fileSearch, fileGroup, fileLimit } = app.state;
  if (fileSearch !== search || fileGroup !== group || fileLimit !== limit) refreshFiles(app);
  else if (app.state.section === "files" && app.state.tab === "flows") refreshFiles(app, 1000 * (result ? result.again_s : AFTER_ERROR_S));
}
