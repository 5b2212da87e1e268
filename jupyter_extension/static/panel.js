import { h, Memo, patch, runTicks } from "./dom.js";
import { flowDetails, tabs } from "./flow_details.js";
import { flowList, footer, whyNot } from "./flows.js";
import { agoText, clock, icon, sign } from "./format.js";
import { emptyCondition, freshSheet, outputsTab } from "./outputs.js";
import { settingsTab } from "./settings.js";
import { applied, KernelTransport, serverBase, serverFor, serverHeaders, ServerTransport } from "./transport.js";

// The panel itself: its state, what it asks for, and how it is put on the page.

const TABS = [["flows", "Flows"], ["outputs", "Outputs"], ["settings", "Settings"]];
const CONFIRM_MS = 4000;
const SAID_MS = 6000;
const DETAIL_EVERY_MS = 300;
const WIDE = 720;

class Panel {
  constructor(root, transport, options) {
    this.root = root;
    this.transport = transport;
    this.isStatic = Boolean(options.snapshot);
    this.remember = options.remember || (() => {});
    this.memo = new Memo();
    this.state = {
      view: options.snapshot || null, tab: "flows", section: "steps", search: "", filter: "all", closed: new Set(), selected: null, details: null,
      pending: new Map(), confirming: null, said: null, lost: null, problem: null, workspaces: [], run: null, runLimit: 100,
      showParams: false, params: [{ name: "", value: "" }], fileSearch: "", sheet: null, frames: null, settings: null, takenAt: options.takenAt || null,
      ending: new Set(), runSearch: "", onlyFailed: false,
    };
    root.classList.add("de-panel");
    if (this.isStatic) root.classList.add("de-static");
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.addEventListener("keydown", (event) => {
      if (staysHere(event)) event.stopPropagation();
      this.key(event);
    });
    this.resizer = new ResizeObserver(([entry]) => {
      const isWide = entry.contentRect.width >= WIDE;
      if (isWide !== this.isWide || this.isStale) {
        this.isWide = isWide;
        this.update();
      }
    });
    this.resizer.observe(root);
    this.ticker = setInterval(() => !document.hidden && root.offsetParent !== null && runTicks(root), 1000);
    if (this.isStatic) this.update();
    else this.begin(options.path, options.before);
  }

  async begin(path, before) {
    this.update();
    if (this.transport.root) this.follow();
    try {
      const found = await this.transport.hello(path, before);
      this.set({ workspaces: found.workspaces || [], helloed: true });
      if (!this.transport.root && found.selected) this.switchTo(found.selected);
    } catch (error) {
      this.set({ lost: error.message, helloed: true });
    }
  }

  destroy() {
    clearInterval(this.ticker);
    this.resizer.disconnect();
    if (this.unfollow) this.unfollow();
    this.isGone = true;
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

  switchTo(root) {
    if (root === this.transport.root && this.unfollow) return;
    this.transport = this.transport.at(root);
    this.remember(root);
    this.memo = new Memo();
    this.set({ view: null, selected: null, details: null, run: null, sheet: null, frames: null, settings: null, problem: null, search: "", section: "steps", runSearch: "", onlyFailed: false });
    this.follow();
    if (this.state.tab === "settings") this.loadSettings();
  }

  show(view) {
    const before = this.state.view;
    this.state.view = view;
    for (const runId of this.state.ending) if (!view.active.some((run) => run.run_id === runId)) this.state.ending.delete(runId);
    this.state.lost = null;
    this.state.problem = null;
    const name = this.state.selected;
    if (name && (!before || before.flows[name] !== view.flows[name] || activeOf(before, name) !== activeOf(view, name))) this.refreshDetails();
    this.update();
    if (before === null) this.root.setAttribute("data-live", this.transport ? this.transport.kind : "static");
  }

  set(changes) {
    const before = this.state;
    this.state = { ...before, ...changes };
    if (changes.tab === "settings" && before.tab !== "settings") this.loadSettings();
    if (changes.tab === "outputs" && !this.state.frames) this.loadFrames();
    this.update();
  }

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
    const focused = this.root.contains(document.activeElement) ? selectorOf(document.activeElement) : null;
    patch(this.root, this.page());
    this.memo.sweep();
    // what had the focus was made anew, in another group for example; or it is gone, and a person goes on elsewhere
    const next = document.activeElement === document.body ? [this.focusNext, focused].map((one) => one && this.root.querySelector(one)).find(Boolean) : null;
    if (next) next.focus({ preventScroll: next.matches(focused || "*") && !this.focusNext });
    this.focusNext = null;
    this.drawn = performance.now() - began;
    this.root.setAttribute("data-drawn-ms", this.drawn.toFixed(1));
  }

