"""What comparing a kernel with its slice costs, beside its limits: `python -m benchmarks.proof`; CPU seconds, of the least of several.

The forest is measured where scikit-learn can be imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.figures import finish, report
from data_engine.engine.memo.tracer import Tracer
from data_engine.proof.cells import CellChanges
from data_engine.proof.compare import compare
from data_engine.proof.fingerprint import COMPARED
from data_engine.proof.kernel import SliceValues

ROWS = 1_000_000
STEPS = 18


def cpu_s(call: Callable[[], object], runs: int = 5) -> list[float]:
    """The CPU seconds of each call in this thread, in order of size."""
    times = []
    for _ in range(runs):
        began_s = time.thread_time()
        call()
        times.append(time.thread_time() - began_s)
    return sorted(times)


def notebook() -> tuple[list[str], bytes]:
    """Twenty cells without frames, and their file."""
    texts = ["import json\nfrom data_engine import Flow"]
    texts += [
        f'C{n} = {{"a": {n}, "b": [{n}, 2]}}\ndef step{n}(context):\n    return json.dumps(C{n})' for n in range(STEPS)
    ]
    texts.append("def build():\n    return Flow(group='G')" + "".join(f".step(step{n})" for n in range(STEPS)))
    cells = [{"cell_type": "code", "id": f"c{n}", "source": text, "metadata": {}} for n, text in enumerate(texts)]
    return texts, json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def forest() -> Any:
    """A random forest of 100 trees, fitted; None without scikit-learn."""
    if importlib.util.find_spec("sklearn") is None:
        return None
    ensemble: Any = importlib.import_module("sklearn.ensemble")
    rows = np.random.default_rng(1).random((2000, 20))
    return ensemble.RandomForestClassifier(100, random_state=0).fit(rows, rows[:, 0] > rows[:, 1])


def looks_ms(frame: pl.DataFrame) -> list[float]:
    """Milliseconds of each look of many after cells that change one of 62 names, in order of size."""
    values: dict[str, Any] = {f"n{n}": [n] * 50 for n in range(60)}
    values |= {"frame": frame, "table": {str(n): n for n in range(1000)}}
    changes, cells = CellChanges(), iter(range(10_000))

    def look() -> None:
        number = next(cells)
        values[f"n{number % 60}"].append(number)
        changes.look(values, f"n{number % 60}.append({number})")

    return [1000 * taken_s for taken_s in cpu_s(look, 300)]


def main() -> None:
    """All figures."""
    frame = pl.DataFrame({f"c{n}": np.random.default_rng(n).random(ROWS) for n in range(10)})
    name = f"fingerprint of {ROWS:,} x 10 of Polars, a side"
    report(name, cpu_s(lambda: Tracer(COMPARED).value(frame, "frame"))[0], 0.2, "s")
    if (model := forest()) is not None:
        taken_s = cpu_s(lambda: Tracer(COMPARED).value(model, "model"), 10)[0]
        report("fingerprint of a random forest of 100 trees, a side", 1000 * taken_s, 50, "ms")
    looks = looks_ms(frame)
    note = f"median {statistics.median(looks):.2f} ms"
    report("look after a cell, 62 names, 95th percentile", looks[len(looks) * 95 // 100], 6, "ms", note)
    texts, data = notebook()
    names: dict[str, Any] = {"__name__": "__main__"}
    for text in texts:
        exec(compile(text, "<cell>", "exec", dont_inherit=True), names)
    with tempfile.TemporaryDirectory() as folder:
        path, times = Path(folder) / "flow.ipynb", []
        for _ in range(5):
            began_s = time.perf_counter()
            verdict = compare(names, path, data, cache_dir=Path(folder) / "compiled")
            times.append(time.perf_counter() - began_s)
            assert verdict.is_same
        report("compare a notebook of 20 cells, with the process (elapsed)", min(times), 0.3, "s")
        known = SliceValues.of(verdict, path, data, names)
    parts = {f"constant {name}": digest for name, digest in known.digests.items()}
    with contextlib.redirect_stderr(io.StringIO()):
        preview_s = cpu_s(names["build"]().preview, 50)[0]
    told_s = cpu_s(partial(known.what_differs, known.slice_texts, parts), 50)[0]
    note = f"{1e6 * told_s:.0f} us of {1000 * preview_s:.1f} ms"
    report("preview that tells what differs since it was compared", 1 + told_s / preview_s, 1.03, "x", note)
    finish()


if __name__ == "__main__":
    main()
