"""Whether a flow that runs here would write into the mirror of another flow, which production runs."""

from __future__ import annotations

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.ledger.deployments import published
from data_engine.notebook.deploy import mirror_key, shared_mirror, shares_mirror_error
from data_engine.notebook.history import live
from data_engine.notebook.module_sets import read_contents


def refuse_shared_mirror(home: LocalWorkspace, flow: Flow) -> None:
    """Return when no other deployed flow writes the mirror of `flow`; one that is deployed itself was confirmed, and one that
    `flow` is by a new file name is the same.

    Raises:
        FlowValidationError: another one does; with the ways on.
        LedgerError: the history cannot be read.
    """
    if flow.mirror_spec is None or flow.name is None:
        return
    folder, root = home.layout.flow_modules_dir, str(flow.mirror_spec.root)
    there = live(published(home.ledger())).values()
    other = shared_mirror(flow.name, mirror_key(root, folder), there)
    if other is None:
        return
    deployments = home.deployments()
    is_gone = deployments.gone(other) is not None
    if is_gone and deployments.renamed_to(other, read_contents(folder)[0]) == flow.name:
        return
    raise shares_mirror_error(flow.name, root, str(folder), other, is_gone=is_gone, is_run=True)
