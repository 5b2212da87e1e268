"""The deployments' files on the share, as the owner looks after them: whole as long as a flow runs them, gone when none may."""

from __future__ import annotations

from collections.abc import Callable

from data_engine.clock import boot_clock
from data_engine.engine.deployed_before import kept_ids
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.lease.folder import OsFolder
from data_engine.lease.requests import RequestFiles
from data_engine.ledger import deployments
from data_engine.notebook import history


class DeployedSets:
    """The sets of one workspace; `clock` tells how long nothing has pointed to one."""

    def __init__(self, home: LocalWorkspace, clock: Callable[[], float] = boot_clock) -> None:
        self._home = home
        self._files = home.deployment_files()
        self._requests = RequestFiles(OsFolder(home.layout.workspace_state_dir), lambda: "")
        self._clock = clock

    def check(self) -> str | None:
        """Write anew from this machine's own copy what is damaged of what flows run; in words what cannot be.

        Raises:
            OSError: the share is away.
        """
        damaged: list[str] = []
        runs: dict[str, list[str]] = {}
        for flow, one in history.live(deployments.published(self._home.ledger())).items():
            runs.setdefault(one.set_id, []).append(flow)
        for set_id, flows in runs.items():
            if self._files.is_whole(set_id):
                continue
            contents = self._home.deployments().contents_of(set_id)
            if contents is None:
                damaged += flows
            else:
                self._files.put_anew(contents)
        if not damaged:
            return None
        names = ", ".join(sorted(damaged))
        return f"what is deployed of {names} is damaged on the share, and this machine has no copy: deploy it again"

    def collect(self, may_go_on: Callable[[], bool]) -> None:
        """Remove the sets that neither a deployment that is kept nor a request names, and the blobs that no set names.

        Raises:
            OSError: the share is away.
        """
        rows = deployments.published(self._home.ledger())
        kept = kept_ids(self._home, rows)
        stays = {one.set_id for one in rows if one.id in kept}
        stays |= {request.set_id for request in self._requests.listed().values()}
        self._files.collect(stays, now_s=self._clock(), may_go_on=may_go_on)
