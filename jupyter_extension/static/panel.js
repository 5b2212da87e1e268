// The panel itself: its state, what it asks for, and when it is drawn. The other modules say how it looks and what is pressed.

import { deploy } from "./actions.js";
import { Memo, patch, runTicks } from "./dom.js";
import { refreshFiles } from "./files.js";
import { focusedIn, makeRoom, refocus } from "./focus.js";
import { Jupyter } from "./jupyter.js";
import { onKey, staysHere } from "./keys.js";
import { KernelTransport } from "./kernel.js";
import { loadOutputs } from "./outputs.js";
import { page } from "./page.js";
import { serverBase, serverFor, ServerTransport, textOf } from "./server.js";
import { loadSettings } from "./settings.js";
import { elsewhere, firstState, keptSaid, NO_DETAILS, ofFlow, runsOf, SLOW_STOP_MS } from "./state.js";
import { loadToday } from "./today.js";
import { STILL } from "./transport.js";
import { refreshTrends } from "./trends.js";
import { followWorkspaces } from "./workspaces.js";

/** @import { Answer, FlowDetails, MountOptions, PanelView, State, Transport, WidgetModel } from "./types" */

const SAID_MS = 6000, OFFERED_MS = 60000, DETAIL_EVERY_MS = 300, RUN_EVERY_MS = 1000;
const MORE_RUNS = 200, WIDTHS = [720, 1200]; // px from which there are two columns, and three

export class Panel {
  /**
   * @param {HTMLElement} root
   * @param {Transport} transport
   * @param {MountOptions} options
   */
  constructor(root, transport, options) {
    this.root = root;
    this.transport = transport;
    this.isStatic = Boolean(options.snapshot);
    this.remember = options.remember || (() => {});
    this.jupyter = new Jupyter(this, Boolean(options.isWholePage));
    this.memo = new Memo();
    /** @type {State} */
    this.state = { ...firstState(), view: options.snapshot || null, takenAt: options.takenAt || null };
    this.looks = 0;
    this.columns = 1;
    this.isStale = false;
    this.isDue = false;
    this.isGone = false;
    /** @type {(() => void) | null} */
    this.unfollow = null;
    /** @type {string | null} what has the focus after the next drawing, as a selector */
    this.focusNext = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.saying = undefined;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.detailsDue = undefined;
    this.detailsAt = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.filesDue = undefined;
    this.isReadingFiles = false;
    root.classList.add("de-panel");
    if (this.isStatic) root.classList.add("de-static");
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.tabIndex = -1;
    root.addEventListener("keydown", (event) => {
      if (staysHere(event)) event.stopPropagation();
      onKey(this, event);
    });
    root.addEventListener("click", (event) => {
      if (this.state.isMenuOpen && !/** @type {HTMLElement} */ (event.target).closest(".de-menu-place")) this.set({ isMenuOpen: false });
    });
    this.resizer = new ResizeObserver(([entry]) => {
      const columns = 1 + WIDTHS.filter((px) => entry.contentRect.width >= px).length;
      if (columns !== this.columns || this.isStale || this.state.tab === "map") {
        this.columns = columns;
        this.update();
      }
    });
    this.resizer.observe(root);
    this.ticker = setInterval(() => !document.hidden && root.offsetParent !== null && runTicks(root), 1000);
    this.unlook = this.isStatic ? () => {} : followWorkspaces(this);
    if (this.isStatic) this.update();
    else this.begin(options.path, options.before);
  }

  /** The view: what is drawn of flows is drawn only when there is one. */
  get view() {
    if (!this.state.view) throw new Error("there is no view yet");
    return this.state.view;
  }

  /** The file that is looked into: its parts are drawn only when there is one. */
  get sheet() {
    if (!this.state.sheet) throw new Error("no file is inspected");
    return this.state.sheet;
  }

  destroy() {
    clearInterval(this.ticker);
    this.unlook();
    this.jupyter.leave();
    this.resizer.disconnect();
    if (this.unfollow) this.unfollow();
    this.isGone = true;
  }

  // -- which workspace is shown

  /**
   * @param {string | null} [path]
   * @param {string | null} [before]
   */
  async begin(path, before) {
    this.update();
    if (this.transport.root) this.follow();
    try {
      const found = await this.transport.hello(path, before);
      this.set({ workspaces: found.workspaces || [], helloed: true });
      if (!this.transport.root && found.selected) this.switchTo(found.selected);
    } catch (error) {
      this.set({ lost: textOf(error), helloed: true });
    }
  }

