"""The history of a workspace's deployments for people, and the flows in it that exist no more."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import cells_text, cli_line, local_time, time_text
from data_engine.ledger.deployments import deployments_of, has_good_run, published, renamings
from data_engine.model import Deployment, utc_text
from data_engine.notebook import deployment_status
from data_engine.notebook.catalog import check_flow_name, find_module
from data_engine.notebook.deployment_status import live_deployments
from data_engine.notebook.flow_files import module_files
from data_engine.notebook.module_sets import files_of, read_contents
from data_engine.workspace.settings import WorkspaceSettings

if TYPE_CHECKING:
    from data_engine.ledger.ledger import Ledger
    from data_engine.reasons.kinds import Undeployed

_DAY_S = 86_400.0


def history_of(home: LocalWorkspace, flow: str | None = None) -> list[Deployment]:
    """Every deployment, or those of one flow, also under the names that it had before, the newest first.

    Raises:
        LedgerError: the history cannot be read.
    """
    ledger = home.ledger()
    rows = published(ledger, flow)
    before = [published(ledger, name) for name in (() if flow is None else names_of(ledger, flow)[1:])]
    left_out = set[str]()  # a rename's end of the old name, and what another flow of that name ran since
    for former in before:
        ends = [at for at, row in enumerate(former) if row.kind == "withdraw" and row.of is not None]
        left_out |= {row.id for row in former[: next(iter(ends), len(former)) + 1]}
    rows += chain.from_iterable(before)  # which one holds depends on all of them
    return [
        row
        for row in deployment_status.marked_history(rows, kept_ids=kept_ids(rows, home.settings_shown()))
        if row.id not in left_out
    ]


def undeployed(rows: Sequence[Deployment], flow: str) -> Undeployed | None:
    """The reason of a flow that production ran once; None where it runs, or was never deployed. `rows`: the newest first."""
    from data_engine.reasons.kinds import Undeployed

    own = [row for row in rows if row.flow == flow]
    if not own or own[0].kind != "withdraw":
        return None
    last = own[0]
    now = next((row.flow for row in rows if last.of is not None and row.id == last.of), None)
    is_kept = any(row.is_kept for row in own)
    return Undeployed(flow, last.at_utc, last.who, now if now != flow else None, is_kept)


def find_flow(home: LocalWorkspace, name: str) -> Path:
    """The file of the flow module `name`, as `find_module` finds it.

    Raises:
        FlowValidationError: there is none (lists the others; says when it was undeployed, or runs though its file is gone), or
            two files share the name; or `name` is no text.
    """
    check_flow_name(name)
    try:
        return find_module(home.modules(), name)
    except FlowValidationError as error:
        if any(os.path.lexists(home.layout.flow_modules_dir / file) for file in files_of(name)):
            raise
        if (gone := home.deployments().gone(name)) is not None:
            raise gone from error
        ended = undeployed(history_of(home), name)
        if ended is None:
            raise
        from data_engine.reasons.remedies import remedy_of

        new_name = ended.renamed_to
        fix = (
            remedy_of(ended, name) if new_name is None else f"use its new name: `{cli_line('show', new_name)}` shows it"
        )
        raise FlowValidationError(f"{name}: {ended.text}", where=error.where, fix=fix) from error


def find_to_tidy(home: LocalWorkspace, name: str) -> Path:
    """The same as `find_flow`; for an undeployed flow that is gone the error names the folders of its outputs.

    Raises:
        FlowValidationError: there is none.
    """
    rows, folder = history_of(home), home.layout.flow_modules_dir
    ended, names = undeployed(rows, name), {name, *former_names(rows, name)}
    # under all of its names, without what a deployed flow writes to
    used = {row.mirror for row in deployment_status.live_deployments(rows).values()}
    mirrors = {row.mirror for row in rows if row.flow in names and row.mirror is not None} - used
    left = sorted(path for path in {Path(os.path.normpath(folder / mirror)) for mirror in mirrors} if path.is_dir())
    is_there = any(os.path.lexists(home.layout.flow_modules_dir / file) for file in files_of(name))
    if is_there or ended is None or ended.renamed_to is not None or not left:
        return find_flow(home, name)
    from data_engine.reasons.remedies import remedy_of

    folders, them = " and ".join(map(str, left)), "the folder" if len(left) == 1 else "the folders"
    raise FlowValidationError(
        f"{name} was undeployed on {time_text(ended.at_utc)} by {ended.by}; what it left is in {folders}",
        where=str(home.layout.flow_modules_dir),
        fix=f"delete {them}, unless another flow reads there; or keep the flow: {remedy_of(ended, name)}",
    )


def refuse_second_copy(home: LocalWorkspace, rows: Sequence[Deployment], name: str, set_id: str) -> None:
    """Refuse to restore the module `name` of the set `set_id` while it lies in `flow_modules` under another name or in a subfolder.

    `rows` is the history, the newest first.

    Raises:
        FlowValidationError: it does; says where, and how to have both.
    """
    folder, deployments = home.layout.flow_modules_dir, home.deployments()
    contents, unreadable = read_contents(folder)
    if files_of(name) & (contents.keys() | unreadable.keys()):
        return
    files = {Path(file).stem: file for file in contents if "/" not in file}
    status, ended = deployments.where_gone(name, contents), undeployed(rows, name)
    followed = None if ended is None or ended.renamed_to not in files else ended.renamed_to
    now = status.renamed_to or followed or deployments.became(name, set_id, contents)
    again = f"to write a second copy: `{cli_line('restore', name, '--copy')}`"
    if now is not None:
        at, verb = files[now], "show" if now in deployments.deployed() else "deploy"
        fix = f"to go on with it: `{cli_line(verb, now)}`; {again}"
    elif status.moved_to is not None:
        at, fix = status.moved_to, f"to go on with it: move it back into flow_modules itself; {again}"
    else:
        return
    raise FlowValidationError(f"{name} is not gone: it is flow_modules/{at} now", where=str(folder / at), fix=fix)


def require_flow(home: LocalWorkspace, name: str) -> None:
    """Refuse a name of which no flow exists or was ever deployed.

    Raises:
        FlowValidationError: there is and was none; names the nearest.
    """
    is_there = any(os.path.lexists(home.layout.flow_modules_dir / file) for file in files_of(name))
    if not is_there and not published(home.ledger(), name):
        find_flow(home, name)


def former_names(rows: Sequence[Deployment], flow: str) -> tuple[str, ...]:
    """The earlier names of the flow, the newest first; `rows` is the history, or its rows about renamed flows.

    Example:
        >>> rows = [Deployment("d2", 2, "parts", "deploy", "s"), Deployment("d3", 3, "claims", "withdraw", "", of="d2")]
        >>> former_names(rows, "parts"), former_names(rows, "claims")
        (('claims',), ())
    """
    flow_of = {row.id: row.flow for row in rows}
    was = {flow_of[row.of]: row.flow for row in rows if row.kind == "withdraw" and row.of in flow_of}
    names: list[str] = []
    while (before := was.get(names[-1] if names else flow)) is not None and before not in (flow, *names):
        names.append(before)
    return tuple(names)


def names_of(ledger: Ledger, flow: str) -> tuple[str, ...]:
    """The flow's name, then its earlier names, the newest first.

    Raises:
        LedgerError: the history cannot be read.
    """
    return (flow, *former_names(renamings(ledger), flow))


def flow_called(rows: Sequence[Deployment], name: str) -> str:
    """The flow that a person means by its name or its file's; `rows` is the history.

    Example:
        >>> rows = [Deployment("d1", 1, "claims", "deploy", "s1")]
        >>> [flow_called(rows, name) for name in ("claims", "claims.ipynb", "flow_modules/claims.ipynb", "clams.py")]
        ['claims', 'claims', 'claims', 'clams.py']
    """
    stem = Path(name).stem
    flows = {row.flow for row in rows}
    return stem if name not in flows and stem in flows and Path(name).suffix in (".ipynb", ".py") else name


def left_out(home: LocalWorkspace, but: Collection[str]) -> dict[str, Deployment]:
    """The flows that somebody undeployed though their modules exist, except `but`, each with the row that ended it.

    Raises:
        LedgerError: the history cannot be read.
    """
    rows = sorted(published(home.ledger()), key=lambda row: (row.number, row.id))
    newest = {row.flow: row for row in rows}
    modules = module_files(home.layout.flow_modules_dir).keys()
    left = (deployment_status.ended_deployments(rows).keys() & modules) - set(but)
    return {flow: newest[flow] for flow in sorted(left)}


def kept_ids(rows: Sequence[Deployment], settings: WorkspaceSettings) -> set[str]:
    """The ids of the deployments whose sets are kept."""
    since_utc = utc_text(time.time() - settings.history.retention_days * _DAY_S)
    return deployment_status.kept_deployments(rows, keep=settings.deploy.keep, since_utc=since_utc)


_Row = TypeVar("_Row", bound=Any)


def tell_earlier(rows: Sequence[_Row], ledger: Ledger, flow: str | None = None) -> list[_Row]:
    """The rows, all of one `flow` or each of its own; those that an earlier deployment's code has done say so in their `why`."""
    from data_engine.reasons.kinds import Done

    done: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row.why, Done) and row.why.run_id is not None:
            done.setdefault(flow or row.flow, []).append(row.why.run_id)
    earlier = {
        run_id
        for name, run_ids in done.items()
        for run_id in with_earlier_code(published(ledger, name), name, deployments_of(ledger, run_ids))
    }

    def is_earlier(why: object) -> bool:
        return isinstance(why, Done) and why.run_id in earlier

    return [replace(row, why=replace(row.why, by_earlier=True)) if is_earlier(row.why) else row for row in rows]


