"""The columns of the frames that a run's steps save, a check is given, or a map passes on: taken as they pass, and compared with those of the
good runs before.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.engine.access.access_log import not_logged
from data_engine.engine.items.threads import ON_NODE
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.batch import Columns, columns_of
from data_engine.flow.check import Check
from data_engine.flow.flow import Flow
from data_engine.flow.spec import Map, StepSpec
from data_engine.formatting import beginning
from data_engine.ledger.feed_schemas import KnownFrames, is_known, known_frames
from data_engine.ledger.rows import LONGEST_FRAMES, frames_as_text
from data_engine.model import FeedSchema, Frame, FrameChange
from data_engine.planning.drift import drift

MOST_COLUMNS = 5_000
"""A wider frame is not recorded, nor what comes after so many columns of a run in all; one that a check demands as before always is."""

_MOST_KINDS = 50
"""So many different frames of a batch are recorded; of one that a check demands as before all."""

_LONGEST_TYPE = 200


class _Place(NamedTuple):
    """A frame of a flow: its name, and how many steps come before it."""

    name: str
    steps_before: int


class PassFrames:
    """The frames of the flow of one pass, and the code before each; `deployment_id` stands for the code where it runs as deployed."""

    def __init__(self, flow: Flow, home: LocalWorkspace) -> None:
        self.flow, self.home = flow, home
        self.given: dict[int, _Place] = {}
        self.passed: dict[int, _Place] = {}
        self.judged: set[_Place] = set()
        """The frames that a check demands as before."""
        saved: dict[str, int] = {}
        for index, step in enumerate(flow.steps):
            before = flow.steps[index - 1].save_as if index else None
            if isinstance(step.fn, Check):
                name = before if step.use in (None, "current") else step.use
                self.given[index] = _Place(
                    name or step.label, index if step.use in (None, "current") else saved.get(name or "", index)
                )
                if step.fn.as_before:
                    self.judged.add(self.given[index])
            if step.save_as is not None or isinstance(step.fn, Map):
                self.passed[index] = _Place(step.save_as or step.label, index + 1)
            if step.save_as is not None:
                saved[step.save_as] = index + 1
        self.taken = self.given.keys() | self.passed.keys()

    @property
    def are_judged(self) -> bool:
        """Whether a check demands columns as before."""
        return bool(self.judged)

    def code(self, steps: int, deployment_id: str | None) -> str | None:
        """The digest of the code of the first `steps` steps and all that it reaches, but for libraries, data and times; None where it
        cannot be followed."""
        is_deployed = deployment_id is not None and self.flow._edited is None
        return self.seen.codes(self.flow.steps, deployment_id if is_deployed else None)[steps]

    @cached_property
    def seen(self) -> _Seen:
        """What this process has seen of the flow's frames."""
        if len(_seen) >= _MOST_KEPT:
            _seen.clear()
        return _seen.setdefault((self.home.local.ledger_path, self.flow.name or ""), _Seen())


class _Seen:
    """What a process has seen of the frames of one flow: the code of its steps, its `last` frames with the columns that they were made
    of, the digests of the sets of frames of its runs, and of these the `good` ones and those whose columns are `sent`."""

    def __init__(self) -> None:
        self.last: dict[tuple[str, int], tuple[Columns, Frame]] = {}
        self.good: set[str] = set()
        self.sent: set[str] = set()
        self._digests: dict[tuple[Frame, ...], str] = {}
        self._codes: tuple[str | tuple[StepSpec, ...], list[str | None]] = ((), [""])

    def codes(self, steps: tuple[StepSpec, ...], deployment_id: str | None) -> list[str | None]:
        """The digests of no step, of the first, of the first two ...; the deployment stands for the steps, which each pass makes anew."""
        of, codes = self._codes
        if of is not steps and (deployment_id is None or of != deployment_id):
            codes = _codes_of(steps)
            self._codes = steps if deployment_id is None else deployment_id, codes
        return codes

    def digest(self, frames: tuple[Frame, ...]) -> str:
        """The digest of frames in any order of their columns, and of a batch in any order of its frames."""
        digest = self._digests.get(frames)
        if digest is None:
            if len(self._digests) >= _MOST_KEPT:
                self._digests.clear()
            text = json.dumps(sorted((name, code, sorted(columns)) for name, code, columns in frames))
            digest = self._digests[frames] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return digest


_MOST_KEPT = 1_000
_seen: dict[tuple[Path, str], _Seen] = {}


def _codes_of(steps: Sequence[StepSpec]) -> list[str | None]:
    """The digests of no step, of the first, of the first two ...; None from a step on that cannot be followed."""
    from data_engine.engine.memo.fingerprint import code_fingerprint
    from data_engine.engine.memo.tracer import digest_of

    codes: list[str | None] = [""]
    whole: list[Any] = []
    with suppress(Exception):  # of the author's values, which may raise when they are read
        for step in steps:
            tracer = code_fingerprint(step)
            data = _data_in(tracer.values)
            whole.append(sorted((label, part) for label, part in tracer.contents().items() if label not in data))
            codes.append(digest_of(whole).hex()[:16])
    return codes + [None] * (len(steps) + 1 - len(codes))


def _data_in(values: Mapping[str, Any]) -> set[str]:
    """The names of values that are no code: frames and times, which differ from process to process though nobody has edited anything."""
    return {
        label for label, value in values.items() if columns_of(value) or type(value).__module__ in ("datetime", "time")
    }


