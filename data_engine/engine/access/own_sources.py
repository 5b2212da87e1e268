"""What a run must not write, its own sources, and what it has written: its outputs, known whether or not a step returns them.

A flow that overwrites what it reads loses it, and where a poll finds it changed runs without end. So such a write is refused before it
is done. Moving or removing a source that is done is the author's choice, and is told.
"""

from __future__ import annotations

import importlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.access.access_log import ReadLog
from data_engine.engine.access.bytecode import code_facts
from data_engine.engine.access.file_events import ChangeRefusedError, FileGuard
from data_engine.engine.access.interceptors import Interceptors, watched_libraries
from data_engine.files import identity_of
from data_engine.flow.check import Check
from data_engine.flow.flow import Flow
from data_engine.flow.paths import portable_text
from data_engine.flow.scan import is_candidate_name
from data_engine.flow.spec import Collect, Map
from data_engine.platforms.names import compared, lead_of, real_path

_MOST_TAKEN = 1_000


class OverwritesSourceError(ChangeRefusedError):
    """A step was about to overwrite a file that its run reads as a source; nothing was done."""


@dataclass(eq=False)
class OwnSources(FileGuard):
    """The guard of one run (`file_events.FileGuard`).

    Its sources are the `file`, or all candidates below `root` with one of the `extensions` (None: any) that do not lie in `skip`, the
    flow's mirror, and are none of `outputs`, which the flow has written there before; where `names` are known, those. `mirror` is the
    folder that stands for the mirror root in this run.

    Example:
        >>> own = OwnSources(Path("/in"), Path("/in/a.csv"))
        >>> own.about_to_write("/out/a.csv")
        >>> try:
        ...     own.about_to_write("/in/a.csv")
        ... except OverwritesSourceError as error:
        ...     print(error)
        the step would overwrite /in/a.csv, the flow's own source
          where: /in/a.csv
          fix:   nothing was written. Write to another folder: add .mirror(root=...) to the flow and write to context.mirror.file(name); then run it again
    """

    root: Path | None = None
    file: Path | None = None
    extensions: tuple[str, ...] | None = None
    skip: Path | None = None
    mirror: Path | None = None
    outputs: frozenset[str] = frozenset()
    names: frozenset[str] | None = None
    lead_of: Callable[[Path], str] = lead_of

    def __post_init__(self) -> None:
        super().__init__()
        self.taken: dict[str, None] = {}
        self._written: dict[str, None] = {}
        self._new: dict[str, None] = {}
        self._handed_out: dict[str, tuple[int, int, int] | None] = {}

    # -- what is about to happen (file_events.py) -----------------------------------------------------------------------------

    def about_to_write(self, path: str) -> None:
        """Refuse to write a source; a file in the mirror or in the source folder is an output.

        Raises:
            OverwritesSourceError: it is a source.
        """
        real = real_path(path)
        if self._is_source(path, real):
            error = OverwritesSourceError(
                f"the step would overwrite {path}, the flow's own source",
                where=path,
                fix="nothing was written. Write to another folder: add .mirror(root=...) to the flow and write to "
                "context.mirror.file(name); then run it again",
            )
            self.refused.append(error)
            raise error
        if real not in self._written and (self._is_in(self._mirror, real) or self._is_candidate(real)):
            self._written[real] = None
            self._new[path] = None

    def about_to_remove(self, path: str) -> None:
        """That a source is removed or moved away is told."""
        real = os.path.join(real_path(os.path.dirname(path)), os.path.basename(path))
        if len(self.taken) < _MOST_TAKEN and self._is_source(path, real) and os.path.isfile(path):
            self.taken[path] = None

    def about_to_move(self, path: str, target: str) -> None:
        """A file goes away, and another one is written."""
        self.about_to_write(target)
        self.about_to_remove(path)

    # -- outputs ---------------------------------------------------------------------------------------------------------------

    def hand_out(self, path: Path, is_folder: bool) -> None:
        """A path of the mirror is handed out: a file is an output when it is there and changed after the step."""
        text = str(path)
        if not is_folder and text not in self._handed_out:
            self._handed_out[text] = identity_of(text)

    def new_outputs(self) -> tuple[str, ...]:
        """The files that were written since this was asked last, and are there."""
        found = {path: None for path in self.written() if os.path.isfile(path)}
        for path, before in list(self._handed_out.items()):
            if path in found:
                del self._handed_out[path]
            elif (now := identity_of(path)) is not None and now != before:
                found[path] = None
                del self._handed_out[path]
        return tuple(found)

    def written(self) -> tuple[str, ...]:
        """What was written since this was asked last."""
        new, self._new = self._new, {}
        return tuple(new)

    def note_written(self, paths: Iterable[str]) -> None:
        """Take what an item in another process has written."""
        self._new.update(dict.fromkeys(paths))

    # -- which files are sources -----------------------------------------------------------------------------------------------

    @cached_property
    def _root(self) -> str | None:
        return None if self.root is None else self.lead_of(self.root)

    @cached_property
    def _skip(self) -> str | None:
        skip = None if self.skip is None else self.lead_of(self.skip)
        return skip if skip is not None and self._is_in(self._root, skip) else None

    @cached_property
    def _mirror(self) -> str | None:
        return None if self.mirror is None else self.lead_of(self.mirror)

    def _is_source(self, path: str, real: str) -> bool:
        if self.file is not None:
            return _is_same_file(str(self.file), path, real)
        if not self._is_candidate(real):
            return False
        if self.names is not None:
            return portable_text(real[len(self._root or "") :]) in self.names
        is_output = real in self._written or not self.outputs.isdisjoint((path, real))
        return not is_output and os.path.lexists(real)

    def _is_candidate(self, real: str) -> bool:
        """Whether a file at this path would be a source of the flow, by its name."""
        if not self._is_in(self._root, real) or self._is_in(self._skip, real):
            return False
        name, extensions = os.path.basename(real), self.extensions
        return is_candidate_name(name) and (extensions is None or name.lower().endswith(extensions))

    @staticmethod
    def _is_in(lead: str | None, real: str) -> bool:
        return lead is not None and compared(real).startswith(lead)

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnSources, tuple(getattr(self, one.name) for one in fields(self)[:-1])


