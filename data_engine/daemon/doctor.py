"""The checks of `data-engine doctor` of a drive and a machine: each says what it measured and what to set.

Everything is tried in a hidden folder that is removed again; what exists is only looked at.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_engine import nofollow, private
from data_engine.answering_process import AnsweringProcess, NoAnswer, ParentProcess
from data_engine.daemon.control import DaemonClient, read_endpoint, silent_daemon
from data_engine.daemon.doctor_checks import (
    Finding,
    check_alerts,
    check_cluster,
    check_config,
    check_duckdb,
    check_packages,
    check_secrets,
    check_service,
    check_system,
    ends_with_its_parent,
    judged,
    stamp_step_s,
    visibility_delay_s,
)
from data_engine.daemon.service import examined, service_facts
from data_engine.deploy.sets import lost_text, mend
from data_engine.engine.left_behind import DATABASES
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, error_of
from data_engine.formatting import cli_line, duration_text, first_few, size_text
from data_engine.lease.folder import (
    GENERATIONS,
    NOT_OURS,
    OsFolder,
    clock_offset_s,
    drive_text,
    probe,
    probe_folder,
    server_ahead_s,
    sync_client,
)
from data_engine.lease.generations import GenerationList
from data_engine.lease.heartbeat_files import HeartbeatFiles
from data_engine.lease.protocol import Damage, Damaged, Generation, ShorterList
from data_engine.ledger.connection import as_ledger_error, connect_to_look, known_list
from data_engine.ledger.migrations import newest_version
from data_engine.ledger.segments import TABLES
from data_engine.ledger.wall_clock import Doubted, KnownClocks, judge, read_known
from data_engine.nofollow import opened
from data_engine.platforms import host
from data_engine.platforms.access import closing_line
from data_engine.platforms.drives import network_drive
from data_engine.reasons.remedies import SILENT_FIX
from data_engine.scheduler.scanner import FileEvents
from data_engine.status.places import recipients_of
from data_engine.workspace.identity import known_local_layout
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout
from data_engine.workspace.machine import load_machine_settings, machine_settings_path, state_root
from data_engine.workspace.settings import LEAST_HEARTBEATS, LeaseSettings, WorkspaceSettings, load_settings
from data_engine.workspace.two_packages import older_version

__all__ = ["Finding", "examine"]

_CLOCKS_AGREE_S = 5.0
_COARSEST_STAMP_S = 1.0  # planning takes times less than a second apart for one
_EVENT_WITHIN_S = 2.0
_LOG_LINES = 5
_SHOWN = 5
_SLOW_FIX = "move what takes long or ends the process out of the module's top level, into a step"
_OTHER_SHARE = "keep the workspace on a drive that has this: a local drive, SMB 3, or NFS 4"


def examine(layout: WorkspaceLayout) -> Iterator[Finding]:
    """Do every check of the workspace and this machine; each finding comes when it is done, nothing raises."""
    settings = WorkspaceSettings()
    try:
        settings = load_settings(layout)
    except FlowValidationError as error:
        yield _of_error("workspace settings", error)
    else:
        yield _of_warnings("workspace settings", str(layout.settings_path), settings.warnings)
    yield check_config(layout)
    yield check_machine_settings()
    yield check_packages(older_version())
    yield check_sync_client(layout.root)
    yield from check_drive(layout.root, settings.lease)
    yield check_databases(layout.databases_dir)
    yield check_state_root()
    yield check_daemon_survives()
    yield from check_system(host.takes_long_paths(), host.sleeps_after_s())
    try:
        local = known_local_layout(layout)
    except FlowValidationError as error:
        yield _of_error("run history", error)
    else:
        yield check_private(() if local is None else local.private_places)
        yield check_ledger(None if local is None else local.ledger_path)
        yield check_age(None if local is None else local.ledger_path, layout.workspace_state_dir)
        if local is not None:
            yield check_daemon(local)
            home = LocalWorkspace(layout, local)
            yield check_service(examined(home, service_facts(home)))
            yield from check_shared_history(layout, local)
            yield check_deployed(home)
            yield check_secrets(local)
            yield check_duckdb(local, layout.databases_dir, settings.databases.storage_version)
        yield from check_cluster(layout, local, settings.executor)
    recipients = yield from check_modules(layout.flow_modules_dir)
    yield from check_alerts([*settings.alerts.to, *recipients])


def check_machine_settings() -> Finding:
    """Whether this machine's settings.toml can be read and holds only what is known."""
    try:
        settings = load_machine_settings()
    except FlowValidationError as error:
        return _of_error("machine settings", error)
    return _of_warnings("machine settings", str(machine_settings_path()), settings.warnings)


