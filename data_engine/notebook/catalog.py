"""The flow modules of a workspace: which files are flows, the good ones built and the broken ones explained."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from data_engine import private
from data_engine.argument_checks import value_text
from data_engine.errors import FlowValidationError, error_of
from data_engine.files import write_text_atomic
from data_engine.flow.flow import Flow
from data_engine.flow.paths import AuthoredPath
from data_engine.flow.spec import Collect, title_text
from data_engine.flow.trigger import Poll, Schedule
from data_engine.notebook.flow_files import (
    SCRATCH_NAME,
    case_warnings,
    is_flow_file,
    module_files,
    name_warnings,
)
from data_engine.notebook.load import badly_named
from data_engine.platforms.files import content_of
from data_engine.platforms.names import is_too_long
from data_engine.record import frozen
from data_engine.suggestions import as_typed, nearest_name
from data_engine.version import __version__

TYPE_CHECKING = False

if TYPE_CHECKING:
    from data_engine.notebook.load import FlowModules


@frozen
class CatalogEntry:
    """One flow module: its flow, or the error that keeps it from being one.

    `source` and `mirror` are absolute paths or None, `trigger` is the schedule or interval as text ("-" without),
    `steps` are the labels.
    """

    name: str
    path: Path
    title: str
    group: str | None = None
    mode: str = "manual"
    description: str = ""
    source: str | None = None
    mirror: str | None = None
    trigger: str = "-"
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: FlowValidationError | None = None
    flow: Flow | None = None

    def as_dict(self) -> dict[str, Any]:
        """The keys and values `data-engine list --json` prints."""
        names = ("name", "group", "title", "mode", "description", "source", "mirror")
        parameters, expectations = (None, ()) if self.flow is None else (self.flow.parameters, self.flow.expectations)
        return {
            **{name: getattr(self, name) for name in names},
            "staged": self.flow is not None and self.flow.is_staged,
            "trigger": self.trigger,
            "options": _options(self.flow),
            "parameters": None if parameters is None else parameters.as_json(),
            "expectations": [
                {name: value for name, value in asdict(expectation).items() if value not in (None, ())}
                for expectation in expectations
            ],
            "steps": list(self.steps),
            "warnings": list(self.warnings),
            "path": str(self.path),
            "error": None if self.error is None else self.error.as_dict(),
        }


def _options(flow: Flow | None) -> dict[str, Any]:
    """The options of `Flow.watch` besides when and where; empty for a flow without a trigger and for a broken module."""
    trigger = None if flow is None else flow.trigger
    names = ("run_as", "max_parallel", "extensions", "settle", "cron_lines", "tz", "catch_up", "skip", "skip_file")
    options = {name: getattr(trigger, name, None) for name in names}
    return {
        name: list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value is not None and (value != () or name != "skip")
    }


def read_catalog(
    modules: FlowModules,
    *,
    begin: Callable[[str], None] | None = None,
    known_bad: Mapping[str, FlowValidationError] = MappingProxyType({}),
    only: str | None = None,
    cache: Descriptions | None = None,
    warns: bool = True,
) -> tuple[CatalogEntry, ...]:
    """Every flow module of the folder, sorted by name. A broken module costs only its own entry.

    A module is executed once for each content of it and of the helpers; this process remembers the unchanged ones. `begin`
    gets the name of each module before it is executed; the `known_bad` are not executed and have that error. `only` reads the
    one module of that name. With `cache` the description by another process is taken while nothing has changed: such a flow
    has no steps, only `entry.steps`. Without `warns` there are no warnings of names and mirrors.

    Raises:
        FlowValidationError: the folder does not exist or cannot be read.
    """

    files = module_files(modules.content)
    helpers = modules.refresh()
    remembered = _remembered.setdefault(modules.package, {})
    entries: dict[str, tuple[str, CatalogEntry | None]] = {} if only is None else dict(remembered)
    described: dict[str, CatalogEntry] = {}
    python: Mapping[str, bytes] | None = None
    for name, paths in files.items():
        if only not in (None, name):
            continue
        if (bad := known_bad.get(name) or badly_named(paths[0])) is not None:
            entry = CatalogEntry(name, modules.authored(paths[0]), title_text(name, "Flow"), error=bad)
            entries[name] = ("", entry)
            continue
        key, datas = _content_key(helpers, paths)
        record = remembered.get(name)
        if record is not None and record[0] == key:
            entries[name] = record
        elif cache is not None and (message := cache.get(name, key)) is not None:
            described[name] = entry_of_message(message)
            entries.pop(name, None)
        else:
            if begin is not None:
                begin(name)
            if python is None:
                from data_engine.notebook.module_sets import python_files

                python = python_files(modules.content)
            new_entry = _read_entry(modules, name, paths, datas, python)
            entries[name] = (key, new_entry)
            if cache is not None and new_entry is not None and new_entry.error is None:
                cache.put(name, key, entry_message(new_entry))
    if cache is not None:
        cache.save()
    _remembered[modules.package] = entries
    read = [entry for _, entry in entries.values() if entry is not None]
    every = sorted([*read, *described.values()], key=lambda entry: entry.name)
    return _with_warnings(every, files) if warns else tuple(every)


def _with_warnings(entries: Sequence[CatalogEntry], files: Mapping[str, list[Path]]) -> tuple[CatalogEntry, ...]:
    """The entries with the warnings of the folders that flows write, and of names."""
    from data_engine.notebook.mirror_warnings import mirror_warnings

    warned = mirror_warnings(entry.flow for entry in entries if entry.flow is not None)
    cases, catalog = case_warnings(files), []
    for entry in entries:
        names = name_warnings(entry.path, cases, () if entry.error is not None else files.get(entry.name, ()))
        texts = [*warned.get(entry.name, ()), *names]
        catalog.append(replace(entry, warnings=(*entry.warnings, *texts)) if texts else entry)
    return tuple(catalog)


def with_no_steps_refused(entries: Iterable[CatalogEntry]) -> tuple[CatalogEntry, ...]:
    """The entries, where a flow without steps has an error: production could run nothing of it."""
    return tuple(
        entry if entry.flow is None or entry.steps else replace(entry, flow=None, error=no_steps(entry.name))
        for entry in entries
    )


def no_steps(name: str) -> FlowValidationError:
    """The error of a flow without steps, whatever runs or deploys it."""
    return FlowValidationError(
        f"flow {name!r} has no steps: there is nothing to run",
        where=f'flow "{name}"',
        fix="give build() a .step(...) and save it",
    )


def with_unreadable(
    entries: Iterable[CatalogEntry], folder: Path, unreadable: Mapping[str, str]
) -> tuple[CatalogEntry, ...]:
    """The entries and those of the modules in `folder` that cannot be read (the reason by file name); sorted by name.

    Example:
        >>> [entry.error.what for entry in with_unreadable((), Path("flows"), {"claims.ipynb": "Permission denied"})]
        ['flows/claims.ipynb cannot be read: Permission denied']
    """
    by_name = {entry.name: entry for entry in entries}
    for name, reason in unreadable.items():
        path = folder / name
        if path.parent == folder and not SCRATCH_NAME.fullmatch(path.stem):
            error = badly_named(path) or FlowValidationError(
                f"{path} cannot be read: {reason}", where=str(path), fix="check that the file is readable"
            )
            by_name[path.stem] = CatalogEntry(path.stem, path, title_text(path.stem, "Flow"), error=error)
    return tuple(by_name[name] for name in sorted(by_name))


def find_module(modules: FlowModules, name: str) -> Path:
    """The file of the flow module `name`.

    Raises:
        FlowValidationError: there is none (lists those there are), its file is no flow, or two files share the name.
    """
    from data_engine.notebook.flow_files import how_to_be_a_flow

    check_flow_name(name)
    files = module_files(modules.content)
    paths = [path for path in files.get(name, []) if is_flow_file(modules, path)]
    if len(paths) == 1:
        return paths[0]
    if paths:
        raise _two_files(name, paths)
    if files.get(name):
        path = modules.authored(files[name][0])
        fix = how_to_be_a_flow(name, path, is_scratch=False)
        raise FlowValidationError(f"{path.name} is not a flow, so nothing runs it", where=str(path), fix=fix)
    flows = [stem for stem, candidates in files.items() if any(is_flow_file(modules, path) for path in candidates)]
    raise unknown_flow(name, modules.folder, flows, fix=_how_to_be_a_flow(modules, name))


def unknown_flow(name: str, folder: Path, flows: Collection[str], *, fix: str | None = None) -> FlowValidationError:
    """The error for a name that none of the `flows` in the folder has: it lists them, and names the nearest where no `fix` is given.

    Example:
        >>> unknown_flow("clams", Path("flow_modules"), ["claims", "parts"]).fix
        'did you mean claims?'
    """
    from data_engine.notebook.flow_files import outside_text

    names = ", ".join(sorted(flows))
    available = f" Available flow modules: {names}." if names else ""
    near = nearest_name(Path(name).stem, flows)
    what = f"Flow module '{name}' is not available in {folder}.{available}"
    if Path(name).stem in flows:
        what = f"{name!r} is a file: a flow is named without folder and ending"
    outside = None if fix else outside_text(name, folder)
    if outside is not None:
        what, fix = outside
    return FlowValidationError(
        what,
        where=str(folder),
        fix=fix
        or _spelling_fix(name, flows)
        or (f"did you mean {as_typed(near)}?" if near else None)
        or (
            "a flow is named without folder and ending; `data-engine explain FILE` tells of a file"
            if "." in name
            else None
        )
        or "check the spelling; a flow is a notebook or .py file there that defines build()",
    )


def _spelling_fix(name: str, flows: Iterable[str]) -> str | None:
    """The fix where the name of one of the flows looks the same, but is written with other letters."""
    import unicodedata

    stem = Path(name).stem
    form = unicodedata.normalize("NFC", stem)
    alike = next((flow for flow in flows if unicodedata.normalize("NFC", flow) == form and flow != stem), None)
    if alike is None:
        return None
    return f"{alike} is written with other characters that look the same, as on a Mac: rename its file, or type the name as it is: {alike!a}"


def check_flow_name(name: object) -> str:
    """`name`, when it can be a flow's.

    Raises:
        FlowValidationError: no text, blank, or longer than the name of a file.
    """
    if not isinstance(name, str) or not name.strip() or is_too_long(name):
        raise FlowValidationError(
            f"a flow name cannot be {value_text(name)}", where="flow name", fix="give the file's stem"
        )
    return name


def _how_to_be_a_flow(modules: FlowModules, name: str) -> str | None:
    """The fix where `name` is a scratch notebook or lies in a subfolder; None otherwise."""
    from data_engine.notebook.flow_files import how_to_be_a_flow, no_flow_there, notebooks_in_subfolders

    files = (modules.content / f"{name}{suffix}" for suffix in (".py", ".ipynb"))
    path = next((file for file in files if file.is_file()), None)
    if path is not None and SCRATCH_NAME.fullmatch(name):
        return how_to_be_a_flow(name, path, is_scratch=True)
    below = (path for path in notebooks_in_subfolders(modules.content) if Path(path).stem == Path(name).stem)
    return next(map(no_flow_there, below), None)


_remembered: dict[str, dict[str, tuple[str, CatalogEntry | None]]] = {}


def _content_key(helpers: str, paths: list[Path]) -> tuple[str, list[bytes | OSError]]:
    digest = hashlib.sha256(helpers.encode())
    datas: list[bytes | OSError] = []
    for path in paths:
        try:
            data = content_of(path)
        except OSError as error:
            datas.append(error)
            digest.update(f"{path} {error.errno}".encode())
        else:
            datas.append(data)
            digest.update(os.fsencode(path) + b"\0" + hashlib.sha256(data).digest())
    return digest.hexdigest(), datas


def _read_entry(
    modules: FlowModules, name: str, paths: list[Path], datas: list[bytes | OSError], python: Mapping[str, bytes]
) -> CatalogEntry | None:
    """The entry of a module; None of one that is no flow. `python` are the `.py` files it may import."""
    from data_engine.notebook.artifacts import is_flow
    from data_engine.notebook.import_lint import import_warnings
    from data_engine.notebook.module_sets import own_code

    try:
        flow_files = []
        for path, data in zip(paths, datas, strict=True):
            if isinstance(data, OSError):
                raise FlowValidationError(
                    f"{path} cannot be read: {data.strerror}", where=str(path), fix="check that the file is readable"
                )
            if is_flow(modules.authored(path), data, modules.cache_dir):
                flow_files.append((path, data))
        if not flow_files:
            return None
        if len(flow_files) > 1:
            raise _two_files(name, [modules.authored(path) for path, _ in flow_files])
        path, data = flow_files[0]
        loaded = modules.load_content(path, data)
    except FlowValidationError as error:
        return CatalogEntry(name, modules.authored(paths[0]), title_text(name, "Flow"), error=error)
    code = own_code(loaded.path, data, modules.cache_dir)
    warnings = (*loaded.warnings, *map(str, import_warnings(path.name, code, python)))
    return describe(loaded.flow, loaded.path, loaded.description, warnings)


def describe(flow: Flow, path: Path, description: str = "", warnings: tuple[str, ...] = ()) -> CatalogEntry:
    """The catalog entry of a good flow."""
    trigger = flow.trigger
    return CatalogEntry(
        name=flow.name or path.stem,
        path=path,
        title=flow.title,
        group=flow.group,
        mode=flow.mode,
        description=description,
        source=None if trigger is None or trigger.source is None else str(trigger.source),
        mirror=None if flow.mirror_spec is None else str(flow.mirror_spec.root),
        trigger=trigger_text(flow),
        steps=tuple(step.label for step in flow.steps),
        warnings=warnings,
        flow=flow,
    )


def trigger_text(flow: Flow) -> str:
    """When the flow runs, in a few words.

    Example:
        >>> trigger_text(Flow(group="A").watch(mode="schedule", time=["06:30", "18:00"], tz="Europe/Berlin"))
        'every day at 06:30 and 18:00, Europe/Berlin'
    """
    from data_engine.flow.trigger import interval_text, schedule_text

    trigger = flow.trigger
    if isinstance(trigger, Poll):
        return f"every {interval_text(trigger.interval)} when files change"
    return schedule_text(trigger) if isinstance(trigger, Schedule) else "-"


def trigger_here(entry: CatalogEntry, timezone: str | None) -> str:
    """When the flow runs, in a workspace whose settings name this zone: a schedule by the clock always names its zone.

    Example:
        >>> flow = Flow("A", "nightly").watch(mode="schedule", time="06:30")
        >>> trigger_here(describe(flow, Path("nightly.ipynb")), "Europe/Berlin")
        'every day at 06:30, Europe/Berlin'
    """
    trigger = None if entry.flow is None else entry.flow.trigger
    is_in_it = timezone and isinstance(trigger, Schedule) and trigger.cron_lines and trigger.tz is None
    return f"{entry.trigger}, {timezone}" if is_in_it else entry.trigger


def clock_zone(entry: CatalogEntry, timezone: str | None) -> str | None:
    """The zone that a schedule by the clock is meant in, in a workspace whose settings name `timezone`; None for this machine's."""
    trigger = None if entry.flow is None else entry.flow.trigger
    return (trigger.tz or timezone or None) if isinstance(trigger, Schedule) and trigger.cron_lines else None


