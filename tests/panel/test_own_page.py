"""`data-engine panel`: the panel as a page of its own, in a real browser, without JupyterLab around it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_engine import Workspace
from tests.panel import flows
from tests.panel.lab import ROOT, Panel
from tests.support import WorkspaceFiles, until

STICKS_OUT = """
(panel) => [...panel.querySelectorAll('*')].filter((one) => !one.closest('.de-sr, .de-grid, .de-log, .de-pre') && one.getClientRects().length
    && one.getBoundingClientRect().right > panel.getBoundingClientRect().right + 1).map((one) => one.className).slice(0, 6)
"""


class Served:
    """`data-engine panel --no-browser` as a process, with what it says."""

    def __init__(self, root: Path, folder: Path, *options: str, **more: str) -> None:
        self.log = folder / "panel.log"
        environment = (
            {name: value for name, value in os.environ.items() if not name.startswith(("JPY_", "JUPYTER"))}
            | {
                "PYTHONPATH": str(ROOT),
                "JUPYTER_CONFIG_DIR": str(folder / "config"),
                "JUPYTER_DATA_DIR": str(folder / "data"),
                "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            }
            | more
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "data_engine", "panel", str(root), *(options or ("--no-browser",))],
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def address(self) -> str:
        """The page's address, with its token."""
        found = until(lambda: re.search(r"http://\S+", self.said) or self.process.poll() is not None, 60)
        assert not isinstance(found, bool), self.said
        return str(found[0])

    def ended(self) -> int:
        return self.process.wait(30)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def asked(address: str, path: str | None = None, method: str = "GET") -> int:
    """What the server answers to somebody without a cookie."""
    url = address if path is None else re.sub(r"(http://[^/]+)/.*", rf"\1{path}", address)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
            return 302 if "/login" in answer.url else int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own-page")


@pytest.fixture(scope="module")
def workspace(home: Path) -> Iterator[Path]:
    root = home / "claims"
    (root / "flow_modules").mkdir(parents=True)
    flows.fill(root, good=flows.GOOD, failing=flows.FAILING, broken=flows.BROKEN, polled=flows.POLLED)
    flows.sources(root, good=3)
    return root


@pytest.fixture(scope="module")
def served(home: Path, workspace: Path) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ENGINE_STATE_ROOT", str(home / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
        Workspace(workspace).deploy()
        one = Served(workspace, home)
        yield one
        one.end()
        Workspace(workspace).kill()


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """The page, opened by the address that was printed; its console complains of nothing."""
    made = browser.new_page(viewport={"width": 1280, "height": 800})
    made.set_default_timeout(20000)
    errors: list[str] = []
    made.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.goto(served.address())
    made.locator(".de-row").first.wait_for()
    yield made
    made.close()
    assert errors == []


def test_the_page_is_the_panel_and_nothing_else(page: Any, served: Served, pictures: Path) -> None:
    """The workspace that was named, live; the token is gone from the address."""
    panel = Panel(_Of(page), ".de-panel")
    page.locator(".de-row[data-flow='good'] .de-state", has_text="manual").wait_for()
    page.screenshot(path=pictures / "own-page-wide.png")

    assert page.title() == "claims · Data Engine"
    assert "token" not in page.url
    assert page.locator("#jp-main-dock-panel, .jp-LabShell").count() == 0
    assert panel.element.get_attribute("data-live") == "server"
    assert panel.element.bounding_box() == {"x": 0, "y": 0, "width": 1280, "height": 800}


def test_a_flow_is_found_and_run_by_keyboard_alone(page: Any, pictures: Path) -> None:
    """From the first key: the panel hears it without a click."""
    page.keyboard.press("/")
    page.keyboard.type("good")
    page.locator(".de-row[data-flow='polled']").wait_for(state="detached")
    page.keyboard.press("Enter")
    detail = page.locator(".de-detail[data-flow='good']")
    detail.locator(".de-section").wait_for()
    page.locator(".de-row[data-flow='good'] .de-row-main").focus()
    page.keyboard.press("Shift+Enter")
    page.locator(".de-row[data-flow='good'] .de-last", has_text="success").wait_for(state="attached")
    page.screenshot(path=pictures / "own-page-detail.png")


def test_a_wide_page_shows_list_flow_and_run_beside_one_another(page: Any, pictures: Path) -> None:
    """Where there is no room for a third column the run opens in the list of runs."""
    page.set_viewport_size({"width": 1920, "height": 800})
    page.locator(".de-row[data-flow='good'] .de-row-main").click()
    page.locator(".de-row[data-flow='good'] .de-run").click()
    page.locator(".de-run-main").first.click()
    page.locator(".de-run-beside .de-log").wait_for()
    page.screenshot(path=pictures / "own-page-three.png")
    places = [page.locator(name).bounding_box() for name in (".de-list", ".de-detail", ".de-run-beside")]
    sticks_out = page.locator(".de-panel").evaluate(STICKS_OUT)
    page.set_viewport_size({"width": 1000, "height": 800})
    page.locator(".de-run-row .de-log").wait_for()

    assert [round(one["x"]) for one in places[1:]] == [round(one["x"] + one["width"]) for one in places[:2]]
    assert round(places[2]["x"] + places[2]["width"]) == 1920
    assert sticks_out == []


def test_what_needs_a_kernel_says_why(page: Any) -> None:
    """The button keeps its place, and its reason says where it works."""
    page.locator(".de-row[data-flow='polled'] .de-row-main").click()
    page.get_by_role("tab", name="Files").first.click()
    page.locator(".de-file-main").first.click()
    preview = page.get_by_role("button", name=re.compile("Preview this file")).first
    preview.wait_for()

    assert preview.get_attribute("aria-disabled") == "true"
    assert "open the flow in JupyterLab (data-engine lab)" in preview.get_attribute("title")
    page.locator("[data-action='more']").first.click()
    page.locator("[data-action='open']").first.click()
    page.get_by_text("in JupyterLab: data-engine lab").first.wait_for()