  page() {
    const { view, tab, selected } = this.state;
    if (this.isStatic) return [this.snapshotLine(), this.head(), flowList(this), h("div", { class: "de-footer", key: "footer" }, footer(view))];
    if (!view) return [this.head(), this.notices(), tab === "settings" ? [tabs(this, "tab", TABS, tab), settingsTab(this)] : this.waiting()];
    const isPair = this.isWide && selected && tab === "flows";
    return [
      this.head(),
      this.notices(),
      tabs(this, "tab", TABS, tab),
      h("div", { class: `de-body de-body-${tab}${isPair ? " de-pair" : ""}`, key: `body ${tab}`, role: "tabpanel", "aria-label": tab },
        tab === "flows" ? (isPair ? [flowList(this), flowDetails(this)] : selected ? flowDetails(this) : flowList(this))
          : tab === "outputs" ? outputsTab(this) : settingsTab(this)),
      this.errorLine(),
      this.bottom(),
    ];
  }

  waiting() {
    const { problem, helloed, workspaces } = this.state;
    if (this.transport.root && !problem) return h("p", { class: "de-empty", key: "waiting" }, "Reading the workspace…");
    if (problem || !helloed) return h("p", { class: "de-empty", key: "waiting" }, helloed ? "" : "Looking for workspaces…");
    return h("div", { class: "de-empty", key: "waiting" },
      h("p", null, workspaces.length ? "Choose a workspace above." : "No workspace was found."),
      workspaces.length ? null : h("p", { class: "de-faint" }, "Make one, or name the folder that holds them, in the settings."),
      h("button", { class: "de-button de-primary", onclick: () => this.set({ tab: "settings" }) }, "Settings"));
  }

  snapshotLine() {
    return h("div", { class: "de-note de-snapshot", key: "snapshot" }, icon({ shape: "ring", tone: "idle" }),
      h("div", null, `Snapshot of ${clock(this.state.takenAt)}. `, h("span", { class: "de-faint" }, "Run this cell again to go live.")));
  }

  head() {
    const { view, workspaces } = this.state;
    const root = view ? view.workspace_root : this.transport && this.transport.root;
    if (this.isStatic) return h("div", { class: "de-head-bar", key: "head" }, h("span", { class: "de-workspace-name" }, view.workspace_id), h("span", { class: "de-grow" }), sign(view.engine, `engine ${view.engine.word}`));
    const listed = root && !workspaces.some((one) => one.root === root) ? [{ root, id: root.split(/[\\/]/).pop() }, ...workspaces] : workspaces;
    return h("header", { class: "de-head-bar", key: "head" },
      h("div", { class: "de-line" },
        h("select", {
          class: "de-input de-workspace", "aria-label": "Workspace", title: root || "", 
          onchange: (event) => this.switchTo(event.target.value), onfocus: () => this.readWorkspaces(), value: root || "",
        }, root ? null : h("option", { key: "", value: "" }, listed.length ? "Choose a workspace" : "No workspace"), listed.map((one) => h("option", { key: one.root, value: one.root, selected: one.root === root, title: one.root }, one.id))),
        view ? [
          h("span", { class: "de-engine", key: "engine", title: view.details.daemon }, sign(view.engine, `Engine ${view.engine.word}`)),
          h("span", { class: "de-grow", key: "grow" }),
          view.engine.word === "on" || view.engine.word === "stopping"
            ? this.button("stop engine", view.engine.word === "stopping" ? "Stopping…" : "Stop engine", view.buttons.stop_engine, () => this.act("stop_engine", {}), { busy: "Stopping…" })
            : this.button("start engine", view.engine.word === "starting" ? "Starting…" : "Start engine", view.buttons.start_engine, () => this.act("start_engine", {}), { primary: true, busy: "Starting…" }),
        ] : null),
      view ? this.leaseLine(view) : null);
  }

