"""What a daemon does when its ownership changes, and that it does nothing while only time passes."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine.client import Workspace
from data_engine.clock import boot_clock
from data_engine.daemon.ownership import Ownership, keeper_of
from data_engine.errors import OwnedElsewhereError
from data_engine.lease.protocol import Limits
from tests.lease.test_keeper import Machine
from tests.support import PATIENCE

QUICK = Limits(0.15, 600)
"""Beats often, and looks once in a minute."""


class FakeEngine:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.deadlines: list[float] = []

    def owned(self, *, engine_on: bool, is_again: bool) -> None:
        self.told.append("owned")

    def lost(self, to: str) -> None:
        self.told.append(f"lost to {to}")

    def may_work_until(self, boot_s: float) -> None:
        self.deadlines.append(boot_s)

    def noticed(self) -> None:
        self.told.append("noticed")

    @property
    def is_idle(self) -> bool:
        return True


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    share = tmp_path / "share"
    share.mkdir()
    machine = Machine("anna", share, tmp_path / "state", limits=QUICK, is_started=False)
    yield machine
    machine.close(release=False)


def test_a_heartbeat_moves_the_deadline_of_the_workers_and_dispatches_nothing(machine: Machine) -> None:
    """So an idle owner with an open panel sends it nothing."""

    async def own_and_wait() -> tuple[list[str], int]:
        engine = FakeEngine()
        ownership = Ownership(machine.keeper, engine)
        ownership.keeper.start()
        await ownership.own()
        await asyncio.wrap_future(machine.keeper.look())
        await asyncio.sleep(0)
        told, beats = len(engine.told), len(engine.deadlines)
        async with asyncio.timeout(10):
            while len(engine.deadlines) < beats + 3:
                await asyncio.sleep(0.01)
        await ownership.close(release=False)
        return engine.told[told:], len(engine.deadlines) - beats

    told, beats = asyncio.run(own_and_wait())

    assert told == []
    assert beats >= 3


def test_work_that_waited_while_the_machine_slept_is_handed_out_when_it_may_work_again(machine: Machine) -> None:
    """Nobody was told that the lease had lapsed: the next heartbeat is all that comes."""

    async def sleep_and_wake() -> list[str]:
        engine = FakeEngine()
        ownership = Ownership(machine.keeper, engine)
        for until_s in (boot_clock() - 1, boot_clock() + 100, boot_clock() + 200):
            machine.keeper.state = replace(machine.keeper.state, token=1, work_until_s=until_s)
            machine.keeper.on_change()
            await asyncio.sleep(0.01)
            engine.told.append("")
        await ownership.close(release=False)
        return engine.told

    assert asyncio.run(sleep_and_wake()) == ["owned", "noticed", "", "noticed", "", ""]


def test_what_another_token_began_is_ended_before_anything_may_go_on(machine: Machine) -> None:
    """A worker that waits for permission must hear that its run is over first."""

    class Engine(FakeEngine):
        def may_work_until(self, boot_s: float) -> None:
            self.told.append("may work")

    async def own_again() -> list[str]:
        engine = Engine()
        ownership = Ownership(machine.keeper, engine)
        for token in (1, 2):
            machine.keeper.state = replace(machine.keeper.state, token=token, work_until_s=boot_clock() + 100 * token)
            machine.keeper.on_change()
            await asyncio.sleep(0.01)
        await ownership.close(release=False)
        return [one for one in engine.told if one != "noticed"]

    assert asyncio.run(own_again()) == ["owned", "may work"] * 2


@pytest.mark.parametrize("stays", [False, True])
def test_what_is_owned_for_commits_is_given_back_by_the_last_of_them(machine: Machine, stays: bool) -> None:
    """However they overlap; unless something needs it longer, which began before that."""

    async def overlap() -> list[bool]:
        ownership = Ownership(machine.keeper, FakeEngine())
        ownership.keeper.start()
        first, second = ownership.for_one_commit(), ownership.for_one_commit()
        seen = []
        await first.__aenter__()
        await second.__aenter__()
        await first.__aexit__(None, None, None)
        seen.append(ownership.is_held)
        if stays:
            async with ownership.in_use():
                await ownership.own()
        await second.__aexit__(None, None, None)
        seen.append(ownership.is_held)
        await ownership.close(release=True)
        return seen

    assert asyncio.run(overlap()) == [True, stays]


def test_a_disk_that_was_full_once_is_owned_when_it_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to stop the daemon for it."""
    home = Workspace.create(tmp_path / "w").home
    keeper = keeper_of(home, "daemon")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    keeper.start()
    try:
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", full)
            with pytest.raises(OwnedElsewhereError, match="No space left"):
                keeper.own().result(10 * PATIENCE)
        keeper.own().result(10 * PATIENCE)

        assert keeper.can_work()
    finally:
        keeper.close(release=True)
