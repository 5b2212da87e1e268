// How the page asks through the kernel that made the panel, where no server can.

import { applied, failure } from "./transport.js";

/** @import { Answer, Heard, PanelView, Transport, WidgetModel } from "./types" */

/**
 * @typedef {{ kind: "answer", id: string, answer: Answer }
 *   | { kind: "error", error: import("./types").ErrorParts }
 *   | { kind: "view", root: string, data: PanelView }
 *   | { kind: "delta", root: string, data: import("./types").ViewChange }} Message
 */

const SLOW_MS = 1500;
const KERNEL_GONE = "The kernel of this panel has ended";

/** @implements {Transport} */
export class KernelTransport {
  /**
   * @param {WidgetModel} model
   * @param {string} root
   */
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.kind = "kernel";
    this.me = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
    this.number = 0;
    /** @type {Map<string, (answer: Answer) => void>} */
    this.waiting = new Map();
    /** @type {((message: Heard) => void) | null} */
    this.listener = null;
    /** @type {PanelView | null} */
    this.view = null;
    this.heard = (/** @type {Message} */ message) => this.take(message);
    model.on("msg:custom", this.heard);
  }

  async hello() {
    const { result, error } = await this.call("workspaces", {});
    if (error) throw new Error(`${error.what}: ${error.fix}.`);
    return result;
  }

  /** @param {string} root */
  at(root) {
    this.root = root;
    this.view = null;
    return this;
  }

  /**
   * @param {string} action
   * @param {object} [args]
   * @returns {Promise<Answer>}
   */
  call(action, args) {
    const id = `${this.me} ${(this.number += 1)}`;
    const slow = setTimeout(() => this.listener && this.listener({
      kind: "lost", text: "The kernel is busy: it answers after the running cell.",
    }), SLOW_MS);
    return new Promise((resolve) => {
      this.waiting.set(id, (answer) => {
        clearTimeout(slow);
        resolve(answer);
      });
      if (!this.send({ kind: "do", id, root: this.root, action, args: args || {} })) {
        this.take({ kind: "answer", id, answer: failure(KERNEL_GONE, "run the panel's cell again") });
      }
    });
  }

  /** @param {(message: Heard) => void} listener */
  subscribe(listener) {
    this.listener = listener;
    this.model.off("msg:custom", this.heard);
    this.model.on("msg:custom", this.heard);
    if (!this.send({ kind: "follow", who: this.me, root: this.root })) {
      listener({ kind: "lost", text: `${KERNEL_GONE}: run the panel's cell again.` });
    }
    return () => {
      this.listener = null;
      this.model.off("msg:custom", this.heard);
      this.send({ kind: "leave", who: this.me });
    };
  }

  /**
   * Whether it went out: a model outlives its kernel in the page, and throws then.
   *
   * @param {object} message
   */
  send(message) {
    try {
      this.model.send(message);
      return true;
    } catch {
      return false;
    }
  }

  /** @param {Message} message */
  take(message) {
    if (message.kind === "answer") {
      const done = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (done) done(message.answer);
      return;
    }
    if (message.kind === "error") {
      if (this.listener) this.listener(message);
      return;
    }
    if (message.root !== this.root) return;
    if (message.kind === "view") this.view = message.data;
    else if (message.kind === "delta" && this.view) this.view = applied(this.view, message.data);
    else return;
    if (this.listener) this.listener({ kind: "view", view: this.view });
  }
}
