// JupyterLab's own notifications of flows in trouble, and their number on the side bar's icon. What is told is decided in the panel's
// module; here it is remembered for all pages of this browser, and put where people see it.

import { loadPanel } from "./panel_module.js";

/** @import { App, FilePlace, Notifications, Widget } from "./jupyterlab" */
/** @import { PanelView, Told, Transport } from "../../../static/types" */
/** @import { PanelModule } from "./panel_module.js" */

/** JupyterLab's center of notifications has this command; Notebook 7 has the functions, and nobody would see what they tell. */
const CENTER = "apputils:display-notifications";
const MANY = "many";

/** So long a notification lies over the page; the list of notifications keeps it while the trouble lasts. */
const LOUD_MS = 15000;

export class Bell {
  /**
   * @param {App} app
   * @param {Notifications | undefined} notifications
   * @param {Widget} side what has the side bar's icon
   * @param {string} place where the server extension answers
   * @param {{ open: (place: FilePlace) => unknown, show: (root: string, flow: string | null) => unknown, replay: (root: string, flow: string, runId: string) => unknown }} lead where a notification leads
   */
  constructor(app, notifications, side, place, lead) {
    this.app = app;
    this.notifications = notifications;
    this.side = side;
    this.place = place;
    this.lead = lead;
    this.key = "";
    this.caption = side.title.caption;
    /** @type {Map<string, string>} the ids of JupyterLab's notifications by those of the troubles */
    this.shown = new Map();
    /** @type {(() => void) | null} */
    this.leave = null;
    /** @type {Promise<unknown>} */
    this.last = Promise.resolve();
    if (notifications) notifications.manager.changed.connect((_, { type, notification }) => type === "removed" && this.putAway(notification.id));
  }

  /** @param {Transport} transport */
  follow(transport) {
    if (this.leave) this.leave();
    for (const id of [...this.shown.keys()]) this.dismiss(id);
    const key = (this.key = `data-engine:told:${this.place}${transport.root}`);
    this.leave = transport.subscribe((message) => {
      if (message.kind !== "view") return;
      const { view } = message;
      this.last = this.last.then(() => this.hear(key, view)).catch((error) => console.warn("Data Engine: notifications:", error));
    });
  }

  /**
   * @param {string} key
   * @param {PanelView} view
   */
  async hear(key, view) {
    if (key !== this.key) return;
    const module = await loadPanel();
    this.count(module.inTrouble(view));
    if (!this.notifications || !this.app.commands.hasCommand(CENTER)) return;
    const { kept, news } = await alone(key, () => {
      const before = read(key);
      const decided = module.toTell(view, before);
      if (JSON.stringify(before) !== JSON.stringify(decided.kept)) localStorage.setItem(key, JSON.stringify(decided.kept));
      return decided;
    });
    if (key !== this.key) return;
    const isOver = Object.keys(kept).length === 0;
    for (const id of [...this.shown.keys()]) if (id === MANY ? isOver : !kept[id] || kept[id].away) this.dismiss(id);
    const loud = news.filter((id) => module.isRecent(kept[id], Date.now()));
    const isLoud = loud.length <= module.MOST_AT_ONCE;
    for (const [id, told] of Object.entries(kept)) {
      if (!told.away && !this.shown.has(id)) this.tell(module, id, told, view, isLoud && loud.includes(id));
    }
    if (!isLoud) this.tellMany(loud, kept, view);
  }

  /**
   * @param {PanelModule} module
   * @param {string} id
   * @param {Told} told
   * @param {PanelView} view
   * @param {boolean} isLoud
   */
  tell(module, id, told, view, isLoud) {
    const cell = module.cellOf(told, view);
    const toCell = cell && { label: "Open cell", caption: `Open ${cell.name}`, displayType: "accent", callback: () => this.lead.open(cell) };
    const { run_id: runId } = told;
    const toData = runId && cell && { label: "Open with its data", caption: "Open the failing step with what it was given", displayType: "default", callback: () => this.lead.replay(view.workspace_root, told.flow, runId) };
    const toFlow = { label: "Show flow", caption: `Show ${told.flow} in the Data Engine panel`, displayType: "default", callback: () => this.lead.show(view.workspace_root, told.flow) };
    this.notify(id, told.text, told.kind === "failed" ? "error" : "warning", isLoud, [toCell, toData, toFlow].flatMap((one) => one || []));
  }

  /**
   * @param {string[]} news
   * @param {Record<string, Told>} kept
   * @param {PanelView} view
   */
  tellMany(news, kept, view) {
    this.dismiss(MANY);
    const flows = new Set(news.map((id) => kept[id].flow)).size;
    const show = { label: "Show them", caption: "Show the flows in trouble in the Data Engine panel", displayType: "accent", callback: () => this.lead.show(view.workspace_root, null) };
    this.notify(MANY, `${news.length.toLocaleString()} new troubles in ${flows.toLocaleString()} ${flows === 1 ? "flow" : "flows"} of ${view.workspace_id}`, "error", true, [show]);
  }

  /**
   * One that is not loud goes to JupyterLab's list of notifications without a word.
   *
   * @param {string} id
   * @param {string} text
   * @param {"error" | "warning"} type
   * @param {boolean} isLoud
   * @param {object[]} actions
   */
  notify(id, text, type, isLoud, actions) {
    if (!this.notifications) return;
    this.shown.set(id, this.notifications.emit(text, type, { autoClose: isLoud ? LOUD_MS : 0, actions }));
  }

  /** @param {string} id */
  dismiss(id) {
    const shown = this.shown.get(id);
    this.shown.delete(id);
    if (shown !== undefined && this.notifications) this.notifications.dismiss(shown);
  }

  /**
   * A person has closed a notification, on this page: no page of this browser shows it again.
   *
   * @param {string} shown
   */
  putAway(shown) {
    const [id] = [...this.shown].find(([, one]) => one === shown) || [];
    if (id === undefined) return;
    this.shown.delete(id);
    const { key } = this;
    this.last = this.last.then(() => alone(key, () => {
      const kept = read(key);
      if (kept[id]) localStorage.setItem(key, JSON.stringify({ ...kept, [id]: { ...kept[id], away: true } }));
    })).catch((error) => console.warn("Data Engine: notifications:", error));
  }

  /** @param {{ count: number, words: string }} trouble */
  count({ count, words }) {
    const { title } = this.side;
    const caption = words ? `${this.caption}: ${words}` : this.caption;
    if (title.caption === caption) return;
    const dataset = { ...title.dataset, "de-count": count > 99 ? "99+" : String(count) };
    if (!count) delete /** @type {Record<string, string>} */ (dataset)["de-count"];
    title.dataset = dataset;
    title.caption = caption;
  }
}

/**
 * What this browser was told.
 *
 * @param {string} key
 * @returns {Record<string, Told>}
 */
function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key) || "{}");
  } catch {
    return {};
  }
}

/**
 * Does something while no other page of this browser does, where the browser can see to that: not on plain HTTP of another host.
 *
 * @template T
 * @param {string} name
 * @param {() => T} act
 * @returns {Promise<T>}
 */
async function alone(name, act) {
  return navigator.locks ? navigator.locks.request(name, async () => act()) : act();
}