def _two_files(name: str, paths: list[Path]) -> FlowValidationError:
    both = " and ".join(path.name for path in paths)
    return FlowValidationError(
        f"Flow module '{name}' exists twice: there is a conflict between .ipynb and .py files: {both}",
        where=str(paths[0].parent),
        fix="keep one of the two, or rename one",
    )


def entry_message(entry: CatalogEntry) -> dict[str, Any]:
    """An entry as JSON, with all that planning needs of its flow; the step functions stay behind."""
    message = entry.as_dict()
    if entry.flow is not None:
        trigger, mirror = entry.flow.trigger, entry.flow.mirror_spec
        message["flow"] = {
            "label": entry.flow.label,
            "trigger": None if trigger is None else {"mode": trigger.mode, "fields": _texts(asdict(trigger))},
            "mirror": None if mirror is None else _texts(asdict(mirror)),
            "workspace_root": str(entry.flow._workspace_root),
            "settings": None if entry.flow.parameters is None else entry.flow.parameters.title,
            "expectations": [asdict(expectation) for expectation in entry.flow.expectations],
            "alerts": [asdict(rule) for rule in entry.flow.alerts],
            "collects": [_collect_facts(collect) for collect in entry.flow.collects],
        }
    return message


def entry_of_message(message: dict[str, Any]) -> CatalogEntry:
    """The entry a message was made of; its flow has no steps."""
    facts, error = message.get("flow"), message["error"]
    names = ("name", "title", "group", "mode", "description", "source", "mirror", "trigger")
    return CatalogEntry(
        **{name: message[name] for name in names},
        path=Path(message["path"]),
        steps=tuple(message["steps"]),
        warnings=tuple(message["warnings"]),
        error=None if error is None else error_of(error),
        flow=None if facts is None else _flow_of(message, facts),
    )


