// How the page asks through the Jupyter server, where that sees the workspace.

import { applied, failure } from "./transport.js";

/** @import { Heard, Hello, PanelView, Place, Transport } from "./types" */

/**
 * What the page knows of its server; null where the page is not of one.
 *
 * @returns {{ baseUrl?: string, token?: string } | null}
 */
function pageConfig() {
  const element = document.getElementById("jupyter-config-data");
  try {
    return element && JSON.parse(element.textContent || "");
  } catch {
    return null;
  }
}

/** Where the server extension answers; null where the page is not of a Jupyter server. */
export function serverBase() {
  const config = pageConfig();
  if (!config) return null;
  try {
    return `${new URL(config.baseUrl || "/", location.href).href.replace(/\/?$/, "/")}data-engine/`;
  } catch {
    return null;
  }
}

export function serverHeaders() {
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/json" };
  const cookie = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
  if (cookie) headers["X-XSRFToken"] = decodeURIComponent(cookie[1]);
  const config = pageConfig();
  if (config && config.token) headers.Authorization = `token ${config.token}`;
  return headers;
}

/** @param {unknown} error */
export const textOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * @param {string} base
 * @param {string} path
 * @param {object} body
 */
async function ask(base, path, body) {
  const response = await fetch(base + path, {
    method: "POST", headers: serverHeaders(), credentials: "same-origin", body: JSON.stringify(body),
  });
  if (!response.ok && response.status !== 400) throw new Error(`the Jupyter server answered ${response.status}`);
  return response.json(); // of 400 with the error: page and server differ in version
}

/**
 * The transport for this place: the server's when it sees the same workspace of the same machine, else null.
 *
 * @param {Place} place
 * @returns {Promise<Transport | null>}
 */
export async function serverFor(place) {
  const base = serverBase();
  if (base === null) return null;
  try {
    if (!(await ask(base, "match", place)).match) return null;
    return new ServerTransport(base, place.root);
  } catch {
    return null;
  }
}

/** @implements {Transport} */
export class ServerTransport {
  /**
   * @param {string} base
   * @param {string | null} root
   */
  constructor(base, root) {
    this.base = base;
    this.root = root;
    this.kind = "server";
  }

  /**
   * @param {string | null} [path]
   * @param {string | null} [before]
   * @returns {Promise<Hello>}
   */
  async hello(path, before) {
    try {
      return await ask(this.base, "hello", { root: this.root || before || null, path: path || null });
    } catch (error) {
      throw new Error(`The Data Engine server extension does not answer: ${textOf(error)}`);
    }
  }

  /** @param {string} root */
  at(root) {
    return new ServerTransport(this.base, root);
  }

  /**
   * @param {string} action
   * @param {object} [args]
   */
  async call(action, args) {
    try {
      return await ask(this.base, "do", { root: this.root, action, args: args || {} });
    } catch (error) {
      return failure(`the Jupyter server cannot be reached: ${textOf(error)}`, "check whether the server still runs; reload the page");
    }
  }

  /** @param {(message: Heard) => void} listener */
  subscribe(listener) {
    if (this.root === null) throw new Error("no workspace is chosen");
    return sharedStream(this.base, this.root).add(listener);
  }
}

// One stream for all panels of a page that show one workspace: browsers allow six connections to a server.
// A page may hold several copies of this module.
const SHARED = /** @type {{ __dataEngineStreams?: Map<string, Stream> }} */ (globalThis);

/**
 * @param {string} base
 * @param {string} root
 */
function sharedStream(base, root) {
  const streams = (SHARED.__dataEngineStreams = SHARED.__dataEngineStreams || new Map());
  const key = `${base} ${root}`;
  const stream = streams.get(key) || new Stream(base, root);
  streams.set(key, stream);
  return stream;
}

const HIDDEN_FOR_MS = 5000;
class Stream {
  /**
   * @param {string} base
   * @param {string} root
   */
  constructor(base, root) {
    this.url = `${base}events?root=${encodeURIComponent(root)}`;
    /** @type {Set<(message: Heard) => void>} */
    this.listeners = new Set();
    /** @type {PanelView | null} */
    this.view = null;
    /** @type {AbortController | null} */
    this.abort = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.hiding = undefined;
    document.addEventListener("visibilitychange", () => this.shown());
  }

  /** @param {(message: Heard) => void} listener */
  add(listener) {
    this.listeners.add(listener);
    if (this.view) listener({ kind: "view", view: this.view });
    this.open();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.close();
    };
  }

  shown() {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.close(), HIDDEN_FOR_MS);
    else if (this.listeners.size) this.open();
  }

  close() {
    if (this.abort) this.abort.abort();
    this.abort = null;
    this.view = null;
  }

  /** @param {Heard} message */
  tell(message) {
    for (const listener of this.listeners) listener(message);
  }

  async open() {
    if (this.abort) return;
    const abort = (this.abort = new AbortController());
    let wait = 500;
    while (!abort.signal.aborted) {
      try {
        const response = await fetch(this.url, { headers: serverHeaders(), credentials: "same-origin", signal: abort.signal });
        if (!response.ok || !response.body) throw new Error(`the Jupyter server answered ${response.status}`);
        if (!(response.headers.get("Content-Type") || "").startsWith("text/event-stream")) {
          this.tell({ kind: "error", error: (await response.json()).error });
          this.abort = null;
          return;
        }
        for await (const event of eventsOf(response.body)) {
          wait = 500;
          const view = event.kind === "view" || !this.view ? event.data : applied(this.view, event.data);
          this.view = view;
          this.tell({ kind: "view", view });
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        this.tell({ kind: "lost", text: `No connection to the Jupyter server (${textOf(error)}); trying again.` });
      }
      if (abort.signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(wait * 2, 10000);
    }
  }
}

/**
 * The server-sent events of a response, each with its data as JSON.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<{ kind: string, data: any }>}
 */
export async function* eventsOf(body) {
  const decoder = /** @type {ReadableWritablePair<string, Uint8Array>} */ (/** @type {unknown} */ (new TextDecoderStream()));
  const reader = body.pipeThrough(decoder).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const kind = lines.find((line) => line.startsWith("event: "));
      const data = lines.find((line) => line.startsWith("data: "));
      if (kind && data) yield { kind: kind.slice(7), data: JSON.parse(data.slice(6)) };
    }
  }
}
