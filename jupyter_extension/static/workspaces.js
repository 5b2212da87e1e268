// Workspaces that are made while the panel stands: they join the list by themselves.

/** @import { Panel } from "./panel.js" */

const EVERY_MS = 3000;
const SELDOM = 5;

/**
 * Looks for workspaces now and then while somebody sees the panel, more often where none is shown yet. What is returned ends that.
 *
 * @param {Panel} app
 */
export function followWorkspaces(app) {
  let looks = 0;
  const timer = setInterval(async () => {
    const { root, kind } = app.transport;
    looks += 1;
    if (kind !== "server" || document.hidden || app.root.offsetParent === null || (root && looks % SELDOM)) return;
    const found = await app.transport.hello().catch(() => null);
    if (!found || !found.workspaces || app.isGone) return;
    if (JSON.stringify(found.workspaces) !== JSON.stringify(app.state.workspaces)) app.set({ workspaces: found.workspaces });
    if (!app.transport.root && found.selected) app.switchTo(found.selected);
  }, EVERY_MS);
  return () => clearInterval(timer);
}
