"""The documentation in JupyterLab: its pages from the Jupyter server, made when somebody first asks for them."""

from __future__ import annotations

import asyncio
import html
import os
import subprocess
import sys
from collections.abc import Awaitable
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from data_engine.docs import site
from data_engine.errors import FlowValidationError
from data_engine.platforms.processes import apart

LOOK_AGAIN_S = 1
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Data Engine</title>{head}</head>
<body style="font: 16px sans-serif; margin: 3rem; max-width: 45rem"><h1>Data Engine</h1>{body}</body></html>"""

_kept_at = cache(site.kept_at)
_making: asyncio.Future[str] | None = None


def _made() -> str:
    """Make the site in a process of its own; what is wrong where it is not where this server looks, else nothing."""
    ours = str(Path(site.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH", "")]))}
    done = subprocess.run(
        [sys.executable, "-m", "data_engine.docs"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        check=False,
        **apart(),
    )
    if done.returncode:
        return done.stderr.decode(errors="replace").strip()[-2000:] or "it ended"
    if not (_kept_at() / site.FIRST).is_file():
        return "Data Engine was upgraded since this Jupyter server was started: restart JupyterLab."
    return ""


class Documentation(JupyterHandler, web.StaticFileHandler):
    """The site's files. While it is being made, a page that looks again; where that failed, why, and the command that tells more."""

    def initialize(self, **_: Any) -> None:  # type: ignore[override]
        """The files of this content; without a place for them there is nothing to serve, which `get` tells."""
        try:
            root = str(_kept_at())
        except FlowValidationError as error:
            self.trouble = str(error)
            root = os.devnull
        else:
            self.trouble = ""
        super().initialize(path=root, default_filename=site.FIRST)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """An address that is no UTF-8 is one of no file, too."""
        return value.decode("utf-8", "surrogateescape")

    @web.authenticated
    async def get(self, path: str, include_body: bool = True) -> None:  # type: ignore[override]
        """A file of the site."""
        if not path.isprintable():
            raise web.HTTPError(404)
        if not self.trouble and Path(self.root, site.FIRST).is_file():
            await super().get(path, include_body)
            return
        text = self.trouble or await self.first_made()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(text if text.startswith("<!doctype") else failed_page(text))

    @web.authenticated
    def head(self, path: str) -> Awaitable[None] | None:  # type: ignore[override]
        """What `get` has, without the file itself."""
        return self.get(path, include_body=False)

    async def first_made(self) -> str:
        """The page while the site is being made, or what went wrong; the next who asks after a failure tries again."""
        global _making
        if _making is None:
            _making = asyncio.ensure_future(asyncio.to_thread(_made))
        if not _making.done():
            return waiting_page()
        told, _making = _making.result(), None
        return told or waiting_page()

    def compute_etag(self) -> str | None:
        """Files are told from older ones by their time."""
        return None

    def set_extra_headers(self, path: str) -> None:
        """Ask again each time: after an upgrade the same address has another page."""
        self.set_header("Cache-Control", "no-cache")


def waiting_page() -> str:
    """What is shown while the site is being made."""
    head = f'<meta http-equiv="refresh" content="{LOOK_AGAIN_S}">'
    return _PAGE.format(
        head=head, body="<p>The documentation is being made, once for this version: about ten seconds.</p>"
    )


def failed_page(told: str) -> str:
    """What is shown when it could not be made.

    Example:
        >>> "<pre>no room</pre>" in failed_page("no room"), "data-engine docs" in failed_page("")
        (True, True)
    """
    body = (
        "<p>The documentation could not be made. <code>data-engine docs</code> in a terminal tries again and says why."
        f"</p><pre>{html.escape(told)}</pre>"
    )
    return _PAGE.format(head="", body=body)
