"""A secret as a value that does not show itself, and the masking of every secret this process knows.

Whatever is stored or shown of a run goes through `masked`: a library may put a password into the text of an exception.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import groupby

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, AnyStr, TypeVar

    T = TypeVar("T")
    Form = tuple[str, str, str]

MASK = "***"
SHORTEST = 6
"""Characters of a secret: a shorter one would be found, and hidden, everywhere."""

listeners: list[Callable[[str], None]] = []
"""Called with each value before its reader gets it: a worker tells the daemon what to hide in its own texts."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}", re.ASCII)
_values: set[str] = set()
_words: set[str] = set()
_forms: Sequence[Form] = ()
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
    """Inside, secrets may be pickled: only for what goes to our own worker over its pipe."""
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
    if any(not isinstance(value, str) or len(value) < SHORTEST for value in values):
        raise ValueError(f"a secret has at least {SHORTEST} characters, or it cannot be hidden")
    news = [value for value in values if value not in _values]
    _hide(_values, news)
    for value in news:
        for tell in tuple(listeners):
            tell(value)


def learn_text(*words: str) -> None:
    """Hide these from now on where they stand as whole words: they are too short to be hidden everywhere."""
    _hide(_words, words)


def _hide(texts: set[str], news: Sequence[str]) -> None:
    global _forms
    with _lock:
        if not texts.issuperset(news):
            texts.update(news)
            _forms = forms_of(_values, _words)


def is_secret_name(name: object) -> bool:
    """Whether a secret can have this name.

    Example:
        >>> is_secret_name("ops-mail"), is_secret_name("mailto://ops")
        (True, False)
    """
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def knows_any() -> bool:
    """Whether there is anything to hide."""
    return bool(_forms)


def masked(text: str) -> str:
    """`text` with `***` for each secret in it, however it is written there: quoted for a URL, SQL, HTML or a shell, as `repr` and
    JSON write it, or in base64; for one that a library has cut, too.

    Example:
        >>> learn("p@ss w0rd!")
        >>> masked("postgresql://ann:p%40ss%20w0rd%21@dwh/sales failed")
        'postgresql://ann:***@dwh/sales failed'
        >>> masked("the cell holds p@ss w0…")
        'the cell holds ***…'
    """
    return hidden(text, _forms) if _forms else text


def masked_pieces(begun: AnyStr, most: int) -> tuple[AnyStr, AnyStr]:
    """What may be passed on of a line that has not ended and is longer than `most`, masked; and what waits for the next piece, as a
    secret may begin in it.

    Example:
        >>> masked_pieces("ten of ten", 10)
        ('', 'ten of ten')
    """
    reach = max((_LONGEST_WAY * (len(value) + 2) for _, _, value in _forms), default=0)
    if len(begun) <= most + reach:
        return begun[:0], begun
    text = masked_in(begun)
    at = max(len(text) - reach, 0)
    return text[:at], text[at:]


def masked_in(value: T) -> T:
    """`value` with every text in it masked: in lists, tuples, named tuples and dicts too."""
    return _masked_in(value) if _forms else value


