"""The child that has PyArrow: kept for what follows soon, replaced when it dies, gone when nobody asks or its parent ends."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import psutil
import pytest

from data_engine.answering_process import AnsweringProcess
from data_engine.errors import LedgerError
from data_engine.ledger import parquet_process
from data_engine.ledger.parquet_process import ReadUnpublished, WithOwnChild
from data_engine.ledger.share import SharedHistory
from data_engine.model import Switch
from tests.ledger.sharing import Folder, Machine
from tests.support import end_now, until


@pytest.fixture
def owner(path: Path) -> Iterator[Machine]:
    """A machine that owns its workspace; no child of it is left."""
    machine = Machine(Folder(), path)
    machine.claim()
    yield machine
    if isinstance(own := machine.share._perform, WithOwnChild):
        own.close()
    machine.ledger.close()


def with_child(owner: Machine, linger_s: float) -> WithOwnChild:
    """What the machine's share has its rows collected by from now on."""
    own = WithOwnChild(linger_s)
    owner.share = SharedHistory(owner.ledger, Path("/mnt/workspace"), perform=own)
    return own


def published(owner: Machine, flow: str) -> int:
    """How many switches are published, after the one of `flow` was."""
    owner.ledger.set_switch(flow, Switch(False))
    batch = owner.commit()
    assert batch is not None
    assert list(batch.tables) == ["flow_switches"]
    return len(owner.folder.head.files["flow_switches"])


def test_one_child_collects_what_follows_soon(owner: Machine) -> None:
    own = with_child(owner, linger_s=600)

    assert published(owner, "a") == 1
    first = own.pid
    assert published(owner, "b") == 2
    assert own.pid == first


def test_it_leaves_when_nobody_asks(owner: Machine) -> None:
    own = with_child(owner, linger_s=0.05)

    published(owner, "a")

    until(lambda: own.pid is None)
    assert published(owner, "b") == 2


def test_one_that_somebody_ended_is_replaced(owner: Machine) -> None:
    own = with_child(owner, linger_s=600)
    published(owner, "a")
    first = own.pid
    assert first is not None

    end_now(first)
    until(lambda: own._kept.process is None or not own._kept.process.is_there)

    assert published(owner, "b") == 2
    assert own.pid not in {None, first}


def test_one_that_cannot_answer_is_told_and_the_next_is_asked(
    owner: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = with_child(owner, linger_s=600)
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow" / "__init__.py").write_text("raise RuntimeError('half installed')")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(LedgerError, match=r"history has failed: RuntimeError: half installed"):
            published(owner, "a")

    owner.ledger.set_switch("b", Switch(False))
    batch = owner.commit()

    assert batch is not None
    assert own.pid is not None


def test_an_error_of_the_ledger_ends_no_child(owner: Machine, tmp_path: Path) -> None:
    own = with_child(owner, linger_s=600)
    published(owner, "a")
    first = own.pid
    (tmp_path / "none").mkdir()

    with pytest.raises(LedgerError):
        own(ReadUnpublished(tmp_path / "none", 1, Path("/mnt/workspace"), 10))

    assert published(owner, "b") == 2
    assert own.pid == first


class Said(NamedTuple):
    """A child that says one thing, whatever it is asked."""

    message: bytes
    is_there: bool = True

    def send(self, message: bytes) -> None:
        """Take the request."""

    def receive(self) -> bytes:
        return self.message

    def end(self) -> None:
        """End it."""


EVIL = pickle.dumps(print)


@pytest.mark.parametrize(
    "message",
    [
        EVIL,
        b"",
        b"[]",
        b"{}\n" + EVIL,
        b'{"batch": []}',
        b'{"batch": {"token": "x", "rev": 1, "rows": 1, "tables": {}, "newest": {}}}',
        b'{"batch": {"token": 1, "rev": 1, "rows": 1, "tables": {"logs": null}, "newest": {}}}',
    ],
)
def test_a_child_is_believed_no_further_than_its_fields(message: bytes) -> None:
    """Nothing of it is unpickled: it also reads what others have written."""
    request = ReadUnpublished(Path("ledger"), 1, Path("/mnt/workspace"), 10)
    with pytest.raises(LedgerError, match="it gave an answer that is none"):
        parquet_process._reply(cast(AnsweringProcess, Said(message)), request)


PARENT = """
import os, sys
from pathlib import Path
from data_engine.ledger.parquet_process import ReadUnpublished, WithOwnChild
own = WithOwnChild(600)
own(ReadUnpublished(Path(sys.argv[1]), 1, Path("/mnt/workspace"), 10))
print(own.pid, flush=True)
os.read(0, 1)
"""


@pytest.mark.parametrize("end", [lambda parent: parent.stdin.close(), lambda parent: end_now(parent.pid)])
def test_it_ends_with_its_parent(owner: Machine, path: Path, end: Callable[[subprocess.Popen[str]], object]) -> None:
    """Also with one that is killed."""
    owner.ledger.flush()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        end(parent)

        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
