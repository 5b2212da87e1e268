"""Maintain the deployments' files on the share: repair those that flows run, and remove those that nothing needs.

Also restores a module from them into the authored folder, where no existing file is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from data_engine.clock import boot_clock
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.files import create_exclusive
from data_engine.formatting import cli_line, first_few
from data_engine.lease.folder import OsFolder
from data_engine.lease.requests import RequestFiles
from data_engine.ledger import deployments
from data_engine.notebook import deployment_status
from data_engine.notebook.catalog import check_flow_name
from data_engine.notebook.deployment_status import to_restore
from data_engine.notebook.module_sets import files_of, helpers_of
from data_engine.record import frozen
from data_engine.status.deployed_before import flow_called, history_of, kept_ids, refuse_second_copy


@frozen
class MendedSets:
    """The flows with missing or damaged files in their set: those `mended`, and those `lost`, without a whole copy."""

    mended: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def mend(home: LocalWorkspace, flows: Collection[str] | None = None, *, may_write: bool = True) -> MendedSets:
    """Repair the sets that `flows` (None: all) run, on the share from this machine's copy and here from the share's.

    For named flows it checks their own modules and files of no flow, as helpers; for all every file of their sets.
    Without `may_write` it only looks: `mended` are then those that could be.

    Raises:
        OSError: the share is away.
        LedgerError: what is deployed cannot be read.
    """
    files, sets = home.deployment_files(), home.deployments()
    live = deployment_status.live_deployments(deployments.published(home.ledger()))
    runs: dict[str, list[str]] = {}
    for flow, deployment in live.items():
        if flows is None or flow in flows:
            runs.setdefault(deployment.set_id, []).append(flow)

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
                with suppress(FlowValidationError):  # reported when it is to run
                    sets.copy_of(set_id)
        elif (contents := sets.contents_of(set_id)) is None:
            lost += of
        else:
            mended += of
            if may_write:
                files.put(contents, anew=True)
    return MendedSets(tuple(sorted(mended)), tuple(sorted(lost)))


def _has_all(folder: Path, sizes: Mapping[str, int]) -> bool:
    """Whether the folder of a set holds these files, in these sizes."""
    try:
        return all((folder / path).stat().st_size == size for path, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError):
        return False


class DeployedSets:
    """The sets of one workspace; `clock` measures how long nothing has pointed to one."""

    def __init__(self, home: LocalWorkspace, clock: Callable[[], float] = boot_clock) -> None:
        self._home = home
        self._files = home.deployment_files()
        self._requests = RequestFiles(OsFolder(home.layout.workspace_state_dir), lambda: "")
        self._clock = clock

    def check(self) -> str | None:
        """Repair the sets that flows run; the words about those that cannot be.

        Raises:
            OSError: the share is away.
        """
        lost = mend(self._home).lost
        return lost_text(lost) if lost else None

    def collect(self, may_go_on: Callable[[], bool]) -> None:
        """Remove the sets that no kept deployment and no request names, and the blobs that no set names.

        Raises:
            OSError: the share is away.
        """
        rows = deployments.published(self._home.ledger())
        ids = kept_ids(rows, self._home.settings())
        stays = {row.set_id for row in rows if row.id in ids}
        stays |= {request.set_id for request in self._requests.listed().values()}
        self._files.collect(stays, now_s=self._clock(), may_go_on=may_go_on)


def lost_text(flows: Collection[str]) -> str:
    """Say that no whole copy is left of what these flows run, and what lets them run again.

    Example:
        >>> lost_text(["claims"])
        'the deployed version of claims is damaged on the share, and this machine has no copy: `data-engine deploy claims` deploys it as it is now'
    """
    again = cli_line("deploy", *flows) if len(flows) == 1 else cli_line("deploy")
    it = "it as it is" if len(flows) == 1 else "them as they are"
    names = first_few(sorted(flows), 3)
    return f"the deployed version of {names} is damaged on the share, and this machine has no copy: `{again}` deploys {it} now"


def restore(home: LocalWorkspace, name: str, to: str | None, *, copy: bool) -> tuple[Path, ...]:
    """Restore the module of a flow as it was deployed, with its missing helpers; the paths written. `copy`: also where the notebook
    has another name or place now.

    Raises:
        FlowValidationError: it was not deployed, a module of this name is there, or it cannot be written.
        DamagedSetError: no whole copy of the deployment is left.
    """
    rows, deployments = history_of(home), home.deployments()
    name = flow_called(rows, check_flow_name(name))
    set_id = to_restore(rows, name, to).set_id
    deployments.copy_of(set_id)
    if not copy:
        refuse_second_copy(home, rows, name, set_id)
    return put_back(name, deployments.contents_of(set_id) or {}, home.layout.flow_modules_dir)


def put_back(name: str, contents: Mapping[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Write the module `name` of a set with these `contents` into the authored `folder`, with its missing helpers; the paths written.

    Raises:
        FlowValidationError: a module of this name is there, or it cannot be written.
    """
    helpers = helpers_of(contents, name, folder)
    for path in (folder / file for file in sorted({*files_of(name), *helpers})):
        if os.path.lexists(path) and not path.exists():
            raise FlowValidationError(
                f"{path.name} is a link to a file that is not there, and nothing is overwritten",
                where=str(path),
                fix=f"bring back what it points to ({_target(path)}), or remove the link, and ask again: `{cli_line('restore', name)}`",
            )
    paths = [folder / file for file in sorted(files_of(name)) if os.path.lexists(folder / file)]
    if paths:
        raise FlowValidationError(
            f"{paths[0].name} is there, and nothing is overwritten",
            where=str(paths[0]),
            fix=f"rename it, and ask again; `{cli_line('rollback', name)}` lets production run what it ran before, and leaves the file as it is",
        )
    files = {file: contents[file] for file in sorted(files_of(name) & contents.keys())}
    files |= {file: data for file, data in helpers.items() if not os.path.lexists(folder / file)}
    written = []
    for file, data in files.items():
        path = folder / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if create_exclusive(path, data.decode("utf-8")):
                written.append(path)
        except (OSError, UnicodeDecodeError) as error:
            raise FlowValidationError(
                f"{file} cannot be written: {getattr(error, 'strerror', None) or error}",
                where=str(path),
                fix="check whether the folder is there, and whether you may write there",
            ) from error
    return tuple(written)


def _target(link: Path) -> str:
    """What a link points to, as far as it can be read."""
    try:
        return os.readlink(link)
    except OSError:  # a junction or a mount of Windows that is no link
        return "unknown"
