"""This machine's state folder, name and settings file.

Example of `settings.toml` in the machine's config folder:

    collection_root = "/mnt/team/workspaces"   # the folder whose children are workspaces
    default_workspace = "claims"               # its name in that folder
    state_root = "/var/lib/data_engine/ann"    # on a local drive, for this user alone
    [daemon]
    requests = "all"                           # what others may ask this machine to do: "all" | "no-deploy" | "off"
"""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

from data_engine import private
from data_engine.errors import SettingsError, WorkspaceError
from data_engine.files import create_exclusive, trouble_of, write_text_atomic
from data_engine.platforms.drives import network_drive
from data_engine.platforms.host import host_name, user_name
from data_engine.platforms.names import with_home
from data_engine.record import frozen
from data_engine.workspace.settings import changed_toml, ignored_key, parse_toml, read_toml_text, unknown_key


@frozen
class MachineSettings:
    """`settings.toml` of this machine. What is not set is None; `warnings` name unknown keys."""

    collection_root: Path | None = None
    default_workspace: str | None = None
    state_root: Path | None = None
    requests: str = "all"
    warnings: tuple[str, ...] = ()


REQUESTS = ("all", "no-deploy", "off")
_KEYS = tuple(field.name for field in fields(MachineSettings) if field.name not in ("warnings", "requests"))
_FOLDER_KEYS = ("collection_root", "state_root")


def state_root() -> Path:
    """This machine's own folder: DATA_ENGINE_STATE_ROOT, else `state_root` in settings.toml, else the platform's place
    for such things, and in it a folder per host name. Nothing is made.

    Raises:
        WorkspaceError: it lies on a network drive, or is a relative path.

    Reference: SQLite needs file locks that network drives do not keep, https://www.sqlite.org/faq.html#q5
    """
    if value := os.environ.get("DATA_ENGINE_STATE_ROOT", "").strip():
        base, where = absolute_folder(value, where="DATA_ENGINE_STATE_ROOT"), "DATA_ENGINE_STATE_ROOT"
    elif stored := load_machine_settings().state_root:
        base, where = stored, f"{machine_settings_path()}: state_root"
    else:
        base, where = _platform_state_root(), "the platform's folder for application state"
    if base not in _local:
        refuse_network_drive(base, where=where)
        _local.add(base)
    return base / host_folder_name(host_name())


_local: set[Path] = set()
"""State roots that were found on a local drive by this process, which asks the mount table once."""


def private_state_root() -> Path:
    """`state_root()`, made or repaired so that no other user can enter it.

    Raises:
        WorkspaceError: as `state_root`; or it belongs to another user, or cannot be made or repaired.
    """
    root = state_root()
    try:
        private.settle(root)
    except OSError as error:
        raise WorkspaceError(
            f"this machine cannot remember its workspaces: {error.strerror or error}",
            where=str(root),
            fix="make the state root writable or set DATA_ENGINE_STATE_ROOT to another folder on a local drive",
        ) from error
    return root


def person() -> tuple[str, str]:
    """Who runs this process, as the operating system knows them, and the name of this machine."""
    return user_name(), os.environ.get("DATA_ENGINE_MACHINE_ID", "").strip() or host_name()


def machine_id(root: Path | None = None) -> str:
    """DATA_ENGINE_MACHINE_ID, else a name made once per state root: a new state root is a new machine.

    `root` is the state root, for callers that know it.

    Raises:
        WorkspaceError: the name cannot be kept, or what was kept is not a name.
    """
    if value := os.environ.get("DATA_ENGINE_MACHINE_ID", "").strip():
        return _checked_machine_id(value, where="DATA_ENGINE_MACHINE_ID")
    path = (root or state_root()) / "machine_id"
    try:
        if not path.exists():
            private.settle(path.parent)
            create_exclusive(path, f"{path.parent.name}-{os.urandom(6).hex()}\n", mode=private.FILE)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(
            f"this machine's name cannot be kept: {trouble_of(error)}",
            where=str(path),
            fix="make the state root writable or set DATA_ENGINE_STATE_ROOT to another folder on a local drive",
        ) from error
    return _checked_machine_id(text.strip(), where=str(path))


def load_machine_settings() -> MachineSettings:
    """The settings in this machine's settings.toml; all None without the file.

    Raises:
        SettingsError: not TOML, a value that is no text, or a folder that is no absolute path.
    """
    path = machine_settings_path()
    text = read_toml_text(path)
    return MachineSettings() if text is None else _parsed(text, str(path))