def _flow_of(message: Mapping[str, Any], facts: Mapping[str, Any]) -> Flow:
    from data_engine.flow.expectation import AlertRule, Expectation
    from data_engine.flow.flow import MirrorSpec
    from data_engine.flow.parameters import Parameters
    from data_engine.flow.trigger import Manual

    kinds: dict[str, type[Manual | Poll | Schedule]] = {"manual": Manual, "poll": Poll, "schedule": Schedule}
    trigger, parameters = facts["trigger"], message["parameters"]
    return Flow(
        message["group"],
        message["name"],
        facts["label"],
        trigger=None if trigger is None else _value_of(kinds[trigger["mode"]], trigger["fields"]),
        mirror_spec=None if facts["mirror"] is None else _value_of(MirrorSpec, facts["mirror"]),
        _workspace_root=Path(facts["workspace_root"]),
        parameters=None if parameters is None else Parameters.of_json(parameters, facts["settings"]),
        expectations=tuple(_value_of(Expectation, fields) for fields in facts["expectations"]),
        alerts=tuple(_value_of(AlertRule, fields) for fields in facts["alerts"]),
        collects=tuple(map(_collect_of, facts["collects"])),
    )


def _collect_facts(collect: Collect) -> list[Any]:
    root = None if collect.root is None else [collect.root.text, str(collect.root.path)]
    return [collect.extensions, root, collect.recursive]


