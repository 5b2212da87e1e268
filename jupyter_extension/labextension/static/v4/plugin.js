// The plugin: the panel in the right side bar, its commands, the launcher's tile, the status line, and panels in notebooks.

import { Bell } from "./bell.js";
import { Notebooks } from "./notebooks.js";
import { base, loadPanel } from "./panel_module.js";
import { PANEL_MIME, PROFILE_MIME, foldClass, shownClass } from "./shown.js";
import { addStatusLine } from "./status_line.js";

/** @import { App, Notifications, Scope, Services, ShowError, WidgetClass } from "./jupyterlab" */
/** @import { Panel } from "../../../static/panel.js" */
/** @import { Transport } from "../../../static/types" */

const CATEGORY = "Data Engine";
const DOCS_TAB = "data-engine-docs";
const WIDTH = 420, NARROWEST = 200, BESIDE = 760; // px; with its frame, what the document beside it keeps
const KEPT_WIDTH = "data-engine:width", FITS_MS = 500;
const DRAWING = '<circle cx="3.4" cy="3.6" r="1.9"/><circle cx="3.4" cy="12.4" r="1.9"/><circle cx="12.6" cy="8" r="1.9"/><path d="M5.3 3.6h1.6c1.8 0 1.6 4.4 3.8 4.4M5.3 12.4h1.6c1.8 0 1.6-4.4 3.8-4.4"/>';
const ICON = `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16"><g fill="none" stroke-width="1.4"><g class="jp-icon3" stroke="#616161">${DRAWING}</g></g></svg>`;
const TILE = `<svg xmlns="http://www.w3.org/2000/svg" width="52" height="52" viewBox="-1 -1 18 18"><g fill="none" stroke="#1976d2" stroke-width="1.3">${DRAWING}</g></svg>`;

/**
 * A module that JupyterLab shares, in its newest version.
 *
 * @param {Scope} scope
 * @param {string} name
 * @returns {Promise<any>}
 */
async function shared(scope, name) {
  const versions = scope[name];
  if (!versions) throw new Error(`not shared: ${name}`);
  const newest = Object.keys(versions).sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).at(-1) || "";
  return (await versions[newest].get())();
}

/**
 * What JupyterLab asks the door for: the module that holds the plugin.
 *
 * @param {Scope} scope
 */
export async function extension(scope) {
  /** @type {(name: string) => Promise<any>} */
  const orNothing = (name) => shared(scope, name).catch(() => ({}));
  const { Widget } = await shared(scope, "@lumino/widgets");
  const { ICommandPalette, Notification, showErrorMessage } = await shared(scope, "@jupyterlab/apputils");
  const { LabIcon } = await shared(scope, "@jupyterlab/ui-components");
  /** @type {Record<keyof Services, unknown>} */
  const tokens = {
    palette: ICommandPalette,
    launcher: (await orNothing("@jupyterlab/launcher")).ILauncher,
    statusBar: (await orNothing("@jupyterlab/statusbar")).IStatusBar,
    rendermime: (await orNothing("@jupyterlab/rendermime")).IRenderMimeRegistry,
    tracker: (await orNothing("@jupyterlab/notebook")).INotebookTracker,
    restorer: (await orNothing("@jupyterlab/application")).ILayoutRestorer,
  };
  const wanted = Object.entries(tokens).filter(([, token]) => token);
  const icon = new LabIcon({ name: "data-engine:flow", svgstr: ICON });
  const plugin = {
    id: "data-engine:panel",
    autoStart: true,
    optional: wanted.map(([, token]) => token),
    activate: (/** @type {App} */ app, /** @type {unknown[]} */ ...given) => {
      const none = { palette: null, launcher: null, statusBar: null, rendermime: null, tracker: null, restorer: null };
      const services = /** @type {Services} */ ({ ...none, ...Object.fromEntries(wanted.map(([name], index) => [name, given[index]])) });
      activate(app, services, Widget, icon, showErrorMessage, Notification);
    },
  };
  return () => ({ __esModule: true, default: plugin });
}

