"""The Jupyter server's side: authenticated requests that are handed to this user's daemon of a workspace.

The page never sees the daemon's token: this process reads it from the user's own private files.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import tornado.iostream
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from tornado import web

from data_engine.client import Workspace
from data_engine.commands.fields import ANY_TEXT, OBJECT, BadRequestError, Field, checked
from data_engine.docs import site
from data_engine.errors import FlowValidationError
from data_engine.files import write_text_atomic
from data_engine.formatting import cli_line
from data_engine.platforms.files import is_folder_itself
from data_engine.platforms.names import real_path, with_home
from data_engine.version import __version__
from data_engine.view.feed import View, ViewSender
from data_engine.view.panel import delta
from data_engine.workspace.layout import renamed_file
from jupyter_extension.actions import answer, answer_and_look, fields_of, is_here
from jupyter_extension.assets import page_html, page_js, panel_css, panel_js

BASE = "data-engine"
STREAM_SILENCE_S = 15.0
_AS_JSON = "send a JSON object"

_pool = ThreadPoolExecutor(8, thread_name_prefix="data-engine-panel")
_feeds: dict[Path, ViewSender] = {}


class _Handler(APIHandler):
    async def in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(_pool, work, *args)

    def body(self, **fields: Field) -> dict[str, Any]:
        """The values of these fields of the body.

        Raises:
            BadRequestError: it is not JSON object, or one of them is of the wrong type.
        """
        try:
            values = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError) as error:
            raise BadRequestError(f"the body is not JSON: {error}", where="the request", fix=_AS_JSON) from error
        if not isinstance(values, dict):
            raise BadRequestError("the body is not a JSON object", where="the request", fix=_AS_JSON)
        return checked(values, fields, "the request") if fields else values

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Refuse a wrong request in the shape of every other error."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, web.HTTPError) and status_code == 400:
            error = BadRequestError(error.log_message or "it is malformed", where="the request", fix=_AS_JSON)
        if not isinstance(error, BadRequestError):
            super().write_error(status_code, **kwargs)
            return
        self.set_status(400)
        self.finish(json.dumps({"error": error.as_dict()}))

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Leave no traceback of a wrong request in the server's log: it is the caller's matter."""
        if not isinstance(error, BadRequestError):
            super().log_exception(kind, error, trace)


class Hello(_Handler):
    """Where this server is, and which workspaces there are."""

    @web.authenticated
    async def post(self) -> None:
        body = self.body(root=ANY_TEXT.optional, path=ANY_TEXT.or_else(""))
        root_dir = str(Path(self.settings["server_root_dir"]).expanduser())
        path = body["path"].rpartition(":")[2]
        near = [root_dir, *_folders_above(Path(root_dir), path)]
        root = await self.in_thread(_workspace_around, Path(root_dir), path)
        workspaces = await self.in_thread(answer, root or body["root"], "workspaces", {"near": near})
        lab = cli_line("--workspace", body["root"], "lab") if body["root"] else cli_line("lab")
        served = await self.in_thread(real_path, root_dir)  # workspaces are called by where they really are
        links = await self.in_thread(_links_in, root_dir)
        facts = {"version": __version__, "root_dir": served, "links": links, "lab": lab}
        self.finish(json.dumps(facts | workspaces.get("result", workspaces)))


class Match(_Handler):
    """Whether this server and a kernel see the same workspace on the same machine."""

    @web.authenticated
    async def post(self) -> None:
        self.finish(json.dumps({"match": await self.in_thread(is_here, self.body())}))


class Do(_Handler):
    """One action of the panel. A person's mistake is an answer, too, and no HTTP error; a wrong type is one."""

    @web.authenticated
    async def post(self) -> None:
        body = self.body(root=ANY_TEXT.optional, action=ANY_TEXT, args=OBJECT.or_else({}))
        root, action, args = body["root"], body["action"], body["args"]
        if (fields := fields_of(action)) is not None:
            checked(args, fields, action)
        feed = None if root is None else _feeds.get(Path(root))
        self.finish(json.dumps(await self.in_thread(answer_and_look, feed, root, action, args)))


