"""One run of one step in a preview: its function watched, and what it then gave, read and wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from data_engine.engine.memo.access_log import AccessLog, Namespace
from data_engine.engine.memo.cache import Reads
from data_engine.engine.memo.content import digest_of
from data_engine.engine.memo.file_events import failing_when_refused
from data_engine.engine.memo.fingerprint import value_digest
from data_engine.engine.memo.interceptors import Interceptors, intercepted
from data_engine.engine.memo.signatures import Kind, Signature, signature_of
from data_engine.engine.memo.value_copy import paths_in
from data_engine.engine.memo.watched_context import WatchedContext
from data_engine.engine.scratch import ScratchFile
from data_engine.flow.context import FlowContext
from data_engine.flow.spec import Map, StepSpec
from data_engine.record import frozen


@frozen
class RanStep:
    """How a step ran: what it gave and touched, `missed` why its reads are not all seen, `impure` what else it changed.

    `written` is what it wrote to the preview's own folder.
    """

    value: Any
    log: AccessLog
    literals: Reads
    missed: str | None
    impure: str | None
    is_odd: bool
    written: dict[Path, ScratchFile]

    @property
    def tokens(self) -> list[tuple[str, str]]:
        """The contents of what it wrote to scratch."""
        return sorted((str(path), file.token) for path, file in self.written.items())

    def out_key(self, key: bytes, reads: Reads, files: Reads, *, is_collect: bool) -> bytes:
        """What stands for the result in the keys of later steps, of a step with this key that read and left these files."""
        if self.unseen is not None:
            return os.urandom(32)
        left = _facts_of(files)
        if is_collect:  # what else lies in the folder is no matter
            return digest_of(key, value_digest(self.value) or os.urandom(32), left, self.tokens)
        named = sorted((name, digest) for (_, name), (_, digest) in self.log.frames.items())
        versions = sorted(self.log.versions.items())
        return digest_of(key, _facts_of(reads), named, versions, left, self.tokens)

    @property
    def needs_order(self) -> bool:
        return self.is_odd or self.impure is not None

    @property
    def unseen(self) -> str | None:
        """Why the step must run again each time."""
        return self.impure or (
            None if self.missed is None else f"depends on something that cannot be tracked: {self.missed}"
        )

    def reads(self) -> Reads:
        """What it read, and what the paths in its code looked like, but for those it made itself."""
        found = {place: seen for place, seen in self.literals.items() if place[1] not in self.log.written}
        return found | self.log.reads

    def files(self) -> Reads:
        """The files it left behind."""
        log = self.log
        paths = [*log.written, *log.targets, *(os.path.abspath(path) for path in paths_in(self.value))]
        scratch = log.scratch
        found = [path for path in dict.fromkeys(paths) if scratch is None or not scratch.holds(path)]
        kinds: dict[str, Kind] = {path: "kind" if os.path.isdir(path) else "content" for path in found}
        return {(kind, path): signature_of(kind, path) for path, kind in kinds.items()}


def watched_step(
    spec: StepSpec,
    captured: Iterable[tuple[Namespace, str]],
    context: WatchedContext,
    interceptors: Interceptors,
    log: AccessLog,
) -> StepSpec:
    """The step with its function watched: what it reads is logged, and which tables of the context it looks at."""
    fn: Any = spec.fn
    fn = replace(fn, fn=intercepted(fn.fn)) if isinstance(fn, Map) else intercepted(fn)

    @wraps(spec.fn, assigned=(), updated=())
    def watched_fn(given: FlowContext) -> Any:
        context.looked_at = log.tables
        with interceptors.intercept(log, captured), failing_when_refused():
            try:
                return fn(given)
            finally:
                context.looked_at = set()

    return replace(spec, fn=watched_fn)


def signatures_of(literals: frozenset[str], ours: tuple[str, ...]) -> Reads:
    """Paths written in the code: a native reader nobody watches may be given one."""
    found: Reads = {}
    for text in literals:
        path = os.path.abspath(os.path.expanduser(text))
        if path.startswith(ours):
            continue
        kind: Kind = "content" if os.path.isfile(path) else "kind"
        found[kind, path] = signature_of(kind, path)
    return found


def _facts_of(signatures: Mapping[tuple[Kind, str], Signature]) -> list[tuple[str, str, str | None]]:
    return sorted((repr(place), repr(seen.facts), seen.content) for place, seen in signatures.items())
