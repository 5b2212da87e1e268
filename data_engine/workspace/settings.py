"""Read and check a workspace's `config/data_engine.toml`, and edit a settings file without losing its comments.

    timezone, freshness
    [deploy] mode, quiet, keep, gate
    [executor] kind, runs, scheduler, scheduler_file, workers
    [retry] retries, delay
    [limits] run_timeout           [history] retention_days                [lease] heartbeat, stale_after, takeover
    [daemon] idle_exit, keep_awake [preview] cache, copy_limit
    [alerts] to, on, digest        [databases] storage_version             [replay] keep, size, total

Durations are texts such as "30s" (`data_engine.duration`), sizes such as "1GiB".
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError, SettingsError, WorkspaceError
from data_engine.message import TROUBLES
from data_engine.platforms.files import content_of
from data_engine.record import frozen
from data_engine.secret import is_secret_name
from data_engine.storage_version import OLDEST
from data_engine.workspace.layout import WorkspaceLayout

DEFAULT_SETTINGS_TEXT = """\
# How Data Engine treats this workspace. Every line shows its default or an example: take the "# " away to set it.
# Durations: "10ms" "5s" "15m" "1.5h" "2d" "1w".

# timezone = "Europe/Berlin"      # for time= and cron=; default: the machine's
# freshness = "signature"         # or "content": a touched file with equal content is not run again

# [deploy]
# mode = "ask"                    # nothing goes live before `data-engine deploy`; or "auto": good modules do after `quiet`
# quiet = "30s"                   # auto only: a module is deployed after this long without an edit
# keep = 20                       # at least so many deployments of a flow are kept for rollbacks
# gate = "none"                   # or "golden": a flow whose goldens do not hold is deployed only with --approve

# [executor]
# kind = "threads"                # for map(max_parallel=...): "threads" | "processes" | "dask"
# runs = "local"                  # where whole runs of the daemon go: "local" | "dask"
# scheduler = "tcp://host:8786"   # dask only; or scheduler_file = "..."; "local": a cluster of this machine
# workers = 2                     # default: cores; caps the daemon's runs too

# [retry]
# retries = 0
# delay = "30s"                   # doubled each time

# [limits]
# run_timeout = "2h"              # default: none

# [history]
# retention_days = 30

# [lease]
# heartbeat = "30s"
# stale_after = "90s"             # at least 3 heartbeats
# takeover = "ask"                # or "auto": claim a lease that has gone stale without being asked

# [daemon]
# idle_exit = "10m"
# keep_awake = false              # true: the machine does not go to sleep by itself while a run is active

# [preview]
# cache = "1GiB"                  # what previews keep in memory, and as much of read copies of databases on this machine
# copy_limit = "1GiB"             # what a preview may copy of outputs and databases, and a read copy have, where the drive cannot clone

# [replay]
# keep = "14d"                    # how long a failed run keeps the inputs of its failing step on this machine; "0s": it keeps nothing
# size = "500MiB"                 # what one run keeps at most
# total = "2GiB"                  # what all runs of this machine keep at most; the oldest go first

# [databases]
# storage_version = "v1.5.0"      # the format of databases that runs make: the oldest DuckDB of a workstation that opens them

# [alerts]
# to = ["ops"]                    # names of secrets that hold Apprise URLs: data-engine secret set ops
# on = ["failed", "held", "missed", "late", "overlong", "silent_owner", "unreachable", "rejected", "drift", "recovered"]
# digest = "5m"                   # failures within this time after a flow's first are sent as one message
"""


_Reader = Callable[[Any, str], Any]


def _setting(default: Any, read: _Reader) -> Any:
    """A field of this default, whose value in the file `read` checks."""
    return field(default=default, metadata={"read": read})


def parse_size(value: object, where: str) -> int:
    """Bytes meant by a text such as "512MiB", "1.5 GB" or "0B".

    Raises:
        SettingsError: any other type or form.

    Example:
        >>> parse_size("1GiB", where="example"), parse_size("1.5 kB", where="example")
        (1073741824, 1500)
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]I?)?B", value.strip().upper()) if isinstance(value, str) else None
    unit = "" if matched is None else matched[2] or ""
    scale = (1024 if unit.endswith("I") else 1000) ** " KMGT".index(unit[:1] or " ")
    size = math.inf if matched is None else float(matched[1]) * scale
    if not math.isfinite(size):
        raise _wrong(value, where, 'a size such as "512MiB" or "1GiB"')
    return int(size)


