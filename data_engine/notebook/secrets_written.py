"""Texts that stand in code under the name of a secret: what is deployed is readable for all who see the workspace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence

_SECRETS = frozenset(
    "password passwort passwd pwd kennwort passphrase secret token apikey api_key access_key secret_key private_key auth_key account_key".split()
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_PLACEHOLDER = re.compile(r"<.*>|\{.*\}|\$\{\w+\}|\$[A-Z_]+|%\w+%|[.*x?-]+|(?i:none|null|todo)|%[sr]|%\(\w+\)s")
_TAKE_COLUMNS = frozenset("with_columns select agg rename assign alias struct replace format".split())
_OF_CONNECTIONS = frozenset(
    "driver server host hostname hostaddr datasource dsn uid user userid username login database dbname initialcatalog port"
    " provider account accountname endpoint endpointurl region awsregion awsaccesskeyid clientid tenantid".split()
)
"""Names beside which a password is one of a connection, in small letters and without `_` and blanks."""
_CONNECTIONS = frozenset("options args kwargs credentials credential connection auth secrets login".split())
"""How a dictionary is called that says how something is connected to: its last word."""
_TYPES = frozenset(
    "str string utf8 text varchar char object category binary bytes int float bool count first last".split()
)
"""What stands in a dictionary for a type, or what is made of a column."""
_MAY_BE_CONNECTION = re.compile(r"(?i)(?:passw|pwd|passphrase|kennwort|secret|token|key)\w*\s*=\s*\S")
_ODBC = re.compile(r"\s*([A-Za-z][\w ]*?)\s*=\s*(\{(?:[^}]|\}\})*\}|[^;]*)\s*(?:;|$)|\s*(\{\})\s*(?:;|$)|\s*;|\s+$")
_LIBPQ = re.compile(r"\s*([A-Za-z]\w*)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s';]+)(?:\s+|$)|\s*(\{\})(?:\s+|$)")
_QUERY = re.compile(r"[?&;]([A-Za-z]\w*)=(\{(?:[^}]|\}\})*\}(?=[;&]|$)|[^&;#\s]+)")
_BRACED = re.compile(r"\{(?!\{.*\}\}$)(?:[^}]|\}\})*\}", re.DOTALL)
"""A value of ODBC in braces, in which one that ends it is doubled; not in those that stand for braces where values are put in."""
_FIELD = re.compile(r"[\w.\[\]]*(?:![rsa])?(?::[^{}]*)?")
"""What `str.format` puts a value in place of, where it stands in braces."""
_TRACE = re.compile(r"(?i)://|passw|pwd|passphrase|kennwort|secret|token|key")
"""What stands wherever a secret is written, unless by an escape or by letters that Python takes for these."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s:@/]*:)([^\s@/]+)(@[^\s:/?#]*)")


def may_write_secrets(text: str) -> bool:
    """Whether `written_secrets` has to look at code with this text; most has neither such a name nor an address.

    Example:
        >>> may_write_secrets('frame.rename({"a": "b"})'), may_write_secrets('APIKEY = "k3y"'), may_write_secrets('"a://b:c@d"')
        (False, True, True)
    """
    return "\\" in text or not text.isascii() or _TRACE.search(text) is not None


