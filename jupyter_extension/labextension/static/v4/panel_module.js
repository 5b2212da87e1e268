// The panel's module, from the server extension: loaded once for the page.

/** @typedef {typeof import("../../../static/panel.js")} PanelModule */

/** Where the server extension answers. */
export function base() {
  const element = /** @type {HTMLElement} */ (document.getElementById("jupyter-config-data"));
  const config = JSON.parse(element.textContent || "");
  return `${new URL(config.baseUrl || "/", location.href).href.replace(/\/?$/, "/")}data-engine/`;
}

/**
 * A path as Jupyter names it: below the folder it serves; null outside of it.
 *
 * @param {string} path
 * @param {string} served
 */
export function below(path, served) {
  const root = `${served.replace(/\\/g, "/").replace(/\/$/, "")}/`;
  const given = path.replace(/\\/g, "/");
  return given.startsWith(root) ? given.slice(root.length) : null;
}

/**
 * Where a document really lies that Jupyter names below the folder it serves, with slashes; `links` are the links in that folder.
 *
 * @param {string} inside
 * @param {string} served
 * @param {Record<string, string>} [links]
 */
export function realPath(inside, served, links = {}) {
  const [first] = inside.split("/", 1);
  return (Object.hasOwn(links, first) ? links[first] + inside.slice(first.length) : `${served.replace(/[\\/]$/, "")}/${inside}`).replace(/\\/g, "/");
}

/**
 * A path as Jupyter names it, below the folder it serves or a link in there; null outside of both.
 *
 * @param {string} path
 * @param {string} served
 * @param {Record<string, string>} [links]
 */
export function jupyterPath(path, served, links = {}) {
  const inside = below(path, served);
  if (inside !== null) return inside;
  const [name] = Object.keys(links).filter((one) => below(path, links[one]) !== null);
  return name === undefined ? null : `${name}/${below(path, links[name])}`;
}

/** @type {Promise<PanelModule> | null} */
let loading = null;

/** The panel's module; after a failure the next who asks tries again. */
export function loadPanel() {
  loading = loading || fetched();
  loading.catch(() => { loading = null; });
  return loading;
}

/** @returns {Promise<PanelModule>} */
async function fetched() {
  const [script, style] = await Promise.all([textOf("panel.js"), textOf("panel.css")]);
  if (!document.getElementById("data-engine-style")) {
    const element = document.createElement("style");
    element.id = "data-engine-style";
    element.textContent = style;
    document.head.append(element);
  }
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  try {
    return await (await import(url)).load();
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** @param {string} name */
async function textOf(name) {
  const response = await fetch(`${base()}static/${name}`, { credentials: "same-origin" });
  if (!response.ok) throw new Error(`the server extension of Data Engine answered ${response.status}`);
  return response.text();
}
