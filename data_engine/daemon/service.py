"""This machine's service of a workspace: what starts its daemon at logon, and again when it dies.

The system's manager only knows a command line, `python -m data_engine.daemon --service RECORD`; all else is in the record, a
private file in the workspace's folder of this machine: which workspace, and what of the environment the daemon starts with.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from data_engine import private
from data_engine.daemon.control import forget_stop, read_endpoint, was_stopped
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import WorkspaceError
from data_engine.files import trouble_of, write_text_atomic
from data_engine.platforms.drives import lasting
from data_engine.platforms.service import Definition, RefusedError, ServiceManager, service_manager
from data_engine.record import frozen
from data_engine.status.record import ServiceFacts, ServiceState
from data_engine.workspace.layout import LocalLayout, is_workspace

_VARIABLES = (
    "PATH PYTHONUTF8 LANG LC_ALL TZ XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME DATA_ENGINE_STATE_ROOT "
    "DATA_ENGINE_RUNTIME_ROOT DATA_ENGINE_RUNTIME_DB_PATH DATA_ENGINE_MACHINE_ID"
).split()
"""The variables that decide where things are; no others are kept, so that no secret is."""
_INSTALL_AGAIN = "run `data-engine service install` in the right environment"
KEYRING_NOTE = (
    "before a person logs on, a keyring may be locked: flows that run then find secrets only in "
    "DATA_ENGINE_SECRET_<NAME> or in a file"
)


@frozen
class ServiceRecord:
    """The daemon that a service starts. `turned_boot_on`: before `--boot` this user's services did not start with the machine."""

    workspace_root: str
    identity: str
    python: str
    environment: Mapping[str, str]
    turned_boot_on: bool = False


@frozen
class Installed:
    """The outcome of an installation; `why_no_boot` where the service cannot start before its user logs on."""

    changed: bool
    place: Path
    kind: str
    boot: bool
    why_no_boot: str | None = None


def install(home: LocalWorkspace, *, boot: bool = False, manager: ServiceManager | None = None) -> Installed:
    """Let the workspace's daemon start at logon, and now; the same again changes nothing.

    Raises:
        WorkspaceError: this Python does not find Data Engine by itself, or the system's manager is not there or refuses.
    """
    manager = manager or service_manager()
    _require_usable(sys.executable)
    local, before = home.local, read_record(home.local.service_path)
    record = record_of(home)
    if before is not None:
        record = replace(record, turned_boot_on=before.turned_boot_on)
    definition = _definition(manager, local, record)
    with _with_fix(home):
        if is_new := record != before:
            write_record(local, record)
        forget_stop(local)
        try:
            has_changed = manager.install(definition) or is_new
        except (RefusedError, OSError):
            _take_back(manager, definition, local, before)
            raise
        had_boot, why = manager.starts_at_boot(), None
        if boot and not had_boot:
            why = manager.why_no_boot
            if why is None:
                try:
                    manager.start_at_boot(True)
                except RefusedError as error:
                    why = f"this system does not allow it: {error}"
                else:
                    write_record(local, replace(record, turned_boot_on=True))
                    had_boot = has_changed = True
    return Installed(has_changed, manager.place(definition), manager.kind, had_boot, why)


def uninstall(home: LocalWorkspace, *, manager: ServiceManager | None = None) -> bool:
    """Remove the service, so that no daemon starts by itself; whether there was one. A daemon that runs goes on until it is idle.

    Raises:
        WorkspaceError: the system's manager refuses.
    """
    manager = manager or service_manager()
    local, record = home.local, read_record(home.local.service_path)
    definition = _definition(manager, local, record)
    with _with_fix(home):
        was_there = manager.remove(definition)
        if record is not None and record.turned_boot_on and not _others(manager, definition):
            manager.start_at_boot(False)
        local.service_path.unlink(missing_ok=True)
    return was_there or record is not None


def start_service(local: LocalLayout, *, manager: ServiceManager | None = None) -> None:
    """Let an installed service of the workspace stand by for the daemon that was just started; nothing without one."""
    record = read_record(local.service_path)
    if record is not None:
        manager = manager or service_manager()
        with suppress(RefusedError):  # `service status` tells of a manager that is not there
            manager.start(_definition(manager, local, record))


def service_facts(home: LocalWorkspace, *, is_serving: bool | None = None) -> ServiceFacts:
    """The facts of the workspace's service, without asking its manager; `is_serving` where the daemon itself knows."""
    local, record = home.local, read_record(home.local.service_path)
    if record is None:
        return ServiceFacts()
    trouble = fix = None
    if not os.path.exists(record.python):
        trouble, fix = f"its Python is gone: {record.python}", _INSTALL_AGAIN
    elif is_serving is None and _was_left_behind(record, home):
        trouble, fix = f"it waits for the workspace at {record.workspace_root}", "data-engine service install"
    state: ServiceState
    if is_serving is None:
        endpoint = read_endpoint(local)
        is_running = endpoint is not None and endpoint.is_alive()
        state = "waiting" if is_running else "stopped" if was_stopped(local) else "off"
    else:
        state = "serving" if is_serving else "waiting"
    return ServiceFacts(True, state, record.python, trouble, fix)