def _duration(*, allow_zero: bool = False) -> _Reader:
    def read(value: object, where: str) -> float:
        try:
            if not isinstance(value, str):
                raise _wrong(value, where, 'a duration such as "30s" or "1.5h"')
            return parse_duration(value, where=where, allow_zero=allow_zero)
        except SettingsError:
            raise
        except FlowValidationError as error:
            raise SettingsError(error.what, where=where, fix='write a duration such as "30s" or "1.5h"') from None

    return read


def _that(is_right: Callable[[Any], object], form: str) -> _Reader:
    def read(value: object, where: str) -> Any:
        if not is_right(value):
            raise _wrong(value, where, form)
        return value

    return read


def _one_of(*words: str) -> _Reader:
    return _that(lambda value: isinstance(value, str) and value in words, " or ".join(f'"{word}"' for word in words))


def _whole(least: int, most: int) -> _Reader:
    return _that(
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
        f"a whole number from {least} to {most}",
    )


def _like(pattern: str, form: str) -> _Reader:
    return _that(lambda value: isinstance(value, str) and re.fullmatch(pattern, value), form)


def _duckdb_version(value: object, where: str) -> str:
    text: str = _like(r"v[1-9]\d?(\.\d{1,2}){2}", f'a version of DuckDB such as "{OLDEST}"')(value, where)
    if text != OLDEST:
        from importlib.metadata import version

        newest = version("duckdb")
        if tuple(map(int, text[1:].split("."))) > tuple(map(int, re.findall(r"\d+", newest)[:3])):
            raise _wrong(value, where, f'a version of DuckDB up to the one that is installed here, "v{newest}"')
    return text


def _timezone(value: object, where: str) -> str:
    from zoneinfo import ZoneInfo

    if not isinstance(value, str):
        raise _wrong(value, where, 'the name of a time zone such as "Europe/Berlin"')
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown; not a name; a folder of zones such as "Europe"
        raise _wrong(value, where, f'the name of a time zone such as "{_nearest_zone(value)}"') from None
    return value


def _nearest_zone(text: str) -> str:
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    return next(iter(get_close_matches(text, sorted(available_timezones()), n=1)), "Europe/Berlin")


def _secret_names(value: object, where: str) -> tuple[str, ...]:
    form = 'a list of names of secrets such as ["ops"]'
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or any(not isinstance(name, str) for name in names):
        raise _wrong(value, where, form)
    for name in names:
        if not is_secret_name(name):
            # It may be the address itself, which must not be told anywhere.
            raise SettingsError(
                "to holds a text that is not the name of a secret"
                + (": it looks like an address" if ":" in name else ""),
                where=where,
                fix='write the name of a secret, to = ["ops"], and keep the address in it: data-engine secret set ops',
            )
    return tuple(dict.fromkeys(names))


def _kinds(value: object, where: str) -> tuple[str, ...]:
    form = "a list of: " + ", ".join(f'"{kind}"' for kind in TROUBLES)
    if not isinstance(value, list) or any(kind not in TROUBLES for kind in value):
        raise _wrong(value, where, form)
    return tuple(kind for kind in TROUBLES if kind in value)


@frozen
class DeploySettings:
    mode: str = _setting("ask", _one_of("auto", "ask"))
    quiet_s: float = _setting(30.0, _duration(allow_zero=True))
    keep: int = _setting(20, _whole(1, 10_000))
    gate: str = _setting("none", _one_of("none", "golden"))


@frozen
class ExecutorSettings:
    kind: str = _setting("threads", _one_of("threads", "processes", "dask"))
    runs: str = _setting("local", _one_of("local", "dask"))
    scheduler: str | None = _setting(
        None, _like(r"local|[a-z]+://\S+", 'the address of a Dask scheduler such as "tcp://host:8786", or "local"')
    )
    scheduler_file: str | None = _setting(None, _like(r"(?s).*\S.*", "a path"))
    workers: int = field(default_factory=lambda: os.cpu_count() or 1, metadata={"read": _whole(1, 10_000)})


@frozen
class RetrySettings:
    retries: int = _setting(0, _whole(0, 100))
    delay_s: float = _setting(30.0, _duration(allow_zero=True))


@frozen
class LimitSettings:
    run_timeout_s: float | None = _setting(None, _duration())


@frozen
class HistorySettings:
    retention_days: int = _setting(30, _whole(1, 36_500))


LEAST_HEARTBEATS = 3
"""How many heartbeats an owner may miss, at least, before it counts as silent."""


