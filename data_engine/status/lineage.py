"""What feeds what: the places that flows read and write, from what runs have read and written, and what flows declare before they ran.

A place is a file, a folder that stands for its files, or a table. Files below a mirror are one folder; others are folded by theirs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import ClassVar

from data_engine.display_hook import Displayable
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.formatting import cli_line, path_in, plural, time_text
from data_engine.ledger.outputs import FileUse, file_uses, flow_uses, folder_uses
from data_engine.ledger.rows import restored
from data_engine.marks import Mark
from data_engine.notebook.mirror_warnings import Folders, folders_of, is_read
from data_engine.planning.due import PlannedFlow, why_no_candidate
from data_engine.reasons.remedies import SHORT_ID
from data_engine.record import Record, frozen
from data_engine.status.offline import OfflineFacts
from data_engine.status.places import rows_recorded, table_meant, table_named
from data_engine.status.record import FlowStatus
from data_engine.suggestions import near_offer

_FEW = 4
"""So many files of a folder that no flow declares are places of their own."""


@frozen
class LineageNode(Record):
    """A flow, or a place that flows read or write: its `kind` is "flow", "file", "folder" or "table". `count` is how many files of a
    folder are known, `mark` the state of a flow in the map."""

    sparse: ClassVar = ("mark",)

    id: str
    kind: str
    path: str | None = None
    count: int | None = None
    mark: Mark | None = field(default=None, metadata={"of": Mark.read})


@frozen
class LineageEdge(Record):
    """A flow reads a place (`target` is the flow) or writes it (`source` is the flow): by its newest run that did, None where it only
    says that it will. `rows` are those of a single file or a table, `cell` the notebook's cell that opens it first, or whose step writes it.

    Example:
        >>> LineageEdge("clean", "out/", "clean").text, LineageEdge("in/", "clean", "clean", "0123456789ab", "2026-01-05T06:00:00+00:00").text[:29]
        ('clean writes out/: no run has yet', 'clean reads in/: run 01234567')
    """

    computed: ClassVar = ("text",)

    source: str
    target: str
    flow: str
    run_id: str | None = None
    at_utc: str | None = None
    rows: int | None = None
    cell: str | None = None

    @property
    def text(self) -> str:
        """One sentence."""
        what = f"writes {self.target}" if self.flow == self.source else f"reads {self.source}"
        if self.run_id is None:
            return f"{self.flow} {what}: no run has yet"
        rows = "" if self.rows is None else f"{plural(self.rows, 'row')}, "
        return f"{self.flow} {what}{f' in {self.cell}' if self.cell else ''}: {rows}run {self.run_id[:SHORT_ID]} on {time_text(self.at_utc)}"


@frozen
class Lineage(Displayable, Record):
    """The flows and places around `subject`, or all of them ("")."""

    subject: str = ""
    nodes: tuple[LineageNode, ...] = field(default=(), metadata={"of": LineageNode.read})
    edges: tuple[LineageEdge, ...] = field(default=(), metadata={"of": LineageEdge.read})

    def marked(self, flows: Iterable[FlowStatus]) -> Lineage:
        """The same with the states of these flows."""
        marks = {flow.name: flow.mark for flow in flows}
        return replace(self, nodes=tuple(replace(node, mark=marks.get(node.id)) for node in self.nodes))


def lineage(home: LocalWorkspace, subject: str | None = None, depth: int = 1) -> Lineage:
    """The lineage of a flow, a file, a folder or a table, so many edges each way; without a subject of all flows.

    Raises:
        FlowValidationError: `subject` is none of these, or nothing is known of it.
        LedgerError: the history cannot be read.
    """
    if depth < 1:
        raise FlowValidationError(f"depth is {depth}", where="lineage(depth=...)", fix="1, or more steps each way")
    if subject is not None and not subject.strip():
        raise FlowValidationError(
            "lineage of a name without letters",
            where="lineage(x=...)",
            fix="name a flow, a file, a folder or a table; leave it out for all flows",
        )
    entries = [entry for entry, _ in OfflineFacts(home).stands()]
    finder = _Finder(home, {entry.name: entry.flow for entry in entries if entry.flow is not None})
    names = [entry.name for entry in entries]  # also of a broken module, of which the history may know
    if subject is None:
        return finder.result(
            "", [edge for name in names for edge in (*finder.read(name), *finder.written(name))], names
        )
    start = subject if subject in names else finder.node_of(subject)
    edges: dict[LineageEdge, None] = {}
    for is_up in (True, False):
        seen, front = {start}, [start]
        for _ in range(depth):
            new = [edge for node in front for edge in finder.around(node, is_up=is_up)]
            edges |= dict.fromkeys(new)
            front = [node for edge in new if (node := edge.source if is_up else edge.target) not in seen]
            front = list(dict.fromkeys(front))
            seen.update(front)
    return finder.result(start, edges, ())


class _Finder:
    """Finds the edges of flows and places, and knows the nodes that it has met, by their ids."""

    def __init__(self, home: LocalWorkspace, flows: Mapping[str, Flow]) -> None:
        self._home, self._flows = home, flows
        self._folders = {name: folders_of(flow) for name, flow in flows.items()}
        self._mirrors = sorted({folders.mirror for folders in self._folders.values() if folders.mirror is not None})
        self._nodes: dict[str, LineageNode] = {}

    def result(self, subject: str, edges: Iterable[LineageEdge], names: Iterable[str]) -> Lineage:
        """The lineage of these edges, with the nodes at their ends and those of `names`."""
        ids = {subject: None} if subject else dict[str, None]()
        kept = tuple(dict.fromkeys(edges))
        ids |= dict.fromkeys([*names, *(end for edge in kept for end in (edge.source, edge.target))])
        return Lineage(subject, tuple(self._nodes.get(name) or LineageNode(name, "flow") for name in ids), kept)

    def node_of(self, subject: str) -> str:
        """The id of the place, or of the flow of which only the history knows, that somebody means; a path is seen from the workspace's folder, else from where the caller is.

        Raises:
            FlowValidationError: there is none, or nothing is known of it.
        """
        databases = self._home.layout.databases_dir
        if (meant := table_meant(databases, subject)) is not None:
            name = table_named(databases, *meant)
            return self._add(LineageNode(name, "table", name))
        paths = [Path(os.path.normpath(folder / subject)) for folder in (self._home.layout.root, Path.cwd())]
        path = next((path for path in paths if path.exists()), paths[0])
        places = [place for folders in self._folders.values() for place in (folders.mirror, *folders.reads) if place]
        is_known = is_read(path, places) or path.exists()
        node = self._place(path, is_folder=path.is_dir() or (path in places and not path.is_file()))
        if is_known or any(self.around(node, is_up=is_up) for is_up in (True, False)):
            return node
        if any(flow == subject for (flow,) in self._home.ledger().rows("SELECT DISTINCT flow_name FROM runs")):
            return subject
        raise FlowValidationError(
            f"nothing is known of {subject}: it is no flow, and no run has read or written such a file",
            where=f"lineage {subject}",
            fix=f"{near_offer(subject, self._known())}give its path, or the name of a flow (`{cli_line('list')}`); the history may have forgotten it",
        )

    def _known(self) -> list[str]:
        """The flows, and the places that they read and write, by the paths and the names of their files."""
        edges = [edge for flow in self._flows for edge in (*self.read(flow), *self.written(flow))]
        places = dict.fromkeys(end for edge in edges for end in (edge.source, edge.target) if end != edge.flow)
        names = (place.rstrip("/").rpartition("/")[2] for place in places)
        return [*self._flows, *(place.rstrip("/") for place in places), *names]

    def around(self, node: str, *, is_up: bool) -> list[LineageEdge]:
        """The edges that lead to the node, or away from it."""
        about = self._nodes.get(node)
        if about is None or about.kind == "flow":
            return self.read(node) if is_up else self.written(node)
        if about.kind == "table":
            return list(self._of_table(node, is_up=is_up))
        return list(self._of_place(node, Path(about.path or ""), about.kind == "folder", is_up=is_up))

    def read(self, flow: str) -> list[LineageEdge]:
        """The edges from what the flow reads."""
        folders = self._folders.get(flow, Folders())
        roots = [*self._mirrors, *folders.reads]
        uses = flow_uses(self._home.ledger(), self._home.layout, flow, written=False)
        trigger = None if flow not in self._flows else self._flows[flow].trigger
        if trigger is not None and trigger.source is not None:
            query = "SELECT source_key FROM file_state WHERE flow_name = ? AND source_root = ? AND source_key <> ''"
            keys = self._home.ledger().rows(query, flow, trigger.source_as_authored or "")
            lead = os.path.join(trigger.source, "")
            paths = (lead + restored(key).replace("/", os.sep) for (key,) in keys)
            uses = {path: FileUse(flow, path) for path in paths} | uses
        declared: list[Path] = []
        for read in folders.reads:
            mirrors = [mirror for mirror in self._mirrors if mirror != folders.mirror and is_read(mirror, [read])]
            declared += mirrors or [read]
            if not read.is_file():
                uses.pop(str(read), None)  # a batch's source is its folder
        return [self._edge(place, flow, use) for place, use in self._folded(uses, roots, declared)]

    def written(self, flow: str) -> list[LineageEdge]:
        """The edges to what the flow writes."""
        mirror = self._folders.get(flow, Folders()).mirror
        roots = [] if mirror is None else [mirror]
        uses = flow_uses(self._home.ledger(), self._home.layout, flow, written=True)
        return [self._edge(place, flow, use, is_written=True) for place, use in self._folded(uses, roots, roots)]

    def _of_place(self, node: str, path: Path, is_folder: bool, *, is_up: bool) -> Iterator[LineageEdge]:
        uses_of = folder_uses if is_folder else file_uses
        uses = {use.flow: use for use in uses_of(self._home.ledger(), str(path), written=is_up)}
        for name, folders in self._folders.items():
            if name in uses:
                continue
            takes = any(self._takes(name, read, path, is_folder) for read in folders.reads)
            if (is_folder and is_read(folders.mirror, [path])) if is_up else takes:
                uses[name] = FileUse(name, str(path))
        for name in sorted(uses):
            yield self._edge(node, name, uses[name], is_written=is_up)

    def _takes(self, name: str, read: Path, path: Path, is_folder: bool) -> bool:
        if is_folder or read == path:
            return is_read(path, [read])
        planned = PlannedFlow.of(self._flows[name])
        if not path.is_relative_to(read) or read != planned.trigger.source:
            return False
        return why_no_candidate(planned, path.relative_to(read).as_posix()) is None

    def _of_table(self, node: str, *, is_up: bool) -> Iterator[LineageEdge]:
        meant = table_meant(self._home.layout.databases_dir, node)
        if meant is None:
            return
        database, table = meant
        newest = dict[str, FileUse]()
        for flow, _, why in rows_recorded(database, table, self._home.layout.root):
            if flow:
                newest.setdefault(flow, FileUse(flow, node, why.run_id, why.at_utc, why.rows))
        if is_up:
            yield from (self._edge(node, flow, newest[flow], is_written=True) for flow in sorted(newest))
        else:  # who writes this table and reads the database reads hardly what it wrote
            yield from (edge for edge in self._of_place(node, database, False, is_up=False) if edge.flow not in newest)

    def _folded(
        self, uses: Mapping[str, FileUse], roots: Iterable[Path], declared: Collection[Path]
    ) -> Iterator[tuple[str, FileUse]]:
        """Each place with its newest use: the roots that hold files, each other folder with more than a few, and single files."""
        leads = sorted(((os.path.join(root, ""), root) for root in roots), key=lambda lead: -len(lead[0]))
        groups: dict[Path, list[FileUse]] = {place: [] for place in declared}
        by_folder: dict[str, Path] = {}
        files = {str(place): place for place in declared if place.is_file()}
        for path, use in uses.items():
            folder = path.rpartition(os.sep)[0]
            if folder not in by_folder:
                inside = os.path.join(os.path.dirname(path), "")
                by_folder[folder] = next((root for lead, root in leads if inside.startswith(lead)), Path(path).parent)
            groups.setdefault(files.get(path) or by_folder[folder], []).append(use)
        for place, group in groups.items():
            is_root = place in declared or any(place == root for _, root in leads)
            if group and len(group) <= _FEW and not is_root:
                yield from ((self._place(Path(use.path), is_folder=False), use) for use in group)
                continue
            newest = max(group, key=lambda use: use.at_utc or "", default=FileUse("", ""))
            if str(place) in files:
                yield self._place(place, is_folder=False), newest
            else:
                yield self._place(place, is_folder=True, count=len(group) or None), newest._replace(rows=None)

    def _edge(self, node: str, flow: str, use: FileUse, *, is_written: bool = False) -> LineageEdge:
        source, target = (flow, node) if is_written else (node, flow)
        cell = None if use.cell is None else f"cell {use.cell}"
        return LineageEdge(source, target, flow, use.run_id, use.at_utc, use.rows, cell)

    def _place(self, path: Path, *, is_folder: bool, count: int | None = None) -> str:
        name = path_in(self._home.layout.root, str(path))
        return self._add(
            LineageNode(f"{name}/" if is_folder else name, "folder" if is_folder else "file", str(path), count)
        )

    def _add(self, node: LineageNode) -> str:
        known = self._nodes.get(node.id)
        if known is None or (node.count or 0) > (known.count or 0):
            self._nodes[node.id] = node
        return node.id
