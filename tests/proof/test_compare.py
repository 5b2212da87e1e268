"""A kernel's namespace compared with the slice in a process of its own."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from data_engine.engine.local_workspace import local_workspace
from data_engine.errors import FlowExecutionError
from data_engine.model import KernelComparison
from data_engine.notebook.compile import compile_notebook
from data_engine.proof import compare as compare_module
from data_engine.proof import fingerprint
from data_engine.proof.compare import compare
from data_engine.proof.data import PYPLOT
from data_engine.proof.fingerprint import Fingerprint, fingerprint_of, trace
from data_engine.proof.verdict import Verdict, cells_of, doubts_of
from data_engine.proof.verdict_store import keep, unsettled, unsettled_texts
from tests.support import WorkspaceFiles


def notebook(*texts: str) -> bytes:
    """A notebook file of these cells."""
    cells = [
        {"cell_type": "code", "id": f"c{number}", "source": text, "metadata": {}, "outputs": []}
        for number, text in enumerate(texts)
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def compared(folder: Path, *texts: str, ran: tuple[str, ...] | None = None) -> Verdict:
    """The verdict where a kernel has run the cells, or others."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for text in texts if ran is None else ran:
        exec(compile(text, "<cell>", "exec", dont_inherit=True), names)
    return compare(names, folder / "claims.ipynb", notebook(*texts))


STEP = "import json\ndef step(context):\n    return json.dumps(RATES)\ndef build():\n    return step"


def test_what_was_not_changed_is_the_same(tmp_path: Path) -> None:
    """Code of a cell and of the slice is the same code, though Python compiles a call of an import otherwise."""
    verdict = compared(tmp_path, "RATES = {'EUR': 1.0}", "import json", STEP.partition("\n")[2])

    assert verdict.is_same
    assert verdict.notes() == []


def test_a_value_that_a_left_out_cell_changes_is_named(tmp_path: Path) -> None:
    """With its key and both values."""
    verdict = compared(tmp_path, "RATES = {'EUR': 1.0}", "vars()['RATES']['EUR'] = 1.1", STEP)

    assert [str(one) for one in verdict.differences] == ["`RATES['EUR']` is 1.1 here, 1.0 in production"]


def test_a_part_of_a_part_is_named(tmp_path: Path) -> None:
    """Where both print alike, such as a fitted model after `summary()`, the path says what is other; a cache is none."""
    make = "from types import SimpleNamespace as Space\nFIT = Space(model=Space(rate=1, _cache={}))"
    later = "vars(FIT.model).update(notes='seen', _cache={1: 2})"
    verdict = compared(tmp_path, make, later, "def build():\n    return FIT")

    assert [str(difference) for difference in verdict.differences] == [
        "`FIT.model.notes` is 'seen' here, missing in production"
    ]


def test_of_a_frame_in_a_mapping_the_column_is_no_place_inside_it(tmp_path: Path) -> None:
    """What a library makes a column of says nothing to people."""
    pytest.importorskip("pandas")
    make = "import pandas\nV = {'a': pandas.DataFrame({'x': [1, 2, 3, 4, 5, 6, 7]})}"
    later = "vars()['V']['a'].loc[1, 'x'] = 5"
    verdict = compared(tmp_path, make, later, "def build():\n    return V")

    assert [difference.name for difference in verdict.differences] == ["V['a']"]


@pytest.mark.parametrize(
    ("make", "change", "text"),
    [
        ("pl.DataFrame({'a': range(90), 'b': 'x'})", "V[7, 'a'] = 5", "`V['a'][7]` is 5 here, 7 in production"),
        ("pl.Series(range(90))", "V[7] = 5", "`V[7]` is 5 here, 7 in production"),
        ("pl.DataFrame({'a': range(90)}).to_pandas()", "V.loc[7, 'a'] = 5", "`V['a'][7]` is 5 here, 7 in production"),
        ("pl.Series(range(90)).to_numpy().copy()", "V[7] = 5", "`V[7]` is 5 here, 7 in production"),
        ("pl.Series(range(900))", "V[700] = 5", "`V` is another Series of 900 here than in production"),
    ],
)
def test_a_value_of_a_frame_is_named(tmp_path: Path, make: str, change: str, text: str) -> None:
    """With its row, among the first rows of a column or an array."""
    pytest.importorskip("pandas")
    change = f"exec({change!r})"
    verdict = compared(tmp_path, f"import polars as pl\nV = {make}", change, "def build():\n    return V")

    assert [str(difference) for difference in verdict.differences] == [text]