def examined(home: LocalWorkspace, facts: ServiceFacts, *, manager: ServiceManager | None = None) -> ServiceFacts:
    """The facts with what the system's manager says, and whether the service's Python still finds Data Engine."""
    if not facts.installed:
        return facts
    manager = manager or service_manager()
    definition = _definition(manager, home.local, read_record(home.local.service_path))
    place = str(manager.place(definition))
    facts = replace(facts, kind=manager.kind, place=place)
    if facts.trouble is None and (why := why_unusable(str(facts.python))):
        facts = replace(facts, trouble=f"its Python cannot run Data Engine: {why}", fix=_INSTALL_AGAIN)
    try:
        trouble = manager.trouble(definition)
        facts = replace(facts, boot=manager.starts_at_boot())
    except RefusedError as error:
        return facts if facts.trouble else replace(facts, trouble=str(error), fix=_NO_MANAGER)
    if facts.trouble is None and trouble is not None:
        facts = replace(facts, trouble=trouble, fix="data-engine service install")
    return facts


def record_of(home: LocalWorkspace) -> ServiceRecord:
    """The record of a service of this workspace that this Python installs with this environment."""
    return ServiceRecord(
        str(lasting(home.layout.root)),
        home.local.identity,
        sys.executable,
        {name: value for name in _VARIABLES if (value := os.environ.get(name))},
    )


def write_record(local: LocalLayout, record: ServiceRecord) -> None:
    """Keep what the service starts, for this user alone.

    Raises:
        OSError: it cannot be written.
    """
    private.make_folder(local.runtime_dir)
    write_text_atomic(local.service_path, json.dumps(asdict(record), indent=1) + "\n", mode=private.FILE)


def read_record(path: Path) -> ServiceRecord | None:
    """The record of the service at this path; None where none is installed."""
    try:
        return ServiceRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def why_unusable(python: str) -> str | None:
    """Why this Python does not run Data Engine with nothing but its own libraries; None where it does."""
    from data_engine.daemon.environment import try_python

    if not os.path.exists(python):
        return f"there is no {python}"
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return try_python(python, "import data_engine.daemon.daemon", alone)[1]


def command_of(record_path: Path, python: str) -> tuple[str, ...]:
    """The command line that the manager runs."""
    return (python, "-P", "-m", "data_engine.daemon", "--service", str(record_path))


_NO_MANAGER = (
    "log on to this machine directly (not by su or sudo); on a machine without such a manager, let whatever starts "
    "programs there run `data-engine start`"
)


@contextmanager
def _with_fix(home: LocalWorkspace) -> Iterator[None]:
    """Inside, what a manager or the disk refuses becomes an error with its fix."""
    where = home.layout.workspace_id
    try:
        yield
    except RefusedError as error:
        what = f"the service of {where} was not changed: {error}"
        raise WorkspaceError(what, where="service", fix=_NO_MANAGER) from None
    except OSError as error:
        file = str(error.filename or home.local.runtime_dir)
        what = f"the service of {where} cannot be written: {trouble_of(error)}"
        raise WorkspaceError(what, where=file, fix="make it writable") from error


def _was_left_behind(record: ServiceRecord, home: LocalWorkspace) -> bool:
    """Whether the workspace was moved away from where the service looks for it."""
    is_elsewhere = record.workspace_root != str(lasting(home.layout.root))
    return is_elsewhere and not is_workspace(record.workspace_root)


def _take_back(
    manager: ServiceManager, definition: Definition, local: LocalLayout, before: ServiceRecord | None
) -> None:
    """Leave nothing of an installation that failed."""
    with suppress(RefusedError, OSError):
        if before is not None:
            write_record(local, before)
        else:
            local.service_path.unlink(missing_ok=True)
            manager.remove(definition)


def _require_usable(python: str) -> None:
    if why := why_unusable(python):
        raise WorkspaceError(
            f"this Python does not find Data Engine by itself: {why}",
            where=python,
            fix=f"install it there: {python} -m pip install data-engine",
        )


def _definition(manager: ServiceManager, local: LocalLayout, record: ServiceRecord | None) -> Definition:
    python = manager.program(record.python if record is not None else sys.executable)
    root = record.workspace_root if record is not None else ""
    return Definition(
        f"data-engine-{local.identity}",
        f"Data Engine: {local.workspace_id} ({root})",
        command_of(local.service_path, python),
        local.runtime_dir,
    )


def _others(manager: ServiceManager, definition: Definition) -> bool:
    """Whether other workspaces have services of this kind."""
    place = manager.place(definition)
    return any(place.parent.glob(f"data-engine-*{place.suffix}"))