class Events(_Handler):
    """Server-sent events: the whole view first (`view`), then what changed (`delta`)."""

    _track_activity = False

    def initialize(self) -> None:
        self._views: asyncio.Queue[View | None] = asyncio.Queue()

    def on_connection_close(self) -> None:
        """Stop following for a page that is gone."""
        self._views.put_nowait(None)

    @web.authenticated
    async def get(self) -> None:
        loop = asyncio.get_running_loop()
        views = self._views
        try:
            ws = await self.in_thread(Workspace, self.get_query_argument("root", ""))
            feed = _feeds.setdefault(ws.root, ViewSender(ws))
        except FlowValidationError as error:
            self.finish(json.dumps({"error": error.as_dict()}))
            return
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")
        packed = "gzip" in self.request.headers.get("Accept-Encoding", "")
        if packed:
            self.set_header("Content-Encoding", "gzip")
        pack = zlib.compressobj(6, zlib.DEFLATED, 31) if packed else None

        def listen(view: View) -> None:
            with suppress(RuntimeError):  # the server is ending
                loop.call_soon_threadsafe(views.put_nowait, view)

        leave = await self.in_thread(feed.listen, listen)
        shown: View | None = None
        try:
            with suppress(tornado.iostream.StreamClosedError):
                while True:
                    try:
                        view = await asyncio.wait_for(views.get(), STREAM_SILENCE_S)
                        while view is not None and not views.empty():
                            view = views.get_nowait()
                        if view is None:
                            break
                    except TimeoutError:
                        text = ": still here\n\n"
                    else:
                        text = message_of(shown, view)
                        shown = view
                    if text:
                        data = text.encode()
                        self.write(data if pack is None else pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH))
                        await self.flush()
        finally:
            leave()


def message_of(shown: View | None, view: View) -> str:
    """The event that brings a page from the view it shows to the newest; empty when they are equal."""
    if shown is None:
        return f"event: view\ndata: {json.dumps(view)}\n\n"
    change = delta(shown, view)
    return f"event: delta\ndata: {json.dumps(change)}\n\n" if change else ""


class Static(_Handler):
    """The panel's own script and style."""

    @web.authenticated
    async def get(self, name: str) -> None:
        kind, text = _STATIC[name]
        self.set_header("Cache-Control", "no-cache")
        self.finish(text(), set_content_type=f"{kind}; charset=utf-8")


_STATIC: dict[str, tuple[str, Callable[[], str]]] = {
    "panel.js": ("text/javascript", panel_js),
    "panel.css": ("text/css", panel_css),
    "panel_page.js": ("text/javascript", page_js),
}


class Page(JupyterHandler):
    """The panel as a page of its own, without JupyterLab around it; who is not logged in is sent to Jupyter's login page."""

    @property
    def content_security_policy(self) -> str:
        """Beside Jupyter's own: scripts, styles and answers come from this server, and nothing goes elsewhere."""
        return "; ".join([super().content_security_policy, *_PAGE_POLICY])

    @web.authenticated
    def get(self) -> None:
        _ = self.xsrf_token  # sets its cookie, without which nothing the page asks for is answered
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "same-origin")  # the address may hold the token it was opened by
        self.finish(page_html(self.base_url))


_PAGE_POLICY = (
    "default-src 'none'",
    "script-src 'self' blob:",
    "style-src 'self' 'unsafe-inline'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
)


def _links_in(folder: str) -> dict[str, str]:
    """The links in a folder that lead to folders: the real path of each, by its name."""
    links: dict[str, str] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        links.update(
            (link.name, real_path(link.path)) for link in entries if link.is_dir() and not is_folder_itself(link)
        )
    return links


def _folders_above(root_dir: Path, path: str) -> list[str]:
    folders = []
    for folder in (root_dir / path.lstrip("/")).parents:
        if folder == root_dir or not folder.is_relative_to(root_dir):
            break
        folders.append(str(folder))
    return folders


def _workspace_around(root_dir: Path, path: str) -> str | None:
    """The workspace that holds a file the page has open, given by its path below the server's root."""
    place = (root_dir / path.lstrip("/")) if path else root_dir
    for folder in (place, *place.parents):
        if folder.name == "flow_modules" and os.path.isdir(folder):
            return str(folder.parent.resolve())
        if os.path.isdir(folder / "flow_modules"):  # of a name that no folder can have, too
            return str(folder.resolve())
        if folder == root_dir:
            return None
    return None


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyter_extension.server"}]


def _load_jupyter_server_extension(app: Any) -> None:
    base = app.web_app.settings["base_url"]
    app.web_app.add_handlers(
        ".*$",
        [
            (url_path_join(base, BASE, "hello"), Hello),
            (url_path_join(base, BASE, "match"), Match),
            (url_path_join(base, BASE, "do"), Do),
            (url_path_join(base, BASE, "events"), Events),
            (url_path_join(base, BASE, "panel"), Page),
            (url_path_join(base, BASE, "static", f"({'|'.join(map(re.escape, _STATIC))})"), Static),
            (url_path_join(base, BASE, "docs", "(.*)"), Documentation),
        ],
    )
    follow_renames(app)
    os.environ.update(kernel_variables(os.environ))


def kernel_variables(before: Mapping[str, str]) -> dict[str, str]:
    """The variables that this server's kernels are to have beside those of `before`, so that each knows `%flow`."""
    startup, own = str(Path(__file__).with_name("kernel_startup.py")), before.get("PYTHONSTARTUP", "")
    return {"PYTHONSTARTUP": startup} | ({"DATA_ENGINE_PYTHONSTARTUP": own} if own not in ("", startup) else {})


