// What the panel asks of JupyterLab: open a file, show a cell, add a cell.

import { base, jupyterPath, loadPanel, realPath } from "./panel_module.js";

/** @import { App, DocumentWidget, FilePlace, ShowError, Tracker } from "./jupyterlab" */

const OPENS_WITHIN_MS = 30000;
const SOON_MS = 300;

export class Notebooks {
  /**
   * @param {App} app
   * @param {Tracker | null} tracker
   * @param {ShowError} showError
   */
  constructor(app, tracker, showError) {
    this.app = app;
    this.tracker = tracker;
    this.showError = showError;
    this.askedKey = `data-engine:cell:${base()}`;
    /** @type {{ served: string, links: Record<string, string> } | null} the folder that Jupyter serves */
    this.place = null;
    /** @type {WeakMap<object, string>} the cells of notebooks as they are saved */
    this.saved = new WeakMap();
  }

  /** Does what the panel asks for, and what a tab was opened for by another one. */
  listen() {
    /** @type {(kind: string, failed: string, act: (detail: any) => Promise<unknown>) => void} */
    const on = (kind, failed, act) => document.addEventListener(`data-engine:${kind}`, (event) => {
      event.preventDefault();
      act(/** @type {CustomEvent} */ (event).detail).catch((error) => this.showError(failed, String(error.message || error)));
    });
    on("open", "The file cannot be opened", (place) => this.open(place));
    on("insert", "The cell cannot be added", (detail) => {
      detail.added = this.insert(detail.path, detail.code);
      return detail.added;
    });
    /** @type {(kind: string, name: string, act: (detail: any) => Promise<unknown>) => void} */
    const hears = (kind, name, act) => document.addEventListener(`data-engine:${kind}`, (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      detail[name] = act(detail).catch((error) => this.showError("The notebook cannot be changed", String(error.message || error)));
    });
    hears("replay", "added", (detail) => this.addReplay(detail));
    hears("replay-run", "running", (detail) => this.runCells(detail));
    hears("replay-end", "ending", (detail) => this.endReplay(detail));
    document.addEventListener("data-engine:save", (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      detail.saving = detail.paths
        ? Promise.all(this.unsaved().filter(([path]) => detail.paths.includes(path)).map(([, context]) => context.save()))
        : this.app.commands.execute("docmanager:save");
    });
    document.addEventListener("data-engine:compare", (event) => {
      const { detail } = /** @type {CustomEvent} */ (event);
      detail.comparing = this.compare(detail.root, detail.path);
    });
    document.addEventListener("data-engine:unsaved", (event) => /** @type {CustomEvent} */ (event).detail.paths.push(...this.unsaved().map(([path]) => path)));
    const changed = () => document.dispatchEvent(new CustomEvent("data-engine:unsaved-changed"));
    hello(null).then((place) => {
      this.place = place;
      changed();
    }, () => {});
    if (this.tracker) {
      this.tracker.widgetAdded.connect((_, widget) => {
        this.revealAsked(widget);
        this.follow(widget.context, changed);
      });
    }
  }

  /**
   * Keeps what the cells of a notebook are in its file, and tells when they begin or cease to differ.
   *
   * @param {DocumentWidget["context"]} context
   * @param {() => void} changed
   */
  follow(context, changed) {
    const keep = () => {
      this.saved.set(context, cellsOf(context));
      changed();
    };
    context.ready.then(keep, () => {});
    // JupyterLab tells a rename as a change of the file too, while the document has its old path: nothing is saved by it
    context.fileChanged.connect((_, file) => file.path === context.path && keep());
    context.pathChanged.connect(changed);
    const { model } = context;
    // JupyterLab tells a notebook of its kernel's Python, and calls it edited by that: it is saved with the next edit
    model.metadataChanged.connect((_, { key }) => key === "language_info" && !model.dirty && queueMicrotask(() => (model.dirty = false)));
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let soon;
    model.contentChanged.connect(() => {
      clearTimeout(soon);
      soon = setTimeout(changed, SOON_MS);
    });
  }

  /**
   * Whether its file is not what is shown. JupyterLab calls a notebook edited that it has opened and told of its kernel, too.
   *
   * @param {DocumentWidget["context"]} context
   */
  isUnsaved(context) {
    const { dirty } = context.model, cells = this.saved.get(context);
    return dirty && (!cells || cells !== cellsOf(context));
  }

