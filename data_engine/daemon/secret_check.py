"""Which secrets the deployed flows ask for, read from their code without running it, and which of them this machine lacks."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from data_engine.daemon.finding import Finding
from data_engine.errors import FlowValidationError
from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.deployments import published_in
from data_engine.notebook.history import live
from data_engine.notebook.module_sets import read_contents
from data_engine.notebook.read import read_cells
from data_engine.workspace.layout import LocalLayout
from data_engine.workspace.secret_store import has_secret, keyring_trouble


def check_secrets(local: LocalLayout) -> Finding:
    """Whether each secret that a deployed flow asks for is on this machine; the history is only looked at."""
    try:
        asked = _asked_by_deployed(local)
        missing = {name: flows for name, flows in asked.items() if not has_secret(name)}
    except (FlowValidationError, OSError, sqlite3.Error) as error:
        return Finding("secrets", None, f"they cannot be checked: {error}")
    trouble = keyring_trouble()
    place = "in this system's keyring" if trouble is None else f"in a private file, as {trouble}"
    if missing:
        told = "; ".join(f"{name} ({', '.join(sorted(flows))})" for name, flows in sorted(missing.items()))
        return Finding(
            "secrets", False, f"missing on this machine: {told}", f"data-engine secret set {min(missing)}, and so on"
        )
    return Finding("secrets", True, f"{len(asked)} used by deployed flows, all on this machine; they are kept {place}")


def secrets_in(name: str, data: bytes) -> set[str]:
    """The secrets that a module's code asks for by name: `context.secret("dwh")`, and fields of type `Secret`.

    Example:
        >>> sorted(secrets_in("a.py", b"class S:\\n  dwh: Secret\\ndef f(c):\\n  c.secret('mail')"))
        ['dwh', 'mail']
    """
    found: set[str] = set()
    for text in _texts(name, data):
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "secret":
                found |= {
                    one.value for one in node.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)
                }
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_secret(node.annotation):
                found.add(node.target.id)
    return found


def _is_secret(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant):
        return annotation.value == "Secret"
    return getattr(annotation, "id", getattr(annotation, "attr", "")) == "Secret"


def _texts(name: str, data: bytes) -> Iterator[str]:
    if not name.endswith(".ipynb"):
        yield data.decode("utf-8", "replace")
        return
    try:
        yield from (cell.text for cell in read_cells(data, path=Path(name)))
    except FlowValidationError:
        return


def _asked_by_deployed(local: LocalLayout) -> dict[str, set[str]]:
    if not local.ledger_path.exists():
        return {}
    with closing(connect_to_look(local.ledger_path)) as connection:
        deployed = live(published_in(connection))
    asked: dict[str, set[str]] = {}
    for flow, deployment in deployed.items():
        folder = local.runtime_dir / "deployments" / deployment.set_id
        contents = read_contents(folder)[0] if folder.is_dir() else {}
        for name, data in contents.items():
            if Path(name).stem == flow or "/" in name:
                for secret in secrets_in(name, data):
                    asked.setdefault(secret, set()).add(flow)
    return asked
