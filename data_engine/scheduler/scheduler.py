"""The scheduler of one workspace: triggers say what is due, the dispatcher hands it to an executor. On the loop's thread.

    FolderPoller, ScheduleClock     what of one flow is due (`plan` decides), each in a `Trigger`
    TriggerSet                      one of these for each flow that runs by itself
    RunQueue                        whose turn it is
    Dispatcher                      groups, passes, what is recorded, what comes back
    Executor                        runs it: the daemon's worker pool, or this process

The daemon has one, with its worker pool; a `run` in the caller's process has one for each workspace its flows belong to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.scheduler.dispatcher import Dispatcher
from data_engine.scheduler.executor import Executor
from data_engine.scheduler.surroundings import Surroundings
from data_engine.scheduler.trigger_set import TriggerSet

_E = TypeVar("_E", bound=Executor)


class Scheduler(Generic[_E]):
    """What is due in one workspace (None: of flows that belong to none), and its runs in the executor that is made for it.

    `say` gets what people should know of a flow, a name and a line.
    """

    def __init__(
        self,
        home: LocalWorkspace | None,
        make_executor: Callable[[Dispatcher[_E]], _E],
        around: Surroundings,
        *,
        loop: asyncio.AbstractEventLoop,
        say: Callable[[str, str], None],
    ) -> None:
        self._around = around
        self._ledger = None if home is None else home.ledger()
        self._data_version = 0 if self._ledger is None else self._ledger.data_version()
        self.triggers = TriggerSet(
            home,
            loop=loop,
            hand_over=lambda works: self.dispatcher.add(works),
            drop=lambda flow, only: self.dispatcher.drop(flow, only=only),
            say_trouble=lambda trouble: self.dispatcher.say_trouble(trouble),
            say=say,
        )
        self.dispatcher: Dispatcher[_E] = Dispatcher(home, make_executor, around, self.triggers, loop=loop)

    def beat(self) -> None:
        """Called every few seconds: notice what other processes have written, and that trouble is over.

        Raises:
            LedgerError: the history cannot be read or written.
        """
        self.triggers.beat()
        if self._ledger is not None:
            lost = self._ledger.recover()
            version = self._ledger.data_version()
            if lost or version != self._data_version:
                self._data_version = version
                self.triggers.reload()
                self._around.tell()
        self.dispatcher.see_whether_trouble_is_over()
        self.dispatcher.dispatch()  # what waited for settings that can be used
        self.dispatcher.let_first_go_first()