  follow() {
    if (this.unfollow) this.unfollow();
    this.unfollow = this.transport.subscribe((message) => {
      if (this.isGone) return;
      if (message.kind === "view") this.show(message.view);
      else if (message.kind === "error") this.set({ problem: message.error });
      else this.set({ lost: message.text });
    });
  }

  /** @param {string} root */
  switchTo(root) {
    if (root === this.transport.root && this.unfollow) return;
    this.transport = this.transport.at(root);
    this.remember(root);
    this.memo = new Memo();
    this.set(elsewhere());
    this.follow();
    if (this.state.tab === "settings") loadSettings(this);
  }

  async readWorkspaces() {
    const found = await this.transport.hello().catch(() => null);
    if (found && found.workspaces) this.set({ workspaces: found.workspaces });
  }

  /** @param {PanelView} view */
  show(view) {
    const before = this.state.view;
    this.state.view = view;
    for (const runId of this.state.ending.keys()) if (!view.active.some((run) => run.run_id === runId)) this.state.ending.delete(runId);
    this.noteEnding(view.active.filter((run) => run.stopping));
    Object.assign(this.state, { lost: null, problem: null });
    const name = this.state.selected;
    if (name && (!before || before.flows[name] !== view.flows[name] || runsOf(before, name) !== runsOf(view, name))) this.refreshDetails();
    if (this.state.tab === "today") loadToday(this);
    this.update();
    if (before === null) this.root.setAttribute("data-live", this.transport.kind);
  }

  /**
   * Keeps since when these runs are to end: one that does not can be killed.
   *
   * @param {import("./types").ActiveRun[]} runs
   */
  noteEnding(runs) {
    for (const { run_id: id } of runs) if (!this.state.ending.has(id)) this.state.ending.set(id, Date.now());
    if (runs.length) setTimeout(() => this.update(), SLOW_STOP_MS);
    this.update();
  }

  // -- state and drawing

  /** @param {Partial<State>} changes */
  set(changes) {
    const before = this.state;
    const opensOutputs = (changes.tab === "outputs" && before.tab !== "outputs") || (changes.section === "data" && before.section !== "data");
    this.state = { ...before, ...(opensOutputs ? { written: null, writtenSearch: "" } : {}), ...changes };
    if (changes.section === "files" && before.section !== "files") refreshFiles(this);
    if (changes.showTrend) refreshTrends(this);
    if (changes.tab === "settings" && before.tab !== "settings") loadSettings(this);
    if (opensOutputs) loadOutputs(this);
    if (changes.tab === "today") loadToday(this);
    this.update();
    if (changes.section) requestAnimationFrame(() => makeRoom(this.root)); // once it is drawn
  }

  /** Draws soon, once for all that changes until then. */
  update() {
    if (this.isDue || this.isGone) return;
    this.isDue = true;
    const draw = () => {
      this.isDue = false;
      if (!this.isGone) this.draw();
    };
    if (document.hidden) setTimeout(draw, 0);
    else requestAnimationFrame(draw);
  }

  draw() {
    // nobody sees it: what has changed is drawn when somebody does, which changes its size
    this.isStale = this.root.offsetParent === null;
    if (this.isStale) return;
    const began = performance.now();
    const focused = focusedIn(this.root);
    patch(this.root, page(this));
    this.memo.sweep();
    refocus(this.root, focused, this.focusNext);
    this.focusNext = null;
    this.root.setAttribute("data-drawn-ms", (performance.now() - began).toFixed(1));
  }

  // -- asking

  /**
   * What was pressed is busy until its answer is there.
   *
   * @template T
   * @param {string} key
   * @param {T} answer
   */
  during(key, answer) {
    if (answer instanceof Promise) {
      this.state.pending.set(key, true);
      answer.finally(() => {
        this.state.pending.delete(key);
        this.update();
      });
    }
    this.update();
    return answer;
  }

  /**
   * The result of an action, or null where there is none; what it says is shown.
   *
   * @param {string} action
   * @param {object} args
   */
  async act(action, args) {
    const answer = await this.transport.call(action, args);
    if (this.isGone) return null;
    this.say(answer);
    if (this.state.selected) this.refreshDetails();
    return answer.result === undefined ? null : answer.result;
  }

