"""Which code is looked through for secrets: never less than where one is written."""

from __future__ import annotations

import ast

from hypothesis import given
from hypothesis import strategies as st

from data_engine.notebook.secrets_written import may_write_secrets, written_secrets

WORDS = st.sampled_from(
    "password passwort passwd pwd kennwort passphrase secret token api key access private auth account count name ｔｏｋｅｎ".split()
)
NAMES = st.builds(
    lambda words, joined: joined(words),
    st.lists(WORDS, min_size=1, max_size=3),
    st.sampled_from(
        [
            "_".join,
            lambda words: "_".join(words).upper(),
            lambda words: words[0] + "".join(w.title() for w in words[1:]),
        ]
    ),
)
FORMS = st.sampled_from(
    [
        "{name} = {text!r}",
        "shop.{name} = {text!r}",
        "place[{name!r}] = {text!r}",
        "connect({name}={text!r})",
        "options = {{{name!r}: {text!r}}}",
        "connect('DSN=shop;UID=petra;{name}={text}')",
        "connect('host=db ' '{name}={text}')",
        "connect('postgresql://petra:{text}@db/shop')",
        "connect('\\x44SN=shop;U\\x49D=petra;\\x50WD={text}')",
    ]
)


@given(FORMS, NAMES, st.sampled_from(["hunter2", "k3y", "none"]))
def test_code_with_a_secret_is_always_looked_through(form: str, name: str, text: str) -> None:
    code = form.format(name=name, text=text)
    assert may_write_secrets(code) or not list(written_secrets(ast.parse(code)))


def test_code_without_a_trace_of_one_is_not() -> None:
    assert not may_write_secrets("def clean(context):\n    return context.current.drop_nulls('amount')")
