import { h } from "./dom.js";
import { pathText, sign } from "./format.js";

// The workspace's and the machine's settings, provisioning, and the emergency exits.

export function settingsTab(app) {
  const { settings, view } = app.state;
  const field = (name, label, value, action, hint) => h("form", {
    key: name, class: "de-setting", onsubmit: (event) => {
      event.preventDefault();
      action(event.target.elements.value.value.trim());
    },
  },
    h("label", { class: "de-h4", for: `de-${name}` }, label),
    h("div", { class: "de-line" }, h("input", { id: `de-${name}`, class: "de-input de-grow", name: "value", value: value || "" }), h("button", { class: "de-button", type: "submit" }, name === "provision" ? "Provision" : "Save")),
    hint ? h("p", { class: "de-hint" }, hint) : null);
  return h("div", { class: "de-settings", key: "settings" },
    field("collection", "Workspace folder", settings && settings.machine.collection_root, (value) => app.act("save_settings", { collection_root: value }).then(() => app.loadSettings()),
      settings && !settings.machine.collection_root ? "Workspace folder is not configured. Its children are the workspaces to choose from." : "Its children are the workspaces to choose from."),
    field("provision", "Provision a workspace", view ? view.workspace_root : "", (value) => app.provision(value), "Adds what is missing to the folder, or makes it. Nothing that exists is changed."),
    settings ? field("interpreter", "Python interpreter", settings.interpreter.executable, (value) => app.act("set_interpreter", { path: value }).then(() => app.loadSettings()),
      `${settings.interpreter.kind[0].toUpperCase()}${settings.interpreter.kind.slice(1)}. Runs use it; leave it empty for that of whoever starts the daemon.`) : null,
    settings ? h("section", { key: "places", class: "de-setting" },
      h("h4", { class: "de-h4" }, "Places"),
      h("dl", { class: "de-about" }, Object.entries({ ...settings.places, settings: settings.workspace.file }).map(([name, path]) => [h("dt", { key: `t ${name}` }, name.replace("_", " ")), h("dd", { key: `d ${name}`, title: path }, pathText(path))])),
      settings.workspace.warnings.map((text, index) => h("p", { key: `w ${index}`, class: "de-hint" }, text)),
      h("div", { class: "de-line" }, app.button("edit settings", "Edit data_engine.toml", null, () => app.openFile(settings.workspace.file), { small: true }))) : null,
    view ? h("section", { key: "daemon", class: "de-setting" },
      h("h4", { class: "de-h4" }, "Daemon"),
      h("div", { class: "de-line" }, sign(view.daemon), h("span", { class: "de-faint" }, view.details.daemon)),
      h("div", { class: "de-line de-wrap" },
        app.button("start daemon", "Start daemon", view.buttons.start_daemon, () => app.act("start_daemon", {})),
        app.button("shutdown", "End when done", view.buttons.shutdown, () => app.act("shutdown", {})),
        app.button("deploy all", "Deploy everything", view.buttons.deploy_all, () => app.act("deploy", {})),
        app.button("retry all", "Retry all held", view.buttons.retry_all, () => app.act("retry", {})))) : null,
    view ? h("section", { key: "emergency", class: "de-setting de-danger" },
      h("h4", { class: "de-h4" }, "Emergency"),
      h("div", { class: "de-line de-wrap" },
        app.button("force stop", "Force stop daemon", view.buttons.kill, () => app.act("kill", {}), { confirm: "Really end it and its runs?" }),
        app.button("reset workspace", "Reset workspace", view.buttons.reset_all, () => app.act("reset", {}), { confirm: "Really forget all history?" })),
      h("p", { class: "de-hint" }, "Runs that are ended so become abandoned. A reset forgets this machine's history of every flow.")) : null,
    h("section", { key: "keys", class: "de-setting" },
      h("h4", { class: "de-h4" }, "Keys"),
      h("p", { class: "de-hint" }, "In the panel: / search, arrows among flows and tabs, Enter look closely, Shift Enter run, Esc back, v last log, r read again, e start engine, s stop engine.")),
    settings ? h("p", { class: "de-hint", key: "version" }, `Data Engine ${settings.version}`) : null);
}
