"""What a map calls, packed for other processes, and what they tell and ask while they run it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.access.file_events import ChangeRefusedError, current_guard
from data_engine.engine.items.far_context import ContextFacts, answer, lost_words
from data_engine.engine.items.process import Home, Task, surroundings
from data_engine.engine.items.travel import Frame, PackedError, Parcel, pack, pack_error, unpack, unpack_error
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemCall, StepControl
from data_engine.model import LogLine
from data_engine.secret import learn

_FETCHED = ("current", "objects", "metadata")


class FarCall:
    """One map of a run, as other processes run its items.

    Large values travel through files in `folder`, where both ends see one; paths below `root` by their part inside it; secrets
    only `with_secrets`. Two threads and more may use it at once.

    Raises:
        FlowValidationError: what is called cannot leave this process.
    """

    def __init__(
        self,
        call: Callable[[Any], Any],
        step: StepControl,
        *,
        folder: Path | None = None,
        root: Path | None = None,
        with_secrets: bool = True,
    ) -> None:
        self._step, self._folder, self.root, self._with_secrets = step, folder, root, with_secrets
        self.context: FlowContext | None = call.context if isinstance(call, ItemCall) else None
        fn = call.fn if isinstance(call, ItemCall) else call
        facts = None if self.context is None else ContextFacts.of(self.context)
        self._guard = current_guard()
        names = {"run_id": step.run_id, "flow": step.flow, "index": step.index, "label": step.label}
        content = self._pack((fn, facts, self._guard), f"the function {getattr(fn, '__name__', '')}".strip())
        self.task = Task(next(_numbers), content, names, surroundings() | {"with_secrets": with_secrets})
        self.home = Home(self.tell, self.answer)
        self._answers: dict[tuple[Any, ...], Parcel] = {}
        self._lock = threading.Lock()

    def pack(self, item: Any) -> Parcel:
        """An item, to travel.

        Raises:
            FlowValidationError: it cannot.
        """
        return self._pack(item, "the item")

    def outcome(self, is_done: bool, content: Any) -> Any:
        """What an item gave; what it raised is raised."""
        if is_done:
            return unpack(content, root=self.root)
        error = unpack_error(content, root=self.root)
        if self._guard is not None and isinstance(error, ChangeRefusedError):
            self._guard.refused.append(error)
        raise error

    def say(self, text: str, level: str = "INFO") -> None:
        """Add a line to the run's log."""
        step = self._step
        step.emit(LogLine(step.run_id, step.flow, step.label, level, text, time.time()))

    def say_again(self, item: Any, cause: Cause) -> None:
        """Let the log say that an item is tried once more."""
        self.say(f"item {str(item)[:200]} is tried once more: {cause.text}", "WARNING")

    def tell(self, frame: Frame) -> None:
        """Take what an item told: an event, a text it wrote, a log record."""
        match frame:
            case ("event", event):
                self._step.emit(event)
            case ("written", paths):
                if self._guard is not None:
                    self._guard.note_written(paths)
            case ("lost", names):
                for name in names:
                    if name not in self._step.lost:
                        self._step.lost.add(name)
                        self.say(lost_words(name), "WARNING")
            case ("text", name, text):
                stream = sys.stdout if name == "out" else sys.stderr
                if stream is not None:
                    stream.write(text)
            case ("record", record):
                logger = logging.getLogger(record.name)
                if logger.isEnabledFor(record.levelno):
                    logger.handle(record)

    def answer(self, question: str, arguments: Parcel) -> tuple[bool, Parcel | PackedError]:
        """What an item asked; what goes wrong here goes wrong there."""
        try:
            return True, self._answer(question, unpack(arguments, root=self.root))
        except BaseException as error:
            return False, pack_error(error, root=self.root)

    def close(self) -> None:
        """Forget what was fetched."""
        for parcel in self._answers.values():
            if parcel.file is not None:
                Path(parcel.file).unlink(missing_ok=True)

    def _answer(self, question: str, arguments: tuple[Any, ...]) -> Parcel:
        if question == "may_work":
            self._step.may_work()
            return pack(None, question)
        if question == "learn":
            learn(*arguments)  # it is hidden here too before anybody there has it
            return pack(None, question)
        assert self.context is not None
        if question not in _FETCHED:
            return self._pack(answer(self.context, question, arguments), f"context.{question}")
        with self._lock:  # an object is packed once for all
            key = (question, *arguments)
            if key not in self._answers:
                what = f"context.{question}" + (f"[{arguments[0]!r}]" if arguments else "")
                self._answers[key] = self._pack(answer(self.context, question, arguments), what)
            return self._answers[key]

    def _pack(self, value: object, what: str) -> Parcel:
        return pack(value, what, folder=self._folder, root=self.root, with_secrets=self._with_secrets)


_numbers = count(1)
