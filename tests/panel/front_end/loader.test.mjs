// How the panel's modules find each other when they are handed over as texts.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { loaderOf } from "../../../jupyter_extension/static/loader.js";

const STATIC = new URL("../../../jupyter_extension/static/", import.meta.url);

/** Node imports no blob: address, but it does import a text that is its own address. */
const asData = (/** @type {string} */ text) => `data:text/javascript;base64,${Buffer.from(text).toString("base64")}`;

test("imports lead to the modules they name, on one line or several", async () => {
  const load = loaderOf({
    "one.js": 'import { two } from "./two.js";\nimport {\n  three,\n} from "./three.js";\nexport const sum = 1 + two + three;\n',
    "two.js": 'export { value as two } from "./three.js";\n',
    "three.js": "export const value = 3;\nexport const three = value;\n",
  }, "one.js", asData);

  assert.equal((await load()).sum, 7);
});

test("a module that two import is one module, and the entry is loaded once", async () => {
  const addresses = [];
  const load = loaderOf({
    "entry.js": 'import a from "./a.js";\nimport b from "./b.js";\nexport default a === b;\n',
    "a.js": 'import shared from "./shared.js";\nexport default shared;\n',
    "b.js": 'import shared from "./shared.js";\nexport default shared;\n',
    "shared.js": "export default {};\n",
  }, "entry.js", (text) => {
    addresses.push(text);
    return asData(text);
  });

  assert.equal((await load()).default, true);
  assert.equal(await load(), await load());
  assert.equal(addresses.length, 4);
});

test("what only looks like an import is left as it is", async () => {
  const text = 'export const said = `\nPlease import x from "./nowhere.js"`;\n// import y from "./nowhere.js"\n';

  assert.equal((await loaderOf({ "one.js": text }, "one.js", asData)()).said, '\nPlease import x from "./nowhere.js"');
});

test("a missing module and a circle are named", async () => {
  const missing = loaderOf({ "one.js": 'import "x";\nimport { a } from "./gone.js";\n' }, "one.js", asData);
  const circle = loaderOf({ "a.js": 'import b from "./b.js";\n', "b.js": 'import a from "./a.js";\n' }, "a.js", asData);

  await assert.rejects(missing, /one\.js imports gone\.js, which is no module of the panel/);
  await assert.rejects(circle, /in a circle: a\.js, b\.js, a\.js/);
});

test("what failed is tried again by the next who asks", async () => {
  let isReachable = false;
  const load = loaderOf({ "one.js": "export const is = true;\n" }, "one.js", (text) => (isReachable ? asData(text) : "data:text/javascript,no code"));

  await assert.rejects(load);
  isReachable = true;
  assert.equal((await load()).is, true);
});

test("every module of the panel is found, and each is reached from the entry", async () => {
  const names = readdirSync(STATIC).filter((name) => name.endsWith(".js") && name !== "loader.js");
  const texts = Object.fromEntries(names.map((name) => [name, readFileSync(new URL(name, STATIC), "utf8")]));
  const reached = new Set();
  const load = loaderOf(texts, "panel.js", (text) => {
    const name = /\/\/# sourceURL=data-engine\/(.*)$/.exec(text)[1];
    assert.equal(reached.has(name), false);
    assert.doesNotMatch(text, /^(import|export)[^"]* from "\.\//m);
    reached.add(name);
    return asData(name === "panel.js" ? "export const done = true;" : "");
  });

  assert.equal((await load()).done, true);
  assert.deepEqual([...reached].sort(), names.sort());
});