  leaseLine(view) {
    const { buttons } = view;
    const does = (what, extra) => () => this.act("lease", { do: what, ...extra });
    const shown = (name) => !buttons[name];
    return h("div", { class: "de-lease", key: "lease" },
      icon(view.lease),
      h("span", { class: "de-grow", title: view.heartbeat_age_s !== null ? `last heartbeat ${Math.round(view.heartbeat_age_s)} s ago` : "" }, view.lease_line),
      view.lease.word === "yours" ? null : shown("withdraw")
        ? this.button("withdraw", "Withdraw request", null, does("withdraw"), { small: true })
        : this.button("request", "Request control", buttons.request, does("request"), { small: true, busy: "Requesting…" }),
      shown("take_over") ? this.button("take over", "Take over", null, does("take-over"), { small: true, primary: true, confirm: "Really take over?" }) : null,
      shown("repair") ? this.button("repair", "Repair", null, does("repair"), { small: true, primary: true, confirm: "Really repair?" }) : null,
      shown("hand_over") ? [
        this.button("hand over", "Hand over when done", null, does("release"), { small: true, primary: true }),
        this.button("hand over now", "Now", null, does("release", { now: true }), { small: true, confirm: "Really stop runs?" }),
      ] : shown("release") ? this.button("release", "Release", null, does("release"), { small: true }) : null);
  }

  notices() {
    const { view, lost, problem } = this.state;
    const all = [
      ...(lost ? [{ tone: "warn", text: lost }] : []),
      ...(problem ? [{ tone: "bad", text: problem.what, mend: problem.mend }] : []),
      ...(view ? view.notices : []),
    ];
    return h("div", { class: "de-notices", key: "notices", role: "status" }, all.map((one, index) => h("div", { key: `${index} ${one.text}`, class: `de-note de-${one.tone}` },
      icon({ shape: one.tone === "bad" ? "cross" : "triangle", tone: one.tone }), h("div", { class: "de-grow" }, h("div", null, one.text), one.mend ? h("div", { class: "de-faint" }, one.mend) : null))));
  }

  // An error stays above the footer until it is read; anything else is said in the footer, where it covers nothing.
  errorLine() {
    const said = this.state.said && this.state.said.error ? this.state.said : null;
    return h("div", { class: "de-said", key: "said", role: "alert" }, said ? h("div", { class: "de-note de-bad" },
      icon({ shape: "cross", tone: "bad" }),
      h("div", { class: "de-grow" }, h("div", { class: "de-said-text" }, said.text), said.mend ? h("div", { class: "de-faint" }, said.mend) : null),
      h("button", { class: "de-icon-button", "aria-label": "Dismiss", title: "Dismiss (Esc)", onclick: () => this.set({ said: null }) }, "×")) : null);
  }

  bottom() {
    const said = this.state.said && !this.state.said.error ? this.state.said.text : null;
    return h("div", { class: `de-footer${said ? " de-saying" : ""}`, key: "footer" },
      h("span", { class: "de-answer", key: "answer", role: "status" }, said ? [icon({ shape: "disc", tone: "good" }), h("span", { class: "de-said-text" }, said)] : null),
      said ? null : footer(this.state.view));
  }

  // -- what every part uses

  button(key, label, why, act, options = {}) {
    const asks = options.confirm && this.state.confirming === key;
    const isPending = this.state.pending.get(options.pending || `b ${key}`);
    const kind = ["de-button", options.primary ? "de-primary" : "", options.small ? "de-small" : "", options.quiet ? "de-quiet" : "", options.square ? "de-square" : "", asks ? "de-asks" : ""].filter(Boolean).join(" ");
    return h("button", {
      key: `b ${key}`, type: "button", class: kind, "data-action": key, "aria-busy": isPending ? "true" : undefined,
      "aria-expanded": options.expanded === undefined ? undefined : String(options.expanded), ...whyNot(why, options.title || label), "aria-label": options.title,
      onclick: () => {
        if (why || isPending) return;
        if (options.confirm && !asks) {
          this.set({ confirming: key });
          setTimeout(() => this.state.confirming === key && this.set({ confirming: null }), CONFIRM_MS);
          return;
        }
        if (asks) this.state.confirming = null;
        this.during(`b ${key}`, act());
      },
    }, options.shape ? h("span", { class: "de-shape", html: SHAPES[options.shape], "aria-hidden": "true" }) : null,
    asks ? options.confirm : (isPending && options.busy) || label);
  }

