"""Where the older system's files lie in this one: absolute paths of any workstation become sources as flows are authored. Pure.

The older system knows a file by its absolute path on the machine that ran it. A path below the flow's source is that source's.
Where none is, a folder of another workstation stands for the source when files of it are here, with the same size and time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from data_engine.model import Signature, SourceKey, SourceState
from data_engine.moving.merging import KnownFile
from data_engine.scheduler.plan import is_same_time

_MARGIN_NS = 60 * 10**9
"""How much the clock of a file server and that of the machine that ran may differ."""


class FileHere(NamedTuple):
    """A candidate as it lies there now; `there_since_ns` is since when it surely has, None where the system does not tell."""

    size_bytes: int
    mtime_ns: int
    there_since_ns: int | None = None


@dataclass(frozen=True, slots=True)
class FlowSource:
    """A flow's source: as authored, as an absolute path here (forward slashes), and its files by their path inside it.

    A source that is a single file has it under "".
    """

    flow: str
    authored: str
    root: str
    is_batch: bool
    files: Mapping[str, FileHere]

    def inside(self, path: str) -> str | None:
        """The path inside the source of an absolute `path`; "" is the source itself, None what lies elsewhere.

        Example:
            >>> source = FlowSource("claims", "../in", "/team/in", False, {})
            >>> source.inside("/team/in/a/b.csv"), source.inside("/team/in"), source.inside("/team/inside/b.csv")
            ('a/b.csv', '', None)
            >>> FlowSource("claims", "../in", "//srv/team/Straße", False, {}).inside("//SRV/Team/STRASSE/a.csv")
            'a.csv'
        """
        return _below(self.root, path)


@dataclass(frozen=True, slots=True)
class Placed:
    """What is known of sources, as this system keeps it; what of it an older batch implies; and what has no place.

    `elsewhere` maps a flow to the folder of another workstation that stands for its source. `unplaced` are flow, path and why.
    """

    states: tuple[SourceState, ...]
    implied: int
    elsewhere: Mapping[str, str]
    unplaced: tuple[tuple[str, str, str], ...]


def place(
    files: Iterable[KnownFile],
    sources: Mapping[str, FlowSource],
    broken: Iterable[str] = (),
    batches: Mapping[str, tuple[str, str]] | None = None,
) -> Placed:
    """What is known of `files` as states of the flows' `sources`; flows in `broken` do not load yet.

    `batches` maps a batch flow to its newest good run: its id and when it began. The older system notes only some of the files
    that a batch has read: those that were surely there before it are taken for read.
    """
    states: dict[tuple[str, SourceKey], SourceState] = {}
    unplaced: list[tuple[str, str, str]] = []
    elsewhere: dict[str, str] = {}
    broken = set(broken)
    by_flow: dict[str, list[KnownFile]] = {}
    for known in files:
        by_flow.setdefault(known.file.flow, []).append(known)
    for flow, of_flow in by_flow.items():
        source = sources.get(flow)
        if source is None:
            why = "its module does not load yet" if flow in broken else "no flow of this name has a source"
            unplaced += [(flow, known.file.path, why) for known in of_flow]
            continue
        strangers = [known for known in of_flow if source.inside(known.file.path) is None]
        other = folder_elsewhere(strangers, source)
        if other is not None:
            elsewhere[flow] = other
        for known in of_flow:
            inside = source.inside(known.file.path)
            if inside is None and other is not None:
                inside = _below(other, known.file.path)
            if inside is None:
                unplaced.append((flow, known.file.path, f"it is not below {source.root}"))
                continue
            state = _state(flow, SourceKey(source.authored, inside), known)
            before = states.get((flow, state.key))
            if before is None or (state.last_at_utc or "") > (before.last_at_utc or ""):
                states[flow, state.key] = state
    implied = [state for flow, run in (batches or {}).items() for state in _implied(sources.get(flow), run, states)]
    return Placed((*states.values(), *implied), len(implied), elsewhere, tuple(unplaced))


def folder_elsewhere(strangers: Sequence[KnownFile], source: FlowSource) -> str | None:
    """The folder of another workstation that stands for the source: most files below it are here as they were there.

    Example:
        >>> from data_engine.moving.older_history import OlderFile
        >>> there = KnownFile(OlderFile("claims", "Z:/in/a/b.csv", 7, 5, "success", "r1", None, None), None, "r1")
        >>> folder_elsewhere([there], FlowSource("claims", "../in", "/team/in", False, {"a/b.csv": FileHere(5, 7)}))
        'Z:/in'
    """
    votes: Counter[str] = Counter()
    names: dict[str, list[tuple[str, FileHere]]] = {}
    for name, here in source.files.items() if strangers else ():
        names.setdefault(name.rpartition("/")[2], []).append((name, here))
    for known in strangers:
        path = known.file.path
        for name, here in names.get(path.rpartition("/")[2], ()):
            is_same = here.size_bytes == known.file.size_bytes and is_same_time(here.mtime_ns, known.file.mtime_ns)
            if is_same and path.endswith(f"/{name}"):
                votes[path.removesuffix(f"/{name}")] += 1
    if "" in source.files:  # a single file has no folder that could stand for it
        here = source.files[""]
        same = [
            known.file.path
            for known in strangers
            if here.size_bytes == known.file.size_bytes and is_same_time(here.mtime_ns, known.file.mtime_ns)
        ]
        return same[0] if len(same) == 1 and same[0].rpartition("/")[2] == source.root.rpartition("/")[2] else None
    return votes.most_common(1)[0][0] if votes else None


def _below(root: str, path: str) -> str | None:
    """The path below the root; drives and servers of Windows do not tell case apart."""
    is_windows = root[1:2] == ":" or root.startswith("//")
    above, names = root.rstrip("/").split("/"), path.split("/")
    head = names[: len(above)]
    is_below = (
        [name.casefold() for name in head] == [name.casefold() for name in above] if is_windows else head == above
    )
    return "/".join(names[len(above) :]) if is_below else None


def _state(flow: str, key: SourceKey, known: KnownFile) -> SourceState:
    file = known.file
    seen = Signature(file.size_bytes, file.mtime_ns)
    is_good = file.status == "success"
    return SourceState(
        flow,
        key,
        file.status,
        seen,
        known.run_id,
        known.at_utc,
        None if is_good else file.error or "the older system ended while it ran" * (file.status == "abandoned") or None,
        seen if is_good else None,
        known.run_id if is_good else file.success_run_id,
        file.success_at_utc,
        int(file.status == "abandoned"),
    )


def _implied(
    source: FlowSource | None, run: tuple[str, str], states: Mapping[tuple[str, SourceKey], SourceState]
) -> list[SourceState]:
    if source is None or not source.is_batch or not any(flow == source.flow for flow, _ in states):
        return []
    run_id, began_utc = run
    before_ns = int(datetime.fromisoformat(began_utc).timestamp() * 1e9) - _MARGIN_NS
    found = []
    for name, here in source.files.items():
        key = SourceKey(source.authored, name)
        is_known = (source.flow, key) in states
        if not is_known and here.there_since_ns is not None and here.there_since_ns < before_ns:
            seen = Signature(here.size_bytes, here.mtime_ns)
            found.append(
                SourceState(source.flow, key, "success", seen, run_id, began_utc, None, seen, run_id, began_utc, 0)
            )
    return found
