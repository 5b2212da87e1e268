"""Every error a person can meet, in one tree. Each says what is wrong, where, and how to fix it.

    ValueError
    └── FlowValidationError            an authoring call, an input or a setting is wrong
        ├── FlowExecutionError         the author's code raised: in a step, in build(), on import, in compilation
        │   └── NotebookCompileError   a notebook cannot become a module; names the cell and the line
        ├── MissingParamError          a step asked for a param that its run was not given; also a KeyError
        ├── UnknownVerbError           a flow has no verb of that name; also an AttributeError
        ├── WorkspaceError             a workspace folder or its state cannot be used
        │   ├── SettingsError          a settings file holds a wrong value
        │   ├── DamagedSetError        a deployment on the share is missing or not what was deployed
        │   └── InvalidWorkspaceIdError
        ├── FeedChangedError           the columns of a frame are not as before
        ├── NotHeldBackError           steps would run for real that nobody has allowed
        ├── NotAsInKernelError         a notebook's slice holds other values than the kernel that deploys it
        ├── LedgerError                the run history on this machine cannot be read or written
        ├── RefusedSegmentError        a file of the shared history is not what a Data Engine writes
        ├── ProcessDiedError           the process that ran an item of a map has died, each time it was tried
        ├── ClusterError               the cluster cannot be reached, was lost, or does not fit
        ├── SecretMissingError         a secret that is asked for is not on this machine
        ├── GroupBusyError             the flow's group is running and cannot be waited for
        ├── NotSentError               a message to people was not sent, or it is not known whether it was
        ├── RequestFailedError         what the owner was asked to do was refused, or failed
        └── OwnedElsewhereError        another workstation owns the workspace
            └── RequestExpiredError    its owner did not take a request, or takes none
    RuntimeError
    └── FlowStoppedError               a run was stopped by request

Errors pickle, because worker processes send them home.
"""

from __future__ import annotations

from data_engine.display_hook import Displayable, hint_here
from data_engine.formatting import MOST_TEXT, both_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


_AROUND = 1_000
"""Characters for the words around what the code raised."""

_placing: list[Callable[[FlowValidationError], object]] = []


def place_with(place: Callable[[FlowValidationError], object]) -> None:
    """Let `place` find the cell of an error that a notebook shows without one."""
    _placing.append(place)


class ShortInterrupt(KeyboardInterrupt):
    """A call of ours was interrupted; its text says what goes on. A notebook shows this one line in place of every frame."""

    def _render_traceback_(self) -> list[str]:
        return [hint_here(f"KeyboardInterrupt: {self}")]


class FlowValidationError(Displayable, ValueError):
    """A mistake with its fix: `what` is wrong, `where` it is, and the `fix`. Secrets in its text are masked; a very long text keeps
    both ends.

    `places` are the notebook cells it came from, each `{notebook, cell, line}`, where they are known.
    When `run_once()` raises it, `completed` holds the contexts of the sources that finished before. `trace` is the
    author's part of the traceback as text, once the error was placed in its notebook; a notebook shows that and the
    message in place of every frame.

    Example:
        >>> error = FlowValidationError("interval is -5 s", where="Flow.watch", fix="use interval='30s'")
        >>> print(error)
        interval is -5 s
          where: Flow.watch
          fix:   use interval='30s'
        >>> error.fix
        "use interval='30s'"
    """

    written_at: tuple[str, int, str] | None = None
    """File, line and module of the author's code that the error is about, where that code did not raise it."""

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        what = _shown(what)
        super().__init__(what)
        self.what = what
        self.where = None if where is None else _shown(where)
        self.fix = None if fix is None else _shown(fix)
        self.trace: tuple[str, ...] = ()
        self.places: tuple[dict[str, Any], ...] = ()
        self.completed: list[Any] = []

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)

    def __getattr__(self, name: str) -> Any:
        # IPython shows what `_render_traceback_` returns in place of all frames, when an exception has it.
        if name == "_render_traceback_":
            for place in [] if self.__dict__.get("trace") else _placing:
                place(self)
            if self.__dict__.get("trace"):
                return self._lines_for_notebook
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _lines_for_notebook(self) -> list[str]:
        lines = str(self).split("\n")
        if (where := f"  where: {self.where}") in lines:
            rest = _beside_place(self.where or "", self.trace)
            lines[lines.index(where) : lines.index(where) + 1] = [f"  where: {rest}"] if rest else []
        return [*self.trace, "", hint_here(f"{type(self).__name__}: " + "\n".join(lines))]

    def as_dict(self) -> dict[str, Any]:
        """The three parts, as `--json` prints them under `error`; and `places`, where they are known.

        Example:
            >>> FlowValidationError("interval is -5 s", where="Flow.watch", fix="use interval='30s'").as_dict()["fix"]
            "use interval='30s'"
        """
        parts: dict[str, Any] = {"what": self.what, "where": self.where, "fix": self.fix}
        return parts | {"places": list(self.places)} if self.places else parts

    def __reduce__(self) -> tuple[Callable[..., BaseException], tuple[Any, ...], dict[str, Any]]:
        return _rebuild, (type(self), *self.args), self.__dict__


