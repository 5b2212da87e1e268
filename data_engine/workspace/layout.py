"""Every path of a workspace: the shared folder (`WorkspaceLayout`) and this machine's own folder (`LocalLayout`)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data_engine.workspace.here import FLOW_MODULES


@dataclass(frozen=True)
class WorkspaceLayout:
    """The shared folder. `root` is absolute; nothing is read or made by asking for a path.

    Example:
        >>> layout = WorkspaceLayout(Path("/team/claims"))
        >>> layout.workspace_id, layout.settings_path.as_posix()
        ('claims', '/team/claims/config/data_engine.toml')
    """

    root: Path

    @property
    def workspace_id(self) -> str:
        """The name people see: the folder's."""
        return self.root.name

    @property
    def flow_modules_dir(self) -> Path:
        """The authored folder: notebooks and modules."""
        return self.root / FLOW_MODULES

    @property
    def flow_helpers_dir(self) -> Path:
        return self.flow_modules_dir / "flow_helpers"

    @property
    def config_dir(self) -> Path:
        return self.root / "config"

    @property
    def databases_dir(self) -> Path:
        return self.root / "databases"

    @cached_property
    def settings_path(self) -> Path:
        return self.config_dir / "data_engine.toml"

    @property
    def workspace_state_dir(self) -> Path:
        """What the workstations share about the workspace: its identity, the lease, the published history."""
        return self.root / ".workspace_state"

    @property
    def identity_path(self) -> Path:
        return self.workspace_state_dir / "identity.json"

    @property
    def vscode_settings_path(self) -> Path:
        return self.root / ".vscode" / "settings.json"

    @property
    def gitignore_path(self) -> Path:
        return self.root / ".gitignore"


@dataclass(frozen=True)
class LocalLayout:
    """This machine's folder for one workspace; `identity.local_layout` makes it, with the environment's overrides.

    Folders are named by the workspace's identity, so that a moved or renamed workspace finds its history again.
    `artifacts_override` and `ledger_override` are what DATA_ENGINE_RUNTIME_ROOT and DATA_ENGINE_RUNTIME_DB_PATH say.

    Example:
        >>> local = LocalLayout(Path("/state/host"), identity="3f2a", workspace_id="claims")
        >>> local.ledger_path.as_posix()
        '/state/host/artifacts/runtime_state/3f2a/runtime_ledger.sqlite'
    """

    state_root: Path
    identity: str
    workspace_id: str
    artifacts_override: Path | None = None
    ledger_override: Path | None = None

    @property
    def artifacts_dir(self) -> Path:
        """What every workspace of this machine keeps here."""
        return self.artifacts_override or self.state_root / "artifacts"

    @property
    def compiled_flow_modules_dir(self) -> Path:
        return self.artifacts_dir / "workspace_cache" / self.identity / "compiled_flow_modules"

    @property
    def runtime_dir(self) -> Path:
        """The folder of this workspace's ledger, locks, log and daemon files."""
        return self.artifacts_dir / "runtime_state" / self.identity

    @cached_property
    def ledger_path(self) -> Path:
        return self.ledger_override or self.runtime_dir / "runtime_ledger.sqlite"

    @cached_property
    def locks_dir(self) -> Path:
        return self.runtime_dir / "locks"

    @cached_property
    def debug_dir(self) -> Path:
        return self.runtime_dir / "debug_artifacts"

    @property
    def daemon_log_path(self) -> Path:
        return self.runtime_dir / "daemon.log"

    @property
    def daemon_endpoint_path(self) -> Path:
        """Where the daemon says how it is reached."""
        return self.runtime_dir / "daemon.json"

    @property
    def daemon_token_path(self) -> Path:
        """The secret of the control channel, mode 0600."""
        return self.runtime_dir / ".daemon-authkey"

    @property
    def daemon_lock_path(self) -> Path:
        """Locked by the one daemon of this workspace on this machine, for its life."""
        return self.runtime_dir / ".daemon.lock"

    @property
    def daemon_start_lock_path(self) -> Path:
        """Locked by whoever is starting the daemon."""
        return self.runtime_dir / ".daemon-start.lock"

    @property
    def service_path(self) -> Path:
        """What the service of this workspace starts on this machine, while one is installed."""
        return self.runtime_dir / "service.json"

    @property
    def daemon_stopped_path(self) -> Path:
        """In which logon session the daemon was stopped on purpose last."""
        return self.runtime_dir / ".daemon-stopped"

    @property
    def private_places(self) -> tuple[Path, ...]:
        """The files and folders that are for this user alone: the state root, and what an override puts elsewhere."""
        places = [self.state_root]
        if self.artifacts_override is not None:
            places += [self.runtime_dir, self.compiled_flow_modules_dir]
        if self.ledger_override is not None:
            path = self.ledger_override
            places += [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm")), path.parent / "runners"]
        return tuple(places)


def is_workspace(path: Path | str) -> bool:
    """Whether the folder holds `flow_modules`; False for whatever cannot be looked at."""
    return os.path.isdir(os.path.join(path, FLOW_MODULES))
