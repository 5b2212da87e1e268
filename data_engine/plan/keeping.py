"""Keep goldens, results with their sources, as files that people review; and make each again to compare it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from datetime import time as day_time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_engine.compare.difference import Difference, Named
from data_engine.engine.candidates import Source, candidates, pick_source, same_name, same_name_error
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow, workspace_of
from data_engine.engine.params import params_for
from data_engine.engine.preview import first_source, say_first, steps_until
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.files import create_exclusive, files_below, trouble_of, write_text_atomic
from data_engine.flow.batch import Batch
from data_engine.flow.flow import Flow
from data_engine.flow.paths import portable_text
from data_engine.model import SourceKey, utc_text
from data_engine.nofollow import check_own, is_link, remove_tree
from data_engine.notebook.catalog import check_flow_name, find_module
from data_engine.notebook.load import FlowModules
from data_engine.notebook.locate import annotate_call
from data_engine.notebook.module_sets import read_contents
from data_engine.plan.golden import (
    Golden,
    GoldenResult,
    GoldenSource,
    KeptFile,
    flows_with_goldens,
    follow_rename,
    golden_name,
    goldens_folder,
    goldens_of,
    header_text,
    read_golden,
    require_goldens,
    safe_name,
)
from data_engine.plan.plan import SideError
from data_engine.plan.sides import Side, side_error
from data_engine.platforms.files import content_of
from data_engine.secret import knows_any, masked
from data_engine.status.deployed_before import find_flow
from data_engine.user_files import copy, head_of, sha256_of
from data_engine.workspace.machine import person

if TYPE_CHECKING:
    import polars as pl

COPIED_BYTES = 10 * 1024**2
"""A source file of up to so many bytes is kept as a copy, a larger one by its path and hash."""

_SOURCE = "source"
_CURRENT = "current"


@dataclasses.dataclass(frozen=True, slots=True)
class GoldenSpec:
    """The arguments of `Flow.golden`."""

    use: str | None = None
    source: str | os.PathLike[str] | None = None
    params: Mapping[str, Any] | None = None
    key: str | Sequence[str] | None = None
    drop: str | Sequence[str] = ()
    tolerance: float = 1e-9
    share: bool = False
    name: str | None = None
    is_update: bool = False


def keep(flow: Flow, spec: GoldenSpec) -> Golden:
    """Keep a result of the flow as a golden; as `Flow.golden`.

    Raises:
        FlowValidationError: wrong input, or the flow belongs to no workspace.
        FlowExecutionError: a step raised.
    """
    from data_engine.compare.comparing import keys, require_tolerance

    try:
        flow = settle_flow(flow)
        home = workspace_of(flow)
        if home is None:
            raise FlowValidationError(
                "the flow belongs to no workspace, and goldens are kept in a workspace",
                where="Flow.golden",
                fix="put its notebook into the flow_modules folder of a workspace",
            )
        if spec.name is not None and (not isinstance(spec.name, str) or not spec.name.strip()):
            raise FlowValidationError(
                f"a golden cannot be called {spec.name!r}", where="Flow.golden", fix="give some letters"
            )
        golden = Golden(
            flow.name or "",
            spec.name or "",
            spec.use,
            key=keys(spec.key),
            drop=keys(spec.drop or None),
            tolerance=require_tolerance(spec.tolerance),
            params=Named(_kept_params(params_for(flow, spec.params))),
            share=bool(spec.share),
            kept_at_utc=utc_text(time.time()),
            kept_by="@".join(person()),
        )
        return _keep_golden(flow, home, golden, spec)
    except FlowValidationError as wrong:
        annotate_call(wrong)
        raise


def _keep_golden(flow: Flow, home: LocalWorkspace, golden: Golden, spec: GoldenSpec) -> Golden:
    """Run the flow for the source, and keep the result with what it was made from; as `keep`."""
    stop = steps_until(flow, spec.use)
    chosen = pick_source(flow, spec.source) if spec.source is not None else first_source(flow)
    label = None if chosen.path is None else (chosen.key.path if chosen.key else "") or chosen.path.name
    golden = dataclasses.replace(golden, name=safe_name(spec.name) if spec.name else golden_name(spec.use, label))
    goldens = goldens_folder(home)
    if golden.header(goldens).exists() and not spec.is_update:
        raise FlowValidationError(
            f"there is a golden {golden.name} of {golden.flow} already",
            where=str(golden.header(goldens)),
            fix="look at the new result, then keep it instead: %flow golden --update in a cell, build().golden(update=True) in Python;"
            " or give another name=",
        )
    try:
        return _store(flow, home, golden, chosen, stop)
    except FlowExecutionError as error:
        if spec.source is None:
            say_first(error, flow, chosen)
        raise


def _store(flow: Flow, home: LocalWorkspace, golden: Golden, chosen: Source, stop: int) -> Golden:
    goldens = goldens_folder(home)
    golden = dataclasses.replace(golden, data="")
    if golden.folder(goldens).exists():
        golden = dataclasses.replace(golden, data=f"{golden.name}-{os.urandom(4).hex()}")
    folder, header = golden.folder(goldens), golden.header(goldens)
    began_s = time.time()
    side = Side("golden", flow, home, params=golden.params)
    try:
        for place in (folder, header):  # others may write there
            check_own(home.layout.root, place)
        folder.mkdir(parents=True)
        source = keep_source(flow, chosen, folder / _SOURCE)
        golden = dataclasses.replace(golden, source=source)
        value = side.run(source_of(golden, chosen, folder), stop, [golden.use or _CURRENT])[golden.use or _CURRENT]
        golden = keep_result(golden, value, folder)
        _leave_out_of_git(home.layout.gitignore_path, goldens)
        write_text_atomic(header, header_text(golden))  # from here on this data is what counts
    except BaseException as error:
        with suppress(OSError):
            remove_tree(goldens, folder)
        if not isinstance(error, OSError):
            raise
        raise FlowValidationError(
            f"the golden cannot be kept: {trouble_of(error)}",
            where=str(error.filename or folder),
            fix="make the goldens folder of the workspace writable, and make room",
        ) from error
    finally:
        side.forget()
    with suppress(OSError):  # what is left takes room, and the next one that is kept tries again
        _remove_replaced(golden, goldens, before_s=began_s)
    return golden


def _remove_replaced(golden: Golden, goldens: Path, *, before_s: float) -> None:
    """Remove data of this golden from before, also what a killed process has left; another one may be keeping it just now."""
    others = [path.stem for path in goldens_of(goldens, golden.flow) if path.stem != golden.name]
    its_own = re.compile(re.escape(golden.name) + r"(-[0-9a-f]{8})?")
    for place in ("data", "shared"):
        for path in (goldens / golden.flow / place).glob("*"):
            is_its = its_own.fullmatch(path.name) is not None and path.name not in others
            if is_its and path != golden.folder(goldens) and not is_link(path) and path.stat().st_mtime < before_s:
                remove_tree(goldens, path)


def _leave_out_of_git(gitignore: Path, goldens: Path) -> None:
    """A workspace that is older than goldens has no line for their data: then they bring their own."""
    with suppress(FileNotFoundError):
        if "goldens/" in content_of(gitignore).decode(errors="replace"):
            return
    create_exclusive(
        goldens / ".gitignore", "# What goldens hold of the data; their headers are for review.\n**/data/\n"
    )


def keep_again(flow: Flow, home: LocalWorkspace, golden: Golden, *, by: str) -> Golden:
    """Keep the golden as the flow makes it now, from the source that is kept.

    Raises: as `keep`.
    """
    goldens = goldens_folder(home)
    again = dataclasses.replace(golden, kept_at_utc=utc_text(time.time()), kept_by=by)
    return _store(flow, home, again, place_of(flow, golden, golden.folder(goldens)), steps_until(flow, golden.use))


# -- the source ------------------------------------------------------------------------------------------------------------


def keep_source(flow: Flow, chosen: Source, folder: Path) -> GoldenSource | None:
    """Keep the source that the flow is to run for: copies of small files, of others size and hash."""
    if chosen.root is None or chosen.key is None:
        return None
    is_batch = chosen.path is None
    if is_batch:
        if flow.trigger is not None and flow.trigger.source == chosen.root:
            names = [name for name, _ in candidates(flow)]
        else:
            names = sorted(path.relative_to(chosen.root).as_posix() for path in files_below(chosen.root))
        files = {portable_text(Path(name)): chosen.root / name for name in names}
        if (name := same_name(chosen.root, files)) is not None:
            raise same_name_error(name, chosen.root)
    else:
        assert chosen.path is not None
        files = {chosen.key.path or chosen.path.name: chosen.path}
    entries = tuple(_keep_file(name, path, folder) for name, path in files.items())
    return GoldenSource(chosen.key.root, "" if is_batch else chosen.key.path, is_batch, entries)


def _keep_file(name: str, path: Path, folder: Path) -> KeptFile:
    size, is_copied = path.stat().st_size, False
    if size <= COPIED_BYTES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(path, target)
        path, is_copied = target, True
    return KeptFile(name, size, sha256_of(path), is_copied)


def source_of(golden: Golden, original: Source, folder: Path) -> Source:
    """The source to run for: the kept copy in `folder`, or the `original` where it is not kept."""
    source = golden.source
    if source is None or not source.is_copied:
        return original
    copies, key = folder / _SOURCE, SourceKey(source.root, source.path)
    if source.is_batch:
        return Source(copies, None, key)
    inside = source.files[0].path  # what lies beside it is read as it is now
    return Source(original.root or copies, copies / inside, key, Path(inside))


def _source_there(flow: Flow, golden: Golden) -> Source:
    """The source in its own place, where production would read it."""
    source, trigger = golden.source, flow.trigger
    if source is None or trigger is None or trigger.source is None:
        return Source()
    root, key = trigger.source, SourceKey(source.root, source.path)
    if source.is_batch:
        return Source(root, None, key)
    return Source(root, root / source.path, key) if source.path else Source(root.parent, root, key)


def why_not_there(flow: Flow, golden: Golden, folder: Path) -> str | None:
    """Why the golden cannot be compared: its data, or its source, is not what it was; None when all is."""
    if not folder.is_dir():
        return "its data is not here: Git leaves it out; keep it again, or with share=True"
    source = golden.source
    if source is None:
        return None
    original = _source_there(flow, golden)
    for file in source.files:
        place = folder / _SOURCE / file.path if file.is_copied else (original.root or Path()) / file.path
        try:
            is_same = place.stat().st_size == file.size_bytes and (file.is_copied or sha256_of(place) == file.sha256)
        except OSError:
            return f"its source {file.path} is not there any more"
        if not is_same:
            return f"its source {file.path} has changed since"
    return None


def place_of(flow: Flow, golden: Golden, folder: Path) -> Source:
    """The source to run for when the golden is compared."""
    return source_of(golden, _source_there(flow, golden), folder)


# -- the result ------------------------------------------------------------------------------------------------------------


def keep_result(golden: Golden, value: object, folder: Path) -> Golden:
    """Write the result into `folder`; the golden with what it holds.

    Raises:
        FlowValidationError: it cannot be kept, or lacks a column that is named.
    """
    kind, content = as_kept(value, golden.drop)
    if knows_any():
        _require_no_secret(kind, content)
    if kind == "file":
        path = Path(content)
        copy(path, folder / path.name)
        return dataclasses.replace(golden, kind=kind, file=path.name)
    if kind == "value":
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (folder / "result.json").write_text(text, encoding="utf-8")
        return dataclasses.replace(golden, kind=kind)
    for name in golden.key:
        if name not in content.columns:
            raise _no_column("key", name, content.columns)
    try:
        content.write_parquet(folder / "result.parquet")
    except Exception as error:  # of Polars: a type that Parquet does not know
        raise FlowValidationError(
            f"the table cannot be kept as Parquet: {error}",
            where=golden.use or "the last result",
            fix="leave that column out with drop=[...]",
        ) from error
    columns = tuple(f"{name}: {dtype}" for name, dtype in content.schema.items())
    return dataclasses.replace(golden, kind=kind, columns=columns, rows=content.height)


def _require_no_secret(kind: str, content: Any) -> None:
    """Refuse to keep a result that holds the text of a secret.

    Raises:
        FlowValidationError: one is.
    """
    if kind == "table":
        for column in content.iter_columns():
            if _holds_secret(column):
                raise _secret(f"in its column {column.name!r}", f'leave that column out: drop=["{column.name}"]')
    elif kind == "file":
        if masked(text := head_of(Path(content), os.stat(content).st_size).decode("utf-8", "replace")) != text:
            raise _secret(f"in {Path(content).name}", "write it without the secret")
    elif masked(text := json.dumps(content, ensure_ascii=False)) != text:
        raise _secret("", "return it without the secret")


def _holds_secret(column: pl.Series) -> bool:
    dtype = str(column.dtype)
    is_text = "String" in dtype or "Categorical" in dtype or "Enum" in dtype
    return is_text and masked(text := column.to_frame().write_json()) != text


def _secret(place: str, fix: str) -> FlowValidationError:
    return FlowValidationError(
        f"the result holds the text of a secret{f', {place}' if place else ''}: it is not kept",
        where="Flow.golden(use=...)",
        fix=fix,
    )


def as_kept(value: object, drop: Sequence[str]) -> tuple[str, Any]:
    """The kind of a result, and the frame, JSON value or path that stands for it.

    Raises:
        FlowValidationError: it cannot be kept, or lacks a column to drop.
    """
    from data_engine.compare.comparing import table_of
    from data_engine.compare.tables import Frame

    table = table_of(value)
    if isinstance(table, Frame):
        for name in drop:
            if name not in table.frame.columns:
                raise _no_column("drop", name, table.frame.columns)
        return "table", table.frame.drop(list(drop))
    if drop:
        raise FlowValidationError(
            f"drop={list(drop)} names columns, and the result is {type(value).__name__}, not a table",
            where="Flow.golden(drop=...)",
            fix="leave drop= out",
        )
    if isinstance(value, os.PathLike):
        path = Path(os.fspath(value))
        if path.is_file():
            return "file", path
    return "value", _json_value(value, "the result")


def _json_value(value: object, where: str) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, (date, day_time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _json_value(part, f"{where}[{name!r}]") for name, part in value.items()}
    if isinstance(value, (list, tuple, Batch)):
        return [_json_value(part, f"{where}[{number}]") for number, part in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        return sorted((_json_value(part, where) for part in value), key=repr)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: _json_value(getattr(value, part.name), where) for part in dataclasses.fields(value)}
    raise FlowValidationError(
        f"{where} is {type(value).__name__}, which cannot be kept",
        where="Flow.golden(use=...)",
        fix="keep a table, one file, or texts, numbers, lists and mappings of them: name an object that is one with use=",
    )


def _kept_params(params: Mapping[str, Any]) -> dict[str, Any]:
    for name, value in params.items():
        if value is None or not isinstance(value, (str, int, float, bool, date, list, dict)):
            raise FlowValidationError(
                f"the param {name!r} is {type(value).__name__}, which a golden's header cannot hold",
                where="Flow.golden(params=...)",
                fix="give texts, numbers, True or False, dates, lists and mappings of them",
            )
    return dict(params)


def _no_column(option: str, name: str, columns: Sequence[str]) -> FlowValidationError:
    return FlowValidationError(
        f"{option}= names {name!r}, which the table does not have",
        where=f"Flow.golden({option}=...)",
        fix=f"it has {', '.join(columns) or 'no columns'}",
    )


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
) -> list[GoldenResult]:
    """Every golden of the flows `names` (of all without), made by `modules` and compared.

    With `update_by` those that differ are kept as they are now, by that person.
    """
    goldens, results = goldens_folder(home), list[GoldenResult]()
    for name in flows_with_goldens(goldens) if names is None else names:
        if not (headers := goldens_of(goldens, name)):
            continue
        try:
            flow = modules.load(find_module(modules, name)).flow
        except FlowValidationError as error:
            broken = side_error(_CURRENT, None, error)
            failed = (GoldenResult(name, path.stem, "failed", why=broken.error, where=broken.where) for path in headers)
            results.extend(failed)
        else:
            results += [_checked(home, flow, goldens, header, update_by) for header in headers]
    return results


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
        failure: SideError = side_error(_CURRENT, None, raised)
        return result("failed", golden=golden, why=failure.error, where=failure.where)


def _difference(home: LocalWorkspace, flow: Flow, golden: Golden, goldens: Path) -> Difference:
    from data_engine.compare.comparing import compare

    use = golden.use or _CURRENT
    side = Side("golden", flow, home, params=golden.params)
    try:
        source = place_of(flow, golden, golden.folder(goldens))
        value = side.run(source, steps_until(flow, golden.use), [use])[use]
        _, now = as_kept(value, golden.drop)
        return compare(golden.result(goldens), now, key=golden.key, tolerance=golden.tolerance)
    finally:
        side.end()
