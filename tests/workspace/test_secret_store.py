"""Secrets of a person on this machine: the environment, then the keyring, then a private file that says what it is."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

from data_engine import Flow, FlowValidationError, Secret, Workspace
from data_engine.cli.app import run as command
from data_engine.engine.run import outcome_of
from data_engine.secret import travelling
from data_engine.workspace.machine import state_root
from data_engine.workspace.secret_store import find_secret, remove_secret, set_secret, stored_secrets
from jupyter_extension.cell_hints import in_cell

VALUE = "correct horse battery"


keyring.get_keyring()  # chosen before the keyrings below are among those to choose from


class Memory(KeyringBackend):
    """A keyring of this test."""

    priority = 1  # type: ignore[assignment]
    name = "Memory"

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class Locked(Memory):
    """One that does not answer."""

    def get_password(self, service: str, username: str) -> str | None:
        raise OSError("the keyring is locked")


@pytest.fixture
def backend() -> Iterator[Memory]:
    before = keyring.get_keyring()
    found = Memory()
    keyring.set_keyring(found)
    yield found
    keyring.set_keyring(before)


@pytest.fixture(params=[fail.Keyring, null.Keyring])
def no_keyring(request: pytest.FixtureRequest) -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(request.param())
    yield
    keyring.set_keyring(before)


def test_a_keyring_keeps_it_and_the_file_only_its_name(backend: Memory) -> None:
    assert set_secret("dwh", VALUE) == "the keyring (Memory)"

    assert find_secret("dwh").reveal() == VALUE
    assert backend.kept == {("data-engine", "dwh"): VALUE}
    assert VALUE not in (state_root() / "secrets.json").read_text()
    assert [(one.name, one.place) for one in stored_secrets()] == [("dwh", "keyring")]
    assert remove_secret("dwh")
    assert not remove_secret("dwh")
    assert (backend.kept, stored_secrets()) == ({}, [])


@pytest.mark.usefixtures("no_keyring")
def test_without_a_keyring_a_private_file_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The backends that fail, and that forget silently, are none."""
    place = set_secret("dwh", VALUE)

    path = state_root() / "secrets.json"
    kept = json.loads(path.read_text())
    assert (kept["secrets"], "plain text" in kept["about"], str(path) in place) == ({"dwh": VALUE}, True, True)
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    assert find_secret("dwh").reveal() == VALUE
    assert command(["secret", "list"]) == 0
    out = capsys.readouterr().out
    assert "private file" in out
    assert "this machine has no keyring for secrets" in out
    assert VALUE not in out


