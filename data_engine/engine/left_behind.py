"""Outputs and rejected rows whose sources are not there any more: which they are, and how they are moved aside and back. Nothing is deleted.

    <mirror's parent>/.data_engine_set_aside/<time>/<mirror's name>/   what was moved at that time, by its path inside the mirror

The folder is hidden, so that no flow takes what lies there for a source. Others may write there and in the mirror: only plain
files are moved, and no link is followed (nofollow.py). The times are UTC, so that they sort as they were; those without a "Z" are
of an earlier Data Engine, in this machine's zone.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from data_engine.engine.quarantine import rejected_folder, rejected_rows
from data_engine.errors import FlowValidationError
from data_engine.files import trouble_of
from data_engine.flow.flow import Flow
from data_engine.model import WrittenFile, utc_text
from data_engine.nofollow import Place, inside, move, opened, walk
from data_engine.notebook.mirror_warnings import folders_of, is_read
from data_engine.record import Record, frozen

SET_ASIDE = ".data_engine_set_aside"
_STAMP, _LOCAL_STAMP = "%Y-%m-%d_%H-%M-%S.%fZ", "%Y-%m-%d_%H-%M-%S"
MOST_RUNS = 20_000
"""The newest runs, whose outputs are looked at."""


@frozen
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


def rejected_left_behind(root: Path, flows: Sequence[Flow]) -> list[LeftBehind]:
    """The rejected rows in the workspace at `root` whose source is gone: outputs in the mirror `rejected/<flow>`, as it were."""
    there = rejected_rows(root)
    gone = gone_sources(((one.flow, one.source) for one in there), flows)
    folders = {flow.name or "": flow.trigger.source for flow in flows if flow.trigger is not None}
    found = []
    for one in there:
        if (one.flow, one.source) in gone:
            source, facts = os.path.join(folders[one.flow] or "", one.source or ""), os.stat(one.path)
            mirror, at_utc = str(rejected_folder(root, one.flow)), utc_text(facts.st_mtime)
            found.append(LeftBehind(one.path, one.flow, source, at_utc, mirror, size_bytes=facts.st_size))
    return found


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


def gone_sources(sources: Iterable[tuple[str, str | None]], flows: Iterable[Flow]) -> frozenset[tuple[str, str]]:
    """Of sources, each with its flow, those that are gone from a folder that is there; one that is no file of a folder never is."""
    folders = {flow.name: flow.trigger.source for flow in flows if flow.trigger is not None}
    asked = [(flow, source, folder) for flow, source in sources if source and (folder := folders.get(flow)) is not None]
    return frozenset(
        (flow, source) for flow, source, folder in asked if not os.path.exists(folder / source) and folder.is_dir()
    )


def is_source_gone(one: WrittenFile) -> bool:
    """Whether every source that the file was written for is gone, from a folder that is there."""
    if one.source_root is None or not one.sources or not os.path.isdir(one.source_root):
        return False
    return not any(os.path.exists(source) for source in one.sources)


def set_aside(found: Sequence[LeftBehind], *, now_s: float | None = None) -> list[Path]:
    """Move these outputs out of their mirrors; where they are now. What is no plain file any more stays.

    Raises:
        FlowValidationError: one cannot be moved; those before it were.
    """
    stamp = datetime.fromtimestamp(time.time() if now_s is None else now_s, UTC).strftime(_STAMP)
    moved = []
    for one in found:
        mirror, path = Path(one.mirror), Path(one.path)
        *folders, name = path.relative_to(mirror).parts
        aside = (SET_ASIDE, stamp, mirror.name, *folders)
        target = mirror.parent.joinpath(*aside, name)
        try:
            if ".." in folders:
                raise OSError(errno.EINVAL, "its path leads out of its mirror")
            with opened(mirror.parent) as beside, inside(beside, (mirror.name, *folders)) as here:
                facts = here.facts(name)
                if facts is None or not stat.S_ISREG(facts.st_mode):
                    continue
                with inside(beside, aside, make=True) as there:
                    move(here, name, there)
        except OSError as error:
            raise _cannot_move(path, target, error) from error
        moved.append(target)
    return moved


def put_back(mirrors: Iterable[Path]) -> list[Path]:
    """Move back what was moved out of these mirrors last, of what has its place free still; where they are now.

    Raises:
        FlowValidationError: one cannot be moved; those before it were.
    """
    moved = []
    for mirror in sorted(set(mirrors)):
        try:
            with opened(mirror.parent) as beside, inside(beside, (SET_ASIDE,)) as aside:
                stamps = [(at_s, name) for name in aside.names() if (at_s := _when_s(name)) is not None]
                for _, stamp in sorted(stamps, reverse=True):
                    back = list(_put_back_from(beside, (SET_ASIDE, stamp, mirror.name), mirror))
                    _remove_empty(aside, stamp)
                    moved += back
                    if back:
                        break
                os.rmdir(beside.at(SET_ASIDE), dir_fd=beside.descriptor)
        except OSError:  # nothing was moved aside, or more lies there still
            continue
    return moved


def _put_back_from(beside: Place, names: tuple[str, ...], mirror: Path) -> Iterator[Path]:
    try:
        with inside(beside, names) as there:
            found = [one for one in walk(there) if one.is_regular]
    except OSError:  # of another mirror, or a link
        return
    for folder, name, _ in found:
        target = mirror.joinpath(*folder, name)
        try:
            with (
                inside(beside, (*names, *folder)) as here,
                inside(beside, (mirror.name, *folder), make=True) as there,
            ):
                if there.facts(name) is not None:
                    continue
                move(here, name, there)
        except OSError as error:
            raise _cannot_move(mirror.parent.joinpath(*names, *folder, name), target, error) from error
        yield target


def _when_s(stamp: str) -> float | None:
    """When something was moved aside, by the name of its folder; None for what is no such name."""
    with suppress(ValueError, OverflowError):
        if stamp.endswith("Z"):
            return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
        return datetime.strptime(stamp, _LOCAL_STAMP).astimezone().timestamp()
    return None


def readers_of(mirrors: Iterable[Path], flows: Iterable[Flow]) -> list[str]:
    """The flows that read in one of these folders, by their source or by `collect`."""
    roots = list(mirrors)
    return sorted({flow.name or "" for flow in flows if any(is_read(root, folders_of(flow).reads) for root in roots)})


def _places(flow: Flow) -> tuple[str, Path, Path] | None:
    trigger, mirror = flow.trigger, flow.mirror_spec
    if trigger is None or trigger.source is None or mirror is None or trigger.run_as == "batch":
        return None
    return (flow.name or "", trigger.source, mirror.root) if trigger.source.is_dir() else None


def _cannot_move(path: Path, target: Path, error: OSError) -> FlowValidationError:
    return FlowValidationError(
        f"{path} cannot be moved: {trouble_of(error)}",
        where=str(target),
        fix="close it where it is open, check the permissions of both folders and that no link is in the way, and ask again",
    )


def _remove_empty(place: Place, name: str) -> None:
    """Remove the folder `name` with the folders in it, as far as they hold nothing else."""
    with suppress(OSError):
        with inside(place, (name,)) as here:
            for one in here.names():
                _remove_empty(here, one)
        os.rmdir(place.at(name), dir_fd=place.descriptor)
