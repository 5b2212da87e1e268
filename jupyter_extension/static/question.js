// What is asked before something is done that a click may not have meant: with its answers, at the foot of the panel.

import { h } from "./dom.js";
import { focusedIn } from "./focus.js";
import { icon } from "./pieces.js";

/** @import { Panel } from "./panel.js" */

/**
 * @param {Panel} app
 * @param {string} text
 * @param {[string, () => unknown][]} answers
 */
export function ask(app, text, answers) {
  app.set({ question: { text, answers }, said: null });
}

/**
 * Takes the question away; the keys that follow go where it was asked from.
 *
 * @param {Panel} app
 */
export function closeQuestion(app) {
  app.focusNext = (app.state.question && app.state.question.opener) || null;
  app.set({ question: null });
}

/** @param {Panel} app */
export function questionPart(app) {
  const { question } = app.state;
  if (!question) return null;
  if (question.opener === undefined) question.opener = focusedIn(app.root); // it is not drawn yet
  /** @type {(label: string, act: () => unknown, kind: string) => import("./types").VNode} */
  const answer = (label, act, kind) => h("button", { key: label, type: "button", class: `de-button de-small${kind}`, onclick: () => { closeQuestion(app); act(); } }, label);
  // the first answer has no focus: the Enter that asked, pressed twice, answers nothing
  return h("div", { class: "de-said", key: `question ${question.text}`, role: "alertdialog", "aria-label": question.text, tabindex: "-1", focus: true },
    h("div", { class: "de-note de-warn" }, icon({ shape: "triangle", tone: "warn" }), h("div", { class: "de-grow" }, question.text,
      h("div", { class: "de-line de-wrap" }, question.answers.map(([label, act], index) => answer(label, act, index ? "" : " de-primary")), answer("Cancel", () => {}, " de-quiet")))));
}
