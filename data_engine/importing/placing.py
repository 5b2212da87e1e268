"""Where the older system's files lie in this one: absolute paths of any workstation become sources as flows are authored. Pure.

A path below the flow's source is that source's. Where none is, a folder of another workstation stands for the source when files of it
are here, with the same size and time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from data_engine.importing.older_history import ENDED, OlderFile
from data_engine.ledger.brought import BroughtRun
from data_engine.model import Signature, SourceKey, SourceState
from data_engine.planning.due import is_same_time
from data_engine.record import frozen

_MARGIN_NS = 60 * 10**9
"""How much the clock of a file server and that of the machine that ran may differ."""


class FileHere(NamedTuple):
    """A candidate as it lies there now; `there_since_ns` is since when it surely has."""

    size_bytes: int
    mtime_ns: int
    there_since_ns: int


@frozen
class FlowSource:
    """A flow's source: as authored, as an absolute path here (forward slashes), and its files by their path inside it.

    A source that is a single file has it under "".
    """

    authored: str
    root: str
    is_batch: bool
    files: Mapping[str, FileHere]

    def inside(self, path: str) -> str | None:
        """The path inside the source of an absolute `path`; "" is the source itself, None what lies elsewhere.

        Example:
            >>> source = FlowSource("../in", "/team/in", False, {})
            >>> source.inside("/team/in/a/b.csv"), source.inside("/team/in"), source.inside("/team/inside/b.csv")
            ('a/b.csv', '', None)
            >>> FlowSource("../in", "//srv/team/Straße", False, {}).inside("//SRV/Team/STRASSE/a.csv")
            'a.csv'
        """
        return _below(self.root, path)

    def key(self, path: str | None) -> SourceKey | None:
        """The source that this absolute path is; None for what lies elsewhere."""
        inside = None if path is None else self.inside(path)
        return None if inside is None else SourceKey(self.authored, inside)


def place(
    files: Iterable[OlderFile],
    sources: Mapping[str, FlowSource],
    broken: Iterable[str],
    batches: Mapping[str, BroughtRun],
) -> tuple[list[SourceState], list[tuple[str, str, str]]]:
    """What is known of `files` as states of the flows' `sources`; and flow, path and reason of what has no place.

    Flows in `broken` do not load yet.

    `batches` maps a batch flow to its newest good run. The older system notes only some of the files that a batch has read: those that
    were surely there before it are taken for read.
    """
    states: dict[tuple[str, SourceKey], SourceState] = {}
    unplaced: list[tuple[str, str, str]] = []
    by_flow: dict[str, list[OlderFile]] = {}
    for file in files:
        by_flow.setdefault(file.flow, []).append(file)
    for flow, of_flow in by_flow.items():
        source = sources.get(flow)
        if source is None:
            why = "its module does not load yet" if flow in broken else "no flow of this name has a source"
            unplaced += [(flow, file.path, why) for file in of_flow]
            continue
        other = _folder_elsewhere([file for file in of_flow if source.inside(file.path) is None], source)
        for file in of_flow:
            inside = source.inside(file.path)
            if inside is None and other is not None:
                inside = _below(other, file.path)
            if inside is None:
                unplaced.append((flow, file.path, f"it is not below {source.root}"))
                continue
            state = _state(SourceKey(source.authored, inside), file)
            before = states.get((flow, state.key))
            if before is None or (state.last_at_utc or "") > (before.last_at_utc or ""):
                states[flow, state.key] = state
    known = {flow for flow, _ in states}
    for flow, run in batches.items():
        if flow in known:
            _add_implied(flow, sources[flow], run, states)
    return [*states.values()], unplaced


def _folder_elsewhere(strangers: Sequence[OlderFile], source: FlowSource) -> str | None:
    """The folder (of a single file: the path) of another workstation that stands for the source: most files there are here alike."""
    votes: Counter[str] = Counter()
    for file in strangers:
        for name, here in source.files.items():
            is_same = here.size_bytes == file.size_bytes and is_same_time(here.mtime_ns, file.mtime_ns)
            if is_same and not name and file.path.rpartition("/")[2] == source.root.rpartition("/")[2]:
                votes[file.path] += 1
            elif is_same and name and file.path.endswith(f"/{name}"):
                votes[file.path.removesuffix(f"/{name}")] += 1
    return votes.most_common(1)[0][0] if votes else None


def _below(root: str, path: str) -> str | None:
    """The path below the root; drives and servers of Windows do not tell case apart."""
    is_windows = root[1:2] == ":" or root.startswith("//")
    above, names = root.rstrip("/").split("/"), path.split("/")
    head, rest = names[: len(above)], names[len(above) :]
    is_below = [*map(str.casefold, head)] == [*map(str.casefold, above)] if is_windows else head == above
    return "/".join(rest) if is_below else None


def _state(key: SourceKey, file: OlderFile) -> SourceState:
    seen, is_good = Signature(file.size_bytes, file.mtime_ns), file.status == "success"
    is_cut = file.status == "abandoned"
    why = None if is_good else file.error or (ENDED if is_cut else None)
    last = (file.status, seen, file.run_id, file.at_utc, why)
    good, good_id = (seen, file.run_id) if is_good else (None, file.success_run_id)
    return SourceState(file.flow, key, *last, good, good_id, file.success_at_utc, int(is_cut))


def _add_implied(
    flow: str, source: FlowSource, run: BroughtRun, states: dict[tuple[str, SourceKey], SourceState]
) -> None:
    before_ns = int(datetime.fromisoformat(run.began_utc).timestamp() * 1e9) - _MARGIN_NS
    for name, here in source.files.items():
        key, seen = SourceKey(source.authored, name), Signature(here.size_bytes, here.mtime_ns)
        if (flow, key) not in states and here.there_since_ns < before_ns:
            last = ("success", seen, run.run_id, run.began_utc, None)
            states[flow, key] = SourceState(flow, key, *last, seen, run.run_id, run.began_utc, 0)