def _masked_in(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, bytes):
        return masked(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
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


def hidden(text: str, forms: Sequence[Form]) -> str:
    """`text` with `***` for each of the forms of `forms_of`.

    Example:
        >>> hidden("from abcdefghi on", forms_of(["abcdef", "defghi"]))
        'from *** on'
    """
    spans = [span for core, kind, value in forms if core in text for span in _spans(text, core, kind, value)]
    if "…" in text or "..." in text:
        spans += _cut_spans(text, [value for _, kind, value in forms if kind != "word"])
    if not spans:
        return text
    parts: list[str] = []
    end = 0
    for first, last in sorted(spans):
        if first >= end:
            parts += [text[end:first], MASK]
        end = max(end, last)
    return "".join([*parts, text[end:]])


def forms_of(values: Iterable[str], words: Iterable[str] = ()) -> tuple[Form, ...]:
    """The forms of the values, however they are written, and of the words where they stand alone: each a core that every spelling
    contains, so that most texts need no search, its kind, and the whole.

    Example:
        >>> forms = forms_of(["it's 5 < 6"])
        >>> [hidden(text, forms) for text in ("it''s+5+%3C+6", "it&#x27;s 5 &lt; 6", "it's 5 \\u003c 6", "it is 5")]
        ['***', '***', '***', 'it is 5']
    """
    lines = (text for value in values for text in (value, *value.splitlines()))  # a log has it line by line
    plain = {text for text in lines if len(text) >= SHORTEST}
    texts = [(text, "written") for text in plain]
    texts += [(text, "base64") for value in plain for text in _in_base64(value)]
    texts += [(text, "word") for text in words]
    return tuple((max(re.split(_LETTERS, text), key=len), kind, text) for text, kind in texts)


def _spans(text: str, core: str, kind: str, value: str) -> Iterator[tuple[int, int]]:
    """The places of the form in the text; searches only around its core."""
    pattern, reach = _pattern(kind, value), _LONGEST_WAY * (len(value) + 2)
    at = text.find(core)
    while at >= 0:
        first, end = max(0, at - reach), at + reach
        while 0 <= (at := text.find(core, at + 1)) < end:
            end = at + reach
        while match := pattern.search(text, first, end):
            yield match.span()
            first = match.start() + 1


def _cut_spans(text: str, values: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The places of what is left of a value before or after an ellipsis: a frame and `reprlib` cut a text before anybody can mask it."""
    for match in _ELLIPSIS.finditer(text):
        first, last = match.span()
        for value in values:
            lead, start = value[:_LEFT], max(0, first - len(value))
            at = text.find(lead, start, first)
            while at >= 0 and not value.startswith(text[at:first]):
                at = text.find(lead, at + 1, first)
            if at >= 0:
                yield at, first
            tail, end = value[-_LEFT:], last + len(value)
            at = text.rfind(tail, last, end)
            while at >= 0 and not value.endswith(text[last : at + _LEFT]):
                at = text.rfind(tail, last, at + _LEFT - 1)
            if at >= 0:
                yield last, at + _LEFT


@cache
def _pattern(kind: str, text: str) -> re.Pattern[str]:
    if kind == "base64":
        return re.compile(re.sub("[+/]", lambda match: _IN_BASE64[match[0]], text))
    return re.compile(rf"(?<!\w){_written(text)}(?!\w)" if kind == "word" else _written(text))


def _written(text: str) -> str:
    """A pattern that finds the text in all its spellings: letters and digits as they are; any other character as its escape, percent-
    encoded, as an entity, doubled or behind backslashes. Quotes and backslashes, which escape each other, match each other, and so do
    blanks, which a form writes as `+` and a message joins.

    Hardly any text matches in two ways, and every repetition has a bound: it is never slow.
    """
    parts, before = [], ""
    for kind, group in groupby(text, _kind):
        letters = "".join(group)
        least, most = len(letters), 4 * len(letters)  # doubled, and that doubled again
        if kind == _LETTER:
            parts.append(letters)
        elif kind == _QUOTE:
            parts.append(f"(?:['\"]|{_ways(_QUOTES)}){{{least},{20 * least}}}")
        else:
            ways = f"(?:{_ways(kind)})"
            if kind == _BLANK:
                ways, least = rf"(?:\s|{_ways(' +' + letters)})", 1
            elif kind not in _DOUBLED:
                most = least
            elif "%25" in text:  # which can be read in many ways
                most = 2 * least if text.count("%25") < 3 else least
            parts.append(f"{before}{ways}(?:{_BACKSLASHES}{ways}){{{least - 1},{most - 1}}}")
        before = "" if kind == _QUOTE else _BACKSLASHES  # the quotes have taken them
    return "".join(parts)


_LETTERS = "[^A-Za-z0-9]+"
_ELLIPSIS = re.compile(r"…|\.{3,}")
_LEFT = 4
"""Characters of a secret that tell nothing when fewer of them are left."""

_LETTER, _QUOTE, _BLANK = "a", '"', " "
_QUOTES = "\"'\\"
_DOUBLED = "{}[]%$"
_LONGEST_WAY = 24
_PERCENT = "%{1,4}(?:25){0,4}"
"""A percent sign: a format doubles it, and it is encoded where a URL is in a URL."""

_BACKSLASH = rf"(?:\\|{_PERCENT}5[Cc])"
_BACKSLASHES = f"{_BACKSLASH}{{0,32}}"
_HASH = f"{_BACKSLASHES}(?:#|{_PERCENT}23)"
_END = f"{_BACKSLASHES}(?:;|{_PERCENT}3[Bb])"
_AMPERSAND = f"(?:&|{_PERCENT}26|{_BACKSLASH}u0026)(?:amp{_END}){{0,4}}"
_ENTITIES = {"<": ["lt"], ">": ["gt"], "'": ["apos"], '"': ["quot"]}
_ESCAPES = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f", "\v": "v"}
_IN_BASE64 = {"+": rf"(?:[-+\s]|{_PERCENT}2[Bb])", "/": rf"(?:{_BACKSLASHES}[/_]|{_PERCENT}2[Ff])"}


def _kind(letter: str) -> str:
    if letter.isascii() and letter.isalnum():
        return _LETTER
    if letter.isspace() or letter == "+":
        return _BLANK
    return _QUOTE if letter in _QUOTES else letter


def _ways(letters: str) -> str:
    return "|".join(dict.fromkeys(way for letter in letters for way in _ways_of(letter)))


def _ways_of(letter: str) -> Iterator[str]:
    """The ways to write a character that is no letter or digit."""
    code = ord(letter)
    of_bytes = [letter.encode("utf-8", "surrogateescape" if 0xDC80 <= code <= 0xDCFF else "surrogatepass").hex(" ")]
    if 0x80 <= code < 0x100:
        of_bytes.append(f"{code:x}")  # Latin 1
    of_two = letter.encode("utf-16-be", "surrogatepass").hex(" ", 2)
    escapes = [[f"x{_hex(digits)}" for digits in data.split()] for data in of_bytes]
    escapes += [[f"u{_hex(digits)}" for digits in of_two.split()], [f"U{_hex(f'{code:08x}')}"]]
    escapes += [[sign] for sign in _ESCAPES.get(letter, "")]
    entities = [f"{_HASH}0*{code}", f"{_HASH}[Xx]0*{_hex(f'{code:x}')}", *_ENTITIES.get(letter, ())]
    yield f"{_AMPERSAND}(?:{'|'.join(entities)}){_END}"
    yield from (_BACKSLASH + f"{_BACKSLASH}{{1,32}}".join(parts) for parts in escapes)
    if letter in _SIGNS:
        yield _SIGNS[letter]
        return
    yield from (_BACKSLASHES.join(_PERCENT + _hex(digits) for digits in data.split()) for data in of_bytes)
    if not letter.isspace() and letter not in "'\"":
        yield re.escape(letter) if letter.isascii() else f"[{letter}\ufffd]"


_SIGNS = {"%": "%(?:25){0,4}", "&": _AMPERSAND}


def _hex(digits: str) -> str:
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


def _in_base64(value: str) -> Iterator[str]:
    """The base64 of the value, in UTF-8 and, as `requests` does, in Latin 1; the value may begin anywhere in the encoded data."""
    import base64  # only with secrets

    for raw in {value.encode("utf-8", "surrogatepass"), value.encode("latin-1", "replace")}:
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + raw).decode()
            stable = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
            if len(stable) >= SHORTEST:
                yield stable