def _collect_of(facts: list[Any]) -> Collect:
    extensions, root, recursive = facts
    return Collect(tuple(extensions), None if root is None else AuthoredPath(root[0], Path(root[1])), recursive)


_PATHS = ("source", "skip_file", "root")


def _value_of(kind: Any, facts: Mapping[str, Any]) -> Any:
    """The value of this kind with these fields, as JSON has them."""
    args = {name: Path(fact) if fact is not None and name in _PATHS else _tuples(fact) for name, fact in facts.items()}
    return kind(**args)


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


_FORMAT = 4
_LARGEST_BYTES = 16_000_000


class Descriptions:
    """The descriptions of flow modules by their content: another process that only shows them need not execute them.

    One holds while module, helpers, the files of `config`, Python and Data Engine are the same; a broken module is executed each
    time, so that a repair shows at once. They are kept in `file`; a damaged or unwritable one is no error.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> descriptions = Descriptions(folder / "described.json", folder)
        >>> descriptions.put("claims", "a1", {"name": "claims"}), descriptions.save()
        (None, None)
        >>> again = Descriptions(folder / "described.json", folder)
        >>> again.get("claims", "a1"), again.get("claims", "b2")
        ({'name': 'claims'}, None)
    """

    def __init__(self, file: Path, config: Path) -> None:
        self.file, self.config = file, config
        self._facts: dict[str, tuple[str, dict[str, Any]]] | None = None
        self._names: set[str] = set()
        self._is_changed = False
        self._environment: str | None = None

    def get(self, name: str, content: str) -> dict[str, Any] | None:
        """The description of the module `name` with this content; None without one."""
        self._names.add(name)
        key, message = self._read().get(name, ("", {}))
        return message if key == self._key(content) else None

    def put(self, name: str, content: str, message: dict[str, Any]) -> None:
        """Add the description of the module `name`."""
        self._names.add(name)
        self._read()[name] = self._key(content), message
        self._is_changed = True

    def save(self) -> None:
        """Write new descriptions; those of modules that nobody asked for are dropped."""
        if not self._is_changed:
            return
        facts = {name: value for name, value in self._read().items() if name in self._names}
        with suppress(OSError):
            private.make_folder(self.file.parent)
            write_text_atomic(self.file, json.dumps([_FORMAT, facts]), durable=False, mode=private.FILE)

    def _read(self) -> dict[str, tuple[str, dict[str, Any]]]:
        if self._facts is None:
            self._facts = {}
            with suppress(OSError, ValueError, TypeError, RecursionError):
                if os.stat(self.file).st_size <= _LARGEST_BYTES:
                    number, facts = json.loads(content_of(self.file))
                    if number == _FORMAT:
                        self._facts = {str(name): (str(key), dict(message)) for name, (key, message) in facts.items()}
        return self._facts

    def _key(self, content: str) -> str:
        if self._environment is None:
            config = []
            with suppress(OSError):
                for path in sorted(self.config.glob("*.toml")):
                    facts = path.stat()
                    config.append((path.name, facts.st_size, facts.st_mtime_ns))
            self._environment = repr((__version__, sys.version, sys.prefix, config))
        return hashlib.sha256(f"{content} {self._environment}".encode()).hexdigest()