  // What was pressed is busy until its answer is there.
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

  async act(action, args) {
    const answer = await this.transport.call(action, args);
    if (this.isGone) return null;
    this.say(answer);
    if (this.state.selected) this.refreshDetails();
    return answer.result === undefined ? null : answer.result;
  }

  say(answer) {
    const said = answer.error ? { error: true, text: answer.error.what, mend: answer.error.mend }
      : typeof answer.result === "string" ? { text: answer.result } : answer.result && answer.result.said ? { text: answer.result.said } : null;
    this.set({ said });
    clearTimeout(this.saying);
    if (said && !said.error) this.saying = setTimeout(() => this.set({ said: null }), SAID_MS);
  }

  run(flow, source, rows) {
    const params = {};
    for (const { name, value } of rows || []) {
      if (!name.trim()) continue;
      try {
        params[name.trim()] = JSON.parse(value);
      } catch {
        params[name.trim()] = value;
      }
    }
    return this.during(`run ${flow}`, this.act("run", { flow, source: source || null, params }));
  }

  // Ends the runs of a flow, or one of them; until they are gone the panel says that they are ending.
  async end(action, flow, runId) {
    const args = runId ? { run_id: runId } : { flow };
    const found = await this.act(action, args);
    if (found === null) return;
    for (const run of this.state.view.active) if (run.in_daemon && (runId ? run.run_id === runId : run.flow === flow)) this.state.ending.add(run.run_id);
    this.update();
  }

  select(name) {
    const before = this.state.selected;
    if (name === before) return;
    this.set({ selected: name, details: null, run: null, runLimit: 100, showParams: false, fileSearch: "", runSearch: "", onlyFailed: false, tab: "flows" });
    if (name && !this.isStatic) this.refreshDetails();
    this.focusNext = name ? ".de-back" : `.de-row[data-flow="${CSS.escape(before)}"] .de-row-main`;
  }

  refreshDetails() {
    const wait = Math.max(0, (this.detailsAt || 0) + DETAIL_EVERY_MS - Date.now());
    if (this.detailsDue) return;
    this.detailsDue = setTimeout(async () => {
      this.detailsDue = null;
      this.detailsAt = Date.now();
      const name = this.state.selected;
      if (!name || this.isGone) return;
      const answer = await this.transport.call("flow", { flow: name, limit: this.state.runLimit });
      if (this.state.selected !== name) return;
      this.set({ details: answer.result || { ...EMPTY_DETAILS, error_text: answer.error.what } });
      const run = this.state.run;
      if (run) {
        const shown = (this.state.details.runs || []).find((one) => one.run_id === run.id);
        if (shown && (!run.details || run.details.run.mark.word === "running" || run.details.run.mark.word !== shown.mark.word)) this.readRun(run.id);
      }
    }, wait);
  }

  moreRuns() {
    this.state.runLimit += 200;
    this.refreshDetails();
  }

  openRun(runId) {
    if (runId === null) {
      this.set({ run: null });
      return;
    }
    this.set({ section: "runs", run: { id: runId, details: null } });
    this.readRun(runId);
  }

  async readRun(runId) {
    const answer = await this.transport.call("run_details", { run_id: runId });
    if (!this.state.run || this.state.run.id !== runId) return;
    this.set({ run: { id: runId, details: answer.result || null, said: answer.error ? answer.error.what : null } });
    if (answer.result && answer.result.run.mark.word === "running") {
      setTimeout(() => this.state.run && this.state.run.id === runId && this.readRun(runId), 1000);
    }
  }

  toggleGroup(name) {
    const closed = new Set(this.state.closed);
    if (!closed.delete(name)) closed.add(name);
    this.set({ closed });
  }

  // -- looking into outputs

  inspect(path) {
    this.set({ tab: "outputs", sheet: freshSheet(path) });
    this.look({});
  }

  async look(changes) {
    const sheet = { ...this.state.sheet, ...changes, busy: true };
    this.set({ sheet });
    const number = (this.looks = (this.looks || 0) + 1);
    const { path, offset, limit, sort, filters } = sheet;
    const answer = await this.transport.call("inspect", { path, offset, limit, sort, filters, sheet: sheet.sheet || null });
    if (this.state.sheet && this.looks === number) {
      const page = answer.result || (answer.error && changes.filters ? this.state.sheet.page : null);
      this.set({ sheet: { ...this.state.sheet, page, said: answer.error ? `${answer.error.what} ${answer.error.mend || ""}` : null, busy: false } });
    }
  }

