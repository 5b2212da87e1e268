"""`docs`: the documentation as pages on this machine, and how to open them."""

from __future__ import annotations

from typing import Annotated

import typer

from data_engine.cli.options import AsJson
from data_engine.cli.output import complain, print_json, say


def docs(
    is_open: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: AsJson = False,
) -> int:
    """Where the documentation is: pages that need no network. From a source checkout it builds them (about ten seconds)."""
    from data_engine.docs import site

    first = site.make(lambda: complain("Building the documentation (about ten seconds) ...")) / site.FIRST
    if as_json:
        print_json({"page": str(first)})
    else:
        say(first.as_uri())
    if is_open:
        import webbrowser

        webbrowser.open(first.as_uri())
    return 0
