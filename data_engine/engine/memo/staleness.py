"""Why a kept result is not what its step would give now; without an answer it is reused."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from data_engine.engine.memo.cache import CacheEntry, StepMakeup
from data_engine.engine.memo.fingerprint import value_digest
from data_engine.engine.memo.libraries import is_authored
from data_engine.engine.memo.signatures import Kind, Signature, compare


class Comparisons:
    """Files compared with what they were, each once until a step runs, which may change them."""

    def __init__(self, source: Path | None, workspace_root: Path | None) -> None:
        self._source = source
        self._root = workspace_root
        self._known: dict[tuple[Kind, str, Signature], Signature | None] = {}

    def forget(self) -> None:
        """Compare everything anew."""
        self._known.clear()

    def why_moved(self, entry: CacheEntry) -> str | None:
        """What the step read or left behind that is not as it was; signatures that have settled are renewed."""
        for (kind, path), before in entry.reads.items():
            now = self._compare(kind, path, before)
            if now is None:
                return f"{self._called(path)} changed"
            entry.reads[kind, path] = now
        for (kind, path), before in entry.files.items():
            now = self._compare(kind, path, before)
            if now is None:
                return f"file {os.path.basename(path)} is {'changed' if os.path.exists(path) else 'gone'}"
            entry.files[kind, path] = now
        for (_, name), (space, digest) in entry.frames.items():
            if name not in space or value_digest(space[name]) != digest:
                return f"constant {name} changed"
        return None

    def _compare(self, kind: Kind, path: str, before: Signature) -> Signature | None:
        known = (kind, path, replace(before, at_ns=0))  # the same facts and content: the same files were fresh
        if known not in self._known:
            self._known[known] = compare(kind, path, before)
        return self._known[known]

    def _called(self, path: str) -> str:
        name = os.path.basename(path) or path
        if self._source is not None and path == str(self._source):
            return f"source {name}"
        if self._root is not None and os.path.dirname(path) == str(self._root / "config"):
            return f"config {name}"
        is_database = self._root is not None and path.startswith(str(self._root / "databases"))
        return f"database {name}" if is_database else f"file {name}"


def why_defined_anew(entry: CacheEntry, classes: Iterable[frozenset[int]]) -> str | None:
    """Which class of the kept result is no longer the one the code means: `isinstance` would tell them apart."""
    now = frozenset[int]().union(*classes)
    for kind in entry.classes:
        if id(kind) not in now and is_authored(kind.__module__):
            return f"class {kind.__name__} was defined again"
    return None


def why_no_entry(before: StepMakeup | None, now: StepMakeup) -> str:
    """What of the step changed since its last preview, when nothing is kept under its key."""
    if before is None:
        return "first preview"
    changed = _changed(before.parts, now.parts)
    if changed:
        told = [label for label in changed if label in now.parts and label in before.parts and label[:4] != "its "]
        own = "its code" if "its code" in changed else changed[0]
        return f"{told[0].partition('#')[0] if told else own} changed"
    moved = _changed(before.consumed, now.consumed)
    if moved:
        return "params changed" if moved[0] == "params" else f"{moved[0].partition(' (')[0]} before it changed"
    return "its result is no longer kept"


def _changed(before: Mapping[str, bytes], now: Mapping[str, bytes]) -> list[str]:
    return [label for label in {**now, **before} if now.get(label) != before.get(label)]
