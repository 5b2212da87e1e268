"""Decide which outputs are outdated: made by runs that read a reference, a file beside their source, with another content than it has
now. Pure, over frozen values; it makes nothing due.

A reference is now as it was at its last look, or as a run has read it that began later. What the flow itself or a flow that it feeds
writes is none. A content that nobody has hashed is compared by size and time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from operator import itemgetter

from data_engine.ledger.references import GoodRun, Sighting
from data_engine.model import Reference
from data_engine.notebook.mirror_warnings import Folders, is_read
from data_engine.record import frozen


@frozen
class OutdatedRun:
    """A run whose results are outdated: the `references` that have changed since, as they are now, and those of its outputs that no
    later run has written; none where it wrote no files."""

    run: GoodRun
    references: tuple[Reference, ...]
    outputs: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """The number of its outputs; a run that wrote no files, but perhaps rows, is one."""
        return len(self.outputs) or 1


def current(runs: Iterable[GoodRun], seen: Mapping[str, Sighting]) -> dict[str, Reference]:
    """Each reference of these runs as it is now, as far as it is known: from the newest of its sightings and reads.

    Example:
        >>> old, new = Reference("/ref/a.csv", 10, 0), Reference("/ref/a.csv", 11, 5)
        >>> runs = [GoodRun("claims", "r1", "2026-01-05", "2026-01-05", references=(old,))]
        >>> current(runs, {}) == {"/ref/a.csv": old}, current(runs, {"/ref/a.csv": Sighting(new, "2026-01-06")}) == {"/ref/a.csv": new}
        (True, True)
    """
    newest: dict[str, tuple[str, Reference]] = {}
    sets = ((max(starts), references) for _, references, starts in by_reads(runs))
    for began, references in sorted(sets, key=itemgetter(0)):
        newest |= {reference.path: (began, reference) for reference in references}
    for path, sighting in seen.items():
        if path in newest and newest[path][0] <= sighting.at_utc:
            newest[path] = sighting.at_utc, sighting.reference
    return {path: reference for path, (_, reference) in newest.items()}


def by_reads(runs: Iterable[GoodRun]) -> Iterator[tuple[str, tuple[Reference, ...], list[str]]]:
    """Each flow with each of the sets of references that its runs share, and when those began."""
    starts: dict[tuple[str, int], tuple[str, tuple[Reference, ...], list[str]]] = {}
    for run in runs:  # by identity: to hash ten references for each of 20,000 runs takes a second
        key = run.flow, id(run.references)
        if key not in starts:
            starts[key] = run.flow, run.references, []
        starts[key][2].append(run.started_at_utc)
    yield from starts.values()


def is_same(one: Reference, other: Reference) -> bool:
    """Whether both are the same content.

    Example:
        >>> touched = Reference("/ref/a.csv", 10, 5, "ab")
        >>> [is_same(touched, Reference("/ref/a.csv", 10, *rest)) for rest in ((0, "ab"), (5, "cd"), (0, None), (5, None))]
        [True, False, False, True]
    """
    if one.digest is not None and other.digest is not None:
        return one.digest == other.digest
    return one[1:3] == other[1:3]


def looked(
    before: Reference, facts: tuple[int, int] | None, hashed: Callable[[int, int], Reference | None]
) -> Reference | None:
    """What a look finds that is new: the file has these `facts` (size and time; None: it is gone) now. It is `hashed` only where they
    moved; None where nothing did, or it cannot be read."""
    if facts == (None if before.size_bytes is None else before[1:3]):
        return None
    return Reference(before.path) if facts is None else hashed(*facts)


def not_references(
    runs: Iterable[GoodRun], folders: Mapping[str, Folders], writers: Mapping[str, Set[str]]
) -> dict[str, set[str]]:
    """The files that each flow reads and that itself, or a flow that it feeds, writes: `writers` are the flows that wrote a file.

    Example:
        >>> from pathlib import Path
        >>> runs = [GoodRun("a", "r1", "", "", references=(Reference("/out/b/x.csv"), Reference("/ref.csv")))]
        >>> places = {"a": Folders(Path("/out/a")), "b": Folders(Path("/out/b"), (Path("/out/a"),))}
        >>> not_references(runs, places, {"/out/b/x.csv": {"b"}})
        {'a': {'/out/b/x.csv'}}
    """
    read: dict[str, set[str]] = {}
    for flow, references, _ in by_reads(runs):
        read.setdefault(flow, set()).update(reference.path for reference in references)

    feeds: dict[str, set[str]] = {
        flow: {other for other, own in folders.items() if other != flow and is_read(folders[flow].mirror, own.reads)}
        for flow in folders
    }
    for flow, paths in read.items():
        for path in paths:
            for writer in writers.get(path, ()):
                feeds.setdefault(writer, set()).add(flow)
    found = {}
    for flow, paths in read.items():
        below, left = {flow}, [flow]
        while left:
            new = feeds.get(left.pop(), set()) - below
            below |= new
            left += new
        if own := {path for path in paths if below & writers.get(path, frozenset())}:
            found[flow] = own
    return found


def outdated(
    runs: Sequence[GoodRun],
    now: Mapping[str, Reference],
    no_references: Mapping[str, Set[str]],
    outputs_of: Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]],
) -> list[OutdatedRun]:
    """The outdated ones of these runs, which are oldest first; `outputs_of` gives the outputs of runs by their ids, and is asked only
    where some are.

    Example:
        >>> old, new = Reference("/ref/a.csv", 10, 0), Reference("/ref/a.csv", 11, 5)
        >>> runs = [GoodRun("claims", "r1", "", "", "x.csv", references=(old,)), GoodRun("claims", "r2", "", "", "y.csv", references=(new,))]
        >>> [(row.run.run_id, row.count) for row in outdated(runs, {"/ref/a.csv": new}, {}, lambda run_ids: {})]
        [('r1', 1)]
    """
    judged: dict[tuple[str, int], tuple[Reference, ...]] = {}

    def changed(run: GoodRun) -> tuple[Reference, ...]:
        key = run.flow, id(run.references)
        if key not in judged:
            none = no_references.get(run.flow, frozenset())
            judged[key] = tuple(
                now[read.path] for read in run.references if read.path not in none and not is_same(read, now[read.path])
            )
        return judged[key]

    bad = [(run, references) for run in runs if (references := changed(run))]
    flows = {run.flow for run, _ in bad}
    outputs = outputs_of([run.run_id for run in runs if run.flow in flows]) if bad else {}
    writer = {path: run.run_id for run in runs for path in outputs.get(run.run_id, ())}
    found = []
    for run, references in bad:
        wrote = outputs.get(run.run_id, ())
        standing = tuple(path for path in wrote if writer[path] == run.run_id)
        if standing or not wrote:
            found.append(OutdatedRun(run, references, standing))
    return found
