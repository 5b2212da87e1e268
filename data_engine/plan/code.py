"""What of a flow's code differs from what is deployed: by cell, then by file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.ledger.deployments import published
from data_engine.notebook.deployment_status import live
from data_engine.notebook.deployments import Deployments
from data_engine.notebook.module_sets import read_contents
from data_engine.plan.plan import CodeChange


def code_changes(deployments: Deployments, home: LocalWorkspace, name: str) -> tuple[CodeChange, ...]:
    """What differs between the code of the authored flow and what is deployed of it, by cell, then by helper."""
    pointer = live(published(home.ledger(), name)).get(name)
    if pointer is None or deployments.digest_of(name) == pointer.digest:
        return ()  # and no other module is read
    found = [CodeChange(f"cell {cell}", tuple(lines), cell) for cell, lines in sorted(deployments.diff(name).items())]
    old = deployments.contents_of(pointer.set_id)
    if old is None:
        return tuple(found)
    new = read_contents(home.layout.flow_modules_dir)[0]
    files = [f"{name}.py"] if old.get(f"{name}.py") != new.get(f"{name}.py") else []
    for file in (*files, *deployments.changed_helpers(name, new)):
        lines = tuple(_changed_lines(old.get(file, b""), new.get(file, b"")))
        found.append(CodeChange(file, lines))
    return tuple(found)


def _changed_lines(before: bytes, after: bytes) -> Iterator[str]:
    then, now = (data.decode("utf-8", "replace").splitlines() for data in (before, after))
    lines = [line for line in difflib.ndiff(then, now) if line[2:].strip()]
    for sign in ("- ", "+ "):
        yield from (line for line in lines if line.startswith(sign))
