// Paths as Jupyter names them, and where they really lie.

import assert from "node:assert/strict";
import { test } from "node:test";

import { jupyterPath, realPath } from "../../../jupyter_extension/labextension/static/v4/panel_module.js";

const LINKS = { linked: "/srv/data", "my notes": "/home/ann/real notes" };

test("a document below a link lies where the link leads, and is named by it", () => {
  const place = (/** @type {string} */ inside) => [realPath(inside, "/home/ann", LINKS), jupyterPath(realPath(inside, "/home/ann", LINKS), "/home/ann", LINKS)];

  assert.deepEqual(place("linked/flow_modules/a.ipynb"), ["/srv/data/flow_modules/a.ipynb", "linked/flow_modules/a.ipynb"]);
  assert.deepEqual(place("second/a.ipynb"), ["/home/ann/second/a.ipynb", "second/a.ipynb"]);
  assert.deepEqual(place("linked_too/a.ipynb"), ["/home/ann/linked_too/a.ipynb", "linked_too/a.ipynb"]);
  assert.deepEqual(place("constructor/a.ipynb"), ["/home/ann/constructor/a.ipynb", "constructor/a.ipynb"]);
  assert.equal(realPath("my notes/a.ipynb", "/home/ann", LINKS), "/home/ann/real notes/a.ipynb");
});

test("what lies neither in the served folder nor behind a link has no name there", () => {
  assert.equal(jupyterPath("/srv/other/a.ipynb", "/home/ann", LINKS), null);
  assert.equal(jupyterPath("/srv/data2/a.ipynb", "/home/ann", LINKS), null);
  assert.equal(jupyterPath("/srv/data/a.ipynb", "/home/ann"), null);
});

test("the root of the file system, and paths of Windows", () => {
  assert.equal(realPath("a.ipynb", "/"), "/a.ipynb");
  assert.equal(realPath("linked/a.ipynb", "C:\\work", { linked: "D:\\data" }), "D:/data/a.ipynb");
  assert.equal(jupyterPath("D:\\data\\a.ipynb", "C:\\work", { linked: "D:\\data" }), "linked/a.ipynb");
});
