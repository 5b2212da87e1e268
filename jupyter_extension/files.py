"""The source files of a flow as the panel shows them: counts by kind, the matches of a search, and what can be done with each.

While no daemon runs a process of its own lists them, as `python -m jupyter_extension.files`: reading a flow may run its author's code.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping
from typing import Any

from data_engine.answering_process import ParentProcess
from data_engine.client import Workspace
from data_engine.daemon.control import LONG_S
from data_engine.marks import Mark, mark_of
from data_engine.reasons.kinds import Disabled, Done, Held, NotDeployed, Running, Unreachable
from data_engine.reasons.remedies import Reason
from data_engine.record import frozen
from data_engine.status.offline import OfflineFacts
from data_engine.status.sentences import short_error, short_reason
from data_engine.status.source_files import GROUPS, FileLists, SourceFiles, SourceStatus
from data_engine.view.panel import WhyNot
from jupyter_extension.inspect_child import InspectChild, serve

_WORDS = {
    "held": "Held",
    "running": "Running",
    "waiting": "Waiting",
    "away": "Not reachable",
    "gone": "Gone",
    "done": "Done",
    "output": "Written here",
}
_OF_THE_FLOW = {
    Unreachable.kind: "its folder cannot be read now",
    NotDeployed.kind: "waits until its flow is deployed",
    Disabled.kind: "waits until its flow is enabled",
}
"""Reasons that hold of all files: the page shows them in full above the list."""
_GONE = "the file is not there any more"
_AWAY = _OF_THE_FLOW[Unreachable.kind]


@frozen
class FileView:
    """One source file: why it does or does not run, and how its last run ended; of one that is held the `error` without its time.
    `retry` is why it cannot be retried, `read` why it can be neither run nor previewed."""

    path: str
    name: str
    mark: Mark
    reason: str
    error: str | None
    why: Mapping[str, Any] | None
    last: Mark | None
    last_at_utc: str | None
    run_id: str | None
    retry: WhyNot
    read: WhyNot


@frozen
class AlikeView:
    """Files that wait for the same reason, as one line."""

    mark: Mark
    reason: str
    count: int


@frozen
class FilesView:
    """The files of a request; many that wait alike are one entry of `alike`. `groups` are kind, word and count; `total` counts all, `found`
    the matches; `notes` hold of all, the first is of the kind `noted` where that is a reason. `progress` (words) and `share` (0 to 1) say how far a pass is."""

    flow: str
    total: int
    groups: tuple[tuple[str, str, int], ...]
    found: int
    files: tuple[FileView, ...]
    alike: tuple[AlikeView, ...]
    notes: tuple[str, ...]
    noted: str | None
    progress: str | None
    share: float | None
    again_s: float


def flow_files(ws: Workspace, flow: str, *, search: str, group: str, limit: int) -> FilesView:
    """The files of a flow, as the daemon judges them, else as a child process reads them.

    Raises:
        FlowValidationError: no such flow; the folder cannot be looked through.
    """
    request = {"flow": flow, "search": search, "group": group if group in GROUPS else "", "limit": limit}
    daemon = ws.link.find()
    if daemon is not None:
        answer = daemon.get("/files", LONG_S, **request)
    else:
        answer = reader.ask(request | {"root": str(ws.root)}, timeout_s=LONG_S)
    return files_view(SourceFiles.read(answer))


def files_view(listed: SourceFiles) -> FilesView:
    """A list of files as the panel shows it."""
    counts = listed.counts
    total = sum(counts.values())
    share = progress = None
    if listed.is_looking:
        progress = f"Looking through the folder: {total:,} files so far."
    elif counts["running"]:
        candidates = total - counts["gone"] - counts["output"]
        share = (candidates - counts["running"] - counts["waiting"]) / candidates
        waits = f", {counts['waiting']:,} to come" if counts["waiting"] else ""
        progress = f"{counts['done']:,} of {candidates:,} files done, {counts['running']:,} running{waits}."
    return FilesView(
        flow=listed.flow,
        total=total,
        groups=tuple((group, _WORDS[group], counts[group]) for group in GROUPS if counts[group]),
        found=listed.found,
        files=tuple(_file(file) for file in listed.files),
        alike=tuple(AlikeView(group.why.mark(""), _reason(group.why), group.count) for group in listed.alike),
        notes=listed.notes,
        noted=listed.noted,
        progress=progress,
        share=share,
        again_s=listed.again_s,
    )


def _reason(why: Reason, cause: Mapping[str, Any] | None = None) -> str:
    return _OF_THE_FLOW.get(why.kind) or short_reason(why, cause)


def _file(file: SourceStatus) -> FileView:
    reason = _reason(file.why, file.cause)
    mark = file.why.mark(reason)
    if isinstance(file.why, Done) and file.why.by_earlier:
        reason += "; Backfill, all files, runs it again"
    if file.group == "gone":
        mark = Mark(reason, "warn", "bar", mark.kind)
    elif isinstance(file.why, Running):
        reason = file.group if file.group == "running" else "next in line"
        mark = Mark(reason, "live", "play" if file.group == "running" else "half", mark.kind)
    return FileView(
        path=file.path,
        name=file.name,
        mark=mark,
        reason=reason,
        error=short_error(file.why.error, file.cause) or file.why.status if isinstance(file.why, Held) else None,
        why=file.why.as_dict(),
        last=None if file.status is None else mark_of(file.status),
        last_at_utc=file.at_utc,
        run_id=file.run_id,
        retry=None if file.group == "held" else "it is not held",
        read=_GONE if file.group == "gone" else _AWAY if file.group == "away" else None,
    )


reader = InspectChild("jupyter_extension.files:main", patience_s=None)
atexit.register(reader.close)
_lists: dict[str, FileLists] = {}


def read_files(request: Mapping[str, Any]) -> dict[str, Any]:
    """The files of the flow `flow` of the workspace at `root`, as `SourceFiles` in JSON.

    Raises:
        FlowValidationError: no such flow; the workspace cannot be read.
    """
    root = str(request["root"])
    facts = OfflineFacts(Workspace(root).home)
    lists = _lists.setdefault(root, FileLists(facts))
    options = {name: request[name] for name in ("search", "group", "limit")}
    return lists.page(facts.facts(), str(request["flow"]), **options).as_dict()


def main(asker: ParentProcess) -> None:
    """Answer as the child."""
    serve(asker, read_files, failed="the files cannot be listed")