def check_deployed(home: LocalWorkspace) -> Finding:
    """Whether all files of what flows run are there as they were deployed, on the share and here."""
    if not home.local.ledger_path.exists():
        return Finding("deployed", True, "nothing is deployed")
    try:
        report = mend(home, may_write=False)
    except (OSError, FlowValidationError) as error:
        return Finding("deployed", None, f"it cannot be read: {error}")
    if report.lost:
        return Finding("deployed", False, lost_text(report.lost), cli_line("deploy"))
    if report.mended:
        names = first_few(list(report.mended), 3)
        measured = (
            f"files of the deployed version of {names} are missing or damaged in .workspace_state or on this machine"
        )
        return Finding("deployed", False, measured, f"{cli_line('deploy')} writes them again")
    return Finding("deployed", True, "all files of what flows run are there as they were deployed")


def check_sync_client(root: Path) -> Finding:
    """Whether the workspace lies in a folder that a sync client copies between machines."""
    client = sync_client(root)
    if client is None:
        return Finding("sync client", True, "not in a folder that OneDrive, Dropbox or another such product copies")
    return Finding(
        "sync client",
        False,
        f"{root} is copied by {client}: machines see changes in different orders, so two could own the workspace at once",
        "move the workspace to a local drive, or to a network drive that every workstation opens",
    )


def check_drive(root: Path, lease: LeaseSettings) -> Iterator[Finding]:
    """Whether the workspace's drive does what the lease and the scans rely on."""
    kind = network_drive(root)
    try:
        with probe_folder(root) as folder:
            yield Finding("drive", True, f"{kind or 'local'}, and this user can write to it")
            yield _measured("one owner", lambda: _one_owner(folder))
            yield _measured("clock", lambda: judge_clock(clock_offset_s(folder)))
            yield _measured("time stamps", lambda: judge_stamps(stamp_step_s(folder)))
            yield _measured("visibility", lambda: judge_visibility(visibility_delay_s(folder), lease))
            yield _measured("file-system events", lambda: _events(folder, kind))
    except OSError as error:
        yield Finding(
            "drive",
            False,
            f"{kind or 'local'}, and nothing can be written to {root}: {error.strerror or error}",
            "make the folder writable for this user; until then nothing that runs here can write its outputs there",
        )


def judge_clock(offset_s: float) -> Finding:
    """Whether the clock of the drive agrees with this machine's."""
    side = "ahead of" if offset_s > 0 else "behind"
    measured = f"the drive's clock is {abs(offset_s):.2f} s {side} this machine's"
    if not round(offset_s, 2):
        measured = "the drive's clock agrees with this machine's"
    fix = "let both take the time from the network (NTP); slots go by these clocks"
    return judged("clock", abs(offset_s) <= _CLOCKS_AGREE_S, measured, fix)


def judge_stamps(step_s: float | None) -> Finding:
    """Whether modification times are fine enough to tell one writing of a file from the next."""
    is_fine, measured = False, "no new time while a file was written for 2 s"
    if step_s is not None:
        is_fine = step_s <= _COARSEST_STAMP_S
        measured = f"a new time {'within' if is_fine else 'only after'} {duration_text(step_s)}"
    fix = (
        "a file that is written again within this time, with the same size, counts as unchanged: "
        "write sources under new names, or keep them on a drive with finer times"
    )
    return judged("time stamps", is_fine, measured, fix)


