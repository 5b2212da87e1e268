// What a person asks of flows and their runs, wherever in the panel they press.

import { ask } from "./question.js";

/** @import { WhyNot } from "./types" */
/** @import { Panel } from "./panel.js" */

const SAME_CLICK_MS = 500;
/** @type {Map<string, number>} when what was asked to run may be asked again */
const notBefore = new Map();

/**
 * Runs a flow once: what is pressed while it is asked for, or the second half of a double click, asks for nothing more.
 *
 * @param {Panel} app
 * @param {string} flow
 * @param {string | null} source
 * @param {Record<string, string>} params texts by name, read where the flow is known
 */
export function run(app, flow, source = null, params = {}) {
  const key = JSON.stringify([flow, source, params]), now = performance.now();
  if ((notBefore.get(key) || 0) > now) return null;
  notBefore.set(key, Infinity);
  /** @type {(take: string) => Promise<any>} */
  const begin = (take) => app.during(`run ${flow}`, app.act("run", { flow, source, params, take, unsaved: app.jupyter.unsaved(flow, true) }));
  return begin("ask").then((found) => asked(app, found, begin))
    .finally(() => notBefore.set(key, now + SAME_CLICK_MS));
}

/**
 * Deploys a flow, or every one. What JupyterLab has not saved of it would not be deployed: so that is asked first; and of every one
 * what would change.
 *
 * @param {Panel} app
 * @param {{ name?: string, yes?: boolean, approve?: boolean, note?: string, shown?: string, agreed?: string[] }} args
 */
export function deploy(app, args) {
  const files = app.jupyter.unsaved(args.name, true);
  /** @type {(given?: typeof args) => Promise<any>} */
  const go = async (given = args) => {
    app.set({ note: "" });
    if (!given.agreed) await app.jupyter.compare(given.name);
    return agreeOn(app, given, (again) => app.act("deploy", again));
  };
  if (!files.length) return go();
  const one = files.length === 1;
  const save = async () => {
    if (await app.jupyter.save(files)) await go({ ...args, shown: undefined });
    else app.say({ error: { what: `Not deployed: ${files.join(", ")} ${one ? "was" : "were"} not saved`, where: null, fix: "save in JupyterLab, then deploy" } });
  };
  ask(app, `${files.join(", ")} ${one ? "has" : "have"} unsaved edits.`, [["Save and deploy", save], [`Deploy the saved file${one ? "" : "s"}`, () => go()]]);
  return null;
}

/**
 * The result of a request; one that is answered with a question is asked again once a person has agreed to that.
 *
 * @template {{ agreed?: string[] }} Args
 * @param {Panel} app
 * @param {Args} args
 * @param {(args: Args) => Promise<any>} request
 * @returns {Promise<any>}
 */
export async function agreeOn(app, args, request) {
  return asked(app, await request(args), (key) => agreeOn(app, { ...args, agreed: [...(args.agreed || []), key] }, request));
}

/**
 * A result; where it is a question that is asked, and `again` gets what a person chose.
 *
 * @param {Panel} app
 * @param {any} found
 * @param {(choice: string) => unknown} again
 */
function asked(app, found, again) {
  if (!found || !found.question) return found;
  const { text, answers } = found.question;
  ask(app, text, answers.map((/** @type {[string, string]} */ [label, choice]) => [label, () => again(choice)]));
  return null;
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
  app.noteEnding(app.view.active.filter((one) => one.in_daemon && (runId ? one.run_id === runId : one.flow === flow)));
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
