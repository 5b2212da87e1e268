"""The kernel's part of `%load_ext data_engine`; the rest of `%flow` is imported at its first use."""

from __future__ import annotations

import ast
from typing import Any

from data_engine.kernel_imports import watch_imports
from data_engine.workspace.layout import ipython_shell
from data_engine.workspace.two_packages import two_packages_text

_NAME, IDENTIFIER = "flow", "data_engine.flow"


def load(shell: Any) -> None:
    """Give the IPython shell the magic `%flow`; a second time changes nothing. Starts no daemon."""
    unload(shell)
    watch_imports()

    def flow(line: str) -> Any:
        from jupyter_extension.magics import run_line

        value = run_line(line, shell.user_ns)
        if value is not None and is_before_end(line, _cell):
            from IPython.display import display

            display(value)  # type: ignore[no-untyped-call]
        return value

    flow.__doc__ = "Preview, compile, deploy and run flows: `%flow help` says more."
    flow.getdoc = _overview  # type: ignore[attr-defined]  # asked by `%flow?`
    shell.register_magic_function(flow, "line", _NAME)
    shell.Completer.custom_matchers.append(_matcher(shell.user_ns))
    shell.events.register("pre_run_cell", begin_cell)
    shell.events.register("post_run_cell", tell_wrong_build)
    shell.events.register("post_run_cell", note_changes)
    if (words := two_packages_text()) is not None:
        print(f"warning: {words}")


def unload(shell: Any) -> None:
    """Remove `%flow`; without it nothing happens."""
    shell.magics_manager.magics["line"].pop(_NAME, None)
    matchers = shell.Completer.custom_matchers
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "matcher_identifier", None) != IDENTIFIER]
    for event, hook in (
        ("pre_run_cell", begin_cell),
        ("post_run_cell", tell_wrong_build),
        ("post_run_cell", note_changes),
    ):
        if hook in shell.events.callbacks[event]:
            shell.events.unregister(event, hook)


_cell = ""
"""The text of the cell that runs."""


def begin_cell(info: Any) -> None:
    """Keep the text of the cell that begins."""
    global _cell
    _cell = info.raw_cell or ""


def is_before_end(line: str, cell: str) -> bool:
    """Whether a line `%flow ...` stands above others of its cell, which shows the value of its last line alone.

    Example:
        >>> is_before_end("deploy", "%flow deploy\\n%flow start"), is_before_end("start", "%flow deploy\\n%flow start\\n# at last")
        (True, False)
    """
    lines = [one.split() for one in cell.splitlines() if one.strip() and not one.lstrip().startswith("#")]
    typed = [f"%{_NAME}", *line.split()]
    return typed in lines and lines[-1] != typed


def note_changes(result: Any) -> None:
    """Note which names the cell changed, and whether it failed, so that a comparison can name the cell."""
    from data_engine.proof.cells import CHANGES, after_cell

    shell = ipython_shell()
    if shell is not None:
        after_cell(shell.user_ns, getattr(result.info, "raw_cell", None) or "")
    if not result.success and result.execution_count is not None:
        CHANGES.failed.add(result.execution_count)


def tell_wrong_build(result: Any) -> None:
    """Print below a cell that its `build` is wrong: the notebook would give no flow."""
    text = getattr(result.info, "raw_cell", None) or ""
    if "build" not in text:
        return
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):  # magics, or a mistake that Python reports
        return
    from data_engine.notebook.mistakes import trouble_of_build

    for what, fix in filter(None, map(trouble_of_build, body)):
        print(f"{what}. {fix[0].upper()}{fix[1:]}.")


def _overview() -> str:
    from jupyter_extension.magics import overview

    return overview()


def _matcher(names: dict[str, Any]) -> Any:
    """The matcher for IPython's completer; where it has completions, only those are offered."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    def match(context: Any) -> Any:
        before = context.text_until_cursor
        if not before.lstrip().startswith(f"%{_NAME}"):
            return {"completions": []}
        from jupyter_extension.magics import complete

        words = (word for word in complete(before, names) if word.startswith(context.token))
        completions = [SimpleCompletion(word, type="flow") for word in words]
        return {"completions": completions, "suppress": bool(completions), "ordered": True}

    return context_matcher(identifier=IDENTIFIER)(match)
