// A failed run, opened with its data: a cell in its notebook, the cells that must have run, and the deploy that takes it away.

import { agreeOn, run } from "./actions.js";
import { h } from "./dom.js";
import { button } from "./pieces.js";

/** @import { Opening, OpenRun, RunView } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * Adds the cell that opens the failing step of a run.
 *
 * @param {Panel} app
 * @param {string} runId
 */
export async function openReplay(app, runId) {
  const { result, error } = await app.transport.call("replay", { run_id: runId });
  if (error) {
    app.say({ error });
    return;
  }
  if (!(await app.jupyter.addReplay(result)) || app.isGone) return;
  if (!app.state.run || app.state.run.id !== runId) app.openRun(runId);
  app.set({ run: { details: null, ...app.state.run, id: runId, opening: result } });
}

/**
 * @param {Panel} app
 * @param {string} runId of a run whose step failed
 */
export function replayButton(app, runId) {
  return button(app, `replay ${runId}`, "Open with its data", app.jupyter.noPreview, () => openReplay(app, runId), { small: true });
}

/**
 * @param {Panel} app
 * @param {RunView} failed
 * @param {OpenRun} open
 */
export function replayPart(app, failed, open) {
  const { opening } = open;
  if (!opening) return null;
  const ids = opening.needs.map(([, id]) => id);
  return h("div", { class: "de-line de-wrap", key: "replay", role: "group", "aria-label": "Replay" },
    h("span", { class: "de-faint" }, needsText(opening)),
    ids.length ? button(app, `needs ${failed.run_id}`, "Run them", null, () => app.jupyter.runCells(opening, ids), { small: true }) : null,
    button(app, `mended ${failed.run_id}`, "Deploy and retry", whyNotDeployed(app, opening.flow), () => deployAndRetry(app, opening, failed.source), { small: true }));
}

/**
 * Why there is nothing to deploy; edits that are not saved are saved first.
 *
 * @param {Panel} app
 * @param {string} flow
 */
export function whyNotDeployed(app, flow) {
  const row = app.view.flows[flow];
  return !row || app.jupyter.unsaved(flow, true).length ? null : row.buttons.deploy;
}

/**
 * Which cells must have run before the added one.
 *
 * @param {Opening} opening
 */
export function needsText({ needs }) {
  const numbers = needs.map(([number]) => number);
  if (!numbers.length) return "Run the added cell with Shift+Enter.";
  const last = numbers.pop();
  return numbers.length ? `Cells ${numbers.join(", ")} and ${last} must have run before the added one.` : `Cell ${last} must have run before the added one.`;
}

/**
 * Takes the added cell away, saves the notebook, deploys its flow, and tries again what is held; where nothing can be, as of a flow that
 * runs by hand only, the failed source is run.
 *
 * @param {Panel} app
 * @param {Opening} opening
 * @param {string | null} source
 */
async function deployAndRetry(app, opening, source) {
  const { flow, notebook } = opening;
  await app.jupyter.endReplay(opening);
  if (notebook && !(await app.jupyter.save([notebook]))) {
    app.say({ error: { what: `Not deployed: ${notebook} was not saved`, where: null, fix: "save in JupyterLab, then deploy" } });
    return;
  }
  await app.jupyter.compare(flow);
  await agreeOn(app, /** @type {{ name: string, agreed?: string[] }} */ ({ name: flow }), async (args) => {
    const found = await app.act("deploy", args);
    if (found && !found.question && !found.is_bad) await (app.view.flows[flow]?.buttons.retry ? run(app, flow, source) : app.act("retry", { flow }));
    return found;
  });
}
