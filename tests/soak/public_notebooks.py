"""`python -m tests.soak.public_notebooks FOLDER [REPORT]`: each notebook under a folder, run whole and as the slices of some of its values.

Up to five variables of a notebook, evenly chosen, are what `build()` gives in turn, compared as `%flow deploy` does. A value that the
slice changes and nothing tells is printed, and the exit code is 1; `REPORT` gets one line of JSON for each value, with what was told. Run it with a
Python that has what the notebooks import; they get no input, no screen and a minute of processor time, and what they start is ended with them.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from data_engine.errors import FlowValidationError, NotebookCompileError
from data_engine.notebook.compile import compile_with_codes
from data_engine.notebook.magics import parse_cell, quiet_syntax
from data_engine.notebook.read import NotebookCell, read_cells
from data_engine.notebook.statements import DEFINITIONS, IMPORTS
from data_engine.proof.cells import CellChanges
from data_engine.proof.fingerprint import Detail, Fingerprint, details_of, fingerprint_of, trace
from data_engine.proof.verdict import differences_of, differing, doubts_of

LONGEST_S = float(os.environ.get("DATA_ENGINE_NOTEBOOK_S", "60"))
MOST_TARGETS = 5
_OWN = sys.modules["__main__"]
_WALL = 5
"""How many times as long a notebook may take on a busy machine."""
_IMPORTED = re.compile(r"^(?:import|from) ([a-zA-Z][\w.]*)", re.MULTILINE)
_TIMERS = ("time", "timeit", "prun")
_CHARTS = ("matplotlib", "mpl_toolkits", "seaborn", "plotnine", "altair")
"""Packages whose objects cannot be compared."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of one value of a notebook; `told` is what the comparison, and the names, said."""

    notebook: str
    target: str
    kind: str
    told: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """What one target is worth on one side, its fingerprint, and the cells after which names changed."""

    mark: str
    found: Fingerprint
    details: dict[str, Detail]
    changed: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Target:
    """A variable that `build()` gives: the names of its slice, the slice's text and warnings, and the texts of left-out cells."""

    name: str
    names: frozenset[str]
    source: str
    warnings: tuple[str, ...]
    left: frozenset[str]


def judged(path: Path) -> Iterator[Found]:
    """Each chosen value of a notebook, or one line that tells why it has none."""
    try:
        cells = read_cells(path.read_bytes(), path=path)
        places = _assigned(cells)
    except (FlowValidationError, RecursionError) as error:
        yield Found(path.name, "", "unreadable", detail=str(error)[:300])
        return
    targets = []
    for name in _chosen([*places]):
        try:
            targets.append(_target(cells, name, path))
        except NotebookCompileError as error:
            yield Found(path.name, name, "refused", detail=str(error)[:300])
    texts = [_plain(cell.text) for cell in cells]
    whole = _apart(lambda: _sides(texts, targets, 1), path.parent)
    if isinstance(whole, str):
        yield Found(path.name, "", "does not run", detail=whole)
        return
    for target in targets:
        if target.name in whole and whole[target.name].mark:
            yield _compared(cells, target, whole[target.name], path)


def _target(cells: Sequence[NotebookCell], name: str, path: Path) -> Target:
    build = NotebookCell(len(cells) + 1, "the-build", f"def build():\n    return {name}")
    compiled, codes = compile_with_codes([*cells, build], path)
    names = frozenset(one for _, code in codes for one in code.co_names)
    warnings = tuple(str(one.message) for one in compiled.warnings if "left out" in one.message)
    parts_left = {cell.number for cell in compiled.cells if not all(one.taken for one in cell.statements)}
    left = frozenset(_plain(cell.text).strip() for cell in cells if cell.number in parts_left)
    return Target(name, names, compiled.source, warnings, left)


def _compared(cells: Sequence[NotebookCell], target: Target, whole: Side, path: Path) -> Found:
    """What the comparison tells of one value, and whether that is right."""
    first = _apart(lambda: _sides([target.source], [target], 2), path.parent)
    again = _apart(lambda: _sides([target.source], [target], 3, fills_memory=True), path.parent)
    if isinstance(first, str) or isinstance(again, str):
        return Found(path.name, target.name, "the slice fails", detail=str(first)[:300])
    sliced, other = first[target.name], again[target.name]
    labels = differing(whole.found, sliced.found)
    varying = [label for label in labels if other.found.parts.get(label) != sliced.found.parts.get(label)]
    labels = [label for label in labels if label not in varying]
    told = differences_of(labels, whole.found, whole.details, sliced.details)
    doubts = (*varying, *doubts_of(whole.found, sliced.found, other.found))
    said = (*map(str, told), *doubts, *target.warnings)
    if sliced.mark == whole.mark:
        return Found(path.name, target.name, "equal, told" if told else "equal", said)
    if other.mark != sliced.mark:
        return Found(path.name, target.name, "never twice the same", said)
    kind = "different, told" if told else "different, doubt" if doubts or target.warnings else "silent"
    texts = {text for one in told for text in whole.changed.get(re.split(r"[.\[]", one.name)[0], ())}
    kept = [
        replace(cell, text=f"#| keep\n{cell.text}") if _plain(cell.text).strip() in texts else cell for cell in cells
    ]
    return Found(path.name, target.name, kind, said, _mended(kept, target, whole, path))


