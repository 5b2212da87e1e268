// The form of a run's parameters: a field for each that the flow declares.

import { run } from "./actions.js";
import { h } from "./dom.js";
import { whyNot } from "./pieces.js";

/** @import { PanelFlow, ParameterView } from "./types" */
/** @import { Panel } from "./panel.js" */

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 */
export function parametersForm(app, row) {
  const { details } = app.state;
  if (!details || details.error_text) return h("p", { class: "de-empty", key: "params form" }, "Reading…");
  return declaredForm(app, row, details.parameters || [], details.last_params);
}

/**
 * What was typed, as it is sent: texts by name; what is as the default says is left out.
 *
 * @param {ParameterView[]} parameters
 * @param {Record<string, string>} typed
 */
export function givenOf(parameters, typed) {
  /** @type {Record<string, string>} */
  const given = {};
  for (const one of parameters) {
    const text = typed[one.name];
    if (text !== undefined && text !== defaultText(one)) given[one.name] = text;
  }
  return given;
}

/**
 * What is typed into the open form of the flow, as it is sent.
 *
 * @param {Panel} app
 * @param {string} flow
 */
export function typedParams(app, flow) {
  const { selected, showParams, details, typed } = app.state;
  return showParams && flow === selected && details ? givenOf(details.parameters || [], typed) : {};
}

/**
 * A default as a person would type it.
 *
 * @param {Pick<ParameterView, "default">} parameter
 */
export function defaultText({ default: value }) {
  return value === null ? "" : Array.isArray(value) ? value.join(", ") : String(value);
}

/**
 * @param {Panel} app
 * @param {PanelFlow} row
 * @param {ParameterView[]} parameters
 * @param {Record<string, import("./types").Value | import("./types").Value[]> | null} last what was given last
 */
function declaredForm(app, row, parameters, last) {
  return h("form", {
    class: "de-params", key: "params form", "aria-label": `Parameters of ${row.title}`, onsubmit: (event) => {
      event.preventDefault();
      run(app, row.name, null, typedParams(app, row.name));
    },
  },
  parameters.map((one) => field(app, one)),
  h("div", { class: "de-line de-wrap" },
    h("button", { type: "submit", class: "de-button de-primary", ...whyNot(row.buttons.run, "Run with these parameters") }, "Run with these"),
    h("button", { type: "button", class: "de-button", onclick: () => app.set({ typed: {} }) }, "Defaults"),
    last ? h("button", { type: "button", class: "de-button", onclick: () => app.set({ typed: textsOf(last) }) }, "Last values") : null,
    h("button", { type: "button", class: "de-button", onclick: () => app.set({ showParams: false }) }, "Close")));
}

/**
 * Recorded values as a person would type them.
 *
 * @param {Record<string, import("./types").Value | import("./types").Value[]>} values
 */
export function textsOf(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== "***").map(([name, value]) => [name, defaultText({ default: value })]));
}

/**
 * @param {Panel} app
 * @param {ParameterView} one
 */
export function field(app, one) {
  const typed = app.state.typed[one.name];
  const value = typed === undefined ? defaultText(one) : typed;
  const id = `de-param-${one.name}`;
  const common = { id, class: "de-input", "data-param": one.name, "aria-describedby": one.help ? `${id}-help` : undefined };
  const change = (/** @type {string} */ text) => app.set({ typed: { ...app.state.typed, [one.name]: text } });
  return h("div", { class: "de-field", key: one.name },
    h("label", { for: id }, one.title, one.has_default ? null : h("span", { class: "de-faint" }, " (required)")),
    control(one, value, common, change),
    one.help ? h("div", { class: "de-faint de-hint", id: `${id}-help` }, one.help) : null);
}

/**
 * @param {ParameterView} one
 * @param {string} value
 * @param {import("./types").Props} common
 * @param {(text: string) => void} change
 */
function control(one, value, common, change) {
  const single = !one.is_list;
  if (one.kind === "Secret") return h("span", { id: String(common.id), class: "de-faint" }, `the secret ${one.name} of the workspace's owner`);
  if (single && one.kind === "bool" && !one.is_optional) {
    return h("input", { ...common, class: "", type: "checkbox", checked: value === "true", onchange: (event) => change(String(event.target.checked)) });
  }
  if (single && one.choices.length) {
    const texts = [...(one.is_optional || !one.has_default ? [""] : []), ...one.choices];
    return h("select", { ...common, onchange: (event) => change(event.target.value) },
      texts.map((text) => h("option", { key: text, value: text, selected: text === value }, text)));
  }
  const type = single && one.kind === "date" ? "date" : "text";
  return h("input", { ...common, type, value, placeholder: one.type, oninput: (event) => change(event.target.value) });
}
