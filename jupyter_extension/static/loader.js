// Loads the panel from the texts of its modules. A notebook's widget is given to the page as one text, and gets an address
// (blob:) from which no relative import leads anywhere: so each module gets an address of its own, those it imports first, and
// its imports name these. The browser links the modules as it links any others; nothing is joined or renamed.

const IMPORT = /^((?:import|export) [\w\s{},*]+ from )"\.\/([\w.]+)"/gm;

/** @param {string} text */
function blobUrl(text) {
  return URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
}

/**
 * A function that imports the module `entry`, once for all who ask. `texts` are the modules by file name.
 *
 * @param {Record<string, string>} texts
 * @param {string} entry
 * @param {(text: string) => string} addressOf
 */
export function loaderOf(texts, entry, addressOf = blobUrl) {
  /** @type {Promise<any> | null} */
  let loading = null;
  return () => {
    loading = loading || linked(texts, entry, addressOf);
    loading.catch(() => { loading = null; });
    return loading;
  };
}

/**
 * @param {Record<string, string>} texts
 * @param {string} entry
 * @param {(text: string) => string} addressOf
 */
async function linked(texts, entry, addressOf) {
  /** @type {Map<string, string>} */
  const addresses = new Map();
  /** @type {(name: string, importers: string[]) => string} */
  const address = (name, importers) => {
    if (importers.includes(name)) throw new Error(`modules import each other in a circle: ${[...importers, name].join(", ")}`);
    if (texts[name] === undefined) throw new Error(`${importers.at(-1)} imports ${name}, which is no module of the panel`);
    const known = addresses.get(name);
    if (known !== undefined) return known;
    const text = texts[name].replace(IMPORT, (_, begin, imported) => `${begin}"${address(imported, [...importers, name])}"`);
    const made = addressOf(`${text}\n//# sourceURL=data-engine/${name}`);
    addresses.set(name, made);
    return made;
  };
  try {
    return await import(address(entry, []));
  } finally {
    for (const made of addresses.values()) if (made.startsWith("blob:")) URL.revokeObjectURL(made);
  }
}
