"""Outputs whose sources are not there any more: which they are, and how they are moved aside and back. Nothing is deleted.

    <mirror's parent>/.data_engine_set_aside/<time>/<mirror's name>/   what was moved at that time, by its path inside the mirror

The folder is hidden, so that no flow takes what lies there for a source.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.files import files_below
from data_engine.flow.flow import Flow
from data_engine.model import WrittenFile
from data_engine.notebook.mirror_readers import folders_of, is_read
from data_engine.record import Record

SET_ASIDE = ".data_engine_set_aside"
MOST_RUNS = 20_000
"""The newest runs, whose outputs are looked at."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftBehind(Record):
    """An output in the mirror of `flow`, written at `at_utc` for a `source` that is gone; `mirror` is the root it lies in."""

    path: str
    flow: str
    source: str
    at_utc: str
    mirror: str
    size_bytes: int | None = None


def left_behind(written: Iterable[WrittenFile], flows: Iterable[Flow]) -> list[LeftBehind]:
    """Of what was written, the files in the mirrors of these flows of which every source is gone, sorted by path.

    A flow that runs for a folder as a whole leaves none, and of a source folder that is away nothing is known.
    """
    places = [place for flow in flows if (place := _places(flow)) is not None]
    found: dict[str, LeftBehind] = {}
    for one in written:
        path = Path(one.path)
        for name, source, mirror in places:
            is_ours = path.is_relative_to(mirror) and all(source in Path(each).parents for each in one.sources)
            if is_ours and is_source_gone(one) and os.path.exists(one.path):
                found[one.path] = LeftBehind(
                    one.path, name, one.sources[0], one.at_utc, str(mirror), size_bytes=one.size_bytes
                )
    return [found[path] for path in sorted(found)]


def known_elsewhere(written: Iterable[WrittenFile], flows: Iterable[Flow]) -> list[WrittenFile]:
    """The outputs of these flows that are known only where nothing is any more, not even their folder.

    So it is after their mirror was moved by itself: what lies there now cannot be told from files of other people.
    """
    mirrors = {places[0]: places[2] for flow in flows if (places := _places(flow)) is not None}
    again: set[tuple[str, str]] = set()
    found = []
    for one in written:
        mirror = mirrors.get(one.flow)
        if mirror is None or not any(one.sources):
            continue
        if Path(one.path).is_relative_to(mirror) or os.path.isdir(os.path.dirname(one.path)):
            again.update((one.flow, source) for source in one.sources)
        elif not all((one.flow, source) in again for source in one.sources):
            found.append(one)
    return found


def is_source_gone(one: WrittenFile) -> bool:
    """Whether every source that the file was written for is gone, from a folder that is there."""
    if one.source_root is None or not one.sources or not os.path.isdir(one.source_root):
        return False
    return not any(os.path.exists(source) for source in one.sources)


def set_aside(found: Sequence[LeftBehind], *, now_s: float | None = None) -> list[Path]:
    """Move these outputs out of their mirrors; where they are now.

    Raises:
        FlowValidationError: one cannot be moved; those before it were.
    """
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now_s))
    moved = []
    for one in found:
        mirror = Path(one.mirror)
        target = mirror.parent / SET_ASIDE / stamp / mirror.name / Path(one.path).relative_to(mirror)
        _move(Path(one.path), target)
        moved.append(target)
    return moved


def put_back(mirrors: Iterable[Path]) -> list[Path]:
    """Move back what was moved out of these mirrors last, but for those where something lies again; where they are now.

    Raises:
        FlowValidationError: one cannot be moved; those before it were.
    """
    moved = []
    for mirror in sorted(set(mirrors)):
        aside = mirror.parent / SET_ASIDE
        stamps = sorted(aside.iterdir(), reverse=True) if aside.is_dir() else []
        folder = next((stamp / mirror.name for stamp in stamps if (stamp / mirror.name).is_dir()), None)
        if folder is None:
            continue
        for path in sorted(files_below(folder)):
            target = mirror / path.relative_to(folder)
            if not os.path.lexists(target):
                _move(path, target)
                moved.append(target)
        _remove_empty(folder, aside.parent)
    return moved


def readers_of(mirrors: Iterable[Path], flows: Iterable[Flow]) -> list[str]:
    """The flows that read in one of these folders, by their source or by `collect`."""
    roots = list(mirrors)
    return sorted({flow.name or "" for flow in flows if any(is_read(root, folders_of(flow).reads) for root in roots)})


def _places(flow: Flow) -> tuple[str, Path, Path] | None:
    trigger, mirror = flow.trigger, flow.mirror_spec
    if trigger is None or trigger.source is None or mirror is None or trigger.run_as == "batch":
        return None
    return (flow.name or "", trigger.source, mirror.root) if trigger.source.is_dir() else None


def _move(path: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, target)
    except OSError as error:
        raise FlowValidationError(
            f"{path} cannot be moved: {error.strerror or error}",
            where=str(target),
            fix="close it where it is open, check the permissions of both folders, and ask again",
        ) from error


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove folders that hold nothing any more, upwards to below `top`."""
    for parent, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):
            os.rmdir(parent)
    with suppress(OSError):
        for above in folder.parents:
            if above == top:
                return
            os.rmdir(above)
