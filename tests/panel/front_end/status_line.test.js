// The line in JupyterLab's status bar.

import assert from "node:assert/strict";
import { test } from "node:test";

import { statusText } from "../../../jupyter_extension/labextension/static/v4/status_line.js";

const mark = (/** @type {string} */ word) => ({ word, tone: "idle", shape: "ring", kind: word });
const view = (changes = {}) => /** @type {any} */ ({ engine: mark("on"), lease: mark("available"), lease_line: "", active: [], ...changes });

test("the status bar tells of the engine, of runs, of trouble, and of another owner", () => {
  assert.equal(statusText(view(), ""), "Engine on");
  assert.equal(statusText(view(), "2 flows in trouble"), "Engine on · 2 flows in trouble");
  const busy = view({ active: [1], lease: mark("ann-pc"), lease_line: "ann-pc owns the workspace" });
  assert.equal(statusText(busy, "1 flow in trouble"), "Engine on · 1 running · 1 flow in trouble · lease ann-pc");
});