def _beside_place(where: str, trace: tuple[str, ...]) -> str:
    """The part of `where` beside the place and its line, with which the trace ends."""
    place, text = (trace[-2], trace[-1].strip()) if len(trace) > 1 else ("", "")
    spot, is_there, rest = where.partition(f": {text}")
    return rest.strip().removeprefix("(").removesuffix(")") if text and is_there and place.startswith(spot) else where


def _shown(text: str) -> str:
    return both_ends(text, MOST_TEXT)


def _rebuild(kind: type[BaseException], *args: Any) -> BaseException:
    return kind.__new__(kind, *args)  # all else is in its `__dict__`


class FlowExecutionError(FlowValidationError):
    """The author's code raised; the original exception is `__cause__`.

    `phase` is "step", "build", "import", "compile" or "run" (of a whole notebook); `detail` is "<ExceptionClass>: <message>"; `cell` places the
    failure in the notebook ("claims.ipynb, cell 4 (In [12]), line 3") and `source_line` is that line's text. `ended` is how the run
    ended, in words: "failed", or "was killed".

    Example:
        >>> error = FlowExecutionError(
        ...     flow_name="claims", phase="step", detail="KeyError: 'amount'", step_label="Clean",
        ...     function_name="clean", source_path="/in/a.csv",
        ... )
        >>> error.what
        'Flow "claims" failed in step "Clean" (function clean) for source "/in/a.csv": KeyError: \\'amount\\''
    """

    def __init__(
        self,
        *,
        flow_name: str,
        phase: str,
        detail: str,
        step_label: str | None = None,
        function_name: str | None = None,
        source_path: object | None = None,
        fix: str | None = None,
        ended: str = "failed",
    ) -> None:
        self.flow_name = flow_name
        self.ended = ended
        self.phase = phase
        self.detail = both_ends(detail, MOST_TEXT - _AROUND)
        self.step_label = step_label
        self.function_name = function_name
        self.source_path = None if source_path is None else str(source_path)
        self.cell: str | None = None
        self.source_line: str | None = None
        super().__init__(self._sentence(), fix=fix)

    def _sentence(self) -> str:
        if self.phase == "step":
            text = f'Flow "{self.flow_name}" {self.ended}'
            if self.step_label is not None:
                text += f' in step "{self.step_label}"'
            if self.function_name:
                text += f" (function {self.function_name})"
            if self.source_path:
                text += f' for source "{self.source_path}"'
            return f"{text}: {self.detail}"
        phases = {"build": "build()", "import": "import", "compile": "compilation", "run": "a run of all its cells"}
        text = f'Flow module "{self.flow_name}" failed during {phases.get(self.phase, self.phase)}'
        if self.phase == "build" and self.function_name and self.function_name != "build":
            text += f" in {self.function_name}"
        return f"{text}: {self.detail}"

    def set_feed(self, changes: Iterable[Any]) -> None:
        """Say before any other fix how the columns of the feed are not as before (`model.FrameChange`).

        Example:
            >>> from data_engine.model import FrameChange
            >>> error = FlowExecutionError(flow_name="claims", phase="step", detail="KeyError: 3", fix="did you mean 'day'?")
            >>> error.set_feed([FrameChange("raw_df", ("date",), ("day",))])
            >>> error.fix
            "raw_df: `date` is gone, `day` is new\\n         did you mean 'day'?"
        """
        lines = [change.text for change in changes]
        if lines:
            self.fix = "\n         ".join([*map(_shown, lines), *filter(None, [self.fix])])

    def set_place(self, cell: str | None, source_line: str | None = None, note: str | None = None) -> None:
        """Say which line of which cell raised; `note` is added in brackets.

        Example:
            >>> error = FlowExecutionError(flow_name="claims", phase="step", detail="KeyError: 3", step_label="Clean")
            >>> error.set_place("claims.ipynb, cell 4, line 3", "    rates[3]")
            >>> error.where
            'claims.ipynb, cell 4, line 3: rates[3]'
        """
        self.cell, self.source_line = cell, source_line
        self.where = self._place() + (f" ({note})" if note else "") or None

    def _place(self) -> str:
        line = (self.source_line or "").strip()
        return f"{self.cell}: {line}" if line else self.cell or ""


