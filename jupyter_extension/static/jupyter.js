// What only JupyterLab and Notebook 7 can do, such as opening a notebook: they listen for these events on the document. Elsewhere
// the panel says what to do instead.

/** @import { CellPlace, Opening } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * The cell that looks at one source as production would: at the last object that a step of the notebook saves.
 *
 * @param {string} source
 */
export function previewCode(source) {
  return `build().preview(source=${JSON.stringify(source)}, use=build().last_saved)`;
}

/**
 * The path of a notebook beside a flow's own file, or in the workspace's folder where that is not known.
 *
 * @param {string} notebook
 * @param {string | null} flowPath
 * @param {string} workspaceRoot
 */
export function besidePath(notebook, flowPath, workspaceRoot) {
  const folder = flowPath ? flowPath.replace(/[^\\/]*$/, "") : `${workspaceRoot}/flow_modules/`;
  return folder + notebook;
}

const NO_KERNEL = "a preview runs in a notebook's kernel: open the flow in JupyterLab (data-engine lab)";

export class Jupyter {
  /**
   * @param {Panel} app
   * @param {boolean} isWholePage whether there is nothing but the panel: no JupyterLab, and no notebook
   */
  constructor(app, isWholePage) {
    this.app = app;
    this.isWholePage = isWholePage;
    this.redraw = () => app.update();
    document.addEventListener("data-engine:unsaved-changed", this.redraw);
  }

  leave() {
    document.removeEventListener("data-engine:unsaved-changed", this.redraw);
  }

  /** Why nothing can be previewed from here; null where it can. */
  get noPreview() {
    return this.isWholePage ? NO_KERNEL : null;
  }

  async newFlow() {
    const found = await this.app.act("new_flow", {});
    if (found) this.open(found.path);
  }

  /**
   * @param {string} path
   * @param {number | null} cell
   * @param {number | null} line
   */
  open(path, cell = null, line = null) {
    const where = this.isWholePage ? " in JupyterLab: data-engine lab" : "";
    const { workspace_root: root } = this.app.view;
    this.tell("open", { path, cell, line, root }, `Open ${path}${cell ? `, cell ${cell}` : ""}${line ? `, line ${line}` : ""}${where}.`);
  }

  /** @param {CellPlace} place */
  openCell(place) {
    this.open(besidePath(place.notebook, this.flowPath(), this.app.view.workspace_root), place.cell, place.line);
  }

  /** @param {string} source */
  preview(source) {
    this.tell("insert", { path: this.flowPath(), code: previewCode(source) }, "The cell was copied: paste it into the flow's notebook.");
  }

  /**
   * Adds the cell of a replay below the one that failed; whether it is there.
   *
   * @param {Opening} opening
   */
  async addReplay(opening) {
    const detail = { ...this.replayed(opening), added: /** @type {Promise<boolean> | null} */ (null) };
    document.dispatchEvent(new CustomEvent("data-engine:replay", { detail }));
    if (detail.added) return detail.added;
    if (navigator.clipboard) navigator.clipboard.writeText(opening.text).catch(() => {});
    this.app.say({ result: `The cell was copied: paste it into ${opening.notebook || "the flow's notebook"}.` });
    return false;
  }

  /**
   * Runs these cells of the replay's notebook, in order.
   *
   * @param {Opening} opening
   * @param {string[]} ids
   */
  async runCells(opening, ids) {
    const detail = { ...this.replayed(opening), ids, running: /** @type {Promise<unknown> | null} */ (null) };
    document.dispatchEvent(new CustomEvent("data-engine:replay-run", { detail }));
    await detail.running;
  }

  /**
   * Takes the cell of a replay away.
   *
   * @param {Opening} opening
   */
  async endReplay(opening) {
    const detail = { ...this.replayed(opening), ending: /** @type {Promise<unknown> | null} */ (null) };
    document.dispatchEvent(new CustomEvent("data-engine:replay-end", { detail }));
    await detail.ending;
  }

  /** @param {Opening} opening */
  replayed({ notebook, cell, text }) {
    return { path: notebook && this.modulesFolder() + notebook, cell, text, root: this.app.view.workspace_root };
  }

  /** @param {string} code */
  insert(code) {
    this.tell("insert", { path: null, code }, "The cell was copied: paste it into a notebook.");
  }

  /**
   * The files of a flow, or of every one, that JupyterLab has open with edits that are not saved; and helpers, which it may run with.
   *
   * @param {string} [flow]
   * @param {boolean} withHelpers
   */
  unsaved(flow, withHelpers = false) {
    if (!this.app.state.view) return [];
    const paths = /** @type {string[]} */ ([]), folder = this.modulesFolder();
    document.dispatchEvent(new CustomEvent("data-engine:unsaved", { detail: { paths } }));
    const files = paths.filter((path) => path.startsWith(folder) && /\.(ipynb|py)$/.test(path)).map((path) => path.slice(folder.length));
    return flow === undefined ? files : files.filter((file) => file === `${flow}.ipynb` || file === `${flow}.py` || (withHelpers && file.startsWith("flow_helpers/")));
  }

  /**
   * Saves these files of `flow_modules`, without any what is in front; whether none of them has unsaved edits any more.
   *
   * @param {string[] | null} files
   */
  async save(files = null) {
    const detail = { paths: files && files.map((file) => this.modulesFolder() + file), saving: Promise.resolve() };
    document.dispatchEvent(new CustomEvent("data-engine:save", { detail }));
    await detail.saving.catch(() => {}); // what was not saved says so itself, and is unsaved still
    const unsaved = this.unsaved();
    return !files || !files.some((file) => unsaved.includes(file));
  }

  /**
   * Lets the kernel of a flow's open notebook compare it with what production takes; nothing where it is not open, or its kernel is busy:
   * then the last comparison counts.
   *
   * @param {string | undefined} flow
   */
  async compare(flow) {
    if (flow === undefined) return;
    const detail = { path: `${this.modulesFolder()}${flow}.ipynb`, root: this.app.view.workspace_root, comparing: /** @type {Promise<unknown> | null} */ (null) };
    document.dispatchEvent(new CustomEvent("data-engine:compare", { detail }));
    if (!detail.comparing) return;
    this.app.say({ result: "Comparing with the notebook's kernel…" });
    await detail.comparing.catch(() => {}); // a kernel that ended has compared nothing
  }

  modulesFolder() {
    return `${this.app.view.workspace_root.replace(/\\/g, "/")}/flow_modules/`;
  }

  flowPath() {
    const { details } = this.app.state;
    return details && details.path ? details.path : null;
  }

  /**
   * @param {"open" | "insert"} kind
   * @param {{ path: string | null, cell?: number | null, line?: number | null, root?: string, code?: string, added?: Promise<string | null> }} detail
   * @param {string} otherwise what is said where nobody listens
   */
  tell(kind, detail, otherwise) {
    const event = new CustomEvent(`data-engine:${kind}`, { cancelable: true, detail });
    if (!document.dispatchEvent(event)) {
      if (detail.added) detail.added.then((name) => name && this.app.say({ result: `A cell was added to ${name}: run it with Shift+Enter, after the cells above it.` }), () => {});
      return;
    }
    if (detail.code && navigator.clipboard) navigator.clipboard.writeText(detail.code).catch(() => {});
    this.app.say({ result: otherwise });
  }
}
