"""The workspace that a flow belongs to, on this machine, with its settings and its ledger."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.record import frozen
from data_engine.storage_version import lead_below
from data_engine.workspace.identity import local_layout
from data_engine.workspace.layout import FLOW_MODULES, LocalLayout, WorkspaceLayout, current_notebook
from data_engine.workspace.settings import WorkspaceSettings, look_at_settings, stops_runs

if TYPE_CHECKING:
    from data_engine.flow.flow import Flow
    from data_engine.lease.deployment_files import DeploymentFiles
    from data_engine.lease.status import LeaseStatus
    from data_engine.ledger.ledger import Ledger
    from data_engine.notebook.catalog import Descriptions
    from data_engine.notebook.deployments import Deployments, Pointer
    from data_engine.notebook.load import FlowModules


@frozen
class LocalWorkspace:
    """One workspace as this machine sees it.

    With `keeps_settings` (the daemon and its workers) the last good settings are worked with while their file is wrong, though no
    run starts where they are of runs, and the file is looked at only by `refresh_settings`: a share that hangs holds up nobody else.
    """

    layout: WorkspaceLayout
    local: LocalLayout
    keeps_settings: bool = False

    @cached_property
    def own_folders(self) -> tuple[str, ...]:
        """The beginnings of the paths of Data Engine's own files here."""
        return tuple(f"{path}{os.sep}" for path in (self.local.state_root, self.layout.workspace_state_dir))

    @cached_property
    def databases(self) -> Path:
        """The folder of the workspace's databases."""
        return self.layout.root / "databases"

    @cached_property
    def database_lead(self) -> str:
        """The beginning of the real paths of the workspace's databases."""
        return lead_below(self.layout.root)

    def settings(self) -> WorkspaceSettings:
        """The workspace's settings, read again when their file changed; with `keeps_settings` those read last.

        Raises:
            SettingsError: the file holds something it cannot mean, and no earlier ones are kept.
        """
        _, good, error = self._last_settings()
        if error is not None and not self.keeps_settings:
            raise copy.copy(error)
        return good

    def settings_shown(self) -> WorkspaceSettings:
        """The settings for display, never for decisions: where their file is wrong those read last, else the usable part of it."""
        return self._last_settings()[1]

    def settings_error(self) -> WorkspaceError | None:
        """The error in the settings file; None when all is well."""
        return self._last_settings()[2]

    def error_that_stops_runs(self) -> WorkspaceError | None:
        """The error in those settings that runs go by; None where runs may start."""
        error = self.settings_error()
        return None if error is None or not stops_runs(error) else error

    def is_settings_file_read(self) -> bool:
        """Whether the settings are those of a good file, and not those used while there is none or it cannot be read."""
        signature, _, error = self._last_settings()
        return signature is not None and error is None

    def refresh_settings(self) -> None:
        """Read the settings again if their file changed."""
        self._read_settings()

    def _last_settings(self) -> _Settings:
        entry = _settings.get(self.layout.root) if self.keeps_settings else None
        return self._read_settings() if entry is None else entry

    def _read_settings(self) -> _Settings:
        path = self.layout.settings_path
        try:
            facts = os.stat(path)
            signature: tuple[int, int] | None = (facts.st_mtime_ns, facts.st_size)
        except OSError:
            signature = None
        entry = _settings.get(self.layout.root)
        if entry is not None and signature is None and not os.path.isdir(self.layout.root):
            return entry  # the share is away, not the file
        if entry is None or entry[0] != signature:
            settings, error = look_at_settings(self.layout)
            entry = (signature, settings if entry is None or error is None else entry[1], error)
            _settings[self.layout.root] = entry
        return entry

    def ledger(self) -> Ledger:
        """The workspace's ledger on this machine, opened once in this process.

        Raises:
            LedgerError: it cannot be opened.
        """
        with _lock:
            key = (self.local.ledger_path, os.getpid())
            ledger = _ledgers.get(key)
            if ledger is None:
                from data_engine.ledger.ledger import Ledger  # and SQLite, which a preview of a flow needs not

                ledger = Ledger.open(self.local.ledger_path)
                ledger.recover()
                _ledgers[key] = ledger
            return ledger

    @property
    def has_ledger(self) -> bool:
        """Whether this machine has anything of the workspace's history; a look makes no ledger only to find it empty."""
        return self.local.ledger_path.exists()

    def lease(self) -> LeaseStatus:
        """Who owns the workspace, as one look shows it, and whether more was published than this machine has.

        Raises:
            WorkspaceError: this machine's state cannot be used.
        """
        from data_engine.lease.status import peek

        ledger = self.ledger()
        return peek(
            *(self.layout.workspace_state_dir, self.local.identity),
            state_root=self.local.state_root,
            known=ledger.known_list(),
            taken=ledger.taken_segments(),
        )

    def modules(self) -> FlowModules:
        """The workspace's flow modules."""
        return self._modules

    @cached_property
    def _modules(self) -> FlowModules:
        from data_engine.notebook.load import FlowModules

        return FlowModules(self.layout.flow_modules_dir, cache_dir=self.local.compiled_flow_modules_dir)

    def descriptions(self) -> Descriptions:
        """The descriptions of the modules, shared by the processes of this machine."""
        from data_engine.notebook.catalog import Descriptions

        return Descriptions(self.local.compiled_flow_modules_dir / "described.json", self.layout.config_dir)

    def deployed_descriptions(self) -> Descriptions:
        """The same of modules as they are deployed, where that differs from their files."""
        from data_engine.notebook.catalog import Descriptions

        return Descriptions(self.local.compiled_flow_modules_dir / "described_deployed.json", self.layout.config_dir)

    def deployments(self) -> Deployments:
        """The deployments of the workspace, with the sets on this machine."""
        return self._deployments

    @cached_property
    def _deployments(self) -> Deployments:
        from data_engine.ledger import deployments
        from data_engine.notebook.deployment_status import live_deployments, rollbacks
        from data_engine.notebook.deployments import Deployments, Pointer

        def pointers() -> dict[str, Pointer]:
            rows = deployments.published(self.ledger()) if self.has_ledger else []
            if not rows:
                return {}
            back = rollbacks(rows)
            return {
                flow: Pointer(row.set_id, row.digest, back.get(flow)) for flow, row in live_deployments(rows).items()
            }

        def fetch(set_id: str) -> Mapping[str, bytes]:
            try:
                return self.deployment_files().read(set_id)
            except OSError as error:
                from data_engine.lease.folder import drive_text

                raise WorkspaceError(
                    f"the deployment cannot be fetched: {drive_text(error)}",
                    where=str(self.layout.workspace_state_dir / "deployments"),
                    fix="check whether its drive is connected and readable",
                ) from error

        return Deployments(self.modules(), self.local.runtime_dir / "deployments", pointers, fetch)

    def deployment_files(self) -> DeploymentFiles:
        """The sets that all workstations see."""
        from data_engine.lease.deployment_files import DeploymentFiles
        from data_engine.lease.folder import OsFolder

        return DeploymentFiles(OsFolder(self.layout.workspace_state_dir), lambda: os.urandom(6).hex())


