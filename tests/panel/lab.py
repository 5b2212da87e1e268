"""A real JupyterLab (or Notebook 7) in headless Chromium, and the panel in it as a person uses it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import psutil

from tests.panel import flows

ROOT = Path(__file__).parent.parent.parent
CHROMIUM = shutil.which("chromium") or ("" if sys.platform == "win32" else "/usr/bin/chromium")
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
HARMLESS = (
    # ipywidgets' manager, which looks for the widgets of a kernel that is being restarted
    "page error: Cannot read properties of null (reading 'kernel')",
    "favicon",
    "ERR_NETWORK_CHANGED",
    "Could not restore the debugger state",  # JupyterLab's debugger, when its kernel restarts
    "page error: Error: Canceled future for create_subshell_request",  # JupyterLab's, when a kernel ends as it begins
    "page error: Cannot read properties of undefined (reading 'schema')",  # Notebook 7's shortcuts, with no extension too
    "reading 'updateRenderOption'",  # Notebook 7's, which makes a notebook here before it opens it in another tab
    "page error: Disposed",  # a request JupyterLab had under way when its kernel was restarted
)


class Lab:
    """A JupyterLab server of its own, with folders, state and settings of its own; or, as `app`, a Notebook 7 server.

    Its notifications come up only where it is `loud`, as they would lie over what tests press. Those that run are in `up`.
    """

    up: ClassVar[list[Lab]] = []

    def __init__(self, home: Path, app: str = "lab", *, loud: bool = False) -> None:
        self.home = home
        self.app = app
        self.loud = loud
        self.root = home / "root"
        self.token = secrets.token_hex(16)
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DATA_ENGINE_", "JPY_", "JUPYTER", "XDG_"))
        } | {
            "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PANEL_KERNEL_PATH"), str(ROOT)])),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "IPYTHONDIR": str(home / "ipython"),
            "XDG_CONFIG_HOME": str(home / "xdg"),
            "DATA_ENGINE_STATE_ROOT": str(home / "state"),
        }
        flows.environments[self.root] = self.environment
        self.base = ""
        self.pid = 0
        self.pages: list[Page] = []
        self._ended: set[Path] = set()

    @contextmanager
    def running(self, *, timeout_s: float = 60.0) -> Iterator[Lab]:
        self.root.mkdir(parents=True, exist_ok=True)
        news = self.home / "settings" / "@jupyterlab" / "apputils-extension"
        news.mkdir(parents=True)
        notifications = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": not self.loud}
        (news / "notification.jupyterlab-settings").write_text(json.dumps(notifications))
        extensions = self.home / "labextensions"
        extensions.mkdir()
        extension = ROOT / "jupyter_extension" / "labextension"
        if sys.platform == "win32":  # where a link needs a right
            shutil.copytree(extension, extensions / "data-engine")
        else:
            (extensions / "data-engine").symlink_to(extension)
        traits = {"lab": "LabApp", "notebook": "JupyterNotebookApp"}[self.app]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        with (self.home / "lab.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jupyter",
                    self.app,
                    "--no-browser",
                    "--allow-root",
                    "--ip=127.0.0.1",
                    f"--port={port}",
                    "--ServerApp.port_retries=0",
                    "--ServerApp.allow_unauthenticated_access=False",
                    "--ServerApp.jpserver_extensions=jupyter_extension.server=True",
                    "--ServerApp.log_level=WARN",
                    f"--IdentityProvider.token={self.token}",
                    f"--ServerApp.root_dir={self.root}",
                    f"--LabApp.extra_labextensions_path={extensions}",  # serves the files, in Notebook 7 too
                    f"--{traits}.extra_labextensions_path={extensions}",
                    f"--{traits}.expose_app_in_browser=True",
                ],
                env=self.environment,
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = process.pid
        try:
            self._wait_until_up(process, timeout_s)
            self.up.append(self)
            yield self
        finally:
            with suppress(ValueError):
                self.up.remove(self)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
                process.kill()
                process.wait()

    def _wait_until_up(self, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                with urllib.request.urlopen(f"{self.base}/api/status?token={self.token}", timeout=2):
                    return
            except OSError:
                if process.poll() is not None or time.monotonic() > until_s:
                    said = (self.home / "lab.log").read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"Jupyter did not start:\n{said}") from None
                time.sleep(0.05)

    def request(
        self, path: str, body: dict[str, Any] | None = None, *, token: str | None = None, method: str | None = None
    ) -> tuple[int, bytes]:
        """The status and body the server answers; with the token unless another is given ("" for none)."""
        token = self.token if token is None else token
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"token {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{self.base}{path}", data, headers, method=method), timeout=30
            ) as found:
                return found.status, found.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def do(self, workspace: Path, action: str, **args: Any) -> dict[str, Any]:
        """What the server extension answers to an action of the panel."""
        _, body = self.request("/data-engine/do", {"root": str(workspace), "action": action, "args": args})
        found: dict[str, Any] = json.loads(body)
        return found

    def workspace(self, name: str) -> Path:
        """An empty workspace below the server's root."""
        (self.root / name / "flow_modules").mkdir(parents=True)
        return self.root / name

    def end_kernels(self) -> None:
        """End every kernel, with what has it open."""
        for session in json.loads(self.request("/api/sessions")[1]):
            self.request(f"/api/sessions/{session['id']}", method="DELETE")

    def end_daemons(self) -> None:
        """End every daemon of this lab's state; where one was ended before, nobody has started another."""
        made = {path.parent for path in self.root.rglob("flow_modules")} - self._ended
        code = (
            "import concurrent.futures, sys\nfrom data_engine import Workspace\n"
            "with concurrent.futures.ThreadPoolExecutor(8) as threads:\n"
            "    [threads.submit(Workspace(root).kill) for root in sys.argv[1:]]"
        )
        if made:
            command = [sys.executable, "-c", code, *map(str, made)]
            subprocess.run(command, env=self.environment, check=False, timeout=60)
        self._ended |= made


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Page:
    """One page of JupyterLab. `errors` are what the browser's console complained of."""

    def __init__(self, lab: Lab, browser: Any, *, width: int = 1400, height: int = 900) -> None:
        self.lab = lab
        self.context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        lab.pages.append(self)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60000)
        self.errors: list[str] = []
        self.is_loaded = False
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self._complain(f"page error: {error}\n{error.stack}"))

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self._complain(f"{message.text} ({message.location.get('url', '')})")

    def _complain(self, text: str) -> None:
        if not any(words in text for words in HARMLESS):
            self.errors.append(text)

    def load(self, *, name: str = "tests") -> None:
        """JupyterLab, freshly loaded."""
        self.page.goto(f"{self.lab.base}/lab/workspaces/{name}?reset&token={self.lab.token}")
        self.page.wait_for_function("() => window.jupyterapp !== undefined", timeout=60000, polling=100)
        self.page.evaluate("() => window.jupyterapp.restored.then(() => true)")
        self.is_loaded = True

    def open(self, path: str | None = None) -> Page:
        """JupyterLab with nothing open, or with the notebook at `path` and its kernel ready."""
        if not self.is_loaded:
            self.load()
        self.page.evaluate(
            """async (path) => {
                const app = window.jupyterapp;
                for (const widget of app.shell.widgets('main')) if (widget.context) widget.context.model.dirty = false;
                await app.commands.execute('application:close-all');
                if (path) await app.commands.execute('docmanager:open', { path });
            }""",
            path,
        )
        if path:
            self.wait_for_kernel()
        return self

    def wait_for_kernel(self) -> None:
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60000)
        self.page.wait_for_function(
            """() => {
                const widget = window.jupyterapp.shell.currentWidget;
                const context = widget && widget.context && widget.context.sessionContext;
                return context && context.session && context.session.kernel && context.session.kernel.status === 'idle';
            }""",
            timeout=60000,
            polling=100,  # else with each frame, which draws the page sixty times a second
        )

    def command(self, command: str, **args: Any) -> None:
        """Run a command of JupyterLab's, without waiting for its end."""
        self.page.evaluate(
            "([command, args]) => { window.jupyterapp.commands.execute(command, args); }", [command, args]
        )

    def run_all(self) -> None:
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)")

    def cell(self, number: int) -> Any:
        """The notebook's cell (from 0), brought into view with its output: JupyterLab draws only what is seen."""
        self.page.evaluate(
            "(number) => window.jupyterapp.shell.currentWidget.content.scrollToItem(number, 'start')", number
        )
        cell = self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}']")
        cell.locator(".jp-OutputArea-output").first.wait_for()
        return cell

    def theme(self, name: str) -> None:
        self.page.evaluate(
            "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", f"JupyterLab {name}"
        )
        self.page.wait_for_function(
            "(light) => document.body.dataset.jpThemeLight === light"
            " && !document.getElementById('jupyterlab-splash')",  # JupyterLab removes it twice where the next theme comes before
            arg="true" if name == "Light" else "false",
        )

    def side(self, workspace: Path | None = None) -> Panel:
        """The panel of the side bar, shown, with the workspace chosen."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('data-engine:show').then(() => true)")
        panel = Panel(self, "#data-engine-panel .de-panel")
        panel.element.wait_for()
        if workspace is not None:
            panel.choose(workspace)
            panel.tab("Flows")
            if panel.element.locator(".de-back").is_visible():
                panel.element.locator(".de-back").click()
            panel.element.get_by_label("Search flows").fill("")
        return panel

    def in_cell(self) -> Panel:
        """The panel in the notebook's output."""
        panel = Panel(self, ".jp-Notebook .jp-OutputArea-output .de-panel")
        panel.element.wait_for(timeout=60000)
        return panel

    def close(self) -> None:
        self.lab.pages.remove(self)
        with suppress(Exception):
            self.context.close()