  sortBy(column, also) {
    const sort = this.state.sheet.sort;
    const at = sort.findIndex(([name]) => name === column);
    const next = at < 0 ? [[column, false]] : sort[at][1] ? [] : [[column, true]];
    const rest = sort.filter(([name]) => name !== column);
    this.look({ sort: also ? [...rest, ...next] : next, offset: 0 });
  }

  async filterMenu(column) {
    if (this.state.sheet.menu === column) {
      this.set({ sheet: { ...this.state.sheet, menu: null } });
      return;
    }
    const { path, filters, sheet } = this.state.sheet;
    const own = filters.filter((one) => one.column === column);
    const conditions = own.filter((one) => one.op !== "in").map((one) => ({ op: one.op, text: one.value }));
    this.set({ sheet: { ...this.state.sheet, menu: column, values: null, valueSearch: "", chosen: new Set(), conditions: conditions.length ? conditions : [emptyCondition(this.state.sheet.page, column)] } });
    const others = filters.filter((one) => one.column !== column);
    const answer = await this.transport.call("inspect", { path, filters: others, distinct: column, sheet: sheet || null });
    if (!this.state.sheet || this.state.sheet.menu !== column) return;
    const values = answer.result || { column, values: [] };
    const kept = (own.find((one) => one.op === "in") || { value: [] }).value;
    this.set({ sheet: { ...this.state.sheet, values, chosen: new Set(values.values.flatMap((one, index) => (kept.includes(one.value) ? [index] : []))) } });
  }