_NO_DOCUMENTATION = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data Engine</title></head>
<body style="font: 16px sans-serif; margin: 3rem; max-width: 45rem"><h1>Data Engine</h1>
<p>The documentation of this source checkout is not built: type <code>data-engine docs</code> in a terminal, then load this page again.</p>
</body></html>"""


class Documentation(JupyterHandler, web.StaticFileHandler):
    """The site's files; where it is not built, a page with the command that builds it."""

    def initialize(self, **_: Any) -> None:  # type: ignore[override]
        """Look for the files of what is installed now."""
        try:
            root = str(site.site_folder())
        except FlowValidationError:  # no place for this user's files: the command says why
            root = os.devnull
        super().initialize(path=root, default_filename=site.FIRST)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Accept an address that is not UTF-8, as that of no file."""
        return value.decode("utf-8", "surrogateescape")

    @web.authenticated
    async def get(self, path: str, include_body: bool = True) -> None:  # type: ignore[override]
        """A file of the site."""
        if not path.isprintable():
            raise web.HTTPError(404)
        if Path(self.root, site.FIRST).is_file():
            await super().get(path, include_body)
            return
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(_NO_DOCUMENTATION)

    @web.authenticated
    def head(self, path: str) -> Awaitable[None] | None:  # type: ignore[override]
        """Answer as `get`, without the file itself."""
        return self.get(path, include_body=False)

    def compute_etag(self) -> str | None:
        """Give none: a changed file has another time."""
        return None

    def set_extra_headers(self, path: str) -> None:
        """Ask again each time: after an upgrade the same address has another page."""
        self.set_header("Cache-Control", "no-cache")


_CONTENTS = "https://events.jupyter.org/jupyter_server/contents_service/v1"
_KERNELS = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
_PRIVATE = 0o600


def moved_path(path: str, before: str, now: str) -> str | None:
    """The path of a file after a rename of it or of a folder above it; None when the rename does not concern it.

    Names are those of Jupyter's API, below the server's root; a session that is shared has a word and a colon before its own.

    Example:
        >>> moved_path("claims/daily.ipynb", "claims", "old/claims")
        'old/claims/daily.ipynb'
        >>> moved_path("RTC:daily.ipynb", "daily.ipynb", "weekly.ipynb"), moved_path("daily.ipynb", "day", "night")
        ('weekly.ipynb', None)
    """
    path, before, now = (name.rpartition(":")[2].strip("/") for name in (path, before, now))
    if path in (before, now):  # the session has the new path already
        return now
    if path.startswith(f"{now}/"):
        return path
    return now + path.removeprefix(before) if path.startswith(f"{before}/") else None


class Renames:
    """Follows the renames of one Jupyter server for the kernels that it runs itself.

    JupyterLab renames or moves a file, or a folder above it, by the contents service, whose event holds both names; the
    session gets the new one only then. A kernel knows the name that it was started with, so the new one is put beside its connection file, which it
    knows too, in the same private folder. Nothing is known of kernels on other machines, nor of files that lie in no folder.
    """

    def __init__(self, root: str, sessions: Any, connection_dir: str) -> None:
        self._root, self._sessions, self._connection_dir = root, sessions, connection_dir

    async def renamed(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        """Keep the new path of each notebook that a rename concerns, for its kernel."""
        if data.get("action") != "rename":
            return
        for session in await self._sessions.list_sessions():
            path = moved_path(session["path"], data["source_path"], data["path"])
            if path is not None and session["type"] == "notebook":
                self._keep(session["kernel"]["id"], path)

    async def ended(self, logger: object, schema_id: str, data: dict[str, Any]) -> None:
        """Forget the path of a kernel that was shut down."""
        if data.get("action") == "shutdown" and "kernel_id" in data:
            with suppress(OSError):
                os.unlink(self._file(data["kernel_id"]))

    def _keep(self, kernel_id: str, path: str) -> None:
        with suppress(OSError):  # the kernel says that its notebook is gone
            write_text_atomic(self._file(kernel_id), os.path.join(self._root, *path.split("/")), mode=_PRIVATE)

    def _file(self, kernel_id: str) -> Path:
        return Path(renamed_file(os.path.join(self._connection_dir, f"kernel-{kernel_id}.json")))


def follow_renames(app: Any) -> None:
    """Let kernels of this server know when their notebooks are renamed, where both lie on this machine."""
    root = getattr(getattr(app, "contents_manager", None), "root_dir", None)
    connection_dir = getattr(getattr(app, "kernel_manager", None), "connection_dir", None)
    events = getattr(app, "event_logger", None)
    if not (root and connection_dir and events):
        return
    renames = Renames(os.path.abspath(with_home(root)), app.session_manager, connection_dir)
    events.add_listener(schema_id=_CONTENTS, listener=renames.renamed)
    events.add_listener(schema_id=_KERNELS, listener=renames.ended)