def with_earlier_code(history: Sequence[Deployment], flow: str, ran: Mapping[str, str]) -> frozenset[str]:
    """The runs that ran other code than the flow runs now; `ran` are the deployments of runs by their ids, as far as known.

    Example:
        >>> one, two, same = (Deployment(f"d{n}", n, "claims", "deploy", "s", code) for n, code in ((1, "a"), (2, "b"), (3, "b")))
        >>> sorted(with_earlier_code([same, two, one], "claims", {"r1": "d1", "r2": "d2", "r3": "d3", "r4": "d9"}))
        ['r1']
    """
    now = live_deployments(history).get(flow)
    if now is None:
        return frozenset()
    other = {row.id for row in history if row.flow == flow and row.digest != now.digest}
    return frozenset(run_id for run_id, deployment in ran.items() if deployment in other)


def rolled_back_text(ledger: Ledger, row: Deployment) -> str:
    """Say what a flow runs again after a rollback: when that was deployed, and whether no good run of it is known.

    Raises:
        LedgerError: the history cannot be read.
    """
    history, names = published(ledger), names_of(ledger, row.flow)
    of = next((entry for entry in history if entry.id == row.of), row)
    same = [entry.id for entry in history if of.id in (entry.id, entry.of)]
    note = "" if has_good_run(ledger, names, same) else "; no good run of it is known"
    return f"{row.flow} runs again as it was deployed on {local_time(of.at_utc)} ({of.id[:8]}){note}"


def deployment_cells(row: Deployment) -> tuple[str, ...]:
    """The cells of a deployment's row after its id: flow, when, who, what, what changed, Git, how it compared, note."""
    state = row.word if row.is_kept or row.kind == "withdraw" else f"{row.word}, not kept"
    if row.is_live:
        state = "live, by rollback" if row.kind == "rollback" else "live"
    return (
        row.flow,
        local_time(row.at_utc),
        row.who,
        state,
        changed_text(row),
        git_text(row),
        "" if row.compared is None else row.compared.short_text,
        row.note,
    )


def changed_text(row: Deployment) -> str:
    """What a deployment changed, in a few words."""
    if row.kind == "withdraw" and row.of is not None:
        return "renamed"
    if row.kind == "rollback":
        return f"back to {(row.of or '')[:8]}"
    return ", ".join([*([cells_text(row.cells)] if row.cells else []), *row.helpers])


def git_text(row: Deployment) -> str:
    """The Git commit in a few words, with a mark where files differed from it."""
    return "" if row.git_commit is None else f"{row.git_commit[:8]}{'+' if row.git_dirty else ''}"
