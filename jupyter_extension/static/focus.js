// The focus survives a drawing: what had it may have been made anew, or be gone.

/**
 * What finds the focused element inside `root` again; null where the focus is elsewhere.
 *
 * @param {HTMLElement} root
 */
export function focusedIn(root) {
  const active = /** @type {HTMLElement | null} */ (document.activeElement);
  return active && root.contains(active) ? selectorOf(active) : null;
}

/**
 * Gives the focus back, if the drawing lost it: to `next` where a person goes on there, else to what had it. Where that has
 * gone the panel has it, as the keys that follow are meant for the panel and not for the notebook around it.
 *
 * @param {HTMLElement} root
 * @param {string | null} focused
 * @param {string | null} next
 */
export function refocus(root, focused, next) {
  const active = document.activeElement;
  if (active !== document.body && !(active && active.closest(".de-one > .de-list"))) return;
  for (const selector of [next, focused]) {
    const found = selector === null ? null : /** @type {HTMLElement | null} */ (root.querySelector(selector));
    if (found) {
      found.focus({ preventScroll: !next && selector === focused });
      return;
    }
  }
  if (focused !== null) root.focus({ preventScroll: true });
}

/** @param {HTMLElement} node */
function selectorOf(node) {
  const row = /** @type {HTMLElement | null} */ (node.closest(".de-row[data-flow], .de-detail[data-flow]"));
  const within = row ? `.${row.classList[0]}[data-flow="${CSS.escape(row.dataset.flow || "")}"] ` : "";
  const label = node.getAttribute("aria-label");
  const own = node.dataset.action ? `[data-action="${CSS.escape(node.dataset.action)}"]` : label
    ? `[aria-label="${CSS.escape(label)}"]` : node.classList.length ? `.${node.classList[0]}` : node.tagName;
  return within + own;
}

const ROOM = 200;

/**
 * Lets a tab that was chosen be seen: its row goes up as far as what is below it needs, and not past the top.
 *
 * @param {HTMLElement} root
 */
export function makeRoom(root) {
  const row = root.querySelector(".de-tabs-section");
  const around = row && row.closest(".de-pair > .de-detail, .de-body");
  if (!around) return;
  const [place, port] = [row.getBoundingClientRect(), around.getBoundingClientRect()];
  around.scrollTop += Math.max(0, Math.min(place.top - port.top, ROOM - (port.bottom - place.bottom)));
}
