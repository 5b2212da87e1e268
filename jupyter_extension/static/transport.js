// How the page asks: through the Jupyter server where it sees the workspace, else through the kernel. Both answer alike.

export function serverBase() {
  const element = document.getElementById("jupyter-config-data");
  if (!element) return null;
  try {
    const config = JSON.parse(element.textContent);
    return new URL(config.baseUrl || "/", location.href).href.replace(/\/?$/, "/") + "data-engine/";
  } catch {
    return null;
  }
}

export function serverHeaders() {
  const headers = { "Content-Type": "application/json" };
  const cookie = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/);
  if (cookie) headers["X-XSRFToken"] = decodeURIComponent(cookie[1]);
  try {
    const token = JSON.parse(document.getElementById("jupyter-config-data").textContent).token;
    if (token) headers.Authorization = `token ${token}`;
  } catch {
    /* the page has no configuration: the cookie must do */
  }
  return headers;
}

async function ask(base, path, body) {
  const response = await fetch(base + path, {
    method: "POST", headers: serverHeaders(), credentials: "same-origin", body: JSON.stringify(body),
  });
  if (response.status === 400) return response.json(); // with the error: page and server differ in version
  if (!response.ok) throw new Error(`the Jupyter server answered ${response.status}`);
  return response.json();
}

function failure(what, mend) {
  return { error: { what, where: null, mend } };
}

// The transport for this place: the server's when it sees the same workspace of the same machine, else null.
export async function serverFor(place) {
  const base = serverBase();
  if (base === null) return null;
  try {
    if (place && !(await ask(base, "match", place)).match) return null;
    return new ServerTransport(base, place ? place.root : null);
  } catch {
    return null;
  }
}

export class ServerTransport {
  constructor(base, root) {
    this.base = base;
    this.root = root;
    this.kind = "server";
  }
  async hello(path, before) {
    try {
      return await ask(this.base, "hello", { root: this.root || before || null, path: path || null });
    } catch (error) {
      throw new Error(`The Data Engine server extension does not answer: ${error.message}`);
    }
  }
  at(root) {
    return new ServerTransport(this.base, root);
  }
  async call(action, args) {
    try {
      return await ask(this.base, "do", { root: this.root, action, args: args || {} });
    } catch (error) {
      return failure(`the Jupyter server cannot be reached: ${error.message}`, "see whether the server still runs; reload the page");
    }
  }
  subscribe(listener) {
    return sharedStream(this.base, this.root).add(listener);
  }
}

// One stream for all panels of a page that show one workspace: browsers allow six connections to a server.
const STREAMS = (globalThis.__dataEngineStreams = globalThis.__dataEngineStreams || new Map());
function sharedStream(base, root) {
  const key = `${base} ${root}`;
  if (!STREAMS.has(key)) STREAMS.set(key, new Stream(base, root));
  return STREAMS.get(key);
}

const HIDDEN_FOR_MS = 5000;
class Stream {
  constructor(base, root) {
    this.url = `${base}events?root=${encodeURIComponent(root)}`;
    this.listeners = new Set();
    this.view = null;
    this.abort = null;
    document.addEventListener("visibilitychange", () => this.shown());
  }
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
          this.view = event.kind === "view" ? event.data : applied(this.view, event.data);
          this.tell({ kind: "view", view: this.view });
        }
      } catch (error) {
        if (abort.signal.aborted) return;
        this.tell({ kind: "lost", text: `No connection to the Jupyter server (${error.message}); trying again.` });
      }
      if (abort.signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(wait * 2, 10000);
    }
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
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

export function applied(view, change) {
  const flows = { ...view.flows, ...(change.flows || {}) };
  for (const name of change.gone || []) delete flows[name];
  return { ...view, ...(change.set || {}), flows };
}

const SLOW_MS = 1500;
const KERNEL_GONE = "The kernel of this panel has ended";
export class KernelTransport {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    this.kind = "kernel";
    this.me = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
    this.number = 0;
    this.waiting = new Map();
    this.listener = null;
    this.view = null;
    this.heard = (message) => this.take(message);
    model.on("msg:custom", this.heard);
  }
  async hello() {
    const { result, error } = await this.call("workspaces", {});
    if (error) throw new Error(`${error.what}: ${error.mend}.`);
    return result;
  }
  at(root) {
    this.root = root;
    this.view = null;
    return this;
  }
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
  // Whether it went out: a model outlives its kernel in the page, and throws then.
  send(message) {
    try {
      this.model.send(message);
      return true;
    } catch {
      return false;
    }
  }
  take(message) {
    if (message.kind === "answer") {
      const done = this.waiting.get(message.id);
      this.waiting.delete(message.id);
      if (done) done(message.answer);
      return;
    }
    if (message.kind === "error" && this.listener) this.listener(message);
    if (message.root !== this.root) return;
    if (message.kind === "view") this.view = message.data;
    else if (message.kind === "delta" && this.view) this.view = applied(this.view, message.data);
    else return;
    if (this.listener) this.listener({ kind: "view", view: this.view });
  }
}
