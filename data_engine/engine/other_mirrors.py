"""Whether a flow would write into the mirror of another flow, which production runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.flow.flow import Flow
from data_engine.ledger.deployments import published
from data_engine.model import Deployment
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.deploy import mirror_key, shared_mirror, shares_mirror_error, sharing
from data_engine.notebook.deployment_status import Standing, live
from data_engine.notebook.module_sets import read_contents


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
    other = other_writer(home, flow.name, root, live(published(home.ledger())).values())
    if other is not None:
        where = str(home.layout.flow_modules_dir)
        raise shares_mirror_error(flow.name, root, where, other.flow, is_gone=other.is_gone, is_run=True)


def with_shared_mirror(
    home: LocalWorkspace, entry: CatalogEntry, standing: Standing, there: Iterable[Deployment]
) -> Standing:
    """The standing of a good module that is not as deployed, which tells whose mirror it would write too; `there` is what is live."""
    if entry.flow is None or standing.kind not in ("not_deployed", "edited") or standing.error is not None:
        return standing
    other = other_writer(home, entry.name, entry.mirror, there)
    return standing if other is None else sharing(entry.name, standing, other.flow)


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