class Panel:
    """The control panel on a page: what a person sees and presses."""

    def __init__(self, page: Page, selector: str) -> None:
        self.page = page.page
        self.element = self.page.locator(selector).first

    def choose(self, workspace: Path) -> None:
        select = self.element.locator(".de-workspace")
        select.wait_for()
        select.blur()
        select.focus()
        self.page.wait_for_function(
            "([select, value]) => [...select.options].some((option) => option.value === value)",
            arg=[select.element_handle(), str(workspace)],
        )
        select.select_option(str(workspace))
        self.element.locator(".de-top").wait_for()

    def row(self, flow: str) -> Any:
        return self.element.locator(f".de-row[data-flow='{flow}']")

    def select(self, flow: str) -> Any:
        """Look at a flow closely; its part of the panel, once it was read."""
        self.row(flow).locator(".de-row-main").click()
        detail = self.element.locator(f".de-detail[data-flow='{flow}']")
        detail.locator(".de-section").wait_for()
        return detail

    def button(self, action: str) -> Any:
        return self.element.locator(f"[data-action='{action}']").first

    def menu(self, action: str) -> Any:
        """An entry of the flow's menu, which is opened."""
        if self.button("more").get_attribute("aria-expanded") != "true":
            self.button("more").click()
        return self.button(action)

    def open_file(self, name: str) -> Any:
        """A line of the Files tab, opened."""
        file = self.element.locator(f".de-file[data-file='{name}']")
        if file.locator(".de-file-main").get_attribute("aria-expanded") != "true":
            file.locator(".de-file-main").click()
        return file

    def tab(self, name: str) -> None:
        self.element.get_by_role("tab", name=name).first.click()

    def wait_for_state(self, flow: str, word: str, *, timeout_s: float = 60.0) -> None:
        self.row(flow).locator(".de-state", has_text=word).wait_for(timeout=timeout_s * 1000)

    def wait_for_last(self, flow: str, word: str, *, timeout_s: float = 60.0) -> None:
        self.row(flow).locator(".de-last", has_text=word).wait_for(timeout=timeout_s * 1000, state="attached")

    def said(self) -> str:
        text: str = self.element.locator(".de-said").inner_text()
        return text
