// What a press of Deploy does, in its order.

import assert from "node:assert/strict";
import { test } from "node:test";

import { deploy } from "../../../jupyter_extension/static/actions.js";

test("the kernel compares before anything is deployed, and not again once its question was answered", async () => {
  /** @type {unknown[][]} */
  const done = [];
  const question = { text: "not as in the kernel", answers: [["Deploy it all the same", "key"]] };
  /** @type {any} */
  const app = {
    jupyter: { unsaved: () => [], compare: async (/** @type {string} */ flow) => done.push(["compare", flow]) },
    set: (/** @type {any} */ change) => { if (change.question) app.answers = change.question.answers; },
    act: async (/** @type {string} */ action, /** @type {any} */ args) => {
      done.push([action, args.name, args.agreed]);
      return args.agreed ? "deployed" : { question };
    },
  };

  await deploy(app, { name: "claims" });
  await app.answers[0][1]();

  assert.deepEqual(done, [["compare", "claims"], ["deploy", "claims", undefined], ["deploy", "claims", ["key"]]]);
});