/**
 * @param {App} app
 * @param {Services} services
 * @param {WidgetClass} Widget
 * @param {unknown} icon
 * @param {ShowError} showError
 * @param {Notifications | undefined} notifications
 */
function activate(app, services, Widget, icon, showError, notifications) {
  const show = () => app.commands.execute("data-engine:show");
  const followLine = services.statusBar ? addStatusLine(Widget, services.statusBar, app.shell, show) : () => {};
  const side = new SidePanel(app, Widget, icon, (transport) => {
    followLine(transport);
    bell.follow(transport);
  });
  const notebooks = new Notebooks(app, services.tracker, showError);
  const bell = new Bell(app, notifications, side.widget, base(), {
    open: (place) => notebooks.open(place).catch((error) => showError("The file cannot be opened", String(error.message || error))),
    show: (root, flow) => side.showFlow(root, flow),
    replay: (root, flow, runId) => side.replay(root, flow, runId),
  });
  side.show(services.restorer);
  notebooks.listen();
  addCommands(app, services, side, notebooks, icon, showError);
  if (services.rendermime) {
    const Shown = shownClass(Widget, services.tracker);
    services.rendermime.addFactory({ safe: true, mimeTypes: [PANEL_MIME], createRenderer: () => new Shown() }, -20);
    const Fold = foldClass(Widget, services.tracker);
    services.rendermime.addFactory({ safe: true, mimeTypes: [PROFILE_MIME], createRenderer: () => new Fold() }, -20);
  }
}

/** The panel in the right side bar: it needs no kernel. */
class SidePanel {
  /**
   * @param {App} app
   * @param {WidgetClass} Widget
   * @param {unknown} icon
   * @param {(transport: Transport) => void} follow
   */
  constructor(app, Widget, icon, follow) {
    this.app = app;
    this.follow = follow;
    this.widget = new Widget();
    this.widget.id = "data-engine-panel";
    this.widget.title.icon = icon;
    this.widget.title.caption = "Data Engine";
    this.widget.addClass("de-side");
    this.widget.node.style.minWidth = `${NARROWEST}px`;
    /** @type {Promise<Panel | null> | null} */
    this.starting = null;
  }

  /** @param {Services["restorer"]} restorer */
  show(restorer) {
    this.app.shell.add(this.widget, "right", { rank: 900, type: "Data Engine" });
    // Notebook 7 puts one more panel around its side bar, which does not hand on how much room is needed inside
    const around = this.widget.parent && this.widget.parent.parent;
    if (around && around.id === "jp-right-stack") around.node.style.minWidth = "320px";
    else this.followWidth();
    if (restorer) restorer.add(this.widget, this.widget.id);
    this.panel();
  }

  /** It opens as wide as it was last; the first time so that the document beside it keeps its room. */
  followWidth() {
    const { widget } = this;
    /** @param {number} px */
    const least = (px) => {
      widget.node.style.minWidth = `${px}px`;
      if (widget.parent) widget.parent.fit();
    };
    const width = () => widget.node.clientWidth;
    const opened = new ResizeObserver(() => {
      if (!width()) return;
      opened.disconnect();
      const room = width() + (document.getElementById("jp-main-dock-panel")?.clientWidth || BESIDE) - BESIDE;
      least(Number(localStorage.getItem(KEPT_WIDTH)) || Math.max(NARROWEST, Math.min(WIDTH, room)));
      setTimeout(() => {
        least(NARROWEST);
        new ResizeObserver(() => width() && localStorage.setItem(KEPT_WIDTH, String(width()))).observe(widget.node);
      }, FITS_MS);
    });
    opened.observe(widget.node);
  }

  activate() {
    this.app.shell.activateById(this.widget.id);
  }

