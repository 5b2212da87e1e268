"""A secret as a value that does not show itself, and the masking of every secret this process knows.

Whatever is stored or shown of a run goes through `masked`: a library may put a password into the text of an exception.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

MASK = "***"
SHORTEST = 6
"""Characters of a secret: a shorter one would be found, and hidden, everywhere."""

listeners: list[Callable[[str], None]] = []
"""Told each value before whoever asked for it has it: a worker lets the daemon know what to hide in texts of its own."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}", re.ASCII)
_values: set[str] = set()
_pattern: re.Pattern[str] | None = None
_shown_as: tuple[str, ...] = ()
_lock = threading.Lock()
_travelling: ContextVar[bool] = ContextVar("secrets_travel", default=False)


class Secret:
    """A secret by its name; it prints as `***`, and `reveal()` gives the value.

    From the moment a process has it, its value is replaced by `***` in every log, error and record of that process.

    Raises:
        ValueError: the value is shorter than 6 characters, which could not be hidden.

    Example:
        >>> dwh = Secret("dwh", "correct horse")
        >>> print(dwh, [dwh], f"{dwh}"), dwh.reveal()
        *** [***] ***
        (None, 'correct horse')
    """

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        learn(value)
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """The value itself, for the library that needs it.

        Example:
            >>> Secret("dwh", "correct horse").reveal()
            'correct horse'
        """
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        import hmac

        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[type[Secret], tuple[str, str]]:
        if not _travelling.get():
            raise TypeError(
                f"the secret {self.name!r} cannot be pickled: ask for it where it is used, with context.secret({self.name!r})"
            )
        return Secret, (self.name, self._value)


@contextmanager
def travelling() -> Iterator[None]:
    """Inside, secrets may be pickled: for what goes to a worker of ours over its pipe, and nowhere else."""
    token = _travelling.set(True)
    try:
        yield
    finally:
        _travelling.reset(token)


def learn(*values: str) -> None:
    """Hide these values from now on.

    Raises:
        ValueError: one is too short to be hidden.
    """
    global _pattern, _shown_as
    if any(not isinstance(value, str) or len(value) < SHORTEST for value in values):
        raise ValueError(f"a secret has at least {SHORTEST} characters, or it cannot be hidden")
    news = [value for value in values if value not in _values]
    if not news:
        return
    with _lock:
        _values.update(news)
        _shown_as = tuple(sorted({form for value in _values for form in _forms(value)}, key=len, reverse=True))
        _pattern = re.compile("|".join(map(re.escape, _shown_as)))
    for value in news:
        for tell in tuple(listeners):
            tell(value)


def is_secret_name(name: object) -> bool:
    """Whether a secret can be called so.

    Example:
        >>> is_secret_name("ops-mail"), is_secret_name("mailto://ops")
        (True, False)
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def knows_any() -> bool:
    """Whether there is anything to hide."""
    return _pattern is not None


def forms() -> tuple[str, ...]:
    """Every text that is hidden, the longest first."""
    return _shown_as


def masked(text: str) -> str:
    """`text` with `***` for each secret in it: as it is, quoted for a URL, in base64, and as `repr` and JSON write it.

    Example:
        >>> learn("p@ss w0rd!")
        >>> masked("postgresql://ann:p%40ss%20w0rd%21@dwh/sales failed")
        'postgresql://ann:***@dwh/sales failed'
    """
    return text if _pattern is None else _pattern.sub(MASK, text)


def masked_in(value: T) -> T:
    """`value` with every text in it masked: in lists, tuples, named tuples and dicts too."""
    return value if _pattern is None else _masked_in(value)


def _masked_in(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, tuple):
        parts = [_masked_in(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [_masked_in(part) for part in value]
    if isinstance(value, dict):
        return {_masked_in(key): _masked_in(item) for key, item in value.items()}
    return value


def _forms(value: str) -> Iterator[str]:
    yield from _written(value)
    for line in value.splitlines():  # a log has it line by line
        if len(line) >= SHORTEST and line != value:
            yield from _written(line)


def _written(value: str) -> Iterable[str]:
    import base64  # nobody who has no secrets waits for these
    import json
    from urllib.parse import quote, quote_plus

    raw = value.encode("utf-8", "surrogatepass")
    forms = {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    forms |= {form for text in tuple(forms) for form in (json.dumps(text)[1:-1],)}
    for safe in ("", "/"):
        found = quote(raw, safe=safe)
        forms |= {found, re.sub("%..", lambda part: part[0].lower(), found)}
    forms.add(quote_plus(raw))
    for before in range(3):  # it may begin anywhere in what was encoded, such as behind a user's name
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        stable = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        if len(stable) >= SHORTEST:
            forms |= {stable, stable.replace("+", "-").replace("/", "_")}
    return forms