def smallest_stale_after_s(delay_s: float, heartbeat_s: float) -> int:
    """The shortest safe `[lease] stale_after` when what one process writes is seen by another `delay_s` later.

    The lease bears 20 s of delay at 90 s, clocks that run 10 % apart included, and its limits scale: so four and a half
    times the delay, and never less than `LEAST_HEARTBEATS`.

    Example:
        >>> smallest_stale_after_s(0.01, 30), smallest_stale_after_s(40, 30)
        (90, 180)
    """
    return math.ceil(max(delay_s * 90 / 20, LEAST_HEARTBEATS * heartbeat_s))


def judge_visibility(delay_s: float | None, lease: LeaseSettings) -> Finding:
    """Whether a new file is seen soon enough for the workspace's `stale_after`."""
    if delay_s is None:
        return Finding(
            "visibility", False, "another process did not list a new file within 5 s", "shorten the mount's name caches"
        )
    smallest_s = smallest_stale_after_s(delay_s, lease.heartbeat_s)
    measured = (
        f"another process lists a new file after {duration_text(delay_s)}; smallest safe stale_after {smallest_s} s, "
        f"set is {lease.stale_after_s:g} s"
    )
    fix = f'write stale_after = "{smallest_s}s" below [lease]'
    return judged("visibility", lease.stale_after_s >= smallest_s, measured, fix)


def check_databases(folder: Path) -> Finding:
    """Whether database files lie where locks are not kept."""
    kind = network_drive(folder)
    if kind is None:
        return Finding("databases", True, "on a local drive")
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix in DATABASES)
    except OSError:
        names = []
    if not names:
        return Finding("databases", True, f"no DuckDB files on this network drive ({kind})")
    return Finding(
        "databases",
        False,
        f"DuckDB files on a network drive ({kind}): {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}",
        "keep databases on a local drive and share results as Parquet; locks on network drives do not hold",
    )


def check_state_root() -> Finding:
    """Whether this machine's own folder is local and can be written."""
    try:
        root = state_root()
    except FlowValidationError as error:
        return _of_error("state root", error)
    nearest = next(folder for folder in (root, *root.parents) if folder.exists())
    choose = "set DATA_ENGINE_STATE_ROOT, or state_root in settings.toml, to a folder of yours on a local drive"
    if client := sync_client(root):
        return Finding("state root", False, f"{root} is copied by {client}, which damages a run history in use", choose)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return Finding("state root", True, f"{root}, local and writable")
    except OSError as error:
        return Finding("state root", False, f"{root} cannot be written: {error.strerror or error}", choose)


def check_private(places: Sequence[Path] = ()) -> Finding:
    """Whether other users of this machine can open what it keeps: its state root, and `places` elsewhere."""
    try:
        root = state_root()
        private.check_owner(root)
    except FlowValidationError as error:
        return _of_error("other users", error)
    except OSError as error:
        return Finding("other users", None, f"{error.filename} cannot be checked: {error.strerror}")
    exposures = [exposure for place in dict.fromkeys([root, *places]) for exposure in private.exposures(place)]
    if not exposures:
        return Finding("other users", True, f"none of them can open what is kept in {root}")
    listed = first_few(list(map(str, exposures)), _SHOWN, "; ")
    is_open = [exposure for exposure in exposures if exposure.why != nofollow.FOREIGN]
    repairs = []
    if is_open:
        where = [str(place) for place in dict.fromkeys([root, *places]) if private.exposures(place)]
        repairs.append(f"close it: {closing_line(where)}; a start of the daemon does so too")
    if len(is_open) < len(exposures):
        repairs.append("remove what is not Data Engine's own folder or file; Data Engine never follows or removes it")
    return Finding("other users", False, f"open to other users: {listed}", "; ".join(repairs))


def check_daemon_survives() -> Finding:
    """Whether a process that is started as the daemon is goes on when the one that started it ends."""

    def judge() -> Finding:
        reason = ends_with_its_parent()
        fix = "run `data-engine start` from a terminal or a service instead of from here"
        return judged(name, reason is None, reason or "a detached process went on when its parent ended", fix)

    name = "daemon outlives its parent"
    return _measured(name, judge)


