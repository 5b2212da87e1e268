"""How a command that did not succeed ends: its exit code, and the error's three parts for people or programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from data_engine.cli.output import complain, print_json
from data_engine.errors import (
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    GroupBusyError,
    OwnedElsewhereError,
    RequestFailedError,
    message_of,
)

_GLOBAL_OPTIONS = {
    "--workspace": "data-engine --workspace PATH COMMAND",
    "--debug": "data-engine --debug COMMAND",
    "--version": "data-engine --version",
}


class Failed(Exception):
    """The request was right, and what it asked for failed: exit code 1. `error` says why."""

    def __init__(self, error: FlowValidationError) -> None:
        super().__init__(str(error))
        self.error = error


def exit_code(error: BaseException) -> int:
    """The exit code that an error ends the program with."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    cause = error.error if isinstance(error, Failed) else error
    if isinstance(cause, OwnedElsewhereError):
        return 3
    if isinstance(error, Failed) or isinstance(cause, (FlowExecutionError, GroupBusyError, RequestFailedError)):
        return 1
    return 2 if isinstance(cause, FlowValidationError) or _is_usage_error(error) else 1


Instead: TypeAlias = Callable[[bool], str | None]
"""What to type instead of the line that was refused, if that is known; given whether it was refused for what one of its words names."""


def tell(error: BaseException, as_json: bool, instead: Instead = lambda is_unknown: None) -> int:
    """Print what went wrong, where, and the fix; the exit code."""
    facts = _facts(error, instead)
    if as_json:
        print_json({"error": facts})
    else:
        what, *more = str(facts["what"]).splitlines() or [""]
        complain(what if isinstance(error, KeyboardInterrupt) else f"error: {what}", style="bold red")
        for line in more:
            complain(f"  {line}")
        for part in ("where", "fix"):
            if facts[part]:
                words = str(facts[part]).replace("\n", f"\n{' ' * 9}")
                complain(f"  {part + ':':6} {words}")
    return exit_code(error)


def _facts(error: BaseException, instead: Instead) -> dict[str, str | None]:
    if isinstance(error, Failed):
        error = error.error
    elif isinstance(error, FlowValidationError):
        return _with_loose_words(error.as_dict(), instead)
    if isinstance(error, FlowValidationError):
        return error.as_dict()
    if isinstance(error, KeyboardInterrupt):
        return {"what": str(error) or "interrupted", "where": None, "fix": None}
    if isinstance(error, FlowStoppedError):
        return {"what": str(error), "where": None, "fix": None}
    if _is_usage_error(error):
        return _usage_facts(error, instead)
    return {
        "what": f"unexpected {type(error).__name__}: {message_of(error)}",
        "where": None,
        "fix": "see where it came from: set DATA_ENGINE_DEBUG=1, or put --debug before the command",
    }


def _with_loose_words(facts: dict[str, str | None], instead: Instead) -> dict[str, str | None]:
    """The facts of a wrong request; where words stand loose behind a text, or there are too many, also what to type instead."""
    known = instead(True)
    return facts if known is None else facts | {"fix": f"{known}; or {facts['fix']}" if facts["fix"] else known}


def _usage_facts(error: Any, instead: Instead) -> dict[str, str | None]:
    what = error.format_message()
    word = re.match(r"No such command '([^']+)'\.", what)
    if word is not None and _other_word(word[1]):  # what is like it in letters is not what it means
        what = word[0]
    path = error.ctx.command_path if error.ctx is not None else "data-engine"
    fix = f"{_first(error, what, path, instead)}see `{path} --help`"
    misplaced = _GLOBAL_OPTIONS.get(getattr(error, "option_name", ""))  # of an option the command does not know
    if misplaced is not None:
        fix = f"write it before the command: {misplaced}"
    return {"what": what, "where": path, "fix": fix}