  /**
   * The documents of this page with edits that are not saved: where each lies, and its context.
   *
   * @returns {[string, DocumentWidget["context"]][]}
   */
  unsaved() {
    const { place } = this;
    if (place === null) return [];
    return [...this.app.shell.widgets("main")].flatMap(({ context }) => (context && context.model && this.isUnsaved(context) ? [[realPath(context.path, place.served, place.links), context]] : []));
  }

  /**
   * Lets the kernel of an open notebook compare it with what production takes of it; null where it has none, or is busy.
   *
   * @param {string} root
   * @param {string} path
   */
  compare(root, path) {
    const { place, tracker } = this;
    const widget = place && tracker && tracker.find(({ context }) => realPath(context.path, place.served, place.links) === path);
    const kernel = widget && widget.sessionContext.session && widget.sessionContext.session.kernel;
    if (!kernel || kernel.status !== "idle") return null;
    const code = `__import__("data_engine.proof.kernel", fromlist=["kernel"]).compare_own(${JSON.stringify(root)}, ${JSON.stringify(path)})`;
    return kernel.requestExecute({ code, silent: true, store_history: false }).done;
  }

  /** @param {FilePlace} place */
  async open({ path, cell = null, line = null, root = null }) {
    const { served, links, lab } = await hello(root);
    const inside = jupyterPath(path, served, links);
    if (inside === null) {
      await this.showError("That file is outside the folder Jupyter serves", `This JupyterLab serves ${served}. For ${path}, start another one: ${lab}`);
      return;
    }
    const widget = await this.widgetOf(inside);
    if (!cell) return;
    if (!widget) localStorage.setItem(this.askedKey, JSON.stringify({ inside, cell, line, until: Date.now() + OPENS_WITHIN_MS }));
    else await reveal(widget, cell, line);
  }

