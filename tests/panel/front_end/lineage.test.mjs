// The map: what a drawn picture is given of the states of flows.

import assert from "node:assert/strict";
import { test } from "node:test";

import { showStates } from "../../../jupyter_extension/static/lineage.js";
import SHAPES from "../../../jupyter_extension/static/shapes.js";

const HOSTILE = ["<img src=x onerror=alert(1)>", "R&D", "a\"b", "{{tone:x}}", "</title><script>alert(1)</script>", "$&", "__proto__", "constructor"];

/**
 * A box as the picture has it: each part keeps what was set as text apart from what was set as markup.
 *
 * @param {string} name
 */
function box(name) {
  /** @type {Record<string, { textContent: string, innerHTML: string }>} */
  const parts = Object.fromEntries(["title", ".de-s", ".de-i"].map((part) => [part, { textContent: "", innerHTML: "" }]));
  /** @type {Record<string, string>} */
  const attributes = { "data-node": name };
  const classes = new Set(["de-n", "de-f", "de-idle"]);
  return {
    parts, attributes, classes,
    querySelector: (/** @type {string} */ part) => parts[part],
    getAttribute: (/** @type {string} */ key) => attributes[key],
    setAttribute: (/** @type {string} */ key, /** @type {string} */ value) => { attributes[key] = value; },
    classList: {
      add: (/** @type {string} */ one) => classes.add(one),
      remove: (/** @type {string[]} */ ...some) => some.forEach((one) => classes.delete(one)),
    },
  };
}

const drawn = (/** @type {ReturnType<typeof box>[]} */ ...boxes) => /** @type {any} */ ({ querySelectorAll: () => boxes });
const row = (/** @type {string} */ title, tone = "bad", shape = "cross", word = "failing") => /** @type {any} */ ({ title, mark: { tone, shape, word, kind: "failing" }, state_text: "failing", reason: `${title} failed` });

test("each flow has its own state, whatever it is called, and its name is text", () => {
  for (const name of HOSTILE) {
    const flow = box(name);
    const flows = JSON.parse(`{${JSON.stringify(name)}: ${JSON.stringify(row(name))}}`);

    showStates(drawn(flow), flows);

    assert.deepEqual([...flow.classes].sort(), ["de-bad", "de-f", "de-n"]);
    assert.equal(flow.parts.title?.textContent, `${name}: failing, ${name} failed`);
    assert.equal(flow.attributes["aria-label"], flow.parts.title?.textContent);
    assert.equal(flow.parts[".de-s"]?.textContent, "failing");
    assert.deepEqual(Object.values(flow.parts).map((part) => part.innerHTML), ["", "", SHAPES.cross]);
  }
});

test("a flow that the view does not have keeps its name, and has no state", () => {
  for (const name of HOSTILE) {
    const flow = box(name);

    showStates(drawn(flow), {});

    assert.deepEqual([...flow.classes].sort(), ["de-f", "de-idle", "de-n"]);
    assert.deepEqual([flow.parts.title?.textContent, flow.parts[".de-s"]?.textContent, flow.parts[".de-i"]?.innerHTML], [name, "", SHAPES.ring]);
  }
});

test("a state follows in the same picture, and one that stays is not drawn again", () => {
  const flow = box("claims");
  showStates(drawn(flow), { claims: row("Claims") });
  const title = /** @type {{ textContent: string }} */ (flow.parts.title);
  title.textContent = "still there";
  showStates(drawn(flow), { claims: row("Claims") });
  const before = title.textContent;
  showStates(drawn(flow), { claims: row("Claims", "good", "disc", "polling") });

  assert.equal(before, "still there");
  assert.equal(flow.classes.has("de-good") && !flow.classes.has("de-bad"), true);
  assert.equal(flow.parts[".de-s"]?.textContent, "polling");
});