def test_a_default_is_named_with_both_values(tmp_path: Path) -> None:
    """Of a function whose code is the same; one whose code is another ran otherwise."""
    cells = (
        "RATE = [1]",
        "vars()['RATE'].append(2)",
        "def step(c, n=3, rate=RATE[-1], *, p=RATE[0]):\n    return rate",
    )
    verdict = compared(tmp_path, *cells, "def build():\n    return step")

    assert [str(difference) for difference in verdict.differences] == ["`step(rate=)` is 2 here, 1 in production"]


def test_what_the_kernel_has_seeded_is_not_seeded_there(tmp_path: Path) -> None:
    """The slice runs in a fresh process: what a skipped cell seeded is missing."""
    seed = "#| skip\nimport random\nrandom.seed(7)"
    verdict = compared(tmp_path, seed, "import random\nSAMPLE = random.random()", "def build():\n    return SAMPLE")

    assert verdict.varying == ("SAMPLE",)
    assert verdict.is_same
    assert verdict.notes() == ["`SAMPLE`: made anew each time"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is filled by glibc")
def test_scratch_space_that_nobody_has_written_to_is_no_difference(tmp_path: Path) -> None:
    """Models hold arrays of `numpy.empty`, in which stands what memory held before."""
    cells = ("import numpy\nSCRATCH = numpy.empty(50_000)", "def build():\n    return SCRATCH")
    verdict = compared(tmp_path, *cells, ran=("import numpy\nSCRATCH = numpy.full(50_000, 3.0)", cells[1]))

    assert verdict.is_same
    assert verdict.notes() == ["`SCRATCH`: made anew each time"]


def test_a_cell_that_was_edited_and_not_run_is_named(tmp_path: Path) -> None:
    """The kernel's function is another one than the saved cell's; a cell that never ran is missing."""
    old = ("RATE = 1", "def step(c):\n    return RATE", "def build():\n    return step")
    edited = (old[0], "def step(c):\n    return RATE + 1", old[2])

    assert [str(one) for one in compared(tmp_path, *edited, ran=old).differences] == [
        "`step` ran otherwise than it stands in the saved cell"
    ]
    assert [str(one) for one in compared(tmp_path, *old, ran=old[1:]).differences] == [
        "`RATE` is not in this kernel: run its cell"
    ]


def test_a_slice_that_fails_says_so(tmp_path: Path) -> None:
    """What the kernel's history hides is an error, with what to do."""
    cells = ("import decimal\nA = decimal.only_here", "def build():\n    return A")
    with pytest.raises(FlowExecutionError, match="only_here") as raised:
        compared(tmp_path, *cells, ran=("A = 1", cells[1]))

    assert raised.value.fix


def test_a_verdict_is_kept_as_it_is() -> None:
    """As JSON, and told by the cells that changed since."""
    verdict = Verdict("2026-01-05T09:32:00+00:00", cells_of(["a", "b", "c"]), (), ("t",), ("`x`, a lock",))

    assert Verdict.read(json.loads(json.dumps(verdict.as_dict()))) == verdict
    assert verdict.compared(cells_of(["a", "b2", "c"])).changed == (2,)
    assert verdict.compared(cells_of(["a", "b"])).changed == (3,)
    assert verdict.compared(cells_of(["a", "b", "c"])) == KernelComparison(verdict.at_utc, unsure=("`x`",))


def test_a_guess_by_names_is_not_told_where_nothing_differed(ws: WorkspaceFiles) -> None:
    """But where what it is about was doubtful, and after an edit, it is."""
    cells = [
        "from datetime import date",
        "class Log:\n    def fit(self): pass\nlog = Log()",
        "log.fit()",
        "def build(): return log",
    ]
    path = ws.notebook("claims", *cells)
    home = local_workspace(ws.root)
    told = compile_notebook(path).warnings
    assert [one.may_change for one in told] == ["log"]
    assert unsettled(home, path, told) == told

    verdict = Verdict("2026-01-05T09:32:00+00:00", cells_of(cells))
    keep(home, "claims", verdict)
    assert unsettled(home, path, told) == ()
    assert unsettled_texts(home, path, ["other", str(told[0])]) == ("other",)

    keep(home, "claims", replace(verdict, doubts=("`log`, a lock",)))
    assert unsettled(home, path, told) == told

    keep(home, "claims", verdict)
    ws.notebook("claims", *cells[:2], "log.fit();", cells[3])
    assert unsettled(home, path, told) == told


def test_a_value_of_many_objects_hides_no_other(tmp_path: Path) -> None:
    """It is a doubt by its name, and the next one is compared; plain values and frames are, however many."""
    make = "import polars as pl\nBIG = [[n] for n in range(50_000)]\nPLAIN = list(range(300_000))\nFRAME = pl.DataFrame({'a': [1]})"
    step = "def step(context):\n    return BIG, PLAIN, FRAME\ndef build():\n    return step"

    same = compared(tmp_path, make, step)
    verdict = compared(tmp_path, make, "vars()['PLAIN'][-1] = 7\nvars()['FRAME'][0, 'a'] = 2", step)

    assert [doubt.partition(",")[0] for doubt in same.doubts] == ["`BIG`"]
    assert same.same_text == "the same but for `BIG`, which cannot be compared,"
    assert sorted(one.name for one in verdict.differences) == ["FRAME['a'][0]", "PLAIN"]


def test_what_is_followed_is_bounded_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each value has its bound, and all together: what one side has not reached is a doubt by its name, and no difference."""
    monkeypatch.setattr(fingerprint, "_MOST_IN_ALL", 50)
    make = "A = [[n] for n in range(40)]\nB = [[n] for n in range(40)]\nC = [1]"

    verdict = compared(tmp_path, make, "vars()['A'].append(1)", "def build():\n    return A, B, C")

    assert [one.name for one in verdict.differences] == ["A"]
    assert verdict.unsure == ("`B`", "`C`")


def test_a_figure_is_a_doubt_at_once(tmp_path: Path) -> None:
    """It holds more objects than anybody would compare."""
    pytest.importorskip("matplotlib")
    make = "from matplotlib.figure import Figure\nfig = Figure()\nax = fig.subplots()"

    verdict = compared(tmp_path, make, "def step(context):\n    return ax\ndef build():\n    return step")

    assert verdict.is_same
    assert verdict.doubts == ("`ax`, a figure of Matplotlib",)


def test_the_current_figure_of_pyplot_is_a_state_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that draws into whatever is open is doubtful where other figures are; one that makes its own is not."""
    pyplot: Any = ModuleType(PYPLOT)
    pyplot.title, pyplot.figure, pyplot.__file__ = len, len, pytest.__file__  # a library
    monkeypatch.setitem(sys.modules, PYPLOT, pyplot)

    def fingerprint_with(code: str, *figures: int) -> Fingerprint:
        pyplot.get_fignums = lambda: list(figures)
        names: dict[str, Any] = {"__name__": "__main__", "plt": pyplot}
        exec(f"def build():\n    {code}", names)
        return fingerprint_of(trace(names, {"build"}))

    doubts = []
    for code in ("plt.title('x')", "plt.figure()\n    plt.title('x')"):
        production = fingerprint_with(code)
        doubts.append(doubts_of(fingerprint_with(code, 1), production, production))

    assert doubts == [["`matplotlib.pyplot`, other figures are open here"], []]


UNREADABLE = "the notebook's module gave an answer that cannot be read"


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("import os\nA = os._exit(3)", "the notebook's module ended with exit code 3 (production would, too)"),
        ("import sys\nA = sys.exit(4)", "SystemExit: 4 (production would fail by that, too)"),
        ("import json\nA = setattr(json, 'dumps', lambda _: 'no')", UNREADABLE),
        ("import json\nA = setattr(json, 'dumps', lambda _: '[]')", UNREADABLE),
    ],
)
def test_an_end_of_the_slice_is_told(tmp_path: Path, cell: str, why: str) -> None:
    """As its author reads it."""
    with pytest.raises(FlowExecutionError) as raised:
        compared(tmp_path, cell, "def build():\n    return A", ran=("A = 1", "def build():\n    return A"))

    assert raised.value.detail == why


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_a_slice_has_the_memory_that_the_kernel_leaves(tmp_path: Path) -> None:
    """Else the system would end what is largest, which may be the kernel."""
    limit = "import resource\nFREE = resource.getrlimit(resource.RLIMIT_AS)[0]"
    cells = (limit, "MORE = bytearray(FREE)", "def build():\n    return len(MORE)")

    with pytest.raises(FlowExecutionError, match="MemoryError") as raised:
        compared(tmp_path, *cells, ran=("MORE = b''", cells[2]))

    assert raised.value.places[0]["cell"] == 2


def test_a_slice_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time; the comparison says so."""
    monkeypatch.setattr(compare_module, "LIMIT_S", 0.5)
    cells = ("import time\nA = time.sleep(600)", "def build():\n    return A")

    with pytest.raises(FlowExecutionError) as raised:
        compared(tmp_path, *cells, ran=("A = None", cells[1]))

    assert raised.value.detail == "the notebook's module was not done after 0.5 s"


def test_the_slice_starts_as_production_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what a kernel has set for itself."""
    monkeypatch.setenv("JPY_SESSION_NAME", "claims.ipynb")
    cells = ("import os\nNAME = os.environ.get('JPY_SESSION_NAME')", "def build():\n    return NAME")

    assert [one.name for one in compared(tmp_path, *cells).differences] == ["NAME"]