  /**
   * Adds a cell, and leaves the keys to it, so that Shift+Enter runs it; the name of its notebook, null where there is none.
   *
   * @param {string | null} path
   * @param {string} code
   */
  async insert(path, code) {
    let widget = this.tracker && this.tracker.currentWidget;
    if (path) {
      const { served, links } = await hello(null);
      const inside = jupyterPath(path, served, links);
      if (inside !== null && inside.endsWith(".ipynb")) widget = await this.widgetOf(inside);
    }
    if (!widget || !widget.content || !widget.content.model) {
      await this.showError(path ? "That notebook is in another tab" : "No notebook is open", `Paste this into a cell:\n\n${code}`);
      return null;
    }
    await widget.context.ready;
    const { content } = widget;
    const { model } = content;
    if (!model) return null;
    const at = path ? model.cells.length : content.activeCellIndex + 1;
    model.sharedModel.insertCell(at, { cell_type: "code", source: code, metadata: {} });
    content.activeCellIndex = at;
    await content.scrollToCell((content.widgets || [])[at], "center").catch(() => {});
    this.app.shell.activateById(widget.id);
    return widget.context.path.replace(/^.*\//, "");
  }

  /**
   * Adds the cell of a replay below the one that failed, in place of an earlier one, and puts the cursor there; whether it is there.
   *
   * @param {import("./jupyterlab").ReplayPlace} place
   */
  async addReplay({ path, root, cell, text }) {
    const widget = await this.notebookAt(path, root);
    if (!widget) {
      await this.showError(path ? "That notebook is in another tab" : "The flow is no notebook", `Paste this into a cell:\n\n${text}`);
      return false;
    }
    takeAway(widget);
    const { content } = widget;
    if (!content.model) return false;
    const failed = (content.widgets || []).findIndex((one) => one.model.id === cell);
    const at = failed < 0 ? content.model.cells.length : failed + 1;
    content.model.sharedModel.insertCell(at, { cell_type: "code", source: text, metadata: { tags: [REPLAY] } });
    content.activeCellIndex = at;
    const added = (content.widgets || [])[at];
    await content.scrollToCell(added, "center").catch(() => {});
    this.app.shell.activateById(widget.id);
    await added.ready;
    if (added.editor) added.editor.focus();
    return true;
  }

  /**
   * Runs these cells, in order, up to one that fails; then the keys go to the cell of the replay.
   *
   * @param {import("./jupyterlab").ReplayPlace & { ids: string[] }} place
   */
  async runCells({ path, root, ids }) {
    const widget = await this.notebookAt(path, root);
    if (!widget) return;
    this.app.shell.activateById(widget.id);
    const { content } = widget, cells = content.widgets || [];
    for (const id of ids) {
      const at = cells.findIndex((one) => one.model.id === id);
      if (at < 0) continue;
      content.deselectAll();
      content.activeCellIndex = at;
      if (await this.app.commands.execute("notebook:run-cell") === false) return;
    }
    const replay = cells.findIndex(isReplay);
    if (replay < 0) return;
    content.activeCellIndex = replay;
    await content.scrollToCell(cells[replay], "center").catch(() => {});
  }

  /** @param {import("./jupyterlab").ReplayPlace} place */
  async endReplay({ path, root }) {
    const widget = await this.notebookAt(path, root);
    if (widget) takeAway(widget);
  }

  /**
   * The widget of a notebook, ready, which is opened for it; null where it is none of this page.
   *
   * @param {string | null} path
   * @param {string} root
   */
  async notebookAt(path, root) {
    if (!path) return null;
    const { served, links } = await hello(root);
    const inside = jupyterPath(path, served, links);
    const widget = inside === null ? null : await this.widgetOf(inside);
    if (!widget || !widget.content || !widget.content.model) return null;
    await widget.context.ready;
    await widget.revealed;
    return widget;
  }

  /**
   * The file's widget on this page; null where it opens in a tab of its own, as in Notebook 7.
   *
   * @param {string} inside
   * @returns {Promise<DocumentWidget | null>}
   */
  async widgetOf(inside) {
    const here = this.tracker && this.tracker.find((one) => one.context.path === inside);
    const widget = here || await this.app.commands.execute("docmanager:open", { path: inside });
    if (here) this.app.shell.activateById(here.id);
    return widget && widget.isAttached ? widget : null;
  }

  /**
   * Shows the cell that another tab asked for when it opened this one.
   *
   * @param {DocumentWidget} widget
   */
  async revealAsked(widget) {
    await widget.revealed;
    const asked = JSON.parse(localStorage.getItem(this.askedKey) || "null");
    if (!asked || !widget.isAttached || asked.inside !== widget.context.path) return;
    localStorage.removeItem(this.askedKey);
    if (Date.now() < asked.until) await reveal(widget, asked.cell, asked.line);
  }
}

/**
 * The folder that Jupyter serves, the links in it, and what to type for one that serves the workspace.
 *
 * @param {string | null} root the workspace
 */
async function hello(root) {
  const { ServerTransport } = await loadPanel();
  const { root_dir: served = "", links = {}, lab = "data-engine lab" } = await new ServerTransport(base(), null).hello(null, root);
  return { served, links, lab };
}

/** The tag of a cell that opens a replay: it is no part of the flow. */
const REPLAY = "replay";

/** @param {import("./jupyterlab").Cell} cell */
function isReplay(cell) {
  return tagsOf(cell.model.sharedModel).includes(REPLAY);
}

/**
 * @param {{ getMetadata(key: string): unknown }} cell
 * @returns {unknown[]}
 */
function tagsOf(cell) {
  const tags = cell.getMetadata("tags");
  return Array.isArray(tags) ? tags : [];
}

/**
 * Takes the cells of replays out of a notebook.
 *
 * @param {DocumentWidget} widget
 */
function takeAway({ content }) {
  const cells = content.widgets || [];
  for (let at = cells.length - 1; at >= 0; at -= 1) if (isReplay(cells[at]) && content.model) content.model.sharedModel.deleteCell(at);
}

/**
 * What of a notebook's cells a flow is made of, as a text to compare; "" of another document.
 *
 * @param {DocumentWidget["context"]} context
 */
function cellsOf({ model: { sharedModel } }) {
  return sharedModel && sharedModel.cells ? JSON.stringify(sharedModel.cells.filter((one) => !tagsOf(one).includes(REPLAY)).map((one) => [one.cell_type, one.getSource(), one.getMetadata("tags")])) : "";
}

/**
 * @param {DocumentWidget} widget
 * @param {number} cell the code cell's number, from 1
 * @param {number | null} [line] the line of that cell, from 1: the cursor is put there
 */
async function reveal(widget, cell, line) {
  if (!widget.content || !widget.content.widgets) return;
  await widget.context.ready;
  await widget.revealed;
  const { content } = widget;
  const cells = content.widgets || [];
  const found = cells.filter((one) => one.model.type === "code" && !isReplay(one))[cell - 1];
  if (!found) return;
  content.activeCellIndex = cells.indexOf(found);
  await content.scrollToCell(found, "center").catch(() => {});
  found.node.animate([{ background: "var(--jp-warn-color3)" }, { background: "transparent" }], 2000);
  if (!line) return;
  await found.ready; // a cell out of sight has no editor yet
  const { editor } = found;
  if (!editor || line > editor.lineCount) return;
  const position = { line: line - 1, column: 0 };
  editor.focus();
  editor.setCursorPosition(position);
  editor.revealPosition(position);
}