class NotebookCompileError(FlowExecutionError):
    """A notebook cannot become a module. `cell` and `detail` name the place and the reason, `fix` the way out.

    Example:
        >>> print(NotebookCompileError(flow_name="claims", detail="`rate` exists only in your kernel's memory",
        ...                            cell="claims.ipynb, cell 3, line 2", fix="define it in a cell"))
        Flow module "claims" failed during compilation: `rate` exists only in your kernel's memory
          where: claims.ipynb, cell 3, line 2
          fix:   define it in a cell
    """

    def __init__(
        self,
        *,
        flow_name: str,
        detail: str,
        cell: str | None = None,
        source_line: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(flow_name=flow_name, phase="compile", detail=detail, fix=fix)
        self.set_place(cell, source_line)


class MissingParamError(FlowValidationError, KeyError):
    """A step asked for `context.params[name]`, and its run was not given such a param."""


class UnknownVerbError(FlowValidationError, AttributeError):
    """A flow has no verb of that name; names the nearest."""


class FeedChangedError(FlowValidationError):
    """The columns of a frame are not as in the good runs before, which a check `as_before` demands; `changes` say how."""

    changes: tuple[Any, ...] = ()


class NotHeldBackError(FlowValidationError):
    """A call would run steps for real, since they write elsewhere than through their context; `steps` are those."""

    steps: tuple[Any, ...] = ()


class WorkspaceError(FlowValidationError):
    """A workspace folder, its settings or its machine-local state cannot be used."""


class SettingsError(WorkspaceError):
    """A settings file holds an invalid value; `where` names the file and the key."""


class DamagedSetError(WorkspaceError):
    """A deployment's files on the share are missing or are not what was deployed; nothing of them is run."""


class InvalidWorkspaceIdError(WorkspaceError):
    """A workspace id that cannot be a folder name: blank, '.', '..' or with a separator in it."""


class NotAsInKernelError(FlowValidationError):
    """A notebook is deployed in its kernel, and the slice holds other values than the kernel; nothing was deployed."""


class LedgerError(FlowValidationError):
    """The run history on this machine cannot be read or written: disk full, read-only, damaged or too new."""


class RefusedSegmentError(FlowValidationError):
    """A file of the shared history is not what a Data Engine writes, whatever its checksum says: nothing of it was taken in.

    `table` and `name` say which; `name` is "" where only its bytes were at hand.

    Example:
        >>> print(RefusedSegmentError("column rev is missing", table="runs", name="0000000012-9f3c.parquet"))
        a file of the shared history was refused: column rev is missing
          where: state/runs/0000000012-9f3c.parquet
          fix:   `data-engine lease repair` goes on without that file; check who else may write to the shared folder
    """

    def __init__(self, why: str, *, table: str, name: str = "") -> None:
        super().__init__(
            f"a file of the shared history was refused: {why}",
            where=f"state/{table}/{name}" if name else f"table {table}",
            fix="`data-engine lease repair` goes on without that file; check who else may write to the shared folder",
        )
        self.why, self.table, self.name = why, table, name


class ProcessDiedError(FlowValidationError):
    """The process that ran an item of a map has died, and so did the one in which it was tried once more."""


class ClusterError(FlowValidationError):
    """The cluster cannot be reached, was lost, has other versions, or does not see what a flow works with."""


class NotSentError(FlowValidationError):
    """A message to people was not sent, or nobody knows whether it was: no address, no Apprise, a refusal, no answer in time.

    `has_it` marks the recipients behind the address that got it all the same.
    """

    has_it: tuple[str, ...] = ()


class SecretMissingError(FlowValidationError):
    """A requested secret is not on this machine."""


class GroupBusyError(FlowValidationError):
    """The flow's group is running elsewhere and waiting would never end (or was not wanted)."""


class OwnedElsewhereError(FlowValidationError):
    """Another workstation owns the workspace; the message names it. The command line exits with 3."""


class RequestFailedError(FlowValidationError):
    """The owner on another workstation refused a request, or it failed there."""


class RequestExpiredError(OwnedElsewhereError):
    """The owner on another workstation did not take a request in time, or takes none."""


class FlowStoppedError(RuntimeError):
    """A run ended early because somebody asked it to stop.

    Example:
        >>> FlowStoppedError("run 3f was stopped by request").args
        ('run 3f was stopped by request',)
    """

    completed: list[Any]

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.completed = []


def cell_place(notebook: str, cell: int, line: int | None = None) -> dict[str, Any]:
    """A link to a notebook's cell, as in `places` of an error and of a run's cause.

    Example:
        >>> cell_place("claims.ipynb", 4, 3)
        {'notebook': 'claims.ipynb', 'cell': 4, 'line': 3}
    """
    return {"notebook": notebook, "cell": cell, "line": line}


def error_of(parts: Mapping[str, Any], kind: type[FlowValidationError] | None = None) -> FlowValidationError:
    """The error from the parts that another process sent, as `as_dict` gives them.

    Example:
        >>> error_of({"what": "interval is -5 s", "where": "Flow.watch", "fix": None}).where
        'Flow.watch'
    """
    what, where, fix = parts.get("what"), parts.get("where"), parts.get("fix")
    error = (kind or FlowValidationError)(str(what or "unknown"), where=where, fix=fix)
    error.places = tuple(parts.get("places") or ())
    return error


def message_of(error: BaseException) -> str:
    """The text of an exception, even if its `__str__` fails.

    Example:
        >>> message_of(KeyError("total"))
        "'total'"
    """
    try:
        return str(error)
    except Exception as wrong:  # the author's own `__str__`
        return f"(its text cannot be read: {type(wrong).__name__} in __str__)"
