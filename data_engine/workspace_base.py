"""What every verb of a workspace needs: its folder, its state on this machine, and the way to its daemon."""

from __future__ import annotations

from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.daemon.link import DaemonLink
    from data_engine.engine.local_workspace import LocalWorkspace


class WorkspaceBase:
    """A workspace at `root`, as this machine sees it."""

    root: Path

    @property
    def link(self) -> DaemonLink:
        """The way to this machine's daemon of the workspace."""
        from data_engine.daemon.link import DaemonLink

        return DaemonLink(self.home)

    @property
    def home(self) -> LocalWorkspace:
        """The workspace as this machine sees it: local paths, ledger, settings."""
        from data_engine.engine.local_workspace import local_workspace

        return local_workspace(self.root)