  /** @param {Answer} answer */
  say({ error, result }) {
    const { said: text = "", html, is_bad: isBad, offers } = typeof result === "string" ? { said: result } : result || {};
    const said = error ? { error: true, text: error.what, fix: error.fix } : text || html ? { error: isBad, text, html, offers } : null;
    this.set({ said });
    clearTimeout(this.saying);
    if (said && !said.error) this.saying = setTimeout(() => this.set({ said: null }), Object.keys(offers || {}).length ? OFFERED_MS : SAID_MS);
  }

  deployAll = () => deploy(this, {});

  reload() {
    if (this.state.tab === "settings") loadSettings(this);
    if (this.state.tab === "outputs") loadOutputs(this);
    return this.act("reload", {});
  }

  // -- the flow and the run that are looked at

  /** @param {string | null} name */
  select(name) {
    const before = this.state.selected;
    if (name === before && this.state.tab === "flows") return;
    this.set({ selected: name, tab: "flows", said: keptSaid(this.state.said), ...ofFlow() });
    if (name && !this.isStatic) {
      clearTimeout(this.detailsDue);
      this.readDetails().then(() => refreshFiles(this));
    }
    this.focusNext = name === null ? `.de-row[data-flow="${CSS.escape(before || "")}"] .de-row-main` : ".de-back";
  }

  /** Reads the details of the selected flow soon, and not too often. */
  refreshDetails() {
    if (this.detailsDue) return;
    this.detailsDue = setTimeout(() => this.readDetails(), Math.max(0, this.detailsAt + DETAIL_EVERY_MS - Date.now()));
  }

  async readDetails() {
    this.detailsDue = undefined;
    this.detailsAt = Date.now();
    const name = this.state.selected;
    if (!name || this.isGone) return;
    const { result, error } = await this.transport.call("flow", { flow: name, limit: this.state.runLimit });
    if (this.state.selected !== name) return;
    const details = /** @type {FlowDetails} */ (result || { ...NO_DETAILS, error_text: error && error.what });
    this.set({ details });
    if (this.state.section === "files" || this.view.flows[name]?.held !== this.state.held.length) refreshFiles(this);
    if (this.state.section === "data") loadOutputs(this);
    if (this.state.showTrend) refreshTrends(this);
    const open = this.state.run;
    const shown = open && details.runs.find((one) => one.run_id === open.id);
    if (open && shown && (!open.details || open.details.run.mark.kind === "running" || open.details.run.mark.kind !== shown.mark.kind)) this.readRun(open.id);
  }

  moreRuns() {
    this.state.runLimit += MORE_RUNS;
    this.refreshDetails();
  }

  /** @param {string | null} runId */
  openRun(runId) {
    this.set(runId === null ? { run: null } : { section: "runs", run: { id: runId, details: null } });
    if (runId !== null) this.readRun(runId);
  }

  /** @param {string} runId */
  async readRun(runId) {
    const isOpen = () => Boolean(this.state.run && this.state.run.id === runId);
    const { result, error } = await this.transport.call("run_details", { run_id: runId });
    if (!isOpen()) return;
    this.set({ run: { ...this.state.run, id: runId, details: result || null, said: error ? error.what : null } });
    if (result && result.run.mark.kind === "running") setTimeout(() => isOpen() && this.readRun(runId), RUN_EVERY_MS);
  }
}

/**
 * Puts a panel into `root`; without a transport it shows its snapshot. `leave` takes it away again.
 *
 * @param {HTMLElement} root
 * @param {Transport | null} transport
 * @param {MountOptions} options
 */
export function mount(root, transport, options = {}) {
  const panel = new Panel(root, transport || STILL, options);
  return { panel, leave: () => panel.destroy() };
}

export { serverBase, serverFor, ServerTransport };
export { openReplay } from "./replay.js";
export { cellOf, inTrouble, isRecent, MOST_AT_ONCE, toTell } from "./bell.js";

/** What anywidget calls. */
export default {
  /** @param {{ model: WidgetModel, el: HTMLElement }} given */
  async render({ model, el }) {
    const place = model.get("place");
    const transport = (await serverFor(place)) || new KernelTransport(model, place.root);
    const inside = document.createElement("div");
    inside.className = "de-framed";
    el.append(inside);
    return mount(inside, transport).leave;
  },
};
