"""A daemon that starts goes on with the engine of the last one, also where the share begins to answer late."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine.daemon import ownership as owning
from data_engine.daemon.control import remember_engine, was_engine_on
from data_engine.daemon.daemon import resume_engine
from data_engine.daemon.ownership import Ownership
from tests.daemon.test_ownership import FakeEngine
from tests.lease.test_keeper import Machine
from tests.support import PATIENCE


@pytest.fixture
def wakes() -> threading.Event:
    return threading.Event()


@pytest.fixture
def machine(tmp_path: Path, wakes: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine whose engine was on; its share does not answer before `wakes` is set."""
    monkeypatch.setattr(owning, "PATIENCE_S", 0.05)
    share = tmp_path / "share"
    share.mkdir()
    machine = Machine("anna", share, tmp_path / "state", is_started=False)
    remember_engine(machine.ledger, is_on=True)
    yield machine
    wakes.set()
    machine.close(release=False)


class Starting:
    """A daemon that starts, as far as it goes on."""

    def __init__(self, machine: Machine, wakes: threading.Event) -> None:
        self.done: list[str] = []
        self.ownership = Ownership(machine.keeper, FakeEngine())
        self.ownership.keeper.start()
        machine.keeper._thread.ask(wakes.wait)
        refreshed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refreshed.set_result(None)
        self.task = asyncio.ensure_future(self._resume(machine, refreshed))

    async def _resume(self, machine: Machine, refreshed: asyncio.Future[None]) -> None:
        recall = lambda: self.done.append("recalled")  # noqa: E731
        if await resume_engine(machine.ledger, self.ownership, refreshed, self._take_over_local, recall):
            self.done.append("on")

    async def _take_over_local(self) -> None:
        self.done.append("published")

    async def is_silent(self) -> None:
        async with asyncio.timeout(10 * PATIENCE):
            while not self.ownership.is_waiting:
                await asyncio.sleep(0.01)

    async def end(self) -> list[str]:
        await asyncio.wait_for(self.task, 10 * PATIENCE)
        return self.done


def test_an_engine_goes_on_when_its_share_answers_late(machine: Machine, wakes: threading.Event) -> None:
    """Until then the daemon is needed, so that it does not leave as one that has nothing to do."""

    async def start() -> tuple[list[str], bool]:
        starting = Starting(machine, wakes)
        await starting.is_silent()
        assert starting.done == []
        wakes.set()
        return await starting.end(), starting.ownership.is_waiting

    assert asyncio.run(start()) == (["published", "recalled", "on"], False)
    assert was_engine_on(machine.ledger)


def test_an_engine_that_a_person_stops_meanwhile_stays_off(machine: Machine, wakes: threading.Event) -> None:
    async def start() -> list[str]:
        starting = Starting(machine, wakes)
        await starting.is_silent()
        remember_engine(machine.ledger, is_on=False)
        wakes.set()
        return await starting.end()

    assert asyncio.run(start()) == []
    assert not was_engine_on(machine.ledger)


def test_an_engine_whose_workspace_another_one_owns_stays_off(
    machine: Machine, wakes: threading.Event, tmp_path: Path
) -> None:
    """Its share is silent first, and then it says so."""
    ben = Machine("ben", tmp_path / "share", tmp_path / "state")
    try:
        ben.keeper.own().result(10 * PATIENCE)

        async def start() -> list[str]:
            starting = Starting(machine, wakes)
            await starting.is_silent()
            wakes.set()
            return await starting.end()

        assert asyncio.run(start()) == []
        assert not was_engine_on(machine.ledger)
    finally:
        ben.close(release=False)