def _mended(cells: Sequence[NotebookCell], target: Target, whole: Side, path: Path) -> str:
    """Whether the slice of these cells gives what the whole notebook does; one that draws unseeded never does."""
    try:
        followed = _target(cells, target.name, path)
    except NotebookCompileError:
        return "not mended"
    marks = []
    for seed in (2, 3):
        found = _apart(lambda seed=seed: _sides([followed.source], [followed], seed), path.parent)  # type: ignore[misc]
        marks.append("" if isinstance(found, str) else found[target.name].mark)
    if marks[0] == whole.mark:
        return "mended"
    return "not mended" if marks[0] == marks[1] else "never twice the same"


def _assigned(cells: Sequence[NotebookCell]) -> dict[str, None]:
    """The names that assignments bind at top level, in the order in which they are bound last."""
    names: dict[str, None] = {}
    with quiet_syntax():
        for cell in cells:
            for statement in parse_cell(cell).statements:
                if not isinstance(statement.node, (*DEFINITIONS, *IMPORTS)):
                    for name in statement.names.binds:
                        names.pop(name, None)
                        names[name] = None
    return {name: None for name in names if not name.startswith("_")}


def _chosen(names: Sequence[str]) -> list[str]:
    """The last of each fifth.

    Example:
        >>> _chosen(list("abcdefgh"))
        ['a', 'c', 'd', 'f', 'h']
    """
    count = min(MOST_TARGETS, len(names))
    return [names[(place + 1) * len(names) // count - 1] for place in range(count)]


def _plain(text: str) -> str:
    """A cell as plain Python, its magics as calls."""
    from IPython.core.inputtransformer2 import TransformerManager

    manager: Any = TransformerManager
    return str(manager().transform_cell(text))


def _sides(
    texts: Sequence[str], targets: Sequence[Target], seed: int, *, fills_memory: bool = False
) -> dict[str, Side]:
    """What the targets come to once the texts have run; this process is set up for it."""
    if fills_memory:
        _fill_memory()
    module = types.ModuleType("__main__")
    names = module.__dict__
    sys.modules["__main__"] = module

    def run(text: str) -> None:
        exec(compile(text, "<cell>", "exec", dont_inherit=True), names)

    def line_magic(name: str, line: str = "", *_: object) -> None:
        if name in _TIMERS:
            run(line)

    def cell_magic(name: str, _: str, body: str) -> None:
        if name in (*_TIMERS, "capture"):
            run(body)

    shell = types.SimpleNamespace(
        run_line_magic=line_magic, run_cell_magic=cell_magic, system=_nothing, getoutput=lambda _: []
    )
    names.update(get_ipython=lambda: shell, display=_nothing)
    random.seed(seed)
    importlib.import_module("numpy").random.seed(seed)
    changes = CellChanges()
    for text in texts:
        run(text)
        changes.look(names, text)
    found = {}
    for target in targets:
        if target.name not in names and "build" not in names:
            continue
        run(f"def build():\n    return {target.name}")
        mark = _mark(names["build"]())
        tracer = trace(names, target.names)
        prints = fingerprint_of(tracer)
        roots = {re.split(r"[.\[#]", label)[0] for label in prints.parts}
        changed = {root: changes.cells_behind(root, names, target.names, target.left) for root in roots}
        found[target.name] = Side(
            hashlib.sha256(mark.encode()).hexdigest()[:16] if mark else "",
            prints,
            details_of(tracer, prints.parts),
            changed,
        )
    return found


def _fill_memory() -> None:
    """Let new memory hold other bytes than it did, as the second execution of a comparison does."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(-6, 85)


def _nothing(*_: object, **__: object) -> None: ...


def _mark(value: Any, depth: int = 0) -> str:
    """A text that equal values share; "" for what cannot be compared."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if value is None or kind in (bool, int, str, bytes):
        return f"{value!r}"
    if kind in (float, complex):
        return f"{value:.9g}"
    if depth > 4 or callable(value) or isinstance(value, Iterator) or package in _CHARTS:
        return ""
    if isinstance(value, dict):
        return _marks(kind.__name__, [each for pair in value.items() for each in pair], depth)
    if isinstance(value, (set, frozenset)):
        return _marks(kind.__name__, sorted(value, key=repr), depth)
    if isinstance(value, (list, tuple)):
        return _marks(kind.__name__, value, depth)
    if package == "numpy" and hasattr(value, "tolist"):
        return _marks(f"{value.dtype}{value.shape}", [value.tolist()], depth)
    if package in ("pandas", "polars"):
        return _table(value, kind.__name__, depth)
    if package == "sympy":
        return f"{value!r}"
    return _fitted(value, kind.__name__, depth)


def _marks(kind: str, values: Sequence[Any], depth: int) -> str:
    marks = [_mark(value, depth + 1) for value in values]
    return f"{kind}({', '.join(marks)})" if all(marks) else ""


def _table(value: Any, kind: str, depth: int) -> str:
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        parts = (
            [[*value.columns], *(value[name].to_list() for name in value.columns)]
            if value.columns.is_unique
            else [value.to_numpy()]
        )
        parts.append([*map(repr, getattr(value, "index", ()))])
    elif hasattr(value, "to_list"):
        parts = [value.to_list(), [*map(repr, getattr(value, "index", ()))], str(getattr(value, "name", ""))]
    else:
        return f"{value!r}" if kind in ("Timestamp", "Timedelta", "Period") else ""
    return _marks(kind, [repr(parts)], depth)


def _fitted(value: Any, kind: str, depth: int) -> str:
    """What an estimator or a model has learnt; "" for what holds a chart."""
    learnt = (
        [name for name in vars(value) if name.endswith("_") and not name.startswith("_")]
        if hasattr(value, "__dict__")
        else []
    )
    if not learnt and hasattr(value, "params") and hasattr(value, "summary"):
        learnt = ["params"]
    if any(type(getattr(value, name)).__module__.startswith(_CHARTS) for name in learnt):
        return ""
    marks = (f"{name}={_mark(getattr(value, name), depth + 1)}" for name in sorted(learnt) if name != "cv_results_")
    return f"{kind}({', '.join(marks)})" if learnt else ""


def _apart(work: Callable[[], dict[str, Side]], folder: Path) -> dict[str, Side] | str:
    """What a process of its own finds in a folder that holds links to what `folder` holds; or why it found nothing."""
    place = Path(tempfile.mkdtemp(prefix="notebook-"))
    for entry in folder.iterdir():
        (place / entry.name).symlink_to(entry.resolve())
    answer = place / ".answer"
    child = os.fork()
    if not child:
        os.setsid()
        with contextlib.suppress(BaseException):
            answer.write_bytes(pickle.dumps(_alone(work, place)))
        os._exit(0)
    until = time.monotonic() + _WALL * LONGEST_S
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it started
    found = pickle.loads(answer.read_bytes()) if answer.exists() else "error: longer than its time, or killed"
    shutil.rmtree(place, ignore_errors=True)
    return found


def _alone(work: Callable[[], dict[str, Side]], place: Path) -> dict[str, Side] | str:
    os.chdir(place)
    resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST_S), int(LONGEST_S) + 1))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    try:
        return work()
    except BaseException as error:
        return f"error {type(error).__name__}: {str(error)[:200]}"
    finally:
        sys.modules["__main__"] = _OWN  # so that what it found can be pickled


