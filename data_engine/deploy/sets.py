"""The deployments' files on the share, as the owner looks after them: whole as long as a flow runs them, gone when none may."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from data_engine.clock import boot_clock
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, first_few
from data_engine.lease.folder import OsFolder
from data_engine.lease.requests import RequestFiles
from data_engine.ledger import deployments
from data_engine.notebook import deployment_status
from data_engine.record import frozen
from data_engine.status.deployed_before import kept_ids


@frozen
class MendedSets:
    """Flows of which a file of what they run was missing or damaged: those `mended`, and those of which no whole copy is left."""

    mended: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def mend(home: LocalWorkspace, flows: Collection[str] | None = None, *, may_write: bool = True) -> MendedSets:
    """Write anew what is damaged of what `flows` (None: all) run, on the share from this machine's copy and here from the share's.

    Of named flows their own modules are looked at and what is no flow's, as helpers; of all every file of their sets.
    Without `may_write` it is only looked: what could be mended is told as `mended`.

    Raises:
        OSError: the share is away.
        LedgerError: what is deployed cannot be read.
    """
    files, sets = home.deployment_files(), home.deployments()
    live = deployment_status.live_deployments(deployments.published(home.ledger()))
    runs: dict[str, list[str]] = {}
    for flow, one in live.items():
        if flows is None or flow in flows:
            runs.setdefault(one.set_id, []).append(flow)

    def is_needed(path: str) -> bool:
        name = Path(path).stem
        return flows is None or name in flows or "/" in path or name not in live

    files.folder.listdir("")  # a share that is away has lost nothing
    whole = files.whole(runs, is_needed)
    mended: list[str] = []
    lost: list[str] = []
    for set_id, of in runs.items():
        if set_id in whole:
            if not sets.has(set_id) or _has_all(sets.root / set_id, whole[set_id]):
                continue
            mended += of
            if may_write:
                with suppress(FlowValidationError):  # told by who wants to run it
                    sets.copy_of(set_id)
        elif (contents := sets.contents_of(set_id)) is None:
            lost += of
        else:
            mended += of
            if may_write:
                files.put_anew(contents)
    return MendedSets(tuple(sorted(mended)), tuple(sorted(lost)))


def _has_all(folder: Path, sizes: Mapping[str, int]) -> bool:
    """Whether the folder of a set holds these files, in these sizes."""
    try:
        return all((folder / path).stat().st_size == size for path, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError):
        return False


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
        lost = mend(self._home).lost
        return lost_words(lost) if lost else None

    def collect(self, may_go_on: Callable[[], bool]) -> None:
        """Remove the sets that neither a deployment that is kept nor a request names, and the blobs that no set names.

        Raises:
            OSError: the share is away.
        """
        rows = deployments.published(self._home.ledger())
        kept = kept_ids(rows, self._home.settings())
        stays = {one.set_id for one in rows if one.id in kept}
        stays |= {request.set_id for request in self._requests.listed().values()}
        self._files.collect(stays, now_s=self._clock(), may_go_on=may_go_on)


def lost_words(flows: Collection[str]) -> str:
    """That no whole copy is left of what these flows run, and what lets them run again.

    Example:
        >>> lost_words(["claims"])
        'the deployed version of claims is damaged on the share, and this machine has no copy: `data-engine deploy claims` deploys it as it is now'
    """
    again = cli_line("deploy", *flows) if len(flows) == 1 else cli_line("deploy")
    it = "it as it is" if len(flows) == 1 else "them as they are"
    names = first_few(sorted(flows), 3)
    return f"the deployed version of {names} is damaged on the share, and this machine has no copy: `{again}` deploys {it} now"
