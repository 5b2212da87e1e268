"""`panel()`: the control panel in a notebook."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import anywidget
import traitlets

from data_engine.argument_checks import checked
from data_engine.client import Workspace
from data_engine.errors import FlowValidationError
from data_engine.model import utc_text
from data_engine.status.record import WorkspaceStatus
from data_engine.view.feed import View, ViewSender
from data_engine.view.panel import delta
from jupyter_extension.actions import answer_and_look, place_of
from jupyter_extension.assets import panel_css, panel_js

PANEL_MIME = "application/vnd.data-engine.panel+json"
SNAPSHOT_FLOWS = 60
_FIRST_VIEW_S = 0.25


@checked()
def panel(workspace: Workspace | str | os.PathLike[str] | None = None) -> Panel:
    """The control panel of a workspace: of the current one, or of `workspace`.

    It goes through the Jupyter server where that sees the workspace, so that it works while a cell runs, and through
    this kernel otherwise. A saved notebook shows it as it was when the cell ran, with the time.

    Raises:
        WorkspaceError: there is no such workspace, or none can be found.

    Example:
        >>> import tempfile
        >>> shown = panel(Workspace.create(tempfile.mkdtemp()))
        >>> shown.place["root"] == str(shown.workspace.root)
        True
    """
    if workspace is None:
        return Panel(Workspace.current())
    return Panel(workspace if isinstance(workspace, Workspace) else Workspace(workspace))


class Panel(anywidget.AnyWidget):
    """The panel as a widget. Requests of the page to the kernel are answered in threads, and print nothing."""

    _esm = traitlets.Unicode(panel_js()).tag(sync=True)
    _css = traitlets.Unicode(panel_css()).tag(sync=True)
    place = traitlets.Dict().tag(sync=True)

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(place=place_of(workspace))
        self.workspace = workspace
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="data-engine-panel")
        self._feed: ViewSender | None = None
        self._leave: Callable[[], None] | None = None
        self._followers: set[Any] = set()
        self._sending = threading.Lock()
        self.on_msg(self._heard)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        from data_engine.view.status import status_card
        from data_engine.view.text import text
        from jupyter_extension.html import html

        output = super()._repr_mimebundle_(**kwargs)
        data, metadata = output if isinstance(output, tuple) else (output or {}, {})
        at_utc = utc_text(time.time())
        status, view = first_look(self.workspace)
        card = status_card(status)
        note = f"<p>Snapshot of {at_utc[:19].replace('T', ' ')} UTC. Run this cell again to go live.</p>"
        shown = {
            "text/plain": text(card),
            "text/html": html(card) + note,
            PANEL_MIME: {"place": dict(self.place), "at_utc": at_utc, "view": snapshot(view)},
        }
        return {**data, **shown}, metadata

    def _heard(self, _: Any, message: Any, buffers: Any) -> None:
        if not isinstance(message, dict):
            return
        kind = message.get("kind")
        if kind == "do":
            self._pool.submit(self._do, message)
        elif kind == "follow":
            self._followers.add(message.get("who"))
            self._pool.submit(self._follow, str(message.get("root")))
        elif kind == "leave":
            self._followers.discard(message.get("who"))
            if not self._followers:
                self._stop_following()

    def _do(self, message: dict[str, Any]) -> None:
        args = message.get("args")
        options = args if isinstance(args, dict) else {}
        answer = answer_and_look(self._feed, message.get("root"), str(message.get("action")), options)
        self._tell({"kind": "answer", "id": message.get("id"), "answer": answer})

    def _follow(self, root: str) -> None:
        self._stop_following()
        try:
            self._feed = ViewSender(Workspace(root))
        except FlowValidationError as error:
            self._tell({"kind": "error", "error": error.as_dict()})
            return
        shown: list[View | None] = [None]

        def listen(view: View) -> None:
            before, shown[0] = shown[0], view
            change = view if before is None else delta(before, view)
            if change:
                self._tell({"kind": "view" if before is None else "delta", "root": root, "data": change})

        self._leave = self._feed.listen(listen)

    def _stop_following(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def _tell(self, message: dict[str, Any]) -> None:
        with self._sending, suppress(Exception):  # a kernel that is going away has nobody to tell
            self.send(message)

    def close(self) -> None:
        """Stop following the workspace; the panel on the page goes dead."""
        self._stop_following()
        self._pool.shutdown(wait=False)
        super().close()


def first_look(ws: Workspace) -> tuple[WorkspaceStatus, View]:
    """The workspace's status and view as far as they are known at once: no flow's code runs for it."""
    views: list[View] = []
    came = threading.Event()

    def listen(view: View) -> None:
        views.append(view)
        came.set()

    feed = ViewSender(ws)
    leave = feed.listen(listen)
    came.wait(_FIRST_VIEW_S)
    leave()
    return feed.known(), views[-1] if views else feed.view_of(feed.known())


def snapshot(view: View) -> View:
    """A view that is small enough to be kept in a notebook: the flows that need somebody, then the others, up to a limit.

    Example:
        >>> snapshot({"flows": {}, "groups": [], "active": [], "notices": []})["flows"]
        {}
    """
    ordered = sorted(view["flows"], key=lambda name: view["flows"][name]["mark"]["tone"] not in ("bad", "live"))
    names = set(ordered[:SNAPSHOT_FLOWS])
    flows = {name: row for name, row in view["flows"].items() if name in names}
    groups = [group | {"flows": [name for name in group["flows"] if name in names]} for group in view["groups"]]
    return view | {"flows": flows, "groups": [group for group in groups if group["flows"]], "active": [], "notices": []}
