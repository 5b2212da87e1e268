"""What a kernel has from `%load_ext data_engine` on; the rest of `%flow` is imported when it is first used."""

from __future__ import annotations

import ast
from typing import Any

from data_engine.workspace.layout import ipython_shell
from data_engine.workspace.two_packages import two_packages_words

_NAME, IDENTIFIER = "flow", "data_engine.flow"


def load(shell: Any) -> None:
    """Give the IPython shell the magic `%flow`; a second time changes nothing. Starts no daemon."""
    unload(shell)

    def flow(line: str) -> Any:
        from jupyter_extension.magics import run_line

        return run_line(line, shell.user_ns)

    flow.__doc__ = "Preview, compile, deploy and run flows: `%flow help` says more."
    flow.getdoc = _overview  # type: ignore[attr-defined]  # asked by `%flow?`
    shell.register_magic_function(flow, "line", _NAME)
    shell.Completer.custom_matchers.append(_matcher(shell.user_ns))
    shell.events.register("post_run_cell", tell_wrong_build)
    shell.events.register("post_run_cell", note_changes)
    if (words := two_packages_words()) is not None:
        print(f"warning: {words}")


def unload(shell: Any) -> None:
    """Take `%flow` away again; does nothing where it is not."""
    shell.magics_manager.magics["line"].pop(_NAME, None)
    matchers = shell.Completer.custom_matchers
    matchers[:] = [one for one in matchers if getattr(one, "matcher_identifier", None) != IDENTIFIER]
    for one in (tell_wrong_build, note_changes):
        if one in shell.events.callbacks["post_run_cell"]:
            shell.events.unregister("post_run_cell", one)


def note_changes(result: Any) -> None:
    """Note which names the cell changed, so that a comparison can name the cell."""
    from data_engine.proof.cells import after_cell

    shell = ipython_shell()
    if shell is not None:
        after_cell(shell.user_ns, getattr(result.info, "raw_cell", None) or "")


def tell_wrong_build(result: Any) -> None:
    """Say below a cell that `build` is wrong as the cell binds it: no flow would come of the notebook."""
    text = getattr(result.info, "raw_cell", None) or ""
    if "build" not in text:
        return
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):  # magics, or a mistake that Python has told of
        return
    from data_engine.notebook.build_function import trouble_of_build

    for what, fix in filter(None, map(trouble_of_build, body)):
        print(f"{what}. {fix[0].upper()}{fix[1:]}.")


def _overview() -> str:
    from jupyter_extension.magics import overview

    return overview()


def _matcher(names: dict[str, Any]) -> Any:
    """What IPython's completer asks; where it has an answer, only that is offered."""
    from IPython.core.completer import SimpleCompletion, context_matcher

    def match(context: Any) -> Any:
        before = context.text_until_cursor
        if not before.lstrip().startswith(f"%{_NAME}"):
            return {"completions": []}
        from jupyter_extension.magics import complete

        words = (word for word in complete(before, names) if word.startswith(context.token))
        found = [SimpleCompletion(word, type="flow") for word in words]
        return {"completions": found, "suppress": bool(found), "ordered": True}

    return context_matcher(identifier=IDENTIFIER)(match)