def save_machine_settings(**changes: Path | str | None) -> MachineSettings:
    """Change these keys of settings.toml, its comments and order kept; None takes a key out.

    Raises:
        SettingsError: an unknown key or a wrong value; the file stays as it was.
    """
    path = machine_settings_path()
    text = read_toml_text(path) or ""
    for key, value in changes.items():
        if key not in _KEYS:
            raise SettingsError(unknown_key(key, _KEYS), where=str(path), fix=f"use one of {', '.join(_KEYS)}")
        text = changed_toml(text, key, value if value is None else str(value), where=str(path))
    settings = _parsed(text, str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, text)
    except OSError as error:
        raise SettingsError(
            f"the machine's settings cannot be written: {trouble_of(error)}",
            where=str(path),
            fix="make that folder writable",
        ) from error
    return settings


def machine_settings_path() -> Path:
    """Where this machine's settings.toml is or would be."""
    import platformdirs

    return platformdirs.user_config_path("data_engine", appauthor=False) / "settings.toml"


def absolute_folder(text: str | Path, *, where: str) -> Path:
    """`text` with `~` expanded.

    Raises:
        WorkspaceError: a relative path would mean another folder to every process.
    """
    path = Path(with_home(text))
    if not path.is_absolute() or "\0" in str(path):
        raise WorkspaceError(f"{str(text)!r} is not an absolute path", where=where, fix="give the full path")
    return path


def refuse_network_drive(path: Path, *, where: str) -> None:
    """Refuse a path on a network drive, existing or not.

    Raises:
        WorkspaceError: the path lies on a network drive.
    """
    kind = network_drive(path)
    if kind is not None:
        raise WorkspaceError(
            f"{path} is on a network drive ({kind}), where the run history would be damaged",
            where=where,
            fix="set DATA_ENGINE_STATE_ROOT, or state_root in settings.toml, to a folder on a local drive",
        )


def host_folder_name(host: str) -> str:
    """The host's name as a folder name: lower case, without what some drive refuses.

    Example:
        >>> host_folder_name("Ann's Mac.local"), host_folder_name("")
        ('ann-s-mac.local', 'host')
    """
    name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in host.strip().lower())
    return name.strip(".-") or "host"


def _platform_state_root() -> Path:
    import platformdirs

    if os.environ.get("XDG_STATE_HOME", "").strip():
        return platformdirs.user_state_path("data_engine", appauthor=False)
    return platformdirs.user_data_path("data_engine", appauthor=False)


def _checked_machine_id(text: str, *, where: str) -> str:
    if (
        not text
        or len(text) > 100
        or text in (".", "..")
        or any(c in '/\\:*?"<>|' or not c.isprintable() for c in text)
    ):
        remake = "" if where == "DATA_ENGINE_MACHINE_ID" else ", or delete that file to get a new name"
        raise WorkspaceError(
            f"{text!r} cannot be a machine's name",
            where=where,
            fix=f"use 1 to 100 letters, digits, spaces, '-', '_' or '.'{remake}",
        )
    return text


def _parsed(text: str, where: str) -> MachineSettings:
    document = parse_toml(text, where=where)
    values: dict[str, str] = {}
    for key in _KEYS:
        value = document.get(key, "")
        if not isinstance(value, str):
            raise SettingsError(
                f"{key} is {value!r}, which is not a text", where=f"{where}: {key}", fix=f'write {key} = "..."'
            )
        if value.strip():
            values[key] = value.strip()
    folders = {key: Path(with_home(values[key])) for key in _FOLDER_KEYS if key in values}
    for key, folder in folders.items():
        if not folder.is_absolute():
            raise SettingsError(
                f"{values[key]!r} is not an absolute path", where=f"{where}: {key}", fix="give the full path"
            )
    requests = _requests(document.get("daemon", {}), where)
    known = (*_KEYS, "daemon.requests")
    entries = {key: value for key, value in document.items() if key != "daemon"}
    entries |= {f"daemon.{key}": value for key, value in document.get("daemon", {}).items()}
    return MachineSettings(
        collection_root=folders.get("collection_root"),
        default_workspace=values.get("default_workspace"),
        state_root=folders.get("state_root"),
        requests=requests,
        warnings=tuple(
            ignored_key(key, value, known, text=text, where=where) for key, value in entries.items() if key not in known
        ),
    )


def _requests(daemon: object, where: str) -> str:
    """The kinds of requests that others may send this machine's daemons."""
    value = daemon.get("requests", "all") if isinstance(daemon, dict) else None
    if value not in REQUESTS:
        raise SettingsError(
            f"[daemon] requests is {value!r}",
            where=f"{where}: daemon.requests",
            fix='write requests = "all", "no-deploy" or "off" below [daemon]',
        )
    return str(value)