@frozen
class LeaseSettings:
    heartbeat_s: float = _setting(30.0, _duration())
    stale_after_s: float = _setting(90.0, _duration())
    takeover: str = _setting("ask", _one_of("ask", "auto"))


@frozen
class DaemonSettings:
    idle_exit_s: float = _setting(600.0, _duration())
    keep_awake: bool = _setting(False, _that(lambda value: isinstance(value, bool), "true or false"))


@frozen
class PreviewSettings:
    cache_bytes: int = _setting(1024**3, parse_size)
    copy_limit_bytes: int = _setting(1024**3, parse_size)


@frozen
class ReplaySettings:
    keep_s: float = _setting(14 * 86_400.0, _duration(allow_zero=True))
    size_bytes: int = _setting(500 * 1024**2, parse_size)
    total_bytes: int = _setting(2 * 1024**3, parse_size)


@frozen
class DatabaseSettings:
    storage_version: str = _setting(OLDEST, _duckdb_version)


@frozen
class AlertSettings:
    to: tuple[str, ...] = _setting((), _secret_names)
    on: tuple[str, ...] = _setting(TROUBLES, _kinds)
    digest_s: float = _setting(300.0, _duration(allow_zero=True))


@frozen
class WorkspaceSettings:
    """The whole file with its defaults. `timezone` None is the machine's zone; `warnings` name unknown keys.

    Example:
        >>> WorkspaceSettings().lease
        LeaseSettings(heartbeat_s=30.0, stale_after_s=90.0, takeover='ask')
    """

    timezone: str | None = _setting(None, _timezone)
    freshness: str = _setting("signature", _one_of("signature", "content"))
    deploy: DeploySettings = field(default_factory=DeploySettings)
    executor: ExecutorSettings = field(default_factory=ExecutorSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    daemon: DaemonSettings = field(default_factory=DaemonSettings)
    preview: PreviewSettings = field(default_factory=PreviewSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    databases: DatabaseSettings = field(default_factory=DatabaseSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    warnings: tuple[str, ...] = ()


_SECTIONS: Mapping[str, Callable[..., Any]] = {
    part.name: part.default_factory for part in fields(WorkspaceSettings) if part.default_factory is not MISSING
}
_NOT_OF_RUNS = ("deploy", "retry", "history", "lease", "daemon", "preview", "replay", "alerts")
_LEAST_HEARTBEAT_S = 0.1
_LONGEST_STALE_AFTER_S = 86_400.0
"""A machine whose newest generation says more is not believed: the same as in the lease's protocol."""


@cache
def _settings() -> dict[str, tuple[str, str, _Reader]]:
    """The section, the field (a name there ends with its unit) and the reader of each key."""
    return {
        f"{section}.{spec.name.removesuffix('_s').removesuffix('_bytes')}".lstrip("."): (
            section,
            spec.name,
            spec.metadata["read"],
        )
        for section, kind in {"": WorkspaceSettings, **_SECTIONS}.items()
        for spec in fields(kind)  # type: ignore[arg-type]
        if "read" in spec.metadata
    }


def load_settings(layout: WorkspaceLayout) -> WorkspaceSettings:
    """The settings in the workspace's file now; the defaults without one.

    Raises:
        SettingsError: not TOML, or a wrong type or value; names the file, the key and the fix.
    """
    settings, error = look_at_settings(layout)
    if error is not None:
        raise error
    return settings


def look_at_settings(layout: WorkspaceLayout) -> tuple[WorkspaceSettings, SettingsError | None]:
    """The usable settings of the workspace's file, and the error of the others."""
    try:
        text = read_toml_text(layout.settings_path)
    except SettingsError as error:
        return WorkspaceSettings(), error
    return (WorkspaceSettings(), None) if text is None else usable_settings(text, where=str(layout.settings_path))


def usable_settings(text: str, *, where: str) -> tuple[WorkspaceSettings, SettingsError | None]:
    """The usable settings in `text`, with defaults for the rest, and the error: of several one that stops runs.

    Example:
        >>> settings, error = usable_settings('[executor]\\nkind = "proceses"\\nworkers = 3', where="data_engine.toml")
        >>> settings.executor.workers, str(error).partition("\\n")[0]
        (3, "kind cannot be 'proceses'")
    """
    known, errors, warnings = _settings(), list[SettingsError](), list[str]()
    values: dict[str, dict[str, Any]] = {section: {} for section in ("", *_SECTIONS)}
    try:
        document = parse_toml(text, where=where)
    except SettingsError as error:
        return WorkspaceSettings(), error
    for name, value in document.items():
        if name in _SECTIONS and not isinstance(value, dict):
            form = f"a table: a line [{name}] and its settings below it"
            return WorkspaceSettings(), _wrong(value, f"{where}: {name}", form)
        entries = {f"{name}.{key}": inner for key, inner in value.items()} if name in _SECTIONS else {name: value}
        for key, inner in entries.items():
            if key not in known:
                warnings.append(ignored_key(key, inner, known, text=text, where=where))
                continue
            section, field_name, read = known[key]
            try:
                values[section][field_name] = read(inner, f"{where}: {key}")
            except SettingsError as error:
                errors.append(error)
    parts = {name: kind(**values[name]) for name, kind in _SECTIONS.items()}
    settings = WorkspaceSettings(**values[""], **parts, warnings=tuple(warnings))
    try:
        _check_together(settings, where)
    except SettingsError as error:
        errors.append(error)
    return settings, max(errors, key=stops_runs, default=None)


def stops_runs(error: WorkspaceError) -> bool:
    """Whether no run may start while the settings file has this error: it is in what runs go by, or the file is no TOML.

    What else cannot be used, or a file that its drive does not give, leaves runs to the settings read last.

    Example:
        >>> [stops_runs(SettingsError("", where=f"a.toml: {key}")) for key in ("executor.kind", "alerts.digest")]
        [True, False]
    """
    section = (error.where or "").rpartition(": ")[2].partition(".")[0]
    return section not in _NOT_OF_RUNS and not isinstance(error.__cause__, OSError)


def _check_together(settings: WorkspaceSettings, where: str) -> None:
    lease, executor = settings.lease, settings.executor
    if lease.heartbeat_s < _LEAST_HEARTBEAT_S:
        raise SettingsError(
            f"a heartbeat of {lease.heartbeat_s:g} s is shorter than a drive takes to write one",
            where=f"{where}: lease.heartbeat",
            fix=f'write heartbeat = "{_LEAST_HEARTBEAT_S:g}s" or more; 30s suits most drives',
        )
    if lease.stale_after_s < LEAST_HEARTBEATS * lease.heartbeat_s * (1 - 1e-9):
        raise SettingsError(
            f"stale_after ({lease.stale_after_s:g} s) is less than {LEAST_HEARTBEATS} heartbeats of {lease.heartbeat_s:g} s",
            where=f"{where}: lease.stale_after",
            fix=f'write stale_after = "{LEAST_HEARTBEATS * lease.heartbeat_s:g}s" or more, or a shorter heartbeat',
        )
    if lease.stale_after_s > _LONGEST_STALE_AFTER_S:
        raise SettingsError(
            f"stale_after ({lease.stale_after_s:g} s) is more than a day",
            where=f"{where}: lease.stale_after",
            fix='write stale_after = "24h" or less; 90s suits most drives',
        )
    key = "kind" if executor.kind == "dask" else "runs" if executor.runs == "dask" else None
    if key is not None and executor.scheduler is None and executor.scheduler_file is None:
        raise SettingsError(
            f'{key} = "dask" needs the address of a scheduler',
            where=f"{where}: executor.scheduler",
            fix='write scheduler = "tcp://host:8786" below [executor], or scheduler = "local" for a cluster of this machine',
        )


def _wrong(value: object, where: str, form: str) -> SettingsError:
    key = where.rpartition(": ")[2].rpartition(".")[2]
    return SettingsError(f"{key} cannot be {value!r}", where=where, fix=f"write {form}")


_HEADER = r"\s*\[\s*([\w-]+)\s*\]"
_SETTING = r"\s*([\w-]+)\s*="


def read_toml_text(path: Path) -> str | None:
    """The file's text with its line ends, without a byte order mark; None when there is no file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        return content_of(path).decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise SettingsError(f"the file is not UTF-8: {error}", where=str(path), fix="save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(
            f"the file cannot be read: {error}", where=str(path), fix="make it a readable file"
        ) from error


def parse_toml(text: str, *, where: str) -> dict[str, Any]:
    """The document as plain values.

    Raises:
        SettingsError: not TOML; the message holds the line.
    """
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        example = "state_root = 'C:\\data'" if "\\" in str(error) else 'mode = "ask"'
        raise SettingsError(
            f"not a TOML file: {error}", where=where, fix=f"correct that line; texts need quotes: {example}"
        ) from error
    except RecursionError as error:
        raise SettingsError("not a settings file: nested too deeply", where=where, fix="remove that value") from error


def changed_toml(text: str, dotted_key: str, value: str | int | None, *, where: str) -> str:
    """`text` with one key set, or taken out when `value` is None; every other line stays as it is.

    Raises:
        SettingsError: not TOML, or the key's section is not a table.

    Example:
        >>> print(changed_toml('# ours\\n[deploy]  # how\\nmode = "auto"\\n', "deploy.mode", "ask", where="x.toml"))
        # ours
        [deploy]  # how
        mode = "ask"
        <BLANKLINE>
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    parse_toml(text, where=where)  # the strict reader first: it decides what is TOML, here as when loading
    try:
        document = tomlkit.parse(text)
        *sections, key = dotted_key.split(".")
        table: Any = document
        for section in sections:
            if section not in table:
                if value is None:
                    return text
                table[section] = tomlkit.table()
            table = table[section]
            if not isinstance(table, dict):
                raise SettingsError(f"{section} is not a table", where=f"{where}: {section}", fix=f"write [{section}]")
        if value is not None:
            table[key] = value
        elif key in table:
            del table[key]
        return tomlkit.dumps(document)
    except TOMLKitError as error:
        raise SettingsError(f"not a TOML file: {error}", where=where, fix="correct that line") from error


def unknown_key(key: str, keys: Iterable[str]) -> str:
    """The sentence about a key that does not exist, with the known key that looks most like it.

    Example:
        >>> unknown_key("deploy.quite", ["deploy.mode", "deploy.quiet"])
        'unknown setting "deploy.quite": did you mean "deploy.quiet"?'
        >>> unknown_key("heartbeat", ["timezone", "lease.heartbeat"])
        'unknown setting "heartbeat": did you mean "lease.heartbeat"?'
    """
    import difflib

    names = tuple(keys)
    same_end = [name for name in names if name.rpartition(".")[2] == key.rpartition(".")[2]]
    nearest = difflib.get_close_matches(key, same_end or names, n=1, cutoff=0.0)[0]
    return f'unknown setting "{key}": did you mean "{nearest}"?'


def ignored_key(key: str, value: object, keys: Iterable[str], *, text: str, where: str) -> str:
    """The warning of a key or a section of the file `where`, which holds `text`, that nobody reads: its line, what was meant,
    and what there is.

    Example:
        >>> keys, text = ["deploy.mode", "deploy.quiet", "retry.delay"], 'x = 1\\n[depoly]\\nmode = "ask"'
        >>> ignored_key("depoly", {"mode": "ask"}, keys, text=text, where="a.toml")
        'a.toml, line 2: unknown section [depoly], which is ignored: did you mean [deploy]? The sections are [deploy], [retry]'
        >>> ignored_key("retry.dealy", "3s", keys, text='[retry]\\ndealy = "3s"', where="a.toml")
        'a.toml, line 2: unknown setting "retry.dealy", which is ignored: did you mean "retry.delay"? [retry] takes delay'
    """
    import difflib

    names, line = tuple(keys), _line_of(text, key)
    place = where if line is None else f"{where}, line {line}"
    section, dot, _ = key.rpartition(".")
    if isinstance(value, dict) and not dot:
        sections = tuple(dict.fromkeys(name.partition(".")[0] for name in names if "." in name))
        with_a_key = [name for name in sections if any(f"{name}.{inner}" in names for inner in value)]
        near = difflib.get_close_matches(key, sections, n=1) or difflib.get_close_matches(
            key, with_a_key or sections, n=1, cutoff=0.0 if with_a_key else 0.01
        )
        hint = f"did you mean [{near[0]}]? " if near else ""
        headers = ", ".join(f"[{name}]" for name in sections)
        return f"{place}: unknown section [{key}], which is ignored: {hint}The sections are {headers}"
    what, _, hint = unknown_key(key, names).partition(": ")
    siblings = ", ".join(name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == section)
    return f"{place}: {what}, which is ignored: {hint} {f'[{section}] takes' if dot else 'Above the sections are'} {siblings}"


def _line_of(text: str, dotted_key: str) -> int | None:
    """The line that begins the section, or sets the key; None where it is written in a way that is not looked for."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(_HEADER, line):
            section = header[1]
            if section == dotted_key:
                return number
        elif (setting := re.match(_SETTING, line)) and ".".join(filter(None, (section, setting[1]))) == dotted_key:
            return number
    return None