def cause_of_source(error: BaseException | None) -> Cause | None:
    """That a run failed because a step would have overwritten its source; None where it is something else."""
    while error is not None:
        if isinstance(error, OverwritesSourceError):
            return Cause("overwrites_source", {"path": error.where})
        error = error.__cause__
    return None


def _is_same_file(source: str, path: str, real: str) -> bool:
    """Whether both are one file, by whichever drive, link or spelling; a source that is gone is still one."""
    if _folded(os.path.basename(source)) not in (_folded(os.path.basename(path)), _folded(os.path.basename(real))):
        return False
    if os.path.normcase(source) == os.path.normcase(path):
        return True
    try:
        return os.path.samefile(source, path)
    except (OSError, ValueError):
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


_COPY = re.compile(r"(^|[;\n])\s*(copy|attach)\s", re.IGNORECASE)
_MOST = 1_000


def says_copy(flow: Flow) -> bool:
    """Whether a text that the steps of the flow reach begins a COPY or an ATTACH statement.

    Example:
        >>> def write(context): return f"COPY (select 1 as a) TO '{context.source.path}'"
        >>> says_copy(Flow("Demo").step(write)), says_copy(Flow("Demo").step(str))
        (True, False)
    """
    called = [step.fn.fn if isinstance(step.fn, Map) else step.fn for step in flow.steps]
    return reaches_copy(one for one in called if not isinstance(one, (Collect, Check)))


def reaches_copy(called: Iterable[Any]) -> bool:
    """As `says_copy`, of functions."""
    todo = list(called)
    seen: set[int] = set()
    while todo and len(seen) < _MOST:
        one = todo.pop()
        if isinstance(one, str) and _COPY.search(one):
            return True
        if id(one) not in seen:
            seen.add(id(one))
            todo += _reached(one)
    return False


def _reached(value: object) -> Iterator[Any]:
    """The texts and functions that a function reaches."""
    if isinstance(value, partial):
        yield value.func
    elif not isinstance(value, FunctionType):
        yield from filter(None, (getattr(value, "__func__", None), vars(type(value)).get("__call__")))
    elif (value.__module__ or "").partition(".")[0] not in watched_libraries():
        facts = code_facts(value.__code__)
        yield from facts.strings
        for cell in value.__closure__ or ():
            try:
                yield _named(cell.cell_contents)
            except ValueError:  # it is not bound yet
                continue
        for chain in facts.globals:
            found = value.__globals__.get(chain[0])
            if isinstance(found, ModuleType) and len(chain) > 1:
                found = vars(found).get(chain[1])
            yield _named(found)


def _named(value: object) -> Any:
    return value if isinstance(value, (str, FunctionType, partial)) else None


@contextmanager
def sql_watched() -> Iterator[None]:
    """Inside, the files that this context's queries write are seen before they are written; what a step imports is not replaced any
    more, so DuckDB is imported before."""
    importlib.import_module("duckdb")
    with Interceptors() as interceptors, interceptors.intercept(ReadLog()):
        yield
