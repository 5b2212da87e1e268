"""Whether there is a terminal that can show a screen, and what to do where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from data_engine.errors import FlowValidationError
from data_engine.platforms.terminals import is_terminal

_WHERE = "data-engine status --watch"
_FIX = "`data-engine status` prints once, `data-engine status --json` prints for programs"


def require_terminal(
    stdin: TextIO | None, stdout: TextIO | None, environment: Mapping[str, str], *, by_calls: bool
) -> None:
    """Refuse where a screen cannot be shown. `by_calls`: the system draws by calls, and no variable says what it can do.

    Raises:
        FlowValidationError: keys or output do not belong to a terminal, or it can move no cursor.
    """
    for stream, name in ((stdout, "output"), (stdin, "input")):
        if not is_terminal(stream):
            raise FlowValidationError(
                f"a screen needs a terminal, and standard {name} is not one", where=_WHERE, fix=_FIX
            )
    kind = environment.get("TERM", "")
    if not by_calls and kind in ("", "dumb", "unknown"):
        what = f"this terminal cannot move its cursor (TERM is {kind!r})"
        fix = f"if it can, set TERM to its real type, such as xterm-256color; {_FIX}"
        raise FlowValidationError(what, where=_WHERE, fix=fix)


def no_screen(error: Exception) -> FlowValidationError:
    """What is said where the terminal's own calls fail."""
    what = f"this terminal cannot show the screen: {error or type(error).__name__}"
    return FlowValidationError(what, where=_WHERE, fix=f"use the system's own console; {_FIX}")