def written_secrets(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The names of secrets that a statement gives a text, each with its line: assignments, arguments by keyword, and entries of a
    dictionary that says how something is connected to; of an address that holds a password, the address without it, and of
    another text that connects (ODBC, libpq) the password's name.

    Example:
        >>> list(written_secrets(ast.parse('PASSWORT = "hunter2"\\nconnect(api_key="k3y")')))
        [('PASSWORT', 1), ('api_key', 2)]
        >>> list(written_secrets(ast.parse('pl.read_database_uri(ASK, "postgresql://petra:hunter2@db:5432/shop")')))
        [('postgresql://petra:***@db', 1)]
        >>> list(written_secrets(ast.parse('odbc("DSN=shop;UID=petra;PWD=hunter2")\\npg("host=db password=hunter2")')))
        [('PWD=***', 1), ('password=***', 2)]
        >>> list(written_secrets(ast.parse('scan(storage_options={"aws_secret_access_key": "k3y"})')))
        [('aws_secret_access_key', 1)]
        >>> list(written_secrets(ast.parse('token_count = "many"\\npassword = context.secret("shop")\\nTOKEN = "token"')))
        []
        >>> list(written_secrets(ast.parse('odbc(f"DSN=shop;UID=petra;PWD={password}")\\nodbc("DSN=shop;PWD=" + password)')))
        []
    """
    parts = list(ast.walk(node))
    texts = [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]
    if not texts:
        return
    told = list(_by_name(parts))
    if any(isinstance(part, ast.Dict) for part in parts):
        told += _in_dictionaries(parts)
    yield from told
    if not any("=" in text or "://" in text for text in texts):
        return
    lines = {line for _, line in told}
    yield from (one for one in _in_texts(parts) if one[1] not in lines)


def _in_texts(parts: Sequence[ast.AST]) -> Iterator[tuple[str, int]]:
    """The addresses without their passwords, and the names of passwords in other texts that connect."""
    for text, line in _texts(parts):
        for begin, password, end in _ADDRESS.findall(text) if "://" in text else ():
            if not _is_placeholder(password):
                yield f"{begin}***{end}", line
        for name, value in _connecting(text) if _MAY_BE_CONNECTION.search(text) else ():
            if is_name_of_secret(name) and value and not _is_placeholder(value):
                yield f"{name}=***", line


def _texts(parts: Sequence[ast.AST]) -> Iterator[tuple[str, int]]:
    """The texts that are no docstrings, each with its line; what is put into one, or added to it, is `{}`."""
    seen = {id(part.value) for part in parts if isinstance(part, ast.Expr)}
    for part in parts:  # what is put together comes before its pieces
        is_added = isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add)
        if id(part) in seen or not (is_added or isinstance(part, (ast.JoinedStr, ast.Constant))):
            continue
        if (text := _text(part, seen)) is not None and ("://" in text or "=" in text):
            yield text, part.lineno  # type: ignore[attr-defined]  # each of the three has one


def _text(part: ast.AST, seen: set[int]) -> str | None:
    """The text that a constant is, or that is put together of pieces; None where none of them is one. Marks the pieces as seen."""
    if isinstance(part, ast.Constant):
        seen.add(id(part))
        return part.value if isinstance(part.value, str) else None
    if isinstance(part, ast.JoinedStr):
        pieces = [_text(one, seen) for one in part.values]
    elif isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
        pieces = [_text(part.left, seen), _text(part.right, seen)]
    else:
        return None
    seen.add(id(part))
    return None if all(one is None for one in pieces) else "".join("{}" if one is None else one for one in pieces)


def _connecting(text: str) -> list[tuple[str, str]]:
    """The names and values of a text that connects to something; none of another text.

    Example:
        >>> _connecting("DRIVER={ODBC Driver 18};SERVER=db;PWD=hunter2;")[-1], _connecting("host=db password='hunter 2'")[-1]
        (('PWD', 'hunter2'), ('password', 'hunter 2'))
        >>> _connecting("jdbc:sqlserver://db;user=sa;password=hunter2"), _connecting("update users set password = 'hunter2'")
        ([('user', 'sa'), ('password', 'hunter2')], [])
        >>> _connecting("DRIVER={SQL Server};PWD={a}};b}")[-1], _connecting("DSN=shop;PWD={mine}")[-1]
        (('PWD', 'a};b'), ('PWD', '{mine}'))
    """
    if "://" in text:
        return _out_of_braces(_QUERY.findall(text))
    form = _ODBC if ";" in text else _LIBPQ
    found, at = [], 0
    while at < len(text) and (match := form.match(text, at)) and match.end() > at:
        found.append(match)
        at = match.end()
    if at < len(text) or not any(match[3] or _is_of_connection(match[1] or "") for match in found):
        return []
    return _out_of_braces([(match[1], match[2].strip().strip("'")) for match in found if match[1]])


def _out_of_braces(given: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The names with their values, of those in braces what they hold; `{name}` stays where a value may be put in its place.

    Braces that hold what is no name show that no value is put into any of that text.
    """
    inside = {value: value[1:-1].replace("}}", "}") for _, value in given if _BRACED.fullmatch(value)}
    is_literal = any(_FIELD.fullmatch(one) is None for one in inside.values())
    return [
        (name, inside[value])
        if value in inside and is_literal and inside[value] and not is_name_of_secret(inside[value])
        else (name, value)
        for name, value in given
    ]


def _is_of_connection(name: str) -> bool:
    return re.sub("[ _]", "", name).lower() in _OF_CONNECTIONS


def _in_dictionaries(parts: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """The entries under the name of a secret of those dictionaries that say how something is connected to."""
    connecting: set[int] = set()
    for part in parts:
        if isinstance(part, ast.keyword) and part.arg is not None:
            names = [part.arg]
        elif isinstance(part, ast.Assign):
            names = [name for target in part.targets if (name := _name(target)) is not None]
        else:
            names = []
        if any((_WORD.findall(name) or [""])[-1].lower() in _CONNECTIONS for name in names):
            connecting.add(id(part.value))  # type: ignore[attr-defined]  # both have one
        if not isinstance(part, ast.Dict):
            continue
        entries = [
            (key.value, value)
            for key, value in zip(part.keys, part.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        ]
        if id(part) in connecting or any(_is_of_connection(name) for name, _ in entries):
            for name, value in entries:
                if _is_secret(name, value) and value.value.lower() not in _TYPES:  # type: ignore[attr-defined]  # a constant
                    yield name, value.lineno


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
        f"`{name}` holds a secret as plain text: a deployment holds the code, and everybody who sees the workspace's folder can read it",
        'keep it with `data-engine secret set NAME`, and read it in a step with context.secret("NAME"); if it was deployed or'
        " committed, change the secret itself first",
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
