"""What the Tab key offers behind `%flow`. It runs no code of the notebook, and never fails."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from data_engine.errors import FlowValidationError
from jupyter_extension.commands import all_commands
from jupyter_extension.own_flow import UserNames

_SAVED = re.compile(r"""\bsave_as\s*=\s*(["'])(?P<name>[^"'\n]+)\1""")


IDENTIFIER = "data_engine.flow"


def matcher(names: UserNames) -> Any:
    """What IPython's completer asks; where it has an answer, only that is offered."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    def match(context: Any) -> Any:
        found = [word for word in complete(context.text_until_cursor, names) if word.startswith(context.token)]
        completions = [SimpleCompletion(word, type="flow") for word in found]
        return {"completions": completions, "suppress": bool(found), "ordered": True}

    return context_matcher(identifier=IDENTIFIER)(match)


def complete(before: str, names: UserNames) -> list[str]:
    """The words that fit behind `before`, the line up to the cursor; none leaves it to IPython's own completers.

    Example:
        >>> complete("%flow cache ", {})
        ['clear', 'info']
    """
    words = before.split()
    if not words or words[0] != "%flow" or (len(words) == 1 and not before[-1:].isspace()):
        return []
    words = words[1:]
    if before[-1:].isspace():
        words.append("")
    try:
        return _choices(words, names)
    except (FlowValidationError, OSError, UnicodeError):
        return []


def _choices(words: list[str], names: UserNames) -> list[str]:
    if len(words) == 1:
        return list(all_commands())
    command = all_commands().get(words[0])
    if command is None:
        return []
    before, word = words[-2], words[-1]
    options = {option.name: option for option in command.options}
    if word.startswith("-") and "=" not in word:
        return [*(name for name, option in options.items() if name not in words or option.is_repeated), "--help"]
    asking = word.partition("=")[0] if "=" in word else before
    subjects = _subjects(words[1:-1], {name for name, option in options.items() if option.value})
    if asking in options and options[asking].value:
        return _saved_names(subjects[0] if subjects else None, names) if asking == "--use" else []
    if subjects or command.takes in ("", "run"):
        return []
    return ["clear", "info"] if command.takes == "clear or info" else _flow_names()


def _subjects(words: list[str], with_value: set[str]) -> list[str]:
    """Those words that are neither options nor their values."""
    return [
        word
        for number, word in enumerate(words)
        if not word.startswith("-") and (number == 0 or words[number - 1] not in with_value)
    ]


def _flow_names() -> list[str]:
    from data_engine.notebook.flow_files import module_files

    return sorted(module_files(_flow_modules()))


def _saved_names(flow: str | None, names: UserNames) -> list[str]:
    """The objects the text of the flow saves, in its order: of the module, or of the notebook's own build()."""
    if flow is None:
        try:
            found = inspect.getsource(names["build"])
        except (KeyError, TypeError):
            return []
        return _saved_in(found)
    from data_engine.notebook.read import read_cells

    notebook = _flow_modules() / f"{flow}.ipynb"
    if notebook.is_file():
        return _saved_in("\n".join(cell.text for cell in read_cells(notebook.read_bytes(), path=notebook)))
    return _saved_in(notebook.with_suffix(".py").read_text(encoding="utf-8"))


def _saved_in(source: str) -> list[str]:
    return list(dict.fromkeys(match["name"] for match in _SAVED.finditer(source)))


def _flow_modules() -> Path:
    from data_engine.workspace.select import select_workspace

    return select_workspace().flow_modules_dir
