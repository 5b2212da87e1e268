"""Texts that stand in code under the name of a secret: what is deployed is readable for all who see the workspace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

_SECRETS = frozenset(
    "password passwort passwd pwd kennwort passphrase secret token apikey api_key access_key secret_key private_key auth_key".split()
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_PLACEHOLDER = re.compile(r"<.*>|\{.*\}|\$\{\w+\}|\$[A-Z_]+|%\w+%|[.*x?-]+|(?i:none|null|todo)")
_TAKE_COLUMNS = frozenset("with_columns select agg rename assign alias struct replace format".split())


_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:@/]*:)([^\s@/]+)(@[^\s:/?#]*)")


def written_secrets(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The names of secrets that a statement gives a text, each with its line: assignments, and arguments by keyword; of an address
    that holds a password, the address without it.

    Example:
        >>> list(written_secrets(ast.parse('PASSWORT = "hunter2"\\nconnect(api_key="k3y")')))
        [('PASSWORT', 1), ('api_key', 2)]
        >>> list(written_secrets(ast.parse('pl.read_database_uri(ASK, "postgresql://petra:hunter2@db:5432/shop")')))
        [('postgresql://petra:***@db', 1)]
        >>> list(written_secrets(ast.parse('token_count = "many"\\npassword = context.secret("shop")\\nTOKEN = "token"')))
        []
    """
    parts = list(ast.walk(node))
    told = list(_by_name(parts))
    yield from told
    addresses = [
        (part, part.value)
        for part in parts
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and "://" in part.value
    ]
    if not addresses:
        return
    lines = {line for _, line in told}
    docstrings = {id(part.value) for part in parts if isinstance(part, ast.Expr)}
    for constant, text in addresses:
        for begin, password, end in _ADDRESS.findall(text) if id(constant) not in docstrings else ():
            if constant.lineno not in lines and not _is_placeholder(password):
                yield f"{begin}***{end}", constant.lineno


def _by_name(parts: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    for part in parts:
        if isinstance(part, (ast.Assign, ast.AnnAssign)):
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            names = [name for target in targets if (name := _name(target)) is not None]
            value = part.value
        elif isinstance(part, ast.Call):
            called = part.func.attr if isinstance(part.func, ast.Attribute) else ""
            for word in part.keywords if called not in _TAKE_COLUMNS else ():
                if word.arg is not None and _is_secret(word.arg, word.value):
                    yield word.arg, word.value.lineno
            continue
        else:
            continue
        for name in names:
            if value is not None and _is_secret(name, value):
                yield name, part.lineno


def secret_words(name: str) -> tuple[str, str]:
    """What is said of a text that stands under the name of a secret, and the fix."""
    return (
        f"`{name}` holds a secret as plain text: a deployment holds the code, readable for all who see the workspace's folder",
        'keep it with `data-engine secret set NAME`, and read it in a step with context.secret("NAME"); if it was deployed or'
        " committed, change it where it is valid first",
    )


def is_name_of_secret(name: str) -> bool:
    """Whether a name says that it is a secret: by how it ends.

    Example:
        >>> [is_name_of_secret(name) for name in ("DB_PASSWORD", "apiKey", "shop_token", "secret")]
        [True, True, True, True]
        >>> [is_name_of_secret(name) for name in ("token_count", "password_column", "key", "secretary", "SECRET_NAME")]
        [False, False, False, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and (words[-1] in _SECRETS or "_".join(words[-2:]) in _SECRETS)


def _is_secret(name: str, value: ast.expr) -> bool:
    if not isinstance(value, ast.Constant) or not isinstance(value.value, str) or not is_name_of_secret(name):
        return False
    text = value.value.strip()
    return bool(text) and not _is_placeholder(text)


def _is_placeholder(text: str) -> bool:
    """Whether a text only stands for a secret, or is the name of a column, a setting, a variable."""
    is_name = is_name_of_secret(text) and (text.isidentifier() or " " in text)
    return is_name or _PLACEHOLDER.fullmatch(text) is not None


def _name(target: ast.expr) -> str | None:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return target.slice.value if isinstance(target.slice.value, str) else None
    return None