  /**
   * Shows a flow of a workspace, or those that need somebody.
   *
   * @param {string} root
   * @param {string | null} flow
   */
  async showFlow(root, flow) {
    this.activate();
    const panel = await this.panel();
    if (!panel) return;
    panel.switchTo(root);
    panel.select(flow);
    panel.set(flow === null ? { tab: "flows", filter: "failing", search: "" } : { tab: "flows" });
  }

  /**
   * Opens a failed run with its data, in the panel and in its notebook.
   *
   * @param {string} root
   * @param {string} flow
   * @param {string} runId
   */
  async replay(root, flow, runId) {
    await this.showFlow(root, flow);
    const panel = await this.panel();
    if (!panel) return;
    panel.openRun(runId);
    await (await loadPanel()).openReplay(panel, runId);
  }

  /** The panel; null where the server extension does not answer, which its place then says. */
  panel() {
    this.starting = this.starting || this.begin().catch((error) => {
      this.starting = null;
      this.widget.node.textContent = `Data Engine: ${error.message}. Enable the server extension: jupyter server extension enable jupyter_extension.server`;
      return null;
    });
    return this.starting;
  }

  async begin() {
    await this.app.restored;
    const { mount, ServerTransport } = await loadPanel();
    const inside = document.createElement("div");
    this.widget.node.replaceChildren(inside);
    const transport = new ServerTransport(base(), null);
    const key = `data-engine:root:${base()}`;
    const { currentWidget } = this.app.shell;
    return mount(inside, transport, {
      path: currentWidget && currentWidget.context ? currentWidget.context.path : null,
      before: localStorage.getItem(key),
      remember: (root) => {
        localStorage.setItem(key, root);
        this.follow(transport.at(root));
      },
    }).panel;
  }
}

/**
 * @param {App} app
 * @param {Services} services
 * @param {SidePanel} side
 * @param {Notebooks} notebooks
 * @param {unknown} icon
 * @param {ShowError} showError
 */
function addCommands({ commands }, { palette, launcher }, side, notebooks, icon, showError) {
  /** @type {(id: string, label: string, execute: () => unknown, extra?: object) => void} */
  const add = (id, label, execute, extra) => {
    commands.addCommand(id, { label, execute, ...extra });
    if (palette) palette.addItem({ command: id, category: CATEGORY });
  };
  /** @type {(action: string) => () => Promise<unknown>} */
  const act = (action) => async () => {
    const panel = await side.panel();
    return panel && panel.act(action, {});
  };
  const newFlow = async () => {
    const panel = await side.panel();
    if (!panel || !panel.transport.root) {
      side.activate();
      if (panel) await showError("No workspace is chosen", "Choose a workspace at the top of the Data Engine panel, or make one in its settings.");
      return;
    }
    const { result, error } = await panel.transport.call("new_flow", {});
    if (error) {
      await showError(error.what, error.fix || "");
      return;
    }
    side.activate();
    await notebooks.open({ path: result.path, root: panel.transport.root });
  };
  add("data-engine:show", "Show Data Engine panel", async () => {
    side.activate();
    await side.panel();
  }, { icon });
  add("data-engine:new-flow", "New flow notebook", newFlow, { icon, caption: "A notebook that is a flow, in the workspace's flow_modules" });
  add("data-engine:start-engine", "Start the engine", act("start_engine"));
  add("data-engine:stop-engine", "Stop the engine", act("stop_engine"));
  add("data-engine:deploy", "Deploy every flow module", async () => {
    const panel = await side.panel();
    if (panel) panel.deployAll();
    side.activate(); // it asks
  });
  add("data-engine:docs", "Data Engine documentation", () => { window.open(`${base()}docs/`, DOCS_TAB); }, { icon, caption: "\"I want to ...\", the guides, the reference and the glossary: in a tab of the browser, without a network" });
  const kernelIconUrl = `data:image/svg+xml;utf8,${encodeURIComponent(TILE)}`;
  if (launcher) launcher.add({ command: "data-engine:new-flow", category: "Notebook", rank: 20, kernelIconUrl });
  if (launcher) launcher.add({ command: "data-engine:docs", category: "Other", rank: 20 });
}