def _first(error: Any, what: str, path: str, instead: Instead) -> str:
    """What helps before the help does: the words for what somebody may have meant, or what is missing, and where its names are told."""
    ctx, param = error.ctx, getattr(error, "param", None)
    word = re.match(r"No such command '([^']+)'", what)
    if word is not None:
        meant = _meant_by(word[1], path, ctx) or (instead(False) if path == "data-engine" else None)
        return f"{meant}; or " if meant else ""
    if ctx is not None and what.startswith("Got unexpected extra argument"):
        known = instead(False)
        return "" if known is None else f"{known}; or "
    if ctx is not None and what.startswith("Missing command"):
        return f"add one of {_commands(ctx)}; or "
    if ctx is not None and what.startswith("Missing argument"):
        pieces = ctx.command.collect_usage_pieces(ctx)
        wanted = " ".join(re.sub("[{}]", "", piece) for piece in pieces if piece != ctx.command.options_metavar)
        names = _SECRETS if " secret " in path else _NAMES.get(getattr(param, "metavar", None) or "")
        asks = ", which asks for the value" if path.endswith(" secret set") else ""
        return f"write {path} {wanted}{asks}{f' ({names})' if names else ''}; or "
    return ""


def _other_word(word: str) -> str | None:
    return _OTHER_WORDS.get(word.lower())


def _meant_by(word: str, path: str, ctx: Any) -> str | None:
    """What somebody may have meant by a word that is no command of `path`."""
    other = _other_word(word)
    if path == "data-engine":
        return other
    return REMOVING if path == "data-engine workspace" and other == _DELETING else f"one of {_commands(ctx)}"


def _commands(ctx: Any) -> str:
    return ", ".join(ctx.command.list_commands(ctx))


_NAMES = {
    "NAME": "`data-engine list` shows the flows",
    "FLOW": "`data-engine list` shows the flows",
    "FLOW_OR_FILE": "`data-engine list` shows the flows",
    "RUN": "`data-engine runs` shows the ids",
    "PATH|ID": "`data-engine workspace list` shows them",
}
"""Where the names are told that an argument takes, by what it is called."""
_SECRETS = "`data-engine secret list` shows the secrets"

_RENAMING = "rename the notebook's file, then deploy it: data-engine deploy NEW_NAME"
_DELETING = "end it in production: data-engine undeploy NAME; then delete its notebook"
REMOVING = "end what runs there (`data-engine service uninstall`, `data-engine kill`), then delete its folder"
"""How a workspace is removed."""
_OTHER_WORDS = {
    "rename": _RENAMING,
    "mv": _RENAMING,
    "move": _RENAMING,
    "delete": _DELETING,
    "remove": _DELETING,
    "rm": _DELETING,
    "new": "make a notebook in flow_modules with a function build(), or a workspace: data-engine workspace create PATH",
    "create": "data-engine workspace create PATH",
    "init": "data-engine workspace create PATH",
    "use": "data-engine workspace use PATH",
    "edit": "data-engine lab opens the notebooks",
    "open": "data-engine lab opens the notebooks",
    "ls": "data-engine list",
    "flows": "data-engine list",
    "ps": "data-engine status",
    "history": "data-engine runs; of deployments: data-engine deployments",
    "logs": "data-engine log RUN",
    "why": "data-engine explain FLOW_OR_FILE",
    "check": "data-engine compile --check, or data-engine doctor",
    "diff": "data-engine plan NAME, or data-engine compare RUN RUN",
    "undo": "data-engine rollback NAME",
    "pause": "data-engine disable NAME, or of all flows: data-engine stop",
    "resume": "data-engine enable NAME, or of all flows: data-engine start",
    "cancel": "data-engine stop-run RUN, or of a flow: data-engine stop NAME",
    "restart": "data-engine stop, then data-engine start",
    "schedule": "a flow says when it runs in its notebook: Flow.watch(mode='schedule', time='07:30')",
    "rerun": "data-engine run NAME --source FILE, or data-engine retry NAME",
    "ui": "data-engine panel",
    "gui": "data-engine panel",
    "jupyter": "data-engine lab",
    "takeover": "data-engine lease take-over",
    "secrets": "data-engine secret list",
    "workspaces": "data-engine workspace list",
    "upgrade": "pip install --upgrade data-engine, with the pip of this environment",
    "help": "data-engine --help",
    "version": "data-engine --version",
}
"""What people may type for a command that is called otherwise, or is none."""


def _is_usage_error(error: BaseException) -> bool:
    # typer brings its own click or uses the installed one: the errors of both know how to word themselves.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")
