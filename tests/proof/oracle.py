"""Whether the comparison is right about a notebook: run whole and as its slice, in processes of their own.

The truth is what `build()` gives: the same from both, or not. `judge` says what the comparison, and the names, told of it;
`python -m tests.proof.oracle` what of all forms, which should be told, and of the right notebooks, which should not. Run it
where pandas, NumPy, scikit-learn, Polars and DuckDB are installed: what a form imports and is not there makes it void.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import random
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_engine.errors import NotebookCompileError
from data_engine.notebook.compile import compile_with_codes
from data_engine.notebook.read import NotebookCell
from data_engine.proof.fingerprint import Detail, Fingerprint, details_of, fingerprint_of, trace
from data_engine.proof.verdict import differences_of, differing, doubts_of

LIMIT_S = 60
Kind = Literal["right", "named", "doubt", "by names", "silent", "false alarm", "varies", "refused", "void"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What was told of a notebook: `right` and nothing was told; `named`, or told as `doubt` or `by names`, where `build()` gives
    something else; `silent` where it does and nothing was told."""

    kind: Kind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Side:
    gives: str
    found: Fingerprint
    details: dict[str, Detail]


def judge(texts: Sequence[str]) -> Judged:
    """Run a notebook whole and as its slice, and compare; in a process without threads, as it forks."""
    return _without_threads().submit(_judge, tuple(texts), os.getcwd()).result(LIMIT_S)


@functools.cache
def _without_threads() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pandas", "polars", __name__])
    return ProcessPoolExecutor(1, context)


def _judge(texts: tuple[str, ...], folder: str) -> Judged:
    os.chdir(folder)
    cells = [NotebookCell(number, f"c{number}", text) for number, text in enumerate(texts, start=1)]
    try:
        compiled, codes = compile_with_codes(cells, Path("flow.ipynb"))
    except NotebookCompileError as error:
        return Judged("refused", str(error))
    names = frozenset(name for _, code in codes for name in code.co_names)
    kept = [compile(text, f"<cell {number}>", "exec", dont_inherit=True) for number, text in enumerate(texts, start=1)]
    whole = _apart(lambda: _side(kept, names, seed=1))
    if isinstance(whole, str):
        return Judged("void", whole)
    sliced = _apart(lambda: _side([code for _, code in codes], names, seed=2))
    if isinstance(sliced, str):
        return Judged("named", sliced)  # a slice that fails is told of
    labels, again = differing(whole.found, sliced.found), sliced
    if labels or sliced.gives != whole.gives:
        again = _apart(lambda: _side([code for _, code in codes], names, seed=3))
        labels = [label for label in labels if again.found.parts.get(label) == sliced.found.parts.get(label)]
        if again.gives != sliced.gives:
            return Judged("varies", whole.gives)
    told = differences_of(labels, whole.found, whole.details, sliced.details)
    by_names = [str(warning) for warning in compiled.warnings if "left out" in warning.message]
    doubts = doubts_of(whole.found, sliced.found, again.found)
    said = "; ".join([*map(str, told), *doubts, *by_names])
    detail = f"{said}\n--- whole {whole.gives[:300]}\n--- slice {sliced.gives[:300]}"
    if whole.gives == sliced.gives:
        return Judged("false alarm" if told else "right", detail)
    return Judged("named" if told else "doubt" if doubts else "by names" if by_names else "silent", detail)


def _side(codes: Sequence[types.CodeType], names: frozenset[str], *, seed: int) -> _Side:
    """What the codes come to in a namespace as a kernel's."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    module.__dict__["print"] = lambda *values, **_: [str(value) for value in values]
    module.__dict__["display"] = module.__dict__["print"]
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    for code in codes:
        exec(code, module.__dict__)
    tracer = trace(module.__dict__, names)
    found = fingerprint_of(tracer)
    details = details_of(tracer, found.parts)
    return _Side(repr(module.__dict__["build"]()), found, details)


def _apart(work: Callable[[], Any]) -> Any:
    """What a child process makes of it, or the text of its error."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(quiet, stream)
        try:
            answer = pickle.dumps(work())
        except BaseException as error:
            answer = pickle.dumps(f"error {type(error).__name__}: {error}")
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(answer) if answer else "error: its process ended"


def main() -> int:
    """Print what was told, and each form that differs in silence; the exit code is 1 where one does, or more than 2 % of the right
    notebooks have an alarm."""
    from tests.notebook.test_slice_forms import FORMS, RIGHT

    kinds: dict[str, Counter[Kind]] = {"forms": Counter(), "right": Counter()}
    for title, notebooks in (("forms", FORMS), ("right", RIGHT)):
        for name, texts in notebooks.items():
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                found = judge(texts)
            kinds[title][found.kind] += 1
            if found.kind in ("silent", "false alarm", "void"):
                print(f"{title}, {name}: {found.kind}, {found.detail}")
        print(f"{len(notebooks)} {title}: {dict(kinds[title].most_common())}")
    is_right = kinds["forms"]["right"] + kinds["right"]["right"]
    alarms = kinds["forms"]["false alarm"] + kinds["right"]["false alarm"]
    share = 100 * alarms / (is_right + alarms)
    print(f"{share:.1f} % of the {is_right + alarms} that are the same have an alarm (limit 2 %)")
    return int(kinds["forms"]["silent"] > 0 or share > 2)


if __name__ == "__main__":
    sys.exit(main())
