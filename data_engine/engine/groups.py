"""Run the flows of one group one at a time on a machine, whoever starts them; a flow that waits says for which runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from pathlib import Path

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import GroupBusyError
from data_engine.flow.flow import Flow
from data_engine.formatting import visible
from data_engine.locks import GroupLock, InterruptsHeld, SafeAcquire
from data_engine.reasons.kinds import GroupRun, WaitingForGroup

_held: ContextVar[frozenset[tuple[Path, str]]] = ContextVar("held_groups", default=frozenset())


class holding_group(SafeAcquire[Callable[[], bool]]):
    """Inside, no other flow of the group runs on this machine. A flow that belongs to no workspace has no group to wait for.

    It goes before all that is only due, in whatever process. It gives a function: whether a run waits that goes first.

    Raises (on entering):
        GroupBusyError: the group is running further up in this call, or in a process that started this one.
    """

    def __init__(self, flow: Flow, home: LocalWorkspace | None) -> None:
        self._flow = flow
        self._home = home
        self._lock: GroupLock | None = None
        self._token: Token[frozenset[tuple[Path, str]]] | None = None

    def take(self) -> Callable[[], bool]:
        """Wait for the group."""
        flow, home = self._flow, self._home
        if home is None:
            return lambda: False
        refuse_inside_group(flow, home)
        lock = self._lock = GroupLock(home.local.locks_dir, flow.group)
        if not lock.try_acquire():
            tell_whom_we_wait_for(flow, home)
            lock.acquire(lock.ask_first)
        with InterruptsHeld():
            self._token = _held.set(_held.get() | {_key(flow, home)})
        return lambda: lock.gives_way

    def let_go(self) -> None:
        """Let others run."""
        if self._lock is None or self._home is None:
            return
        try:
            if self._token is not None:
                self._home.ledger().flush()  # ends that waited for the next start, before somebody else has the group
        finally:
            with InterruptsHeld():
                token, self._token = self._token, None
                if token is not None:
                    _held.reset(token)
                self._lock.release()


@contextmanager
def inside_group(flow: Flow, home: LocalWorkspace | None) -> Iterator[None]:
    """Inside, a run of the flow's group goes on; its caller holds the lock of the group."""
    token = _held.set(_held.get() if home is None else _held.get() | {_key(flow, home)})
    try:
        yield
    finally:
        _held.reset(token)


def refuse_inside_group(flow: Flow, home: LocalWorkspace | None) -> None:
    """Refuse to start the flow inside a run of its own group.

    Raises:
        GroupBusyError: the group is running further up in this call.
    """
    if home is not None and _key(flow, home) in _held.get():
        raise GroupBusyError(
            f'flow "{flow.name}" was started inside a run of its own group "{flow.group}" and would wait for it forever',
            where=f'group "{flow.group}"',
            fix="put the flow in another group, or call its functions directly",
        )


def tell_whom_we_wait_for(flow: Flow, home: LocalWorkspace) -> None:
    """Say on standard error which runs the flow waits for.

    Raises:
        GroupBusyError: one of them is in a process that started this one, and waits for it.
    """
    running = home.ledger().running_with_pids(flow.group)
    ancestors = _ancestors()
    for run, pid in running:
        if pid in ancestors:
            raise GroupBusyError(
                f'flow "{flow.name}" was started by a process that a run of its own group "{flow.group}" waits for '
                f'(flow "{run.flow}", run {run.run_id[:8]}, pid {pid})',
                where=f'group "{flow.group}"',
                fix="put the flow in another group, or start it after that run",
            )
    why = WaitingForGroup(flow.group, tuple(GroupRun(run.flow, run.run_id, pid) for run, pid in running))
    print(visible(why.text), file=sys.stderr)


def _key(flow: Flow, home: LocalWorkspace) -> tuple[Path, str]:
    return home.local.locks_dir, flow.group


def _ancestors() -> set[int]:
    import psutil

    try:
        return {parent.pid for parent in psutil.Process(os.getpid()).parents()}
    except psutil.Error:
        return set()
