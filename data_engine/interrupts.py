"""Ctrl-C that waits: what is acquired in several steps is not left half acquired when one strikes in between.

A `with` over a generator has moments in which what the generator holds is held and nobody is there yet to let go of it.
What is raised then keeps the generator, and so the lock, for as long as somebody keeps the traceback, as IPython does.

Reference: https://docs.python.org/3/library/signal.html, handlers run in the main thread, between any two instructions.
"""

from __future__ import annotations

import signal
import sys
import threading
from abc import ABC, abstractmethod
from types import FrameType, TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

# The functions of `signal` look each handler up among its enums, 10 to 15 us a call: several times in every recorded run.
_raw: Any = sys.modules.get("_signal", signal)
_SIGINT = int(signal.SIGINT)
_RAISES = signal.default_int_handler


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
        if threading.get_ident() == threading.main_thread().ident and _raw.getsignal(_SIGINT) is _RAISES:
            _raw.signal(_SIGINT, self._note)
            self._is_holding = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_holding:
            _raw.signal(_SIGINT, _RAISES)
            if self._is_pressed:
                raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_pressed = True


class Held(ABC, Generic[T]):
    """A `with` over what is acquired: whatever strikes while it is, it is let go.

    A class and no generator: what is raised between a generator's `yield` and the first line inside keeps it suspended, and
    what it holds held, for as long as somebody keeps the traceback.

    Example:
        >>> class Door(Held[str]):
        ...     def take(self) -> str:
        ...         raise KeyboardInterrupt
        ...     def let_go(self) -> None:
        ...         print("closed")
        >>> try:
        ...     with Door():
        ...         pass
        ... except KeyboardInterrupt:
        ...     print("stops")
        closed
        stops
    """

    @abstractmethod
    def take(self) -> T:
        """Acquire it; what is returned is given to the `with`."""

    @abstractmethod
    def let_go(self) -> None:
        """Let go of what was taken, if anything was."""

    def __enter__(self) -> T:
        try:
            return self.take()
        except BaseException:
            self.let_go()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
