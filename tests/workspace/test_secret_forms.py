"""However libraries write a secret into a text, it is hidden: encoders and secrets are generated, one encoder on top of another."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote, quote_plus, unquote, urlencode

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from data_engine.engine.params import params_text
from data_engine.flow.steps import item_text
from data_engine.secret import MASK, forms_of, hidden, learn

SAFE_SETS = ("", "/", " +", "!#$%&'()*+,/:;=?@[]~", "!'()*-._~", ":/?#[]@!$&'()*+,;=", "~")
"""Of `quote`: none, its own, SQLAlchemy's, that of requests, JavaScript's, the reserved ones."""


def lower_quote(safe: str, text: str) -> str:
    first, *parts = quote(text, safe=safe, errors="surrogatepass").split("%")
    return "%".join([first, *(part[:2].lower() + part[2:] for part in parts)])


def base64_behind(shift: int, text: str) -> str:
    return base64.b64encode(b"u" * shift + text.encode() + b":").decode()


ENCODERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    **{f"quote {safe!r}": partial(quote, safe=safe, errors="surrogatepass") for safe in SAFE_SETS},
    **{f"quote {safe!r}, lower": partial(lower_quote, safe) for safe in SAFE_SETS if "%" not in safe},
    "quote, Latin 1": lambda text: quote(text.encode("latin-1", "xmlcharrefreplace"), safe=""),
    "SQLAlchemy 1": lambda text: "".join(f"%{ord(one):X}" if one in ":@/" else one for one in text),
    "quote_plus": lambda text: quote_plus(text, errors="surrogatepass"),
    "urlencode": lambda text: urlencode({"q": text}, errors="surrogatepass").removeprefix("q="),
    "repr": lambda text: repr(text)[1:-1],
    "ascii": lambda text: ascii(text)[1:-1],
    "bytes": lambda text: repr(text.encode("utf-8", "surrogatepass"))[2:-1],
    "bytes, Latin 1": lambda text: repr(text.encode("latin-1", "xmlcharrefreplace"))[2:-1],
    "escape of the terminal": lambda text: text.encode("ascii", "backslashreplace").decode(),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, Unicode": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON of a page": lambda text: (
        json.dumps(text)[1:-1].replace("<", r"\u003C").replace("/", r"\/").replace("&", r"\u0026")
    ),
    "SQL": lambda text: text.replace("'", "''"),
    "identifier of SQL": lambda text: text.replace('"', '""'),
    "ODBC": lambda text: text.replace("}", "}}"),
    "SQL Server": lambda text: text.replace("]", "]]"),
    "format": lambda text: text.replace("%", "%%"),
    "HTML": html.escape,
    "HTML, few": lambda text: html.escape(text, quote=False),
    "HTML, apos": lambda text: html.escape(text).replace("&#x27;", "&apos;"),
    "XML": lambda text: html.escape(text).encode("ascii", "xmlcharrefreplace").decode(),
    "shell": shlex.quote,
    "shell, backslash": lambda text: "".join(
        rf"\{one}" if one in " '\"\\$`&|;<>()*?[]#~=%!{}" else one for one in text
    ),
    "cmd": lambda text: subprocess.list2cmdline([text]),
    "one line": lambda text: " ".join(text.split()),
}
TOKENS: dict[str, Callable[[str], str]] = {
    **{f"base64 behind {shift}": partial(base64_behind, shift) for shift in range(4)},
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64, Latin 1": lambda text: base64.b64encode(text.encode("latin-1", "replace")).decode(),
}
"""What takes letters together; of its ends, which other letters share, nothing is asked."""

letters = st.one_of(
    st.sampled_from("abcXYZ0189"),
    st.sampled_from("'\"\\%+&<>{}[]()@:/?#=~`$!;,.-_* \t\n|^"),
    st.characters(exclude_categories=["Cs"]),
)
values = st.lists(letters, min_size=8, max_size=14).map("".join)


def left_of(value: str, written: str) -> str:
    """What of the written value stays, between marks that are no part of it."""
    return hidden(f"\u2020{written}\u2020", forms_of([value])).removeprefix("\u2020").removesuffix("\u2020")


@given(values, st.sampled_from([*ENCODERS]), st.sampled_from([*ENCODERS]))
@example("p@ss/w0rd!", "quote ' +'", "as it is")
@example("it's a \\ pass", "repr", "JSON")
@example("a\u00fcb}c'd\"e", "SQL", "JSON")
@example("%%%25%25%%41%", "quote ''", "quote ''")
@example("aaaaaa}a%}", "ODBC", "ODBC")
@example("aaaaaa%a", "format", "format")
@example("\U0001f600 smile \u20ac", "JSON", "repr")
@example("'\"'\"'\"\\'\\", "shell", "shell")
def test_a_secret_is_hidden_however_it_is_written(value: str, first: str, second: str) -> None:
    """Whole, in the middle of other text, and written by one encoder into the text of another."""
    assume(value.strip() == value)
    assume("%25" not in value or "format" not in (first, second))  # a bound: it could be read in too many ways
    written = ENCODERS[second](ENCODERS[first](value))

    left = left_of(value, written)

    assert MASK in left
    assert set(html.unescape(unquote(unquote(left.replace(MASK, ""))))) <= set("'\"\\%"), (
        left
    )  # what a shell puts around it


@given(values, st.sampled_from([*TOKENS]), st.sampled_from([*ENCODERS]))
def test_a_secret_in_base64_is_hidden_whatever_stands_before_it(value: str, first: str, second: str) -> None:
    assume(first != "base64, Latin 1" or max(value) < "\u0100")

    left = left_of(value, ENCODERS[second](TOKENS[first](value)))

    assert MASK in left
    assert len(re.sub("%..|=", "", left.replace(MASK, ""))) <= 8, left


def test_secrets_that_overlap_leave_nothing() -> None:
    forms = forms_of(["abcdef-1", "1-ghijkl", "abcabc"])

    assert hidden("x abcdef-1-ghijkl, abcabcabc", forms) == "x ***, ***"


def test_lines_of_a_secret_are_hidden_each() -> None:
    """A log has them line by line; a file of Windows ends them otherwise."""
    value = "-----BEGIN KEY-----\nMIIEvQIBADANBg+kq/hkiG9w0B\nAQEFAASCBKcwggSj\n"

    for written in (*value.split("\n"), json.dumps(value), value.replace("\n", "\r\n"), quote(value)):
        assert "BgkqhkiG9w0B" not in left_of(value, written)
        assert not re.search("[a-z]{3}|MII", left_of(value, written))


@pytest.mark.parametrize("value", ["'\\\"" * 6, "%25" * 8, " + " * 8, "&amp;" * 4 + "&&&", "}" * 20, "a'b\"c'd\"e'f\""])
def test_no_text_is_slow_to_search(value: str) -> None:
    """Neither what nearly is the secret, nor long runs of what escapes: this is on the path of each line of a log."""
    forms = forms_of([f"{value}end", f"end{value}x"])
    near = [f"end{one}!" for one in (value, quote(value), json.dumps(value), html.escape(value), value * 50)]
    runs = [one * 2_000 for one in ("\\", "'", "%", "%25", " ", "&amp;", "+", "}", "end", "x")]
    started_s = time.process_time()

    for text in [*near, *runs, *(f"end{run}end" for run in runs)]:
        hidden(text, forms)

    assert time.process_time() - started_s < 3


def test_a_secret_at_the_end_of_what_is_told_is_hidden_before_it_is_cut() -> None:
    """Half of it would not be found any more."""
    value = "c4nary-b1rd-9f2e"
    learn(value)
    text = "x" * 193 + value

    for told in (params_text({"path": Path(text)}), params_text({"path": {text}}), item_text(text)):
        assert told
        assert "c4na" not in told
