// What a person sets of the workspace and the machine; and, apart, what is done to the whole workspace.

import { h } from "./dom.js";
import { button, sign } from "./pieces.js";

/** @import { PanelView, Settings } from "./types" */
/** @import { Panel } from "./panel.js" */

/** @param {Panel} app */
export function settingsTab(app) {
  const { settings, view } = app.state;
  return h("div", { class: "de-settings", key: "settings" },
    settings ? interpreterField(app, settings) : null,
    settings ? filePart(app, settings) : null,
    folderFields(app, settings, view),
    view ? daemonPart(app, view) : null,
    view ? [allPart(app, view), dangerPart(app, view)] : null,
    settings ? h("p", { class: "de-hint", key: "version" }, `Data Engine ${settings.version}`) : null);
}

/** @param {Panel} app */
export async function loadSettings(app) {
  if (!app.transport.root) return;
  const answer = await app.transport.call("settings", {});
  if (answer.result) app.set({ settings: answer.result });
  else app.say(answer);
}

/**
 * @param {Panel} app
 * @param {string} path
 */
async function provision(app, path) {
  const found = await app.act("provision", { path });
  if (!found) return;
  await app.readWorkspaces();
  if (found.root !== app.transport.root) app.switchTo(found.root);
}

/**
 * @param {Panel} app
 * @param {string} action
 * @param {object} args
 */
async function save(app, action, args) {
  await app.act(action, args);
  await loadSettings(app);
}

/**
 * @param {{ name: string, label: string, value: string | null | undefined, press?: string, hint: string }} about
 * @param {(value: string) => unknown} action
 */
function field({ name, label, value, press = "Save", hint }, action) {
  return h("form", {
    key: name, class: "de-setting", onsubmit: (event) => {
      event.preventDefault();
      action(event.target.elements.value.value.trim());
    },
  },
  h("label", { class: "de-h4", for: `de-${name}` }, label),
  h("div", { class: "de-line" }, h("input", { id: `de-${name}`, class: "de-input de-grow", name: "value", value: value || "" }), h("button", { class: "de-button", type: "submit" }, press)),
  h("p", { class: "de-hint" }, hint));
}

/**
 * @param {Panel} app
 * @param {Settings | null} settings
 * @param {PanelView | null} view
 */
function folderFields(app, settings, view) {
  const collection = settings && settings.machine.collection_root;
  const hint = "The folder that holds your workspaces.";
  return [
    field({ name: "collection", label: "Workspace folder", value: collection, hint: settings && !collection ? `${hint} None is set yet.` : hint },
      (value) => save(app, "save_settings", { collection_root: value })),
    field({ name: "provision", label: "Create a workspace", value: view ? view.workspace_root : "", press: "Create", hint: "Adds what is missing to the folder, or makes it. Nothing that exists is changed." },
      (value) => provision(app, value)),
  ];
}

/**
 * @param {Panel} app
 * @param {Settings} settings
 */
function interpreterField(app, { interpreter: { executable, kind } }) {
  return field({
    name: "interpreter", label: "Python interpreter", value: executable,
    hint: `Runs use it (${kind}). Leave it empty to use the Python that starts the daemon.`,
  }, (value) => save(app, "set_interpreter", { path: value }));
}

/**
 * @param {Panel} app
 * @param {Settings} settings
 */
function filePart(app, { workspace }) {
  return h("section", { key: "file", class: "de-setting" },
    h("h4", { class: "de-h4" }, "Settings of the workspace"),
    workspace.warnings.map((text, index) => h("p", { key: `w ${index}`, class: "de-hint" }, text)),
    h("div", { class: "de-line" }, button(app, "edit settings", "Edit data_engine.toml", null, () => app.jupyter.open(workspace.file), { title: `Edit ${workspace.file}` })));
}

/**
 * @param {Panel} app
 * @param {PanelView} view
 */
function daemonPart(app, view) {
  return h("section", { key: "daemon", class: "de-setting" },
    h("h4", { class: "de-h4" }, "Daemon"),
    h("div", { class: "de-line" }, sign(view.daemon), h("span", { class: "de-faint" }, view.details.daemon)),
    view.cluster ? clusterLine(view.cluster) : null,
    h("div", { class: "de-line de-wrap" },
      button(app, "start daemon", "Start daemon", view.buttons.start_daemon, () => app.act("start", {})),
      button(app, "shutdown", "End when done", view.buttons.shutdown, () => app.act("shutdown", {})),
      view.buttons.release || view.lease.kind === "alone" ? null : button(app, "release", "Release control", null, () => app.act("release_control", {}))));
}

/** @param {import("./types").ClusterFacts} cluster */
function clusterLine({ text, dashboard: link }) {
  return h("div", { class: "de-line" }, link ? h("a", { href: link, target: "_blank", rel: "noreferrer" }, text) : text);
}

/**
 * @param {Panel} app
 * @param {PanelView} view
 */
function allPart(app, { buttons }) {
  return h("section", { key: "all", class: "de-setting" },
    h("h4", { class: "de-h4" }, "All flows at once"),
    h("div", { class: "de-line de-wrap" },
      button(app, "deploy all", "Deploy everything", buttons.deploy_all, () => app.deployAll()),
      button(app, "retry all", "Retry all held", buttons.retry_all, () => app.act("retry", {}), { confirm: "Really run all held files again?" })));
}

/**
 * What cannot be taken back: apart from the settings, and folded until it is wanted.
 *
 * @param {Panel} app
 * @param {PanelView} view
 */
function dangerPart(app, { buttons }) {
  return h("details", { key: "danger", class: "de-danger" },
    h("summary", { class: "de-h4" }, "What cannot be undone"),
    h("div", { class: "de-line de-wrap" },
      button(app, "force stop", "Force stop daemon", buttons.kill, () => app.act("kill", {}), { confirm: "Really end it and its runs?" }),
      button(app, "reset workspace", "Reset workspace", buttons.reset_all, () => app.act("reset", {}), { confirm: "Really forget all history?" })),
    h("p", { class: "de-hint" }, "Runs that a force stop ends are marked as abandoned. A reset forgets this machine's history of every flow."));
}