def check_ledger(path: Path | None, *, limit_s: float = 2.0) -> Finding:
    """Whether the run history can be read and is whole; None and a missing file are a history that begins later."""
    if path is None or not path.exists():
        return Finding("run history", True, "none on this machine yet")
    try:
        verdict, version = _quick_check(path, limit_s)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            size = size_text(path.stat().st_size)
            return Finding("run history", None, f"{path} opens; its {size} were not fully checked within {limit_s:g} s")
        return _of_error("run history", as_ledger_error(error, path))
    if verdict != "ok":
        fix = "move the file away; a new history begins without it"
        return Finding("run history", False, f"{path} is damaged: {verdict.splitlines()[-1]}", fix)
    if version > newest_version():
        return Finding("run history", False, f"{path} was written by a newer Data Engine", "update data-engine")
    return Finding("run history", True, f"{path} is whole")


def check_age(ledger: Path | None, shared: Path, *, now_s: float | None = None) -> Finding:
    """Whether this machine's clock is believed where it says that history is too old to keep; `shared` lies on the drive."""
    name = "age of history"
    try:
        known = KnownClocks()
        if ledger is not None and ledger.exists():
            with closing(connect_to_look(ledger)) as connection:
                known = read_known(connection)
        ahead_s = server_ahead_s(shared)
    except (sqlite3.Error, OSError) as error:
        return Finding(name, None, f"could not be judged: {type(error).__name__}: {error}")
    clock = judge(time.time() if now_s is None else now_s, known, server_ahead_s=ahead_s)
    if isinstance(clock, Doubted):
        return Finding(name, False, clock.text, clock.fix)
    return Finding(name, True, "the clock of this machine is trusted")


def check_daemon(local: LocalLayout) -> Finding:
    """Whether the daemon answers, or died or was killed, and what its log says last."""
    endpoint = read_endpoint(local)
    if endpoint is None:
        return Finding("daemon", True, "not running")
    if (client := DaemonClient.connect(local)) is not None:
        client.close()
    elif silent_daemon(local) is not None:
        return Finding("daemon", False, f"pid {endpoint.pid} is there, and does not answer", SILENT_FIX)
    if endpoint.is_alive():
        return Finding("daemon", True, f"running, pid {endpoint.pid}, version {endpoint.version}")
    tail = _tail(local.daemon_log_path) or "nothing"
    return Finding(
        "daemon",
        False,
        f"it died or was killed (pid {endpoint.pid}); {local.daemon_log_path} ends with:\n{tail}",
        "start it again: data-engine start",
    )


def check_modules(folder: Path, *, limit_s: float = 20.0) -> Generator[Finding, None, list[str]]:
    """Whether every flow module can be imported and built, in a process of its own; returns the recipients of their alerts.

    One that takes longer than `limit_s`, or ends the process, keeps those after it from being tried.
    """
    began_s = time.monotonic()
    begun, answer, end = _imported(folder, limit_s)
    if "error" in answer:
        yield _of_error("flow modules", error_of(answer["error"]))
        return []
    if "entries" not in answer:
        yield Finding("flow modules", False, f"{begun or 'the process that imports them'} {end}", _SLOW_FIX)
        return []
    broken = {entry["name"]: entry["error"] for entry in answer["entries"] if entry["error"] is not None}
    count, took = len(answer["entries"]), duration_text(time.monotonic() - began_s)
    yield Finding("flow modules", not broken, f"{count - len(broken)} of {count} import, in {took}")
    for name, error in broken.items():
        yield _of_error(f"flow module {name}", error_of(error))
    return [name for entry in answer["entries"] for name in entry["alerts_to"]]


