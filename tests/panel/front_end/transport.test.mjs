// How the page asks: what a stream says, and a kernel's answers in any order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { KernelTransport } from "../../../jupyter_extension/static/kernel.js";
import { eventsOf } from "../../../jupyter_extension/static/server.js";

const streamOf = (/** @type {string[]} */ ...texts) => new Blob(texts).stream();

test("events are read whole, wherever the stream is cut, and comments are none", async () => {
  const text = 'event: view\ndata: {"a": "é"}\n\n: still here\n\nevent: delta\ndata: {"b": 2}\n\n';
  const bytes = new TextEncoder().encode(text);
  const body = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const found = [];
  for await (const event of eventsOf(body)) found.push(event);

  assert.deepEqual(found, [{ kind: "view", data: { a: "é" } }, { kind: "delta", data: { b: 2 } }]);
});

test("an event that is not finished is none", async () => {
  const found = [];
  for await (const event of eventsOf(streamOf('event: view\ndata: {"a": 1}\n'))) found.push(event);

  assert.deepEqual(found, []);
});

/** A kernel's side of a widget, and what the page sent to it. */
function kernel() {
  const heard = new Set();
  const sent = [];
  const model = {
    on: (/** @type {string} */ _, /** @type {(message: object) => void} */ hear) => heard.add(hear),
    off: (/** @type {string} */ _, /** @type {(message: object) => void} */ hear) => heard.delete(hear),
    send: (/** @type {object} */ message) => sent.push(message),
    get: () => ({ root: "/ws" }),
  };
  return { model, sent, heard, say: (/** @type {object} */ message) => [...heard].forEach((hear) => hear(message)) };
}

test("answers find their questions in any order", async () => {
  const { model, sent, say } = kernel();
  const transport = new KernelTransport(model, "/ws");
  const first = transport.call("flow", { flow: "a" });
  const second = transport.call("flow", { flow: "b" });
  say({ kind: "answer", id: sent[1].id, answer: { result: "b" } });
  say({ kind: "answer", id: sent[0].id, answer: { result: "a" } });

  assert.deepEqual([await first, await second], [{ result: "a" }, { result: "b" }]);
});

test("views of the workspace shown are followed, change by change; those of another are not", () => {
  const { model, sent, heard, say } = kernel();
  const transport = new KernelTransport(model, "/ws");
  const views = [];
  const leave = transport.subscribe((message) => views.push(message.view));
  say({ kind: "delta", root: "/ws", data: { flows: { a: 0 } } });
  say({ kind: "view", root: "/ws", data: { flows: { a: 1 } } });
  say({ kind: "view", root: "/other", data: { flows: {} } });
  say({ kind: "delta", root: "/ws", data: { flows: { b: 2 } } });
  leave();

  assert.deepEqual(views, [{ flows: { a: 1 } }, { flows: { a: 1, b: 2 } }]);
  assert.deepEqual(sent.map(({ kind }) => kind), ["follow", "leave"]);
  assert.equal(heard.size, 0);
});

test("a kernel that has ended is an answer, and told", async () => {
  const { model } = kernel();
  const transport = new KernelTransport({ ...model, send: () => { throw new Error("disposed"); } }, "/ws");
  const told = [];
  transport.subscribe((message) => told.push(message));
  const answer = await transport.call("run", {});

  assert.equal(answer.error.what, "The kernel of this panel has ended");
  assert.match(told[0].text, /run the panel's cell again/);
});