_lock = threading.Lock()
_workspaces: dict[Path, LocalWorkspace] = {}
_Settings: TypeAlias = tuple[tuple[int, int] | None, WorkspaceSettings, WorkspaceError | None]
_settings: dict[Path, _Settings] = {}
_ledgers: dict[tuple[Path, int], Ledger] = {}


def local_workspace(root: Path) -> LocalWorkspace:
    """The workspace at `root`.

    Raises:
        WorkspaceError: its state on this machine cannot be used.
    """
    with _lock:
        home = _workspaces.get(root)
        if home is None or not os.path.isdir(root):  # of a path that is there already, in half the time
            layout = WorkspaceLayout(root)
            home = _workspaces[root] = LocalWorkspace(layout, local_layout(layout))
        return home


def forget_workspaces() -> None:
    """Close every ledger of this process and read identities anew; for tests and after a fork of a workspace."""
    with _lock:
        for ledger in _ledgers.values():
            ledger.close()
        _ledgers.clear()
        _workspaces.clear()
        _settings.clear()


def settle_flow(flow: Flow, *, may_be_gone: bool = False) -> Flow:
    """`flow` with its name and workspace: those of its module, else of this kernel's notebook or this script.

    A flow that belongs to no workspace and has no name is called by its notebook or "flow". What only looks (`may_be_gone`) goes on
    by the notebook's last name when its file was renamed or moved since the kernel started.

    Raises:
        FlowValidationError: a module is being loaded, the notebook is not the one it seems, or the name is not its stem.
    """
    from data_engine.flow.paths import loading_module_folder

    if loading_module_folder() is not None:
        raise FlowValidationError(
            "preview(), show(), run_once() and run() are not available inside compiled flow modules",
            where="a flow module while it loads",
            fix="call them in a notebook cell of their own, outside build() and what it needs",
        )
    if flow._workspace_root is not None and flow.name is not None:
        return flow
    place = current_notebook()
    if place is None or place.path.parent.name != FLOW_MODULES:
        return flow if flow.name is not None else replace(flow, name="flow" if place is None else place.path.stem)
    if place.problem is not None and not (may_be_gone and place.was_here):
        raise FlowValidationError(place.problem, where=str(place.path), fix=place.fix)
    name = place.path.stem
    if flow.name is not None and flow.name != name:
        raise FlowValidationError(
            f"the flow's name {flow.name!r} must not override the module-defined flow name {name!r}",
            where="Flow(name=...)",
            fix=f"leave name= out, or rename the file to {flow.name}{place.path.suffix}",
        )
    return replace(flow, name=name, _workspace_root=place.path.parent.parent)


def workspace_of(flow: Flow) -> LocalWorkspace | None:
    """The workspace a settled flow belongs to, None for a flow that belongs to none."""
    return None if flow._workspace_root is None else local_workspace(flow._workspace_root)
