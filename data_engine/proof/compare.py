"""Compare what `build` reaches in a kernel with the compiled slice, executed in a process of its own: what the kernel has set up or
seeded is not there."""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from data_engine.answering_process import AnsweringProcess, NoAnswer, ParentProcess
from data_engine.errors import FlowExecutionError, message_of
from data_engine.model import utc_text
from data_engine.notebook.artifacts import Artifact, load_artifact
from data_engine.platforms.processes import limit_memory
from data_engine.proof.fingerprint import STREAM, Detail, Fingerprint, details_of, fingerprint_of, name_of, trace
from data_engine.proof.verdict import Verdict, cells_in, differences_of, differing, doubts_of
from data_engine.workspace.layout import without_kernel

_Answer = TypeVar("_Answer")


def compare(namespace: Mapping[str, Any], path: Path, data: bytes, *, cache_dir: Path | None = None) -> Verdict:
    """How the namespace of a kernel compares with the slice of its notebook at `path`, whose saved content is `data`.

    What is compiled is kept in `cache_dir`, so that the slice's process need not compile it.

    Raises:
        NotebookCompileError: the notebook cannot become a module.
        FlowExecutionError: the slice cannot be executed.
    """
    names = names_of(load_artifact(path, data, cache_dir=cache_dir))
    with SliceProcess(path, data, names, cache_dir) as process:
        tracer = trace(namespace, names)
        kernel, production = fingerprint_of(tracer), process.fingerprint()
        labels, again = differing(kernel, production), production
        if labels or any(label.startswith(STREAM) for label in production.parts):
            with SliceProcess(path, data, names, cache_dir, fills_memory=True) as other:
                again = other.fingerprint()
        varying = [label for label in labels if again.parts.get(label) != production.parts.get(label)]
        labels = [label for label in labels if label not in varying]
        differences = differences_of(
            labels, kernel, details_of(tracer, labels), process.details(labels) if labels else {}
        )
    return Verdict(
        utc_text(time.time()),
        cells_in(path, data),
        tuple(differences),
        tuple(map(name_of, varying)),
        tuple(doubts_of(kernel, production, again)),
    )


def names_of(artifact: Artifact) -> frozenset[str]:
    """The names that the slice binds or uses at its top level."""
    return frozenset(name for _, code in artifact.codes for name in code.co_names)


LIMIT_S = 120.0
_RESERVED_BYTES = 4 * 1024**3
"""What libraries reserve without using it."""
_FILLED = {"MALLOC_PERTURB_": "85", "MallocPreScribble": "1"}
"""By glibc and by macOS; elsewhere memory is as it was. Reference: mallopt(3), malloc(3)."""


class SliceProcess:
    """A process that executes the slice of the notebook at `path`, whose content is `data`; a context that ends it.

    `names` are those that the slice binds. The process begins at once, so that the caller can work meanwhile. One that `fills_memory`
    gives new arrays another content than memory had, so that scratch space that nobody has written to yet (`numpy.empty`) differs.
    It answers in JSON, of which nothing is executed here.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        path: Path,
        data: bytes,
        names: Collection[str],
        cache_dir: Path | None,
        *,
        fills_memory: bool = False,
    ) -> None:
        self._path = path
        self._until_s = time.monotonic() + LIMIT_S
        environment = without_kernel(os.environ) | (_FILLED if fills_memory else {})
        self._process = AnsweringProcess(
            f"{__name__}:child", environment=environment, folder=path.parent, owns_session=True
        )
        self._process.send(pickle.dumps((path, data, frozenset(names), cache_dir)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def fingerprint(self) -> Fingerprint:
        """The fingerprint of what `build` reaches there.

        Raises:
            FlowExecutionError: the slice cannot be executed.
        """
        answer = self._receive(_fingerprint_or_failure)
        if isinstance(answer, Fingerprint):
            return answer
        raise self._failed(*answer)

    def details(self, labels: Iterable[str]) -> Mapping[str, Detail]:
        """The values of these names in short; asked once, after `fingerprint`.

        Raises:
            FlowExecutionError: the process has ended.
        """
        self._process.send(json.dumps(list(labels)).encode())
        return self._receive(lambda message: {label: Detail.read(detail) for label, detail in message.items()})

    def _receive(self, read: Callable[[Any], _Answer]) -> _Answer:
        try:
            return read(json.loads(self._process.receive(max(0.0, self._until_s - time.monotonic()))))
        except NoAnswer as ended:
            raise self._failed(_end_text(ended)) from None
        except (AttributeError, LookupError, TypeError, ValueError):  # its own code can write there, too
            raise self._failed("the notebook's module gave an answer that cannot be read") from None

    def _failed(self, detail: str, places: tuple[dict[str, Any], ...] = ()) -> FlowExecutionError:
        error = FlowExecutionError(
            flow_name=self._path.stem,
            phase="import",
            detail=detail,
            source_path=self._path,
            fix="restart the kernel and run all cells",
        )
        error.places = places
        return error


def _end_text(ended: NoAnswer) -> str:
    """How the process ended, as its author can mend it."""
    if ended.ended_for:
        return f"the notebook's module was not done after {LIMIT_S:g} s"
    return f"the notebook's module ended with exit code {ended.status} (production would, too)"


def _fingerprint_or_failure(message: Any) -> Fingerprint | tuple[str, tuple[dict[str, Any], ...]]:
    """The fingerprint in a message, or how the slice failed, and where."""
    return (message["failed"], tuple(message["places"])) if "failed" in message else Fingerprint.read(message)


def child(asker: ParentProcess) -> None:
    """The child's part: execute the slice, and answer what is asked. What needs more memory than is free beside the kernel
    fails by itself: the system would else end what is largest, which is often the kernel."""
    import psutil

    sys.dont_write_bytecode = True
    path, data, names, cache_dir = pickle.loads(asker.receive())
    limit_memory(psutil.virtual_memory().available + _RESERVED_BYTES)
    from data_engine.notebook.load import FlowModules
    from data_engine.notebook.locate import place_of

    try:
        module = FlowModules(path.parent, cache_dir=cache_dir).execute(path, data)
    except BaseException as error:
        place = place_of(error)
        places = () if place is None else place.as_places()
        in_production = "" if isinstance(error, MemoryError) else " (production would fail by that, too)"
        failed = f"{type(error).__name__}: {message_of(error)}{in_production}"
        asker.send(json.dumps({"failed": failed, "places": places}).encode())
        return
    tracer = trace(vars(module), names)
    asker.send(json.dumps(fingerprint_of(tracer).as_json()).encode())
    details = details_of(tracer, json.loads(asker.receive()))
    asker.send(json.dumps({label: detail.as_json() for label, detail in details.items()}).encode())
