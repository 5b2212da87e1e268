"""What comparing a kernel with its slice costs, beside its limits: `python -m benchmarks.proof`; CPU seconds, of the least of three."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.figures import finish, report
from data_engine.proof.cells import CellChanges
from data_engine.proof.compare import compare
from data_engine.proof.fingerprint import Tracer

ROWS = 1_000_000
STEPS = 18


def cpu_s(call: Callable[[], object], runs: int = 3) -> float:
    """The least CPU seconds of a call in this process."""
    times = []
    for _ in range(runs):
        began_s = time.process_time()
        call()
        times.append(time.process_time() - began_s)
    return min(times)


def notebook() -> tuple[list[str], bytes]:
    """Twenty cells without frames, and their file."""
    texts = ["import json\nfrom data_engine import Flow"]
    texts += [
        f'C{n} = {{"a": {n}, "b": [{n}, 2]}}\ndef step{n}(context):\n    return json.dumps(C{n})' for n in range(STEPS)
    ]
    texts.append("def build():\n    return Flow(group='G')" + "".join(f".step(step{n})" for n in range(STEPS)))
    cells = [{"cell_type": "code", "id": f"c{n}", "source": text, "metadata": {}} for n, text in enumerate(texts)]
    return texts, json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def main() -> None:
    """All figures."""
    frame = pl.DataFrame({f"c{n}": np.random.default_rng(n).random(ROWS) for n in range(10)})
    name = f"fingerprint of {ROWS:,} x 10 of Polars, a side"
    report(name, cpu_s(lambda: Tracer(()).value(frame, "frame")), 0.2, "s")
    values: dict[str, Any] = {f"n{n}": [n] * 50 for n in range(60)}
    values |= {"frame": frame, "table": {str(n): n for n in range(1000)}}
    changes = CellChanges()
    report("look after a cell, 62 names", 1000 * cpu_s(lambda: changes.look(values, "x")), 6, "ms")
    texts, data = notebook()
    names: dict[str, Any] = {"__name__": "__main__"}
    for text in texts:
        exec(compile(text, "<cell>", "exec", dont_inherit=True), names)
    with tempfile.TemporaryDirectory() as folder:
        began_s = time.perf_counter()
        verdict = compare(names, Path(folder) / "flow.ipynb", data)
        took_s = time.perf_counter() - began_s
    assert verdict.is_same
    report("compare a notebook of 20 cells, with the process (elapsed)", took_s, 0.5, "s")
    finish()


if __name__ == "__main__":
    main()
