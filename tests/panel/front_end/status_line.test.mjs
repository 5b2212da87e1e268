// The line in JupyterLab's status bar.

import assert from "node:assert/strict";
import { test } from "node:test";

import { liesElsewhere, statusText } from "../../../jupyter_extension/labextension/static/v4/status_line.js";

const mark = (/** @type {string} */ word) => ({ word, tone: "idle", shape: "ring", kind: word });
const view = (changes = {}) => /** @type {any} */ ({ workspace_id: "second", engine: mark("on"), lease: mark("available"), lease_line: "", active: [], ...changes });

test("the status bar tells of the engine, of runs, of trouble, and of another owner", () => {
  assert.equal(statusText(view(), "", false), "Engine on");
  assert.equal(statusText(view(), "2 flows in trouble", false), "Engine on · 2 flows in trouble", false);
  const busy = view({ active: [1], lease: mark("ann-pc"), lease_line: "ann-pc owns the workspace" });
  assert.equal(statusText(busy, "1 flow in trouble", false), "Engine on · 1 running · 1 flow in trouble · lease ann-pc");
});

test("the workspace is named where the document that is shown is not of it", () => {
  const inside = (/** @type {string | undefined} */ path, served = "/home/ann") => !liesElsewhere(path, served, "/home/ann/second");

  assert.equal(statusText(view(), "", true), "second: Engine on");
  assert.deepEqual([inside("second/flow_modules/a.ipynb"), inside("RTC:second/a.ipynb"), inside("flow_modules/a.ipynb", "/home/ann/second/")], [true, true, true]);
  assert.deepEqual([inside("first/flow_modules/a.ipynb"), inside("second_one/a.ipynb"), inside("a.ipynb", "/srv")], [false, false, false]);
  assert.equal(inside(undefined), true);
  assert.equal(liesElsewhere("linked/flow_modules/a.ipynb", "/home/ann", "/srv/data", { linked: "/srv/data" }), false);
  assert.equal(liesElsewhere("linked_too/flow_modules/a.ipynb", "/home/ann", "/srv/data", { linked: "/srv/data" }), true);
  assert.equal(liesElsewhere("team\\a.ipynb", "C:\\work", "C:\\work\\team"), false);
});
