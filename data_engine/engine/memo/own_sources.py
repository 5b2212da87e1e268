"""The files that a run reads as its sources, and what of its writing they must be kept from.

A poll flow that writes its own source is due again by that, without end, and each time its data is what it made of it. So
the write is refused before it is done. What a run writes beside its sources is noted: it is an output, and no new source.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.memo.access_log import not_logged
from data_engine.errors import FlowValidationError
from data_engine.flow.scan import is_candidate_name


class OverwritesSourceError(FlowValidationError):
    """A step was about to overwrite a file that its run reads as a source, or to take away one of a preview; nothing was done."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a write to an own source: refused because of `why`, or without one only told.

    Example:
        >>> print(IN_RUNS.error("/in/a.csv"))
        the step would overwrite /in/a.csv, the flow's own source: that makes the file due again, and the flow would run without end
          where: /in/a.csv
          fix:   nothing was written. Write to another folder: add .mirror(root=...) to the flow and write to context.mirror.file(name); then run it again
    """

    why: str | None = None
    or_else: str = ""

    def error(self, path: str) -> OverwritesSourceError:
        """The error of a step that is about to write this file."""
        return OverwritesSourceError(
            f"the step would overwrite {path}, the flow's own source: {self.why}",
            where=path,
            fix="nothing was written. Write to another folder: add .mirror(root=...) to the flow and write to "
            f"context.mirror.file(name); then run it again{self.or_else}",
        )


IN_RUNS = Rule("that makes the file due again, and the flow would run without end")
IN_PREVIEWS = Rule(
    "a preview changes nothing that production reads", ", or give preview() write=True, which writes for real"
)
TOLD = Rule()


def _kept(path: str) -> OverwritesSourceError:
    """The error of a step of a preview that is about to remove this source, or to move it away."""
    return OverwritesSourceError(
        f"the step would remove or move {path}, the flow's own source: {IN_PREVIEWS.why}",
        where=path,
        fix="nothing was removed or moved. Preview an object of an earlier step: preview(use=...); production may do it, and "
        "preview(write=True) does it for real",
    )


def overwritten_words(path: str) -> str:
    """What the log of a run says that has overwritten its source.

    Example:
        >>> overwritten_words("/in/a.csv")
        "a step has overwritten /in/a.csv, the flow's own source: the next run reads what this one wrote; better write to context.mirror"
    """
    return f"a step has overwritten {path}, the flow's own source: the next run reads what this one wrote; better write to context.mirror"


class OwnSources:
    """The sources of one run, by their paths inside `root`; `names` are asked for when something is written first.

    What else below `root` would be a source has one of `extensions` (None: any), and does not lie in `skip`, the flow's mirror.
    With `keeps`, as in a preview, they cannot be removed or moved away.
    `overwritten` are sources that were written where the `rule` lets it be. Several threads may tell at once.

    Example:
        >>> own = OwnSources(Path("/in"), lambda: ["a.csv"], rule=IN_RUNS, extensions=(".csv",))
        >>> own.about_to_write("/out/a.csv")
        >>> try:
        ...     own.about_to_write("/in/a.csv")
        ... except OverwritesSourceError as error:
        ...     error.what.partition(":")[0]
        "the step would overwrite /in/a.csv, the flow's own source"
    """

    def __init__(
        self,
        root: Path,
        names: Callable[[], Iterable[str]],
        *,
        rule: Rule,
        extensions: tuple[str, ...] | None = None,
        skip: Path | None = None,
        keeps: bool = False,
    ) -> None:
        self.overwritten: dict[str, None] = {}
        self._keeps = keeps
        self._root, self._names, self._rule = os.path.abspath(root), names, rule
        self._extensions = extensions
        self._skip = None if skip is None or not Path(skip).is_relative_to(self._root) else os.path.abspath(skip)
        self._by_name: dict[str, list[str]] | None = None
        self._beside: dict[str, None] = {}

    def about_to_write(self, path: object) -> None:
        """A file is about to be written, or replaced by another one; what names no file is left out.

        Raises:
            OverwritesSourceError: it is a source, and the rule refuses that.
        """
        full = _full(path)
        if full is None:
            return
        source = self._source_at(full)
        if source is None:
            if self._may_be_taken(full):
                self._beside.setdefault(full)
        elif self._rule.why is not None:
            raise self._rule.error(source)
        else:
            self.overwritten.setdefault(source)

    def about_to_remove(self, path: object) -> None:
        """A file or a folder is about to be removed, or moved to another place; what names none is left out.

        Raises:
            OverwritesSourceError: it is or holds a source, and they are kept.
        """
        full = _full(path) if self._keeps else None
        if full is None:
            return
        source = self._source_at(full)
        if source is None and os.path.isdir(full):
            folder = os.path.realpath(full) + os.sep
            every = (one for found in (self._by_name or {}).values() for one in found)
            source = next((one for one in every if os.path.realpath(one).startswith(folder)), None)
        if source is not None:
            raise _kept(source)

    def new_beside(self) -> tuple[str, ...]:
        """The files that were written in the source folder since this was asked last, and are there still."""
        found = tuple(path for path in self._beside if os.path.isfile(path))
        self._beside = {}
        return found

    def _source_at(self, full: str) -> str | None:
        """The source that this path leads to."""
        by_name = self._by_name
        if by_name is None:
            with not_logged():
                by_name = self._by_name = self._sources()
        for source in by_name.get(_folded(os.path.basename(full)), ()):
            if os.path.normcase(source) == os.path.normcase(full) or _is_same(source, full):
                return source
        return None

    def _sources(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._names():
            path = os.path.abspath(os.path.join(self._root, name))
            found.setdefault(_folded(os.path.basename(path)), []).append(path)
        return found

    def _may_be_taken(self, full: str) -> bool:
        """Whether a file at this path would be a source of the flow, by its name."""
        folder, name = os.path.split(full)
        is_inside = full.startswith(self._root.rstrip(os.sep) + os.sep)
        if not is_inside or (self._skip is not None and Path(folder).is_relative_to(self._skip)):
            return False
        return is_candidate_name(name) and (self._extensions is None or name.lower().endswith(self._extensions))

    def __reduce__(self) -> tuple[Any, ...]:
        with not_logged():
            names = tuple(self._names())
        return _rebuilt, (Path(self._root), names, self._rule, self._keeps)


@contextmanager
def guarding(own: OwnSources | None) -> Iterator[None]:
    """Inside, what this context is about to write is shown to these sources first; map threads inherit it."""
    token = _current.set(own)
    try:
        yield
    finally:
        _current.reset(token)


def own_sources() -> OwnSources | None:
    """The sources of the run or preview that this context belongs to."""
    return _current.get()


_current: ContextVar[OwnSources | None] = ContextVar("own_sources", default=None)


def cause_of_source(error: BaseException | None) -> Cause | None:
    """That a run failed because a step would have overwritten its source; None where it is something else."""
    while error is not None:
        if isinstance(error, OverwritesSourceError):
            return Cause("overwrites_source", {"path": error.where})
        error = error.__cause__
    return None


def _rebuilt(root: Path, names: tuple[str, ...], rule: Rule, keeps: bool) -> OwnSources:
    """For another process, which has the root perhaps elsewhere; what it writes beside is noted by nobody there."""
    return OwnSources(root, lambda: names, rule=rule, extensions=(), keeps=keeps)


def _full(path: object) -> str | None:
    """The path as a file system has it; None for what names no file."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text or "://" in text:
        return None
    return os.path.abspath(text)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_same(one: str, other: str) -> bool:
    """Whether both lead to one file, by whichever drive, link or spelling."""
    with not_logged():
        try:
            return os.path.samefile(one, other)
        except (OSError, ValueError):
            return False
