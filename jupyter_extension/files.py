"""What the panel shows of a flow's source files: how many of which kind, those a search finds, and what can be done with each.

While no daemon runs a process of its own lists them, as `python -m jupyter_extension.files`: reading a flow may run its author's code.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping
from typing import Any

from data_engine.client import Workspace
from data_engine.daemon.control import LONG_S
from data_engine.marks import Mark, mark_of
from data_engine.reasons.kinds import Disabled, Done, NotDeployed, Running, Unreachable
from data_engine.reasons.remedies import Reason
from data_engine.record import frozen
from data_engine.status.offline import OfflineFacts
from data_engine.status.sentences import short_reason
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
"""What holds of all files stands above them, with all that is known of it."""
_GONE = "the file is not there any more"
_AWAY = _OF_THE_FLOW[Unreachable.kind]


@frozen
class FileView:
    """One source file: why it does or does not run, and how its last run ended. `retry` is why it cannot be retried, `read` why
    it can be neither run nor previewed."""

    path: str
    name: str
    mark: Mark
    reason: str
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
    """The files that were asked for; many that wait alike are one of `alike`. `groups` are kind, word and count of those there are, `total` counts all, `found` those
    that pass; `notes` hold of all of them. `progress` is in words and as a share (0 to 1) how far a pass is."""

    flow: str
    total: int
    groups: tuple[tuple[str, str, int], ...]
    found: int
    files: tuple[FileView, ...]
    alike: tuple[AlikeView, ...]
    notes: tuple[str, ...]
    progress: str | None
    share: float | None
    again_s: float


def flow_files(ws: Workspace, flow: str, *, search: str, group: str, limit: int) -> FilesView:
    """The files of a flow, as the daemon judges them, or as a look by a process of ours shows them.

    Raises:
        FlowValidationError: no such flow; the folder cannot be looked through.
    """
    asked = {"flow": flow, "search": search, "group": group if group in GROUPS else "", "limit": limit}
    daemon = ws.link.find()
    if daemon is not None:
        told = daemon.get("/files", LONG_S, **asked)
    else:
        told = reader.ask(asked | {"root": str(ws.root)}, timeout_s=LONG_S)
    return files_view(SourceFiles.read(told))


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
        files=tuple(_file(one) for one in listed.files),
        alike=tuple(AlikeView(one.why.mark(""), _reason(one.why), one.count) for one in listed.alike),
        notes=listed.notes,
        progress=progress,
        share=share,
        again_s=listed.again_s,
    )


def _reason(why: Reason, cause: Mapping[str, Any] | None = None) -> str:
    return _OF_THE_FLOW.get(why.kind) or short_reason(why, cause)


def _file(one: SourceStatus) -> FileView:
    reason = _reason(one.why, one.cause)
    mark = one.why.mark(reason)
    if isinstance(one.why, Done) and one.why.by_earlier:
        reason += "; Backfill, all files, runs it again"
    if one.group == "gone":
        mark = Mark(reason, "warn", "bar", mark.kind)
    elif isinstance(one.why, Running):
        reason = one.group if one.group == "running" else "next in line"
        mark = Mark(reason, "live", "play" if one.group == "running" else "half", mark.kind)
    return FileView(
        path=one.path,
        name=one.name,
        mark=mark,
        reason=reason,
        why=one.why.as_dict(),
        last=None if one.status is None else mark_of(one.status),
        last_at_utc=one.at_utc,
        run_id=one.run_id,
        retry=None if one.group == "held" else "it is not held",
        read=_GONE if one.group == "gone" else _AWAY if one.group == "away" else None,
    )


reader = InspectChild((sys.executable, "-P", "-m", "jupyter_extension.files"), patience_s=None)
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
    asked = {name: request[name] for name in ("search", "group", "limit")}
    return lists.page(facts.facts(), str(request["flow"]), **asked).as_dict()


if __name__ == "__main__":
    serve(read_files, failed="the files cannot be listed")
