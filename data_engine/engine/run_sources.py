"""The sources that count as done after a run by hand, and the files that a run or a preview must not write.

Both are found before the steps run: the guard that asks for them is called while a step opens a file, where it may open none itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

from data_engine.engine.access.guards import OwnSources, PreviewFiles, PreviewGuard, free_folders
from data_engine.engine.candidates import Source, seen_now
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.flow.flow import Flow
from data_engine.flow.paths import base_folder
from data_engine.flow.trigger import Poll
from data_engine.formatting import first_few
from data_engine.ledger.deployments import published, published_mark
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import outputs_beside_sources, own_outputs
from data_engine.model import Deployment, SeenSource, SourceKey
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.deploy import mirror_key, shared_mirror, shares_mirror_error, sharing
from data_engine.notebook.deployment_status import DeploymentStatus, live_deployments
from data_engine.notebook.mirror_warnings import folders_of
from data_engine.notebook.module_sets import read_contents
from data_engine.planning.due import PlannedFlow
from data_engine.planning.feeds import Intake, intakes
from data_engine.platforms.names import compared, lead_of, real_path


def seen_by_hand(flow: Flow, source: Source, home: LocalWorkspace | None) -> tuple[SeenSource, ...]:
    """The sources of a poll flow as they are now, for a run that no scan has found due; its known outputs are none."""
    if not isinstance(flow.trigger, Poll):
        return ()
    if home is None:
        return seen_now(flow, source)
    states = home.ledger().source_states(flow.name or "") if home.settings().freshness == "content" else None
    return seen_now(flow, source, states=states, is_output=_outputs_of(flow, source, home))


def taken_in(flow: Flow, source: Source, seen: tuple[SeenSource, ...]) -> dict[Intake, frozenset[str]]:
    """The files, by real path to compare, of each intake of a batch: what was `seen`, or is there now. None for another run, or where a
    folder cannot be read."""
    found: dict[Intake, frozenset[str]] = {}
    if flow.trigger is None or source.path is not None:
        return found
    for intake in intakes(PlannedFlow.of(flow)):
        with suppress(OSError):
            names = [entry.key.path for entry in seen] if seen and intake.is_source else intake.files()
            lead = lead_of(intake.root)
            found[intake] = frozenset(lead + compared(name.replace("/", os.sep)) for name in names)
    return found


def same_bytes_text(flow: Flow, seen: tuple[SeenSource, ...], home: LocalWorkspace) -> str | None:
    """The line about sources that are not done, and have the bytes of another one that is; only digests that are known count."""
    if not any(source.signature.content_hash for source in seen):
        return None
    ledger, name = home.ledger(), flow.name or ""
    states = ledger.source_states(name) if len(seen) > 1 else {}
    pairs = []
    for source in seen:
        state = states.get(source.key)
        is_done = state is not None and state.success is not None and state.success[::2] == source.signature[::2]
        if not is_done and (other := ledger.same_bytes(name, source)) is not None:
            pairs.append(f"{source.key.path} has the same bytes as {other}")
    return f"{first_few(pairs, 3)}, which is done: both count" if pairs else None


def guard_of_run(
    flow: Flow,
    source: Source,
    home: LocalWorkspace | None,
    seen: tuple[SeenSource, ...] = (),
    *,
    mirror: Path | None,
    lead_of: Callable[[Path], str] = lead_of,
) -> OwnSources | None:
    """The guard of a run that writes its mirror at `mirror`; None for a flow without sources that has none. What was `seen`, where
    the caller knows which files are outputs, are the sources of a batch. The runs of a pass share one `lead_of`, which remembers."""
    if source.root is None and (home is None or (mirror is None and not flow.collects)):
        return None
    trigger, path, root = flow.trigger, source.path, source.root
    is_file = path is not None and not (source.key and source.key.path)
    outputs: frozenset[str] = frozenset()
    names = frozenset(entry.key.path for entry in seen) if seen and path is None else None
    if path is None and root is not None and home is not None and names is None:
        outputs = outputs_beside_sources(home.local.ledger_path, flow.name or "", str(root))
    return OwnSources(
        None if is_file else root,
        path,
        None if trigger is None else trigger.extensions,
        None if flow.mirror_spec is None else flow.mirror_spec.root,
        mirror,
        outputs,
        names,
        lead_of,
    )


def guard_of_preview(flow: Flow, source: Source, home: LocalWorkspace | None, scratch: Path) -> PreviewGuard:
    """The guard of a preview that may write below `scratch`."""
    place = source.root or base_folder() if home is None else home.layout.root
    own = (scratch,) if home is None else (scratch, home.local.state_root, home.local.artifacts_dir)
    free, tools = free_folders(place, *own)
    return PreviewGuard(free, tools, _read_by_production(flow, home), preview_files(home).read())


def preview_files(home: LocalWorkspace | None) -> PreviewFiles:
    """The files that previews have made."""
    return PreviewFiles(None if home is None else home.local.runtime_dir / "preview_files.json")


def _read_by_production(flow: Flow, home: LocalWorkspace | None) -> dict[str, str]:
    """The folders and files that this flow and deployed ones watch, and mirrors, by their paths; with the words for each."""
    own = folders_of(flow)
    readers: dict[str, str] = {}
    if home is not None:
        readers |= _read_by_deployed(home)
    if own.mirror is not None:
        readers[_spelled(own.mirror)] = "is the flow's mirror (context.mirror gives a path in scratch)"
    if flow.trigger is not None and flow.trigger.source is not None:
        readers[_spelled(flow.trigger.source)] = "holds the flow's own sources"
    return readers


def _read_by_deployed(home: LocalWorkspace) -> dict[str, str]:
    """The same of deployed flows alone, kept as long as the deployments are the same."""
    if not home.has_ledger:
        return {}
    ledger, folder = home.ledger(), home.layout.flow_modules_dir
    mark = published_mark(ledger)
    entry = _deployed_then.get(ledger)
    if entry is None or entry[:2] != (mark, folder):
        readers: dict[str, str] = {}
        for name, deployment in live_deployments(published(ledger)).items():
            if deployment.watches is not None:
                readers[_spelled(folder / deployment.watches)] = f"the deployed flow {name} watches"
            if deployment.mirror is not None:
                readers[_spelled(folder / deployment.mirror)] = f"is the mirror of the deployed flow {name}"
        entry = _deployed_then[ledger] = mark, folder, readers
    return entry[2]


_deployed_then: WeakKeyDictionary[Ledger, tuple[tuple[int, int], Path, dict[str, str]]] = WeakKeyDictionary()


def _spelled(path: Path) -> str:
    return compared(real_path(path))


def _outputs_of(flow: Flow, source: Source, home: LocalWorkspace) -> Callable[[SourceKey, str], bool]:
    """The test whether the flow wrote a file in the folder of a batch itself, as planning judges it."""
    if source.path is not None:
        return lambda key, path: False
    ledger, name = home.ledger(), flow.name or ""
    outputs = own_outputs(ledger, home.layout, name)
    states = ledger.source_states(name) if outputs else {}
    return lambda key, path: path in outputs and key not in states


class OtherWriter(NamedTuple):
    """A deployed flow that writes the mirror of another one; `is_gone` says that its module is not there any more."""

    flow: str
    is_gone: bool


def refuse_shared_mirror(home: LocalWorkspace, flow: Flow) -> None:
    """Return when no other deployed flow writes the mirror of `flow`; one that is deployed itself was confirmed, and one that
    `flow` is by a new file name is the same.

    Raises:
        FlowValidationError: another one does; with the ways on.
        LedgerError: the history cannot be read.
    """
    if flow.mirror_spec is None or flow.name is None:
        return
    root = str(flow.mirror_spec.root)
    other = other_writer(home, flow.name, root, live_deployments(published(home.ledger())).values())
    if other is not None:
        where = str(home.layout.flow_modules_dir)
        raise shares_mirror_error(flow.name, root, where, other.flow, is_gone=other.is_gone, is_run=True)


def with_shared_mirror(
    home: LocalWorkspace, entry: CatalogEntry, status: DeploymentStatus, there: Iterable[Deployment]
) -> DeploymentStatus:
    """The deployment status of a good module that is not as deployed, which says whose mirror it would write too; `there` are the live deployments."""
    if entry.flow is None or status.kind not in ("not_deployed", "edited") or status.error is not None:
        return status
    other = other_writer(home, entry.name, entry.mirror, there)
    return status if other is None else sharing(entry.name, status, other.flow)


def other_writer(
    home: LocalWorkspace, name: str, mirror: str | None, there: Iterable[Deployment]
) -> OtherWriter | None:
    """The live deployment of another flow that writes `mirror`; None where there is none, or flow `name` has become of it."""
    folder = home.layout.flow_modules_dir
    other = shared_mirror(name, mirror_key(mirror, folder), there)
    if other is None:
        return None
    deployments = home.deployments()
    is_gone = deployments.gone(other) is not None
    if is_gone and deployments.renamed_to(other, read_contents(folder)[0]) == name:
        return None
    return OtherWriter(other, is_gone)