  // All rows that pass, in their order, as a spreadsheet.
  async download() {
    const { path, sort, filters, sheet, page } = this.state.sheet;
    const answer = await this.transport.call("inspect", { path, sort, filters, sheet: sheet || null, export: true });
    if (answer.error) return this.say(answer);
    const bytes = Uint8Array.from(atob(answer.result.base64), (letter) => letter.charCodeAt(0));
    this.save(`${page.name.replace(/\.[^.]+$/, "")}.xlsx`, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", [bytes]);
    return this.say({ result: answer.result.said });
  }

  async loadFrames() {
    const answer = await this.transport.call("debug", {});
    this.set({ frames: answer.result ? answer.result.frames : [] });
  }

  async loadSettings() {
    if (!this.transport.root) return;
    const answer = await this.transport.call("settings", {});
    if (answer.result) this.set({ settings: answer.result });
    else this.say(answer);
  }

  async readWorkspaces() {
    const found = await this.transport.hello().catch(() => null);
    if (found && found.workspaces) this.set({ workspaces: found.workspaces });
  }

  async provision(path) {
    const found = await this.act("provision", { path });
    if (!found) return;
    await this.readWorkspaces();
    if (found.root !== this.transport.root) this.switchTo(found.root);
  }

  // A key does what its button does, and says why it cannot.
  press(key, why, action) {
    if (why) this.set({ said: { text: `${key[0].toUpperCase()}${key.slice(1)}: ${why}.` } });
    else if (!this.state.pending.get(`b ${key}`)) this.during(`b ${key}`, this.act(action, {}));
  }

  reload() {
    if (this.state.tab === "settings") this.loadSettings();
    if (this.state.tab === "outputs") this.loadFrames();
    return this.act("reload", {});
  }

  // Rows or lines as a file on the person's own machine.
  save(name, type, parts) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // -- what only JupyterLab and Notebook 7 can do: they listen for these events on the document

  async newFlow() {
    const found = await this.act("new_flow", {});
    if (found) this.open(found.path);
  }

  open(path, cell) {
    return this.tell("open", { path, cell: cell || null }, `Open ${path}${cell ? `, cell ${cell}` : ""}.`);
  }

  openFile(path) {
    return this.tell("open", { path, cell: null }, `Open ${path}.`);
  }

  openCell(place) {
    const folder = this.state.details && this.state.details.path ? this.state.details.path.replace(/[^\\/]*$/, "") : `${this.state.view.workspace_root}/flow_modules/`;
    return this.open(folder + place.notebook, place.cell);
  }

  preview(source) {
    const path = this.state.details ? this.state.details.path : null;
    this.tell("insert", { path, code: `build().preview(source=${JSON.stringify(source)})` }, "The cell was copied: paste it into the flow's notebook.");
  }

  insertRead(path) {
    const read = { ".parquet": "read_parquet", ".csv": "read_csv", ".tsv": "read_csv", ".json": "read_json", ".xlsx": "read_excel", ".xls": "read_excel", ".xlsm": "read_excel", ".ndjson": "read_ndjson", ".jsonl": "read_ndjson" }[(path.match(/\.[^.]+$/) || [""])[0].toLowerCase()];
    const frame = read && `pl.${read}(${JSON.stringify(path)})`;
    const hasQuak = this.state.sheet && this.state.sheet.page && this.state.sheet.page.has_quak;
    const code = !read ? `from pathlib import Path\n\nPath(${JSON.stringify(path)})`
      : hasQuak ? `import polars as pl\nimport quak\n\nquak.Widget(${frame})` : `import polars as pl\n\n${frame}`;
    this.tell("insert", { path: null, code }, "The cell was copied: paste it into a notebook.");
  }

  tell(kind, detail, otherwise) {
    const event = new CustomEvent(`data-engine:${kind}`, { cancelable: true, detail });
    if (!document.dispatchEvent(event)) return;
    if (detail.code && navigator.clipboard) navigator.clipboard.writeText(detail.code).catch(() => {});
    this.say({ result: otherwise });
  }

  key(event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      document.dispatchEvent(new CustomEvent("data-engine:save"));
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const { view, selected } = this.state;
    if (!view || this.isStatic) return;
    const row = event.target.closest("[data-flow]");
    const does = event.shiftKey ? {
      Enter: () => row && !view.flows[row.dataset.flow]?.buttons.run && this.run(row.dataset.flow),
    }[event.key] : {
      "/": () => this.root.querySelector(".de-find input") && this.root.querySelector(".de-find input").focus(),
      Escape: () => (this.state.said && this.state.said.error ? this.set({ said: null }) : selected && this.select(null)),
      e: () => this.press("start engine", view.buttons.start_engine, "start_engine"),
      s: () => this.press("stop engine", view.buttons.stop_engine, "stop_engine"),
      r: () => this.reload(),
      v: () => selected && view.flows[selected].last && this.openRun(view.flows[selected].last.run_id),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}

const EMPTY_DETAILS = { description: "", runs: [], steps: [], files: [], diff: {}, error_cells: [], path: null };

// Keys meant for the panel go no further: VS Code hears what reaches the window, and there "d d" deletes the cell and Enter
// with Ctrl or Shift runs it. The editor keeps what is its own: save, find, copy, its palette.
function staysHere(event) {
  return event.key === "Enter" || !(event.ctrlKey || event.metaKey || event.altKey || /^F\d+$/.test(event.key));
}

// What finds an element again after it was made anew.
function selectorOf(node) {
  const row = node.closest(".de-row[data-flow], .de-detail[data-flow]");
  const within = row ? `.${row.classList[0]}[data-flow="${CSS.escape(row.dataset.flow)}"] ` : "";
  const own = node.dataset.action ? `[data-action="${CSS.escape(node.dataset.action)}"]` : node.getAttribute("aria-label")
    ? `[aria-label="${CSS.escape(node.getAttribute("aria-label"))}"]` : node.classList.length ? `.${node.classList[0]}` : node.tagName;
  return within + own;
}

function activeOf(view, name) {
  return JSON.stringify(view.active.filter((run) => run.flow === name).map((run) => [run.run_id, run.step]));
}

// Puts a panel into `root`; what is returned takes it away again.
export function mount(root, transport, options = {}) {
  const panel = new Panel(root, transport, options);
  root.__dataEngine = panel;
  return () => panel.destroy();
}

export { applied, icon, KernelTransport, serverBase, serverFor, serverHeaders, ServerTransport, sign };

// What anywidget calls.
export default {
  async render({ model, el }) {
    const place = model.get("place");
    const transport = (await serverFor(place)) || new KernelTransport(model, place.root);
    const inside = document.createElement("div");
    inside.className = "de-framed";
    el.append(inside);
    return mount(inside, transport);
  },
};
