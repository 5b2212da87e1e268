// What a person asks of flows and their runs, wherever in the panel they press.

/** @import { WhyNot } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * @param {Panel} app
 * @param {string} flow
 * @param {string | null} source
 * @param {Record<string, string>} params texts by name, read where the flow is known
 */
export function run(app, flow, source = null, params = {}) {
  return app.during(`run ${flow}`, app.act("run", { flow, source, params }));
}

/**
 * Ends the runs of a flow, or one of them; until they are gone the panel says that they are ending.
 *
 * @param {Panel} app
 * @param {"stop_run" | "kill_run"} action
 * @param {string} flow
 * @param {string} [runId]
 */
export async function end(app, action, flow, runId) {
  const found = await app.act(action, runId ? { run_id: runId } : { flow });
  if (found === null) return;
  for (const one of app.view.active) if (one.in_daemon && (runId ? one.run_id === runId : one.flow === flow)) app.state.ending.add(one.run_id);
  app.update();
}

/**
 * Does what the button `key` does, and says why it cannot.
 *
 * @param {Panel} app
 * @param {string} key
 * @param {WhyNot} why
 * @param {string} action
 */
export function press(app, key, why, action) {
  if (why) app.set({ said: { text: `${key[0].toUpperCase()}${key.slice(1)}: ${why}.` } });
  else if (!app.state.pending.get(`b ${key}`)) app.during(`b ${key}`, app.act(action, {}));
}

/**
 * Rows or lines as a file on the person's own machine.
 *
 * @param {string} name
 * @param {string} type
 * @param {BlobPart[]} parts
 */
export function saveFile(name, type, parts) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(parts, { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
