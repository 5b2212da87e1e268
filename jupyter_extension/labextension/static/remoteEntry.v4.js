// JupyterLab's and Notebook 7's door to Data Engine: no build, and no copy of the panel, which comes from the server extension, so
// that page and server are always of one version. What is behind the door lies in the folder beside it. Browsers keep these files:
// rename both, in ../package.json too, when one of them changes.
(() => {
  "use strict";
  const here = /** @type {HTMLScriptElement} */ (document.currentScript).src;
  /** @type {import("./v4/jupyterlab").Scope} */
  let scope;

  /** @type {(name: string) => Promise<() => unknown>} */
  const get = async (name) => {
    if (name !== "./extension") throw new Error(`Data Engine has no ${name}`);
    const { extension } = await import(new URL("v4/plugin.js", here).href);
    return extension(scope);
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["data-engine"] = { init: (given) => { scope = given; }, get };
})();
