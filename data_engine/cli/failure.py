"""How a command that did not succeed ends: its exit code, and the error's three parts for people or programs."""

from __future__ import annotations

from typing import Any

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


def tell(error: BaseException, as_json: bool) -> int:
    """Print what went wrong, where, and the fix; the exit code."""
    facts = _facts(error)
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


def _facts(error: BaseException) -> dict[str, str | None]:
    if isinstance(error, Failed):
        error = error.error
    if isinstance(error, FlowValidationError):
        return error.as_dict()
    if isinstance(error, KeyboardInterrupt):
        return {"what": str(error) or "interrupted", "where": None, "fix": None}
    if isinstance(error, FlowStoppedError):
        return {"what": str(error), "where": None, "fix": None}
    if _is_usage_error(error):
        return _usage_facts(error)
    return {
        "what": f"unexpected {type(error).__name__}: {message_of(error)}",
        "where": None,
        "fix": "see where it came from: set DATA_ENGINE_DEBUG=1, or put --debug before the command",
    }


def _usage_facts(error: Any) -> dict[str, str | None]:
    """What Typer says of a line that it cannot read."""
    path = error.ctx.command_path if error.ctx is not None else "data-engine"
    misplaced = _GLOBAL_OPTIONS.get(getattr(error, "option_name", ""))  # of an option the command does not know
    fix = f"see `{path} --help`" if misplaced is None else f"write it before the command: {misplaced}"
    return {"what": error.format_message(), "where": path, "fix": fix}


def _is_usage_error(error: BaseException) -> bool:
    # typer brings its own click or uses the installed one: the errors of both know how to word themselves.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")
