// The panel as a page of its own: the modules that JupyterLab shows, from the same server extension, with nothing around them.

/** @typedef {typeof import("../panel.js")} PanelModule */

const main = /** @type {HTMLElement} */ (document.querySelector("main"));

/** The address without the token it was opened by: the cookie has it now, and history and screen should not. */
function hideToken() {
  const url = new URL(location.href);
  if (!url.searchParams.has("token")) return;
  url.searchParams.delete("token");
  history.replaceState(null, "", url);
}

/** @returns {Promise<PanelModule>} */
async function loaded() {
  const { load } = await import(new URL("panel.js", import.meta.url).href);
  return load();
}

/** @param {PanelModule} module */
function show({ mount, serverBase, ServerTransport }) {
  const base = serverBase();
  if (base === null) throw new Error("the page does not say where its server is");
  const inside = document.createElement("div");
  inside.tabIndex = -1; // the panel hears its keys from the beginning, and wherever somebody has clicked
  main.replaceChildren(inside);
  const key = `data-engine:root:${base}`;
  mount(inside, new ServerTransport(base, null), {
    isWholePage: true,
    before: localStorage.getItem(key),
    remember: (root) => {
      localStorage.setItem(key, root);
      document.title = `${root.split(/[\\/]/).filter(Boolean).at(-1) || root} · Data Engine`;
    },
  });
  inside.focus();
  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body) return;
    inside.focus();
    if (!inside.dispatchEvent(new KeyboardEvent("keydown", event))) event.preventDefault();
  });
}

hideToken();
loaded().then(show).catch((error) => {
  main.textContent = `The panel cannot be shown: ${error instanceof Error ? error.message : error}. Reload the page; it may need your token again.`;
});
