// The line in JupyterLab's status bar: engine, runs, flows in trouble, and who owns the workspace where that is not this machine.

import { loadPanel } from "./panel_module.js";

/** @import { Services, WidgetClass } from "./jupyterlab" */
/** @import { PanelView, Transport } from "../../../static/types" */

/**
 * A view in one line; `trouble` says how many flows need somebody, "" for none.
 *
 * @param {PanelView} view
 * @param {string} trouble
 */
export function statusText({ engine, lease, lease_line: line, active }, trouble) {
  return [`Engine ${engine.word}`, active.length ? `${active.length} running` : "", trouble, !line || lease.kind === "available" ? "" : `lease ${lease.word}`].filter(Boolean).join(" · ");
}

/**
 * Puts the line into the status bar. What is returned makes it follow a workspace.
 *
 * @param {WidgetClass} Widget
 * @param {NonNullable<Services["statusBar"]>} statusBar
 * @param {() => unknown} show
 */
export function addStatusLine(Widget, statusBar, show) {
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
  return (/** @type {Transport} */ transport) => {
    if (leave) leave();
    leave = transport.subscribe(async (message) => {
      if (message.kind !== "view") return;
      const { view } = message;
      const { inTrouble } = await loadPanel();
      const { words } = inTrouble(view);
      const text = statusText(view, words);
      if (node.textContent !== text) node.textContent = text;
      node.style.color = words ? "var(--jp-error-color1)" : "";
      node.title = `Data Engine, ${view.workspace_id}: ${text}. ${view.lease_line}`;
    });
  };
}
