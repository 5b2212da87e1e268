"""A module as it was deployed, put back into the authored folder; what lies there is never replaced."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.files import create_exclusive
from data_engine.formatting import cli_line
from data_engine.notebook.catalog import check_flow_name
from data_engine.notebook.deployment_status import to_restore
from data_engine.notebook.module_sets import files_of, helpers_of
from data_engine.status.deployed_before import flow_called, history_of, refuse_second_copy


def restore(home: LocalWorkspace, name: str, to: str | None, *, copy: bool) -> tuple[Path, ...]:
    """Put the module of a flow back as it was deployed, with those of its helpers that are not there; what was written. `copy`: also
    where the notebook has another name or place now.

    Raises:
        FlowValidationError: it was not deployed, a module of this name is there, or it cannot be written.
        DamagedSetError: what was deployed cannot be had whole.
    """
    rows, deployments = history_of(home), home.deployments()
    name = flow_called(rows, check_flow_name(name))
    set_id = to_restore(rows, name, to).set_id
    deployments.copy_of(set_id)
    if not copy:
        refuse_second_copy(home, rows, name, set_id)
    return put_back(name, deployments.contents_of(set_id) or {}, home.layout.flow_modules_dir)


def put_back(name: str, contents: Mapping[str, bytes], folder: Path) -> tuple[Path, ...]:
    """Put the module `name` of a set with these `contents` into the authored `folder`, and those of its helpers that are not
    there; what was written.

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
    there = [folder / file for file in sorted(files_of(name)) if os.path.lexists(folder / file)]
    if there:
        raise FlowValidationError(
            f"{there[0].name} is there, and nothing is overwritten",
            where=str(there[0]),
            fix=f"rename it, and ask again; `{cli_line('rollback', name)}` lets production run what it ran before, and leaves the file as it is",
        )
    wanted = {file: contents[file] for file in sorted(files_of(name) & contents.keys())}
    wanted |= {file: data for file, data in helpers.items() if not os.path.lexists(folder / file)}
    written = []
    for file, data in wanted.items():
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