def _imported(folder: Path, limit_s: float) -> tuple[str, dict[str, Any], str]:
    """The last module that a child process began to import, its answer ({} without one), and how it ended."""
    begun, until_s = "", time.monotonic() + limit_s
    try:
        home = folder if folder.is_dir() else None
        with AnsweringProcess(f"{__name__}:describe", folder=home, owns_session=True) as process:
            answer = json.loads(process.ask(os.fsencode(folder), limit_s))
            while "begin" in answer:
                begun = answer["begin"]
                answer = json.loads(process.receive(max(0.0, until_s - time.monotonic())))
    except NoAnswer as ended:
        if ended.ended_for:
            return begun, {}, f"was not imported within {limit_s:g} s"
        return begun, {}, f"ended the process that imported it (exit code {ended.status})"
    return begun, answer, ""


def describe(asker: ParentProcess) -> None:
    """The child's part: send each module's name before it is imported, and in the end all entries."""
    sys.dont_write_bytecode = True
    folder = Path(os.fsdecode(asker.receive()))
    from data_engine.notebook.catalog import read_catalog
    from data_engine.notebook.load import FlowModules

    def say(**message: Any) -> None:
        asker.send(json.dumps(message).encode())

    try:
        entries = read_catalog(FlowModules(folder), begin=lambda name: say(begin=name))
    except FlowValidationError as error:
        say(error=error.as_dict())
    else:
        say(
            entries=[
                {
                    "name": entry.name,
                    "error": entry.error and entry.error.as_dict(),
                    "alerts_to": [] if entry.flow is None else recipients_of(entry.flow),
                }
                for entry in entries
            ]
        )


def _one_owner(folder: Path) -> Finding:
    wrong = probe(OsFolder(folder))
    good = "folder renames, exclusive creates and replacements are atomic and seen at once"
    measured = f"the workspace can only be observed here: {'; '.join(wrong)}" if wrong else good
    return judged("one owner", not wrong, measured, _OTHER_SHARE)


def _events(folder: Path, kind: str | None) -> Finding:
    if kind is not None:
        return Finding("file-system events", True, f"not expected on a network drive ({kind}); scans find what changed")
    signal, path, events = threading.Event(), folder / "told", FileEvents()
    try:
        if events.watch(folder, lambda changed: signal.set() if changed == str(path) else None, recursive=False):
            path.write_bytes(b"x")
            if signal.wait(_EVENT_WITHIN_S):
                return Finding("file-system events", True, "the drive tells of a new file")
    finally:
        events.close()
    return Finding(
        "file-system events",
        False,
        f"none came within {_EVENT_WITHIN_S:g} s: changes are found by scans, at each flow's interval",
        host.MORE_EVENTS,
    )


def _measured(name: str, check: Callable[[], Finding]) -> Finding:
    """The check's finding; what could not be tried could not be judged."""
    try:
        return check()
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(name, None, f"could not be measured: {type(error).__name__}: {error}")


def _quick_check(path: Path, limit_s: float) -> tuple[str, int]:
    is_in_use = Path(f"{path}-wal").exists()
    connection = connect_to_look(path)
    try:
        until_s = time.monotonic() + limit_s
        connection.set_progress_handler(lambda: time.monotonic() > until_s, 10_000)
        verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()
    if verdict != "ok" and not is_in_use and Path(f"{path}-wal").exists():
        return _quick_check(path, limit_s)  # somebody opened it meanwhile, and it was no longer immutable
    return verdict, version


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_LOG_LINES:])


def _of_error(name: str, error: FlowValidationError) -> Finding:
    return Finding(name, False, f"{error.what} ({error.where})" if error.where else error.what, error.fix)


def _of_warnings(name: str, where: str, warnings: tuple[str, ...]) -> Finding:
    measured = "; ".join(warnings) or f"{where}: no unknown keys"
    return judged(name, not warnings, measured, "correct the key, or remove it")


_REPAIR = "data-engine lease repair"
_NAMED = 3
_NOTICES = ("leases", "leased", "available", "stale", "control_requests", "alarms")
_PLACES = ("", "state", GENERATIONS, *(f"state/{table}" for table in TABLES), *_NOTICES)
_LOOKED_INTO = 50


