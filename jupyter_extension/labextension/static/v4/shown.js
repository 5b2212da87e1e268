// panel() in a notebook: live through the server, else through the kernel's widget, else as it was when the cell ran. And the fold with
// a profile below a frame: the kernel's widget, else nothing.

import { loadPanel } from "./panel_module.js";

/** @import { DocumentWidget, MimeModel, Tracker, WidgetClass } from "./jupyterlab" */

export const PANEL_MIME = "application/vnd.data-engine.panel+json";
export const PROFILE_MIME = "application/vnd.data-engine.profile+json";
const WIDGET_MIME = "application/vnd.jupyter.widget-view+json";

/**
 * The class of widget that renders a panel in an output.
 *
 * @param {WidgetClass} Widget
 * @param {Tracker | null} tracker
 */
export function shownClass(Widget, tracker) {
  return class Shown extends Widget {
    constructor() {
      super();
      /** @type {(() => void) | null} */
      this.leave = null;
      this.addClass("de-shown");
    }

    /** @param {MimeModel} model */
    async renderModel(model) {
      const { place, view, at_utc: takenAt } = model.data[PANEL_MIME];
      this.forget();
      const inside = document.createElement("div");
      this.node.replaceChildren(inside);
      const module = await loadPanel().catch(() => null);
      const transport = module && await module.serverFor(place);
      if (this.isDisposed) return;
      const notebook = transport ? undefined : notebookOf(model, tracker);
      if (module && transport) this.leave = module.mount(inside, transport).leave;
      else if (notebook) {
        await renderWidget(Widget, notebook, model, this.node);
        inside.remove();
      } else if (module) this.leave = module.mount(inside, null, { snapshot: view, takenAt }).leave;
    }

    forget() {
      if (this.leave) this.leave();
      this.leave = null;
    }

    dispose() {
      this.forget();
      super.dispose();
    }
  };
}

/**
 * The class of widget that renders the fold below a frame in an output.
 *
 * @param {WidgetClass} Widget
 * @param {Tracker | null} tracker
 */
export function foldClass(Widget, tracker) {
  return class Fold extends Widget {
    constructor() {
      super();
      /** @type {() => void} */
      this.onAfterAttach = () => {};
      this.attached = new Promise((resolve) => { this.onAfterAttach = () => resolve(undefined); });
    }

    /** @param {MimeModel} model */
    async renderModel(model) {
      const notebook = notebookOf(model, tracker);
      if (!notebook) return;
      this.attached.then(() => renderWidget(Widget, notebook, model, this.node));
    }
  };
}

/**
 * The kernel's widget, drawn inside `node`.
 *
 * @param {WidgetClass} Widget
 * @param {DocumentWidget} notebook
 * @param {MimeModel} model
 * @param {HTMLElement} node
 */
async function renderWidget(Widget, notebook, model, node) {
  const renderer = notebook.content.rendermime.createRenderer(WIDGET_MIME);
  Widget.attach(renderer, node);
  await renderer.renderModel(model);
}

/**
 * The notebook whose kernel knows the widget: one that was restarted has forgotten it.
 *
 * @param {MimeModel} model
 * @param {Tracker | null} tracker
 * @returns {DocumentWidget | undefined}
 */
function notebookOf(model, tracker) {
  const view = model.data[WIDGET_MIME];
  if (!view || !tracker) return undefined;
  return tracker.find(({ sessionContext: { session } }) => Boolean(session && session.kernel && session.kernel.hasComm(view.model_id)));
}
