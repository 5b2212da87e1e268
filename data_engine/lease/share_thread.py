"""The one thread that touches the share: it does what is asked of it in that order, and what is due in between."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

log = logging.getLogger(__name__)

_LONGEST_SLEEP_S = 30.0
_T = TypeVar("_T")


class ShareThread:
    """Does what any thread asks for, one thing at a time; `tick` is called when `due_in_s` has passed and nothing is asked for.

    `failed` is called after what was asked for without a future, or a tick, has raised.

    Example:
        >>> thread = ShareThread(tick=lambda: None, due_in_s=lambda: 30.0, failed=lambda: None)
        >>> thread.start()
        >>> thread.ask(lambda: 6 * 7).result(10)
        42
        >>> thread.close(10.0)
    """

    def __init__(self, *, tick: Callable[[], None], due_in_s: Callable[[], float], failed: Callable[[], None]) -> None:
        self._tick = tick
        self._due_in_s = due_in_s
        self._failed = failed
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="share", daemon=True)

    def start(self) -> None:
        """Begin; what was asked for before is done then."""
        self._thread.start()

    def ask(self, action: Callable[[], _T]) -> Future[_T]:
        """Do `action` on the thread; its result or what it raised."""
        future: Future[_T] = Future()

        def answer() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = action()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._asked.put(answer)
        return future

    def put(self, action: Callable[[], None]) -> None:
        """Do `action` on the thread; nobody waits for it."""
        self._asked.put(action)

    def close(self, timeout_s: float) -> None:
        """End it once all that was asked for is done; what takes longer is left behind."""
        self._asked.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                action = self._asked.get(timeout=max(0.0, min(self._due_in_s(), _LONGEST_SLEEP_S)))
            except queue.Empty:
                action = self._tick
            if action is None:
                return
            try:
                action()
            except Exception:
                log.exception("the share's thread")
                self._failed()
