"""Whether the goldens hold: each is made again from what it was made from, and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from data_engine.compare.difference import Difference
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.preview import steps_until
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.notebook.catalog import check_flow_name, find_module
from data_engine.notebook.load import FlowModules
from data_engine.notebook.module_sets import read_contents
from data_engine.plan.golden import (
    Golden,
    flows_with_goldens,
    follow_rename,
    goldens_folder,
    goldens_of,
    read_golden,
    require_goldens,
)
from data_engine.plan.keeping import as_kept, keep_again, place_of, why_not_there
from data_engine.plan.plan import SideError
from data_engine.plan.results import GoldenResult
from data_engine.plan.sides import Side, side_error
from data_engine.status.deployed_before import find_flow
from data_engine.workspace.machine import person

_CURRENT = "current"


def goldens_checked(home: LocalWorkspace, name: str | None, *, update: bool) -> list[GoldenResult]:
    """Every golden of the flow, or of all without a name, as its code is now; those that differ are kept as they are now with `update`.

    Raises:
        FlowValidationError: there is no such flow, or it has no goldens.
    """
    modules = home.modules()
    _follow_renames(home)
    if name is not None:
        find_flow(home, check_flow_name(name))
        require_goldens(goldens_folder(home), name)
    by = "@".join(person()) if update else None
    return check_goldens(home, modules, None if name is None else [name], update_by=by)


def _follow_renames(home: LocalWorkspace) -> None:
    """Let the goldens of each deployed flow whose notebook was renamed follow it."""
    contents = read_contents(home.layout.flow_modules_dir)[0]
    for old in {*flows_with_goldens(goldens_folder(home))} - {Path(file).stem for file in contents}:
        if new := home.deployments().renamed_to(old, contents):
            follow_rename(home, old, new)


def check_goldens(
    home: LocalWorkspace,
    modules: FlowModules,
    names: Iterable[str] | None = None,
    *,
    update_by: str | None = None,
    begin: Callable[[str], None] = lambda name: None,
) -> list[GoldenResult]:
    """Every golden of the flows `names` (of all without), made by `modules` and compared.

    With `update_by` those that differ are kept as they are now, by that person. `begin` is told each flow before it is loaded.
    """
    goldens = goldens_folder(home)
    found = flows_with_goldens(goldens) if names is None else names
    return [result for name in found for result in _of_flow(home, modules, goldens, name, update_by, begin)]


def _of_flow(
    home: LocalWorkspace,
    modules: FlowModules,
    goldens: Path,
    name: str,
    update_by: str | None,
    begin: Callable[[str], None],
) -> Iterator[GoldenResult]:
    headers = goldens_of(goldens, name)
    if not headers:
        return
    begin(name)
    flow, broken = None, None
    try:
        flow = modules.load(find_module(modules, name)).flow
    except FlowValidationError as error:
        broken = side_error(_CURRENT, None, error)
    for header in headers:
        if flow is None:
            assert broken is not None
            yield GoldenResult(name, header.stem, "failed", why=broken.error, where=broken.where)
        else:
            yield _checked(home, flow, goldens, header, update_by)


def _checked(home: LocalWorkspace, flow: Flow, goldens: Path, header: Path, update_by: str | None) -> GoldenResult:
    started_s = time.perf_counter()
    name = flow.name or ""

    def result(status: str, **more: Any) -> GoldenResult:
        return GoldenResult(name, header.stem, status, elapsed_s=time.perf_counter() - started_s, **more)

    try:
        golden = read_golden(header)
    except FlowValidationError as error:
        return result("failed", why=error.what, where=error.where)
    folder = golden.folder(goldens)
    if (why := why_not_there(flow, golden, folder)) is not None:
        return result("not compared", golden=golden, why=why)
    try:
        difference = _difference(home, flow, golden, goldens)
        if difference.equal or update_by is None:
            status = "holds" if difference.equal else "differs"
            return result(status, golden=golden, difference=difference)
        return result("updated", golden=keep_again(flow, home, golden, by=update_by), difference=difference)
    except Exception as raised:
        told: SideError = side_error(_CURRENT, None, raised)
        return result("failed", golden=golden, why=told.error, where=told.where)


def _difference(home: LocalWorkspace, flow: Flow, golden: Golden, goldens: Path) -> Difference:
    from data_engine.compare.comparing import compare

    use = golden.use or _CURRENT
    side = Side("golden", flow, home, params=golden.params)
    try:
        source = place_of(flow, golden, golden.folder(goldens))
        value = side.run(source, steps_until(flow, golden.use), [use])[use]
        _, now = as_kept(value, golden.drop)
        kept = golden.result(goldens)
        return compare(kept, now, key=golden.key, tolerance=golden.tolerance)
    finally:
        side.end()
