// JupyterLab's and Notebook 7's door to Data Engine: no build, no copy of the panel. The panel itself comes from the server extension,
// so that page and server are always of one version. Rename this file when it changes: browsers keep it.
(function () {
  "use strict";
  const CATEGORY = "Data Engine";
  const PANEL_MIME = "application/vnd.data-engine.panel+json";
  const NARROWEST = "320px";
  const OPENS_WITHIN_MS = 30000;
  const WIDGET_MIME = "application/vnd.jupyter.widget-view+json";
  const DRAWING = '<circle cx="3.4" cy="3.6" r="1.9"/><circle cx="3.4" cy="12.4" r="1.9"/><circle cx="12.6" cy="8" r="1.9"/><path d="M5.3 3.6h1.6c1.8 0 1.6 4.4 3.8 4.4M5.3 12.4h1.6c1.8 0 1.6-4.4 3.8-4.4"/>';
  const ICON = `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 16 16"><g fill="none" stroke-width="1.4"><g class="jp-icon3" stroke="#616161">${DRAWING}</g></g></svg>`;
  const TILE = `<svg xmlns="http://www.w3.org/2000/svg" width="52" height="52" viewBox="-1 -1 18 18"><g fill="none" stroke="#1976d2" stroke-width="1.3">${DRAWING}</g></svg>`;
  let scope = null;

  async function shared(name) {
    const versions = scope[name];
    if (!versions) throw new Error(`not shared: ${name}`);
    const newest = Object.keys(versions).sort((a, b) => a.localeCompare(b, undefined, { numeric: true })).pop();
    return (await versions[newest].get())();
  }
  const sharedOrNothing = (name) => shared(name).catch(() => ({}));

  function base() {
    const config = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    return new URL(config.baseUrl || "/", location.href).href.replace(/\/?$/, "/") + "data-engine/";
  }

  let loading = null;
  function loadPanel() {
    loading = loading || (async () => {
      const get = async (name) => {
        const response = await fetch(`${base()}static/${name}`, { credentials: "same-origin" });
        if (!response.ok) throw new Error(`the server extension of Data Engine answered ${response.status}`);
        return response.text();
      };
      const [script, style] = await Promise.all([get("panel.js"), get("panel.css")]);
      if (!document.getElementById("data-engine-style")) {
        const element = document.createElement("style");
        element.id = "data-engine-style";
        element.textContent = style;
        document.head.append(element);
      }
      const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
      try {
        return await import(url);
      } finally {
        URL.revokeObjectURL(url);
      }
    })();
    loading.catch(() => { loading = null; });
    return loading;
  }

  async function extension() {
    const { Widget } = await shared("@lumino/widgets");
    const { ICommandPalette, showErrorMessage } = await shared("@jupyterlab/apputils");
    const { LabIcon } = await shared("@jupyterlab/ui-components");
    const { ILauncher } = await sharedOrNothing("@jupyterlab/launcher");
    const { IStatusBar } = await sharedOrNothing("@jupyterlab/statusbar");
    const { IRenderMimeRegistry } = await sharedOrNothing("@jupyterlab/rendermime");
    const { INotebookTracker } = await sharedOrNothing("@jupyterlab/notebook");

    const icon = new LabIcon({ name: "data-engine:flow", svgstr: ICON });
    const { ILayoutRestorer } = await sharedOrNothing("@jupyterlab/application");
    const optional = [ICommandPalette, ILauncher, IStatusBar, IRenderMimeRegistry, INotebookTracker, ILayoutRestorer];
    const wanted = optional.filter(Boolean);

    const plugin = {
      id: "data-engine:panel",
      autoStart: true,
      optional: wanted,
      activate: (app, ...given) => {
        const has = (token) => (token ? given[wanted.indexOf(token)] : null);
        const palette = has(ICommandPalette);
        const launcher = has(ILauncher);
        const statusBar = has(IStatusBar);
        const rendermime = has(IRenderMimeRegistry);
        const tracker = has(INotebookTracker);
        const key = `data-engine:root:${base()}`;
        const remembered = () => localStorage.getItem(key);
        const openPath = () => (app.shell.currentWidget && app.shell.currentWidget.context ? app.shell.currentWidget.context.path : null);

        const line = statusBar ? new StatusLine() : null;
        const side = new Widget();
        side.id = "data-engine-panel";
        side.title.icon = icon;
        side.title.caption = "Data Engine";
        side.addClass("de-side");
        side.node.style.minWidth = NARROWEST;
        let panel = null;
        let starting = null;
        const start = () => {
          starting = starting || begin().catch((error) => {
            starting = null;
            side.node.textContent = `Data Engine: ${error.message}. Enable the server extension: jupyter server extension enable jupyter_extension.server`;
          });
          return starting;
        };
        async function begin() {
          await app.restored;
          const module = await loadPanel();
          const inside = document.createElement("div");
          side.node.replaceChildren(inside);
          const transport = new module.ServerTransport(base(), null);
          module.mount(inside, transport, {
            path: openPath(),
            before: remembered(),
            remember: (root) => {
              localStorage.setItem(key, root);
              if (line) line.follow(module, transport.at(root));
            },
          });
          panel = inside.__dataEngine;
        }
        app.shell.add(side, "right", { rank: 900, type: "Data Engine" });
        // Notebook 7 puts one more panel around its side bar, which does not hand on how much room is needed inside
        const around = side.parent && side.parent.parent;
        if (around && around.id === "jp-right-stack") around.node.style.minWidth = NARROWEST;
        const restorer = has(ILayoutRestorer);
        if (restorer) restorer.add(side, side.id);
        start();

        const commands = app.commands;
        const act = async (action, args) => {
          await start();
          return panel.act(action, args || {});
        };
        const add = (id, label, execute, extra) => {
          commands.addCommand(id, { label, execute, ...extra });
          if (palette) palette.addItem({ command: id, category: CATEGORY });
        };
        add("data-engine:show", "Show Data Engine panel", async () => {
          app.shell.activateById(side.id);
          await start();
        }, { icon });
        add("data-engine:new-flow", "New flow notebook", async () => {
          await start();
          const root = panel.transport.root;
          if (!root) {
            app.shell.activateById(side.id);
            return showErrorMessage("No workspace is chosen", "Choose a workspace at the top of the Data Engine panel, or make one in its settings.");
          }
          const answer = await panel.transport.call("new_flow", {});
          if (answer.error) return showErrorMessage(answer.error.what, answer.error.mend || "");
          app.shell.activateById(side.id);
          return open(answer.result.path, null);
        }, { icon, caption: "A notebook that is a flow, in the workspace's flow_modules" });
        add("data-engine:start-engine", "Start the engine", () => act("start_engine"));
        add("data-engine:stop-engine", "Stop the engine", () => act("stop_engine"));
        add("data-engine:deploy", "Deploy every flow module", () => act("deploy"));
        if (launcher) launcher.add({ command: "data-engine:new-flow", category: "Notebook", rank: 20, kernelIconUrl: `data:image/svg+xml;utf8,${encodeURIComponent(TILE)}` });

        // -- what the panel asks of JupyterLab

        const rootDir = async () => (await (new (await loadPanel()).ServerTransport(base(), null)).hello()).root_dir.replace(/\\/g, "/").replace(/\/$/, "");
        const below = async (path) => {
          const root = await rootDir();
          const given = path.replace(/\\/g, "/");
          return given.startsWith(`${root}/`) ? given.slice(root.length + 1) : null;
        };
        // The file's widget on this page; null where it opens in a tab of its own, as in Notebook 7.
        async function widgetOf(inside) {
          const here = tracker && tracker.find((one) => one.context.path === inside);
          const widget = here || await commands.execute("docmanager:open", { path: inside });
          if (here) app.shell.activateById(here.id);
          return widget && widget.isAttached ? widget : null;
        }
        async function reveal(widget, cell) {
          await widget.context.ready;
          await widget.revealed;
          const code = widget.content.widgets.filter((one) => one.model.type === "code");
          const found = code[cell - 1];
          if (!found) return;
          widget.content.activeCellIndex = widget.content.widgets.indexOf(found);
          await widget.content.scrollToCell(found, "center").catch(() => {});
          found.node.animate([{ background: "var(--jp-warn-color3)" }, { background: "transparent" }], 2000);
        }
        const asked = `data-engine:cell:${base()}`;
        async function open(path, cell) {
          const inside = await below(path);
          if (inside === null) {
            return showErrorMessage("That file is outside the folder Jupyter serves", `${path}\n\nStart JupyterLab with: data-engine lab`);
          }
          const widget = await widgetOf(inside);
          if (!cell) return widget;
          if (!widget) localStorage.setItem(asked, JSON.stringify({ inside, cell, until: Date.now() + OPENS_WITHIN_MS }));
          else if (widget.content && widget.content.widgets) await reveal(widget, cell);
          return widget;
        }
        // asked for in another tab, which opened this one
        if (tracker) tracker.widgetAdded.connect(async (_, widget) => {
          await widget.revealed;
          const wanted = JSON.parse(localStorage.getItem(asked));
          if (!wanted || !widget.isAttached || wanted.inside !== widget.context.path) return;
          localStorage.removeItem(asked);
          if (Date.now() < wanted.until) await reveal(widget, wanted.cell);
        });
        async function insert(path, code) {
          let widget = tracker && tracker.currentWidget;
          if (path) {
            const inside = await below(path);
            if (inside !== null && inside.endsWith(".ipynb")) widget = await widgetOf(inside);
          }
          if (!widget || !widget.content || !widget.content.model) {
            return showErrorMessage(path ? "That notebook is in another tab" : "No notebook is open", `Paste this into a cell:\n\n${code}`);
          }
          await widget.context.ready;
          const model = widget.content.model;
          const at = path ? model.cells.length : widget.content.activeCellIndex + 1;
          model.sharedModel.insertCell(at, { cell_type: "code", source: code, metadata: {} });
          widget.content.activeCellIndex = at;
          await widget.content.scrollToCell(widget.content.widgets[at], "center").catch(() => {});
          return widget;
        }
        document.addEventListener("data-engine:open", (event) => {
          event.preventDefault();
          open(event.detail.path, event.detail.cell).catch((error) => showErrorMessage("The file cannot be opened", String(error.message || error)));
        });
        document.addEventListener("data-engine:insert", (event) => {
          event.preventDefault();
          insert(event.detail.path, event.detail.code).catch((error) => showErrorMessage("The cell cannot be added", String(error.message || error)));
        });
        document.addEventListener("data-engine:save", () => commands.execute("docmanager:save"));

        // -- the status line

        function StatusLine() {
          const widget = new Widget();
          widget.addClass("de-status");
          widget.node.setAttribute("role", "button");
          Object.assign(widget.node.style, { cursor: "pointer", lineHeight: "24px", padding: "0 6px", whiteSpace: "nowrap" });
          widget.node.tabIndex = 0;
          widget.node.title = "Data Engine: show the panel";
          widget.node.textContent = "Data Engine";
          const show = () => commands.execute("data-engine:show");
          widget.node.addEventListener("click", show);
          widget.node.addEventListener("keydown", (event) => {
            if (event.key === "Enter" || event.key === " ") {
              event.preventDefault();
              show();
            }
          });
          statusBar.registerStatusItem("data-engine:status", { item: widget, align: "left", rank: 90 });
          let leave = null;
          this.follow = (module, transport) => {
            if (leave) leave();
            leave = transport.subscribe((message) => {
              if (message.kind !== "view") return;
              const { view } = message;
              const running = view.active.length;
              const text = [`Engine ${view.engine.word}`, running ? `${running} running` : "", view.lease.word === "available" ? "" : `lease ${view.lease.word}`].filter(Boolean).join(" · ");
              if (widget.node.textContent !== text) widget.node.textContent = text;
              widget.node.title = `Data Engine, ${view.workspace_id}: ${text}. ${view.lease_line}`;
            });
          };
        }

        // -- panel() in a notebook: live through the server, else through the kernel's widget, else as it was

        if (rendermime) {
          class Shown extends Widget {
            constructor() {
              super();
              this.addClass("de-shown");
            }
            async renderModel(model) {
              const { place, view, at_utc: takenAt } = model.data[PANEL_MIME];
              this.forget();
              const inside = document.createElement("div");
              this.node.replaceChildren(inside);
              let module;
              try {
                module = await loadPanel();
              } catch {
                module = null;
              }
              const transport = module && (await module.serverFor(place));
              if (this.isDisposed) return;
              const notebook = transport ? undefined : this.notebookOf(model);
              if (transport) this.leave = module.mount(inside, transport);
              else if (notebook) {
                const renderer = notebook.content.rendermime.createRenderer(WIDGET_MIME);
                Widget.attach(renderer, this.node);
                await renderer.renderModel(model);
                inside.remove();
              } else if (module) this.leave = module.mount(inside, null, { snapshot: view, takenAt });
            }
            // The notebook whose kernel knows the widget: one that was restarted has forgotten it.
            notebookOf(model) {
              const view = model.data[WIDGET_MIME];
              if (!view || !tracker) return undefined;
              return tracker.find((one) => {
                const session = one.sessionContext.session;
                return Boolean(session && session.kernel && session.kernel.hasComm(view.model_id));
              });
            }
            forget() {
              if (this.leave) this.leave();
              this.leave = null;
            }
            dispose() {
              this.forget();
              super.dispose();
            }
          }
          rendermime.addFactory({ safe: true, mimeTypes: [PANEL_MIME], createRenderer: () => new Shown() }, -20);
        }
      },
    };
    return () => ({ __esModule: true, default: plugin });
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["data-engine"] = {
    init: (given) => { scope = given; },
    get: (name) => (name === "./extension" ? extension() : Promise.reject(new Error(name))),
  };
})();