def _import_what_most_need(paths: Sequence[Path]) -> None:
    """Import here what several notebooks import, so that the processes that run them need not."""
    texts = (
        json.dumps(json.loads(path.read_bytes()).get("cells", [])).replace("\\n", "\n").replace(chr(34), "\n")
        for path in paths
    )
    counts = Counter(name for text in texts for name in {*_IMPORTED.findall(text)})
    for name, count in counts.items():
        if count > 1:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def main(folder: Path, report: Path | None) -> int:
    """Judge every notebook; the number of silent differences."""
    os.environ.update(MPLBACKEND="Agg", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", LOKY_MAX_CPU_COUNT="1")
    paths = sorted(folder.rglob("*.ipynb"))
    _import_what_most_need(paths)
    kinds: Counter[str] = Counter()
    notebooks, mended, unmended = set(), 0, 0
    with report.open("w", encoding="utf-8") if report else contextlib.nullcontext() as lines:
        for path in paths:
            for found in judged(path):
                kinds[found.kind] += 1
                mended += found.kind == "different, told" and found.detail == "mended"
                unmended += found.kind == "different, told" and found.detail == "not mended"
                if found.target:
                    notebooks.add(path)
                if found.kind == "silent":
                    print(f"{path}, {found.target}: silent, {found.detail}", flush=True)
                if lines:
                    print(json.dumps(asdict(found)), file=lines, flush=True)
    right = kinds["equal"] + kinds["equal, told"]
    share = 100 * kinds["equal, told"] / max(right, 1)
    print(
        f"{len(notebooks)} notebooks: {dict(kinds)}; {share:.1f} % of the {right} right values have an alarm; "
        f"keeping the named cells mends {mended} of {mended + unmended}"
    )
    return kinds["silent"]


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None) else 0)