def test_in_little_room_nothing_sticks_out(page: Any, pictures: Path) -> None:
    """At the width of a phone, in the light and the dark."""
    page.set_viewport_size({"width": 420, "height": 800})
    page.locator(".de-row").first.wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=pictures / f"own-page-420-{scheme}.png")

    assert page.evaluate("document.documentElement.scrollWidth") == 420
    assert page.locator(".de-panel").evaluate(STICKS_OUT) == []


def test_only_who_has_the_token_sees_anything(served: Served) -> None:
    """Others are sent to Jupyter's login page, and get neither the panel nor an answer."""
    address = served.address()

    assert asked(address) == 200
    assert asked(address, "/data-engine/panel") == 302
    assert asked(address, "/data-engine/static/panel.js") == 403
    assert asked(address, "/data-engine/events?root=x") == 403
    assert asked(address, "/data-engine/panel?token=wrong") == 302


@pytest.mark.parametrize(
    "path",
    ["/api/kernels", "/api/contents", "/api/terminals", "/api/sessions", "/files/flow_modules/good.ipynb", "/lab"],
)
def test_the_server_has_nothing_but_the_page(served: Served, path: str) -> None:
    """No kernels, terminals or files: its token opens a panel, not a shell."""
    address = served.address()
    token = address.partition("token=")[2]

    assert asked(address, f"{path}?token={token}") == 404


def test_it_listens_on_this_machine_only(served: Served) -> None:
    """Whatever one's Jupyter settings say of their own server; unless it is asked for."""
    served.address()
    begun = psutil.Process(served.process.pid)
    processes = [begun, *begun.children(recursive=True)]  # on Windows the first is the environment's launcher
    listening = {one.laddr.ip for process in processes for one in process.net_connections() if one.status == "LISTEN"}

    assert listening == {"127.0.0.1"}


@pytest.mark.skipif(
    sys.platform == "win32",
    reason="no Ctrl-C can be sent to one process of a console on Windows; tests/client/test_foreground.py is the twin",
)
def test_ctrl_c_ends_the_page_and_not_the_daemon(tmp_path: Path, ws: WorkspaceFiles) -> None:
    """Without a question; and the address was said in one line."""
    ws.notebook("good", flows.GOOD)
    workspace = Workspace(ws.root)
    workspace.start()
    one = Served(ws.root, tmp_path)
    try:
        address = one.address()
        until(lambda: "Ctrl-C ends this page; the daemon and its runs go on." in one.said)
        one.process.send_signal(signal.SIGINT)
        code = one.ended()
        runs_on = workspace.status().daemon.running
    finally:
        one.end()
        workspace.kill()

    assert (code, runs_on) == (0, True)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/data-engine/panel\?token=[0-9a-f]+", address)
    assert "Traceback" not in one.said


@pytest.mark.skipif(sys.platform == "win32", reason="a script of a shell is the browser; modes of POSIX")
def test_it_opens_the_browser_by_a_file_in_a_folder_of_this_users(tmp_path: Path, ws: WorkspaceFiles) -> None:
    """The token is in no process's arguments; and who lets others reach the page is told what that means."""
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}\n', encoding="utf-8")
    script.chmod(0o755)
    one = Served(ws.root, tmp_path, "--ip", "0.0.0.0", BROWSER=str(script))
    try:
        one.address()
        until(lambda: opened.exists() and opened.read_text(encoding="utf-8").strip())
        said = until(lambda: one.said if "Ctrl-C" in one.said else "")
    finally:
        one.end()
    address = opened.read_text(encoding="utf-8").strip()
    page = Path(address.removeprefix("file://"))

    assert "token" not in address
    assert "/data-engine/panel?token=" in page.read_text(encoding="utf-8")
    assert page.parent.stat().st_mode & 0o077 == 0
    assert "Other machines can reach it" in said


def test_settings_that_turn_the_token_off_are_refused(tmp_path: Path, ws: WorkspaceFiles) -> None:
    """A page that runs flows for whoever reaches it is served by nobody's mistake."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "jupyter_server_config.py").write_text("c.IdentityProvider.token = ''\n", encoding="utf-8")
    one = Served(ws.root, tmp_path)
    try:
        code = one.ended()
    finally:
        one.end()

    assert code == 2
    assert "your Jupyter settings turn its token off" in one.said
    assert "jupyter_server_config.py" in one.said


def test_settings_of_another_server_open_no_door(tmp_path: Path, ws: WorkspaceFiles) -> None:
    """An address for all machines, and other extensions, are that server's."""
    (tmp_path / "config").mkdir()
    text = "c.ServerApp.ip = '0.0.0.0'\nc.ServerApp.jpserver_extensions = {'jupyterlab': True}\nc.ServerApp.default_url = '/lab'\n"
    (tmp_path / "config" / "jupyter_server_config.py").write_text(text, encoding="utf-8")
    one = Served(ws.root, tmp_path)
    try:
        address = one.address()
        token = address.partition("token=")[2]
        lab = asked(address, f"/lab?token={token}")
    finally:
        one.end()

    assert address.startswith("http://127.0.0.1:")
    assert "/data-engine/panel?" in address
    assert lab == 404


class _Of:
    """What `Panel` needs of a page."""

    def __init__(self, page: Any) -> None:
        self.page = page
