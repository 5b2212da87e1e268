"""Find and keep this person's secrets: in the environment, the keyring of their system, or a private file without one.

    DATA_ENGINE_SECRET_DWH    comes first, and is for machines without a person: services, containers, tests
    the keyring               entries of the service "data-engine"
    secrets.json              in this machine's private folder, in plain text, as the file itself says

The file also keeps the names of what was put into the keyring, which cannot be asked for them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_engine import private
from data_engine.errors import FlowValidationError, SecretMissingError, WorkspaceError
from data_engine.files import trouble_of, write_text_atomic
from data_engine.formatting import beginning, cli_line
from data_engine.locks import OsLock
from data_engine.record import frozen
from data_engine.secret import SHORTEST, Secret, is_secret_name
from data_engine.workspace.machine import private_state_root, state_root

SERVICE = "data-engine"
"""The service of the entries in the keyring."""

_LOCK_TIMEOUT_S = 10.0
PREFIX = "DATA_ENGINE_SECRET_"
"""The beginning of environment variables that hold secrets."""

_ABOUT = (
    "Secrets of this user's Data Engine. This machine has no keyring, so the values below are in plain text: only the"
    " modes of this file keep other users from reading them. Change it with `data-engine secret set|remove NAME`."
)


@frozen
class StoredSecret:
    """A secret by its name, and where it is: "environment", "keyring" or "private file"."""

    name: str
    place: str


def find_secret(name: str, where: str | None = None) -> Secret:
    """The secret of this name, as this person has it on this machine; `where` is who asks for it, if no step does.

    Raises:
        SecretMissingError: it is nowhere.
        FlowValidationError: no such name can be, or it is too short to be hidden.
        WorkspaceError: the keyring or the private file cannot be read.
    """
    check_name(name)
    value = os.environ.get(variable_of(name))
    if value:
        return _secret(name, value, variable_of(name))
    keyring = _keyring()
    password = None if keyring is None else _answer(lambda: keyring.get_password(SERVICE, name), name)
    if password:
        return _secret(name, str(password), "the keyring")
    text = _read().get("secrets", {}).get(name)
    if text:
        return _secret(name, str(text), str(_path()))
    raise SecretMissingError(
        f"the secret {name!r} is not on this machine",
        where=where or f"context.secret({name!r})",
        fix=f"{_near(name)}type `{cli_line('secret', 'set', name)}` in a terminal; for a service or a container set {variable_of(name)}",
    )


def _near(name: str) -> str:
    """The beginning of a fix that names the secret that was meant; "" where none is like it."""
    from difflib import get_close_matches

    names = get_close_matches(name, [secret.name for secret in stored_secrets()], n=1)
    return f"did you mean {names[0]}? Else " if names else ""


def has_secret(name: str) -> bool:
    """Whether the secret is on this machine, and can be used."""
    try:
        find_secret(name)
    except FlowValidationError:
        return False
    return True


def set_secret(name: str, value: str) -> str:
    """Keep the secret; gives the place, in words.

    Raises:
        FlowValidationError: no such name can be, or the value is too short to be hidden.
        WorkspaceError: it cannot be kept.
    """
    refuse_twin(name)
    _secret(name, value, "secret set")
    keyring = _keyring()
    if keyring is not None:
        _answer(lambda: keyring.set_password(SERVICE, name, value), name)
        with _changing() as store:
            store["keyring"] = [*(other for other in store["keyring"] if other != name), name]
            store["secrets"].pop(name, None)
        return f"the keyring ({getattr(keyring, 'name', '') or type(keyring).__module__})"
    with _changing() as store:
        store["secrets"][name] = value
    return f"the private file {_path()}, in plain text: {keyring_trouble()}"


def remove_secret(name: str) -> bool:
    """Forget the secret, in the keyring and in the private file; whether it was there. The environment stays as it is.

    Raises:
        FlowValidationError: no such name can be.
        WorkspaceError: it cannot be removed.
    """
    check_name(name)
    keyring = _keyring()
    was_there = False
    if keyring is not None and _answer(lambda: keyring.get_password(SERVICE, name), name) is not None:
        _answer(lambda: keyring.delete_password(SERVICE, name), name)
        was_there = True
    store = _read()
    if name in store["secrets"] or name in store["keyring"]:
        was_there = was_there or name in store["secrets"]
        with _changing() as store:
            store["keyring"] = [other for other in store["keyring"] if other != name]
            store["secrets"].pop(name, None)
    return was_there


def stored_secrets() -> list[StoredSecret]:
    """The secrets that are known here, by name, each with the place it is taken from. No value is asked for.

    Raises:
        WorkspaceError: the private file cannot be read.
    """
    store = _read()
    places = dict.fromkeys(store["secrets"], "private file") | dict.fromkeys(store["keyring"], "keyring")
    for variable in os.environ:
        if variable.startswith(PREFIX) and len(variable) > len(PREFIX):
            same = [name for name in places if variable_of(name) == variable]
            name = same[0] if same else variable.removeprefix(PREFIX).lower()
            places[name] = "environment"
    return [StoredSecret(name, place) for name, place in sorted(places.items())]


def keyring_trouble() -> str | None:
    """Why this machine has no keyring to use, in words; None where it has one."""
    try:
        import keyring
    except ImportError as error:
        return f"keyring cannot be imported ({error})"
    is_none = type(keyring.get_keyring()).__module__ in ("keyring.backends.fail", "keyring.backends.null")
    return "this machine has no keyring for secrets" if is_none else None


def variable_of(name: str) -> str:
    """The environment variable that holds the secret.

    Example:
        >>> variable_of("dwh"), variable_of("ops-mail")
        ('DATA_ENGINE_SECRET_DWH', 'DATA_ENGINE_SECRET_OPS_MAIL')
    """
    return PREFIX + re.sub(r"[.-]", "_", name).upper()


def check_name(name: object) -> str:
    """`name`, when a secret can be called so.

    Raises:
        FlowValidationError: it cannot.
    """
    if isinstance(name, str) and is_secret_name(name):
        return name
    raise FlowValidationError(
        f"a secret cannot be called {beginning(str(name), 60)!r}",
        where="the name of a secret",
        fix="use a letter, then letters, digits, '_', '-' and '.'; the value is asked for, never given with it",
    )


def refuse_twin(name: str) -> None:
    """Refuse a name whose environment variable is that of another secret.

    Raises:
        FlowValidationError: one has, or no secret can be called so.
        WorkspaceError: the private file cannot be read.
    """
    check_name(name)
    store = _read()
    names = {*store["secrets"], *store["keyring"]}
    twin = next((other for other in sorted(names) if variable_of(other) == variable_of(name)), None)
    if name not in names and twin is not None:
        raise FlowValidationError(
            f"the secret {twin!r} is here already, and {name!r} is the same environment variable, {variable_of(name)}",
            where="data-engine secret set",
            fix=f"`{cli_line('secret', 'set', twin)}` changes it; or choose a name that differs in more than its case and its signs",
        )


def _secret(name: str, value: str, where: str) -> Secret:
    if len(value) < SHORTEST:
        raise FlowValidationError(
            f"the secret {name!r} has fewer than {SHORTEST} characters: it could not be hidden in logs",
            where=where,
            fix="use a longer one",
        )
    return Secret(name, value)


def _keyring() -> Any | None:
    """The keyring of this system; None where it has none that keeps anything."""
    if keyring_trouble() is not None:
        return None
    import keyring

    return keyring.get_keyring()


def _answer(ask: Any, name: str) -> Any:
    try:
        return ask()
    except Exception as error:  # each backend has errors of its own
        raise WorkspaceError(
            f"the keyring did not answer for {name!r}: {type(error).__name__}: {error}",
            where="the keyring of this system",
            fix=f"unlock it, or set {variable_of(name)} in the environment",
        ) from None


def _path() -> Path:
    return state_root() / "secrets.json"


def _read() -> dict[str, Any]:
    path = _path()
    empty: dict[str, Any] = {"about": _ABOUT, "keyring": [], "secrets": {}}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return empty
    except (OSError, ValueError) as error:
        raise WorkspaceError(
            f"the file of secrets cannot be read: {trouble_of(error) if isinstance(error, OSError) else 'it is not JSON'}",
            where=str(path),
            fix="remove it, and set the secrets again",
        ) from None
    return empty | content if isinstance(content, dict) else empty


@contextmanager
def _changing() -> Iterator[dict[str, Any]]:
    """The content of the private file, which is written with the changes made inside."""
    private_state_root()
    path = _path()
    lock = OsLock(path.with_suffix(".lock"))
    try:
        lock.wait(timeout_s=_LOCK_TIMEOUT_S)
        store = _read()
        yield store
        write_text_atomic(path, json.dumps(store, indent=2) + "\n", mode=private.FILE)
    except OSError as error:
        raise WorkspaceError(
            f"the file of secrets cannot be written: {trouble_of(error)}", where=str(path), fix="free some space there"
        ) from error
    finally:
        lock.release()