@pytest.mark.usefixtures("backend")
def test_a_name_that_is_the_same_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its value is asked for; a name that is there is changed."""
    set_secret("ops-mail", VALUE)
    monkeypatch.setattr("sys.stdin", None)

    for name in ("Ops-Mail", "ops_mail"):
        with pytest.raises(FlowValidationError, match="the secret 'ops-mail' is here already") as caught:
            set_secret(name, VALUE)
        assert "data-engine secret set ops-mail" in str(caught.value)
        assert command(["secret", "set", name]) == 2
    set_secret("ops-mail", "another one")
    assert [one.name for one in stored_secrets()] == ["ops-mail"]


@pytest.mark.usefixtures("no_keyring")
def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    set_secret("ops-mail", VALUE)
    monkeypatch.setenv("DATA_ENGINE_SECRET_OPS_MAIL", "another one")

    assert find_secret("ops-mail").reveal() == "another one"
    assert [(one.name, one.place) for one in stored_secrets()] == [("ops-mail", "environment")]


@pytest.mark.usefixtures("backend")
def test_what_is_missing_or_too_short_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FlowValidationError, match="is not on this machine") as caught:
        Flow(group="G").step(lambda context: context.secret("dwh")).run_once()
    assert "data-engine secret set dwh" in str(caught.value)
    assert "did you mean" not in str(caught.value)
    assert caught.value.fix is not None
    assert in_cell(caught.value.fix, {}) == caught.value.fix  # it asks for a value, and a cell would hang
    assert "` in a terminal" in caught.value.fix
    _, why, _ = outcome_of(caught.value)
    assert why.kind == "secret_missing"
    set_secret("dwh_main", VALUE)
    with pytest.raises(
        FlowValidationError, match=r"did you mean dwh_main\? Else type `data-engine secret set dwh_mian`"
    ):
        find_secret("dwh_mian")
    for wrong in ("", "../x", "a b", "x" * 101):
        with pytest.raises(FlowValidationError, match="cannot be called"):
            find_secret(wrong)
    with pytest.raises(FlowValidationError, match="fewer than 6 characters") as caught:
        set_secret("dwh", "12345")
    assert "12345" not in str(caught.value)
    monkeypatch.setenv("DATA_ENGINE_SECRET_DWH", "12345")
    with pytest.raises(FlowValidationError, match="fewer than 6 characters"):
        find_secret("dwh")


def test_a_keyring_that_does_not_answer_is_told(backend: Memory) -> None:
    """Nothing is put into a file instead."""
    keyring.set_keyring(Locked())

    with pytest.raises(FlowValidationError, match="the keyring did not answer for 'dwh'"):
        find_secret("dwh")


@pytest.mark.usefixtures("backend")
def test_a_value_is_read_from_standard_input_never_from_an_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["secret", "set", "dwh", VALUE]) == 2
    assert VALUE not in "".join(capsys.readouterr())

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{VALUE}\n"))
    assert command(["secret", "set", "dwh"]) == 0
    assert find_secret("dwh").reveal() == VALUE
    assert command(["secret", "remove", "dhw"]) == 2
    assert "did you mean dwh?" in capsys.readouterr().err
    assert command(["secret", "remove", "dwh", "--json"]) == 0


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("anna@firma.example", None),
        ("json://hook.example", "If alerts go to it: `data-engine alert test ops` sends one now"),
        ("pa55word-77", None),
        ("p@55word-77", None),
    ],
)
def test_of_an_address_it_is_told_how_to_try_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str, said: str | None
) -> None:
    """The value is not repeated."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{value}\n"))
    assert command(["secret", "set", "ops"]) == 0
    told = "".join(capsys.readouterr())

    assert ("alerts" in told, said is None or said in told) == (said is not None, True)
    assert value not in told


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("value", "lacks"),
    [
        ("anna@firma.example", "with an address as Apprise writes it"),
        ("pa55word-77", "with an address as Apprise writes it"),
        ("json://hook.example json://other.example", "with an address as Apprise writes it"),
        ("json://hook.example", None),
    ],
)
def test_what_alerts_go_to_is_looked_at_when_it_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, value: str, lacks: str | None
) -> None:
    """Where the settings name the secret: it is kept, with a warning that does not repeat it; also as JSON."""
    layout = Workspace.create(tmp_path / "ws").layout
    layout.settings_path.write_text('[alerts]\nto = ["ops"]\n', encoding="utf-8")

    def answer(*options: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{value}\n"))
        assert command(["--workspace", str(layout.root), "secret", "set", "ops", *options]) == 0
        return capsys.readouterr()

    out, err = answer()
    warning = json.loads(answer("--json")[0])["warning"]

    assert find_secret("ops").reveal() == value
    assert "Kept the secret ops" in out
    assert value not in f"{out}{err}{warning}"
    if lacks is None:
        assert (err, warning) == ("", None)
        assert "Alerts go to it: `data-engine alert test ops` sends one now" in out
    else:
        assert err == f"warning: {warning}\n"
        assert "[alerts] to names ops, and what it holds now is no address" in err
        assert f"data-engine secret set ops, {lacks}" in err


def test_a_secret_hides_and_is_pickled_only_where_it_may_travel() -> None:
    secret = Secret("dwh", VALUE)

    assert (f"{secret} {secret!r} {secret:>5} {[secret]}", secret.reveal()) == ("*** ***   *** [***]", VALUE)
    assert (secret == Secret("other", VALUE), secret == VALUE) == (True, False)
    with pytest.raises(TypeError, match=r"context.secret\('dwh'\)"):
        pickle.dumps({"login": secret})
    with travelling():
        assert pickle.loads(pickle.dumps(secret)) == secret


@pytest.mark.usefixtures("backend")
def test_a_step_that_asks_for_a_secret_is_previewed_anew() -> None:
    """It may be another one by then."""
    flow = Flow(group="G").step(lambda context: context.secret("dwh").reveal())
    set_secret("dwh", "the first one")
    first = flow.preview()
    set_secret("dwh", "the second one")

    assert (first, flow.preview()) == ("the first one", "the second one")
