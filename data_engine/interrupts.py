"""Ctrl-C that waits: a lock that is held through generators is not left behind when one strikes in between.

A `with` over a generator has moments in which what the generator holds is held and nobody is there yet to let go of it.
What is raised then keeps the generator, and so the lock, for as long as somebody keeps the traceback, as IPython does.

Reference: https://docs.python.org/3/library/signal.html, handlers run in the main thread, between any two instructions.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class InterruptsHeld:
    """Inside, a Ctrl-C of the main thread waits; it is raised where this ends. Others are left to whoever handles them.

    Example:
        >>> try:
        ...     with InterruptsHeld():
        ...         signal.raise_signal(signal.SIGINT)
        ...         print("goes on")
        ... except KeyboardInterrupt:
        ...     print("then stops")
        goes on
        then stops
    """

    __slots__ = ("_is_holding", "_is_pressed")

    def __init__(self) -> None:
        self._is_holding = self._is_pressed = False

    def __enter__(self) -> None:
        is_main = threading.get_ident() == threading.main_thread().ident
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._is_holding = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_holding:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if self._is_pressed:
                raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_pressed = True
