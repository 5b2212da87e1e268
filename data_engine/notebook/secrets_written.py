"""Finds texts in code under the name of a secret: all who see the workspace can read what is deployed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

_SECRETS = frozenset(
    "password passwort passwd pwd kennwort passphrase secret token apikey api_key access_key secret_key private_key auth_key account_key".split()
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_PLACEHOLDER = re.compile(r"<.*>|\{.*\}|\$\{\w+\}|\$[A-Z_]+|%\w+%|[.*x?-]+|(?i:none|null|todo)|")
_PART_OF_NAME = re.compile("|".join(_SECRETS).replace("_", "_?"), re.IGNORECASE)
_TAKE_COLUMNS = frozenset("with_columns select agg rename assign alias struct replace format".split())


def written_secrets(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The names of secrets that code gives a text, each with its line: in assignments, and in arguments by keyword.

    Example:
        >>> list(written_secrets(ast.parse('PASSWORT = "hunter2"\\nconnect(api_key="k3y")')))
        [('PASSWORT', 1), ('api_key', 2)]
        >>> list(written_secrets(ast.parse('token_count = "many"\\npassword = context.secret("shop")\\nTOKEN = "token"')))
        []
    """
    for part in ast.walk(node):
        named: list[tuple[str | None, ast.expr | None]] = []
        if isinstance(part, ast.Assign):
            named = [(_name(target), part.value) for target in part.targets]
        elif isinstance(part, ast.AnnAssign):
            named = [(_name(part.target), part.value)]
        elif isinstance(part, ast.Call) and getattr(part.func, "attr", "") not in _TAKE_COLUMNS:
            named = [(word.arg, word.value) for word in part.keywords]
        for name, value in named:
            if name is not None and value is not None and is_name_of_secret(name) and _is_secret(value):
                yield name, value.lineno


def may_name_secret(text: str) -> bool:
    """Whether a text holds a part of such a name; code without one need not be searched."""
    return _PART_OF_NAME.search(text) is not None


def secret_words(name: str) -> tuple[str, str]:
    """The warning of a text under the name of a secret, and the fix."""
    return (
        f"`{name}` holds a secret as plain text: a deployment holds the code, and everybody who sees the workspace's folder can read it",
        'keep it with `data-engine secret set NAME`, and read it in a step with context.secret("NAME"); if it was deployed or'
        " committed, change the secret itself first",
    )


def is_name_of_secret(name: str) -> bool:
    """Whether a name says that it is a secret: by how it ends.

    Example:
        >>> [is_name_of_secret(name) for name in ("DB_PASSWORD", "apiKey", "token_count", "secretary")]
        [True, True, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and (words[-1] in _SECRETS or "_".join(words[-2:]) in _SECRETS)


def _is_secret(value: ast.expr) -> bool:
    """Whether a value is a text, and no placeholder or name of a column, a setting or a variable."""
    text = value.value.strip() if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
    return _PLACEHOLDER.fullmatch(text) is None and not (
        is_name_of_secret(text) and (text.isidentifier() or " " in text)
    )


def _name(target: ast.expr) -> str | None:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    key = target.slice if isinstance(target, ast.Subscript) else None
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
