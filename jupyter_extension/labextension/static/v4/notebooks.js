// What the panel asks of JupyterLab: open a file, show a cell, add a cell.

import { base, below, loadPanel } from "./panel_module.js";

/** @import { App, DocumentWidget, FilePlace, ShowError, Tracker } from "./jupyterlab" */

const OPENS_WITHIN_MS = 30000;

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
  }

  /** Does what the panel asks for, and what a tab was opened for by another one. */
  listen() {
    /** @type {(kind: string, failed: string, act: (detail: any) => Promise<unknown>) => void} */
    const on = (kind, failed, act) => document.addEventListener(`data-engine:${kind}`, (event) => {
      event.preventDefault();
      act(/** @type {CustomEvent} */ (event).detail).catch((error) => this.showError(failed, String(error.message || error)));
    });
    on("open", "The file cannot be opened", (place) => this.open(place));
    on("insert", "The cell cannot be added", ({ path, code }) => this.insert(path, code));
    document.addEventListener("data-engine:save", () => this.app.commands.execute("docmanager:save"));
    if (this.tracker) this.tracker.widgetAdded.connect((_, widget) => this.revealAsked(widget));
  }

  /** @param {FilePlace} place */
  async open({ path, cell = null, line = null, root = null }) {
    const { served, lab } = await hello(root);
    const inside = below(path, served);
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
   * @param {string | null} path
   * @param {string} code
   */
  async insert(path, code) {
    let widget = this.tracker && this.tracker.currentWidget;
    if (path) {
      const inside = below(path, (await hello(null)).served);
      if (inside !== null && inside.endsWith(".ipynb")) widget = await this.widgetOf(inside);
    }
    if (!widget || !widget.content || !widget.content.model) {
      await this.showError(path ? "That notebook is in another tab" : "No notebook is open", `Paste this into a cell:\n\n${code}`);
      return;
    }
    await widget.context.ready;
    const { content } = widget;
    const { model } = content;
    if (!model) return;
    const at = path ? model.cells.length : content.activeCellIndex + 1;
    model.sharedModel.insertCell(at, { cell_type: "code", source: code, metadata: {} });
    content.activeCellIndex = at;
    await content.scrollToCell((content.widgets || [])[at], "center").catch(() => {});
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
 * The folder that Jupyter serves, and what to type for one that serves the workspace.
 *
 * @param {string | null} root the workspace
 */
async function hello(root) {
  const { ServerTransport } = await loadPanel();
  const { root_dir: served = "", lab = "data-engine lab" } = await new ServerTransport(base(), null).hello(null, root);
  return { served, lab };
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
  const found = cells.filter((one) => one.model.type === "code")[cell - 1];
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
