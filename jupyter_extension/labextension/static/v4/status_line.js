// The line in JupyterLab's status bar: engine, runs, flows in trouble, and who owns the workspace where that is not this machine.

import { base, below, loadPanel, realPath } from "./panel_module.js";

/** @import { App, Services, WidgetClass } from "./jupyterlab" */
/** @import { PanelView, Transport } from "../../../static/types" */

/**
 * A view in one line; `trouble` says how many flows need somebody, "" for none. The workspace is named where it is not that of the
 * document that is shown.
 *
 * @param {PanelView} view
 * @param {string} trouble
 * @param {boolean} isElsewhere
 */
export function statusText({ workspace_id: name, engine, lease, lease_line: line, active }, trouble, isElsewhere) {
  return [`${isElsewhere ? `${name}: ` : ""}Engine ${engine.word}`, active.length ? `${active.length} running` : "", trouble, !line || lease.kind === "available" ? "" : `lease ${lease.word}`].filter(Boolean).join(" · ");
}

/**
 * Whether a document that is shown, named below the folder that Jupyter serves, lies outside the workspace.
 *
 * @param {string | undefined} path
 * @param {string} served
 * @param {string} root
 * @param {Record<string, string>} [links] those in that folder
 */
export function liesElsewhere(path, served, root, links = {}) {
  return Boolean(path && served) && below(realPath(String(path).replace(/^\w+:/, ""), served, links), root) === null;
}

/**
 * Puts the line into the status bar. What is returned makes it follow a workspace.
 *
 * @param {WidgetClass} Widget
 * @param {NonNullable<Services["statusBar"]>} statusBar
 * @param {App["shell"]} shell
 * @param {() => unknown} show
 */
export function addStatusLine(Widget, statusBar, shell, show) {
  const widget = new Widget();
  const { node } = widget;
  widget.addClass("de-status");
  node.setAttribute("role", "button");
  Object.assign(node.style, { cursor: "pointer", lineHeight: "24px", padding: "0 6px", whiteSpace: "nowrap" });
  node.tabIndex = 0;
  node.title = "Data Engine: show the panel";
  node.textContent = "Data Engine";
  node.addEventListener("click", show);
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    show();
  });
  statusBar.registerStatusItem("data-engine:status", { item: widget, align: "left", rank: 90 });
  /** @type {(() => void) | null} */
  let leave = null;
  /** @type {PanelView | null} */
  let shown = null;
  /** @type {import("../../../static/types").Hello} */
  let place = {};
  const draw = async () => {
    const { inTrouble, ServerTransport } = await loadPanel();
    if (!place.root_dir) place = await new ServerTransport(base(), null).hello();
    if (!shown) return;
    const { words } = inTrouble(shown);
    const { context } = shell.currentWidget || {};
    const text = statusText(shown, words, liesElsewhere(context && context.path, place.root_dir || "", shown.workspace_root, place.links));
    if (node.textContent !== text) node.textContent = text;
    node.style.color = words ? "var(--jp-error-color1)" : "";
    node.title = `Data Engine, ${shown.workspace_id}: ${text}. ${shown.lease_line}`;
  };
  const drawn = () => draw().catch((error) => console.warn("Data Engine: status line:", error));
  shell.currentChanged.connect(drawn);
  return (/** @type {Transport} */ transport) => {
    if (leave) leave();
    leave = transport.subscribe((message) => {
      if (message.kind !== "view") return;
      shown = message.view;
      drawn();
    });
  };
}