def check_shared_history(layout: WorkspaceLayout, local: LocalLayout) -> Iterator[Finding]:
    """The list of generations against what this machine has seen, each segment it lists, the heartbeat, and links."""
    folder = OsFolder(layout.workspace_state_dir)
    number, nonce, repairs = _known_list(local.ledger_path)
    generations = GenerationList(folder, max(0, number), nonce=nonce, repairs=repairs)
    try:
        top = generations.top()
        yield _list(generations, top)
        if top is not None:
            yield _heartbeat(folder, local.identity, top)
    except (Damaged, ShorterList) as error:
        damage = Damage.of(error, "")
        fix = {"newer": "update Data Engine on this machine", "foreign": f"remove it, then {_REPAIR}"}
        yield Finding("shared history", False, damage.what, fix.get(damage.kind, _REPAIR))
    except OSError as error:
        if not layout.workspace_state_dir.exists():
            if number > 0:
                yield Finding(
                    "shared history", False, f".workspace_state is gone, generation {number} was seen before", _REPAIR
                )
                return
            yield _list(generations, None)
            return
        yield Finding("shared history", None, f"it cannot be read: {drive_text(error)}")
    yield _foreign(layout.workspace_state_dir)


def _list(generations: GenerationList, top: Generation | None) -> Finding:
    if top is None:
        return Finding("shared history", True, "nobody has owned this workspace yet")
    broken = [f"{table}/{name}" for table, names in generations.broken_segments(top).items() for name in names]
    count = sum(len(segments) for segments in top.files.values())
    if not broken:
        return Finding("shared history", True, f"generation {top.number} and its {count} segments are complete")
    again = generations.top()
    if again is not None and again.nonce != top.nonce:  # it has moved on meanwhile
        return _list(generations, again)
    measured = f"missing or not what was written: {first_few(broken, _NAMED)}"
    return Finding("shared history", False, measured, f"{_REPAIR}, on {top.by.shown}" if top.is_owned else _REPAIR)


def _heartbeat(folder: OsFolder, workspace: str, top: Generation) -> Finding:
    heartbeat_files = HeartbeatFiles(
        folder, workspace, lambda: "", lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )
    lease = heartbeat_files.lease()
    if not top.is_owned:
        return Finding("heartbeat", True, "nobody owns the workspace")
    if heartbeat_files.broken is not None:
        return Finding(
            "heartbeat", False, heartbeat_files.broken.what, f"{top.by.shown} writes it again while its daemon runs"
        )
    if lease is None or lease.token != top.token:
        measured = f"{top.by.shown} owns the workspace, and its heartbeat is missing"
        return Finding("heartbeat", False, measured, f"check whether the daemon of {top.by.shown} is running")
    return Finding("heartbeat", True, f"of {lease.shown}")


def _foreign(state_dir: Path) -> Finding:
    """Links and mount points among the shared files, which nothing follows, and what was found there before."""
    paths: list[str] = []
    places = [*_PLACES, NOT_OURS]
    for place in places:
        try:
            with opened(state_dir, place) as folder:
                entries = folder.entries()
        except OSError:  # not there; or a link, which is named by the folder above it
            continue
        inside = [f"{place}/{entry.name}".lstrip("/") for entry in entries if entry.kind == "folder"]
        places += inside[:_LOOKED_INTO] if place == GENERATIONS else []
        paths += [
            f"{place}/{entry.name}".lstrip("/") for entry in entries if entry.kind == "foreign" or place == NOT_OURS
        ]
    named = first_few(list(dict.fromkeys(paths)), _NAMED)
    foreign = f"in {state_dir}, not Data Engine's and left alone: {named}"
    return judged("links", not paths, foreign if paths else "none among the shared files", "take them away")


def _known_list(ledger: Path) -> tuple[int, str, frozenset[str]]:
    """The list of generations as this machine's ledger knows it; nothing without such a ledger."""
    nothing: tuple[int, str, frozenset[str]] = (-1, "", frozenset())
    if not ledger.exists():
        return nothing
    try:
        with closing(connect_to_look(ledger)) as connection:
            return known_list(connection)
    except (sqlite3.Error, TypeError):
        return nothing