class RunFrames:
    """The frames of one run."""

    def __init__(self, of: PassFrames, deployment_id: str | None) -> None:
        self._of, self._deployment_id = of, deployment_id
        self._flow, self._seen = of.flow.name or "", of.seen
        self._frames: dict[_Place, tuple[Frame, ...]] = {}
        self._count = 0

    def take(self, index: int, value: object, *, is_good: bool) -> None:
        """Take the frame that step number `index` was given, where it is a check, or has passed on as `value`, where it ended well."""
        if index not in self._of.taken:
            return
        places = (self._of.given.get(index), self._of.passed.get(index) if is_good else None)
        for place in places:
            if place is not None and place not in self._frames and (frames := self._frames_of(place, value)):
                self._frames[place] = frames
                self._count += 0 if place in self._of.judged else sum(len(frame.columns) for frame in frames)

    def judge(self, check: str, value: object) -> tuple[FrameChange, ...]:
        """How the frame that the check of this label is given differs from those of every good run; none where there was no run.

        Raises:
            FlowValidationError: that cannot be told: the run is on a node of a cluster, where nobody knows the runs before, the frame has too
                many columns, or the code before it cannot be followed.
            LedgerError: the runs before cannot be read.
        """
        if os.environ.get(ON_NODE):
            raise _cannot_judge(check, "a node of a cluster does not know the runs before", _TO_STAY)
        place = next(place for index, place in self._of.given.items() if self._of.flow.steps[index].label == check)
        frames = self._frames_of(place, value)
        if not frames:
            raise _cannot_judge(check, "the code of the steps before it cannot be followed", _TO_FOLLOW)
        others = [kept for other, kept in self._frames.items() if other in self._of.judged and other != place]
        if len(frames_as_text([*frames, *chain.from_iterable(others)])) > LONGEST_FRAMES // 2:
            count = sum(len(frame.columns) for frame in frames)
            raise _cannot_judge(
                check, f"a run can keep the names and types of fewer than its {count:,} columns", _TO_BE_FEWER
            )
        return drift(frames, self._known())

    def changes(self) -> tuple[FrameChange, ...]:
        """How the frames of this run, as far as there are any, differ from those of every good run."""
        frames = self._all
        with suppress(LedgerError):  # the run fails anyway, and says why
            return drift(frames, self._known()) if frames else ()
        return ()

    def schema(self, *, finds_drift: bool) -> FeedSchema | None:
        """The columns of all frames of the run, with how they differ from those of every good run; None without a frame."""
        frames = self._all
        if not frames:
            return None
        digest, good = self._seen.digest(frames), self._seen.good
        changed: tuple[FrameChange, ...] = ()
        if finds_drift and digest not in good and self._of.home.has_ledger:
            with suppress(LedgerError):  # drift is told by the next run, and no run fails for it
                if not is_known(self._of.home.ledger(), self._flow, digest):
                    changed = drift(frames, known_frames(self._of.home.ledger(), self._flow))
                good.add(digest)
        return FeedSchema(digest, None if digest in self._seen.sent else frames, changed)

    def note_sent(self, schema: FeedSchema) -> None:
        """The run's end is recorded, and with it the columns."""
        self._seen.sent.add(schema.digest)

    @property
    def _all(self) -> tuple[Frame, ...]:
        return tuple(frame for frames in self._frames.values() for frame in frames)

    def _known(self) -> list[KnownFrames]:
        home = self._of.home
        with not_logged():
            return known_frames(home.ledger(), self._flow) if home.has_ledger else []

    def _frames_of(self, place: _Place, value: object) -> tuple[Frame, ...]:
        found = columns_of(value)
        if not found or (code := self._of.code(place.steps_before, self._deployment_id)) is None:
            return ()
        most = None if place in self._of.judged else MOST_COLUMNS - self._count
        return tuple(self._kept(place.name, number, code, columns) for number, columns in _narrow(found, most))

    def _kept(self, name: str, number: int, code: str, columns: Columns) -> Frame:
        """The frame that the last run had, where it is the same: texts are made of types only when they are other ones."""
        names, types = columns
        last = self._seen.last.get((name, number))
        if last is None or last[1].code != code or last[0] != (names, types):
            pairs = ((str(column), _type_text(kind)) for column, kind in zip(names, types, strict=True))
            last = self._seen.last[name, number] = (names, types), Frame(name, code, tuple(pairs))
        return last[1]


def _narrow(found: Sequence[Columns], most: int | None) -> Iterator[tuple[int, Columns]]:
    """The frames, numbered, as long as they have at most so many columns in all."""
    count = 0
    for number, columns in enumerate(found):
        count += len(columns[0])
        if most is None or (number < _MOST_KINDS and count <= most):
            yield number, columns


def _type_text(kind: object) -> str:
    """The type as a text; a long one with the digest of the whole."""
    text = str(kind)
    if len(text) <= _LONGEST_TYPE:
        return text
    return f"{beginning(text, _LONGEST_TYPE)} {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


_TO_STAY = 'let whole runs stay on the owner: runs = "local" below [executor]; the items of a map may go to the cluster'
_TO_FOLLOW = "let the steps before it read no value of the notebook that raises when it is read"
_TO_BE_FEWER = "let the step before keep the columns that count, or leave out schema="


def _cannot_judge(check: str, why: str, fix: str) -> FlowValidationError:
    return FlowValidationError(
        f"check {check!r} cannot tell whether columns are as before: {why}",
        where="Flow.check(schema='as_before')",
        fix=fix,
    )
