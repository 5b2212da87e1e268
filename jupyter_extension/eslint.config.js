import js from "@eslint/js";
import globals from "globals";

export default [
  { ignores: ["**/node_modules/"] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2022, sourceType: "module" },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "complexity": ["error", 20],
      "curly": ["error", "multi-line"],
      "eqeqeq": "error",
      "max-depth": ["error", 4],
      "max-lines": ["error", 350],
      "no-duplicate-imports": "error",
      "no-shadow": "error",
      "no-unused-expressions": ["error", { allowShortCircuit: true }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
  { files: ["jupyter_extension/*/**/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["jupyter_extension/labextension/static/remoteEntry.*.js"], languageOptions: { sourceType: "script" } },
  { files: ["jupyter_extension/*.js", "tests/**/*.mjs"], languageOptions: { globals: globals.node } },
];
