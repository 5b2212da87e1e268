"""Find the cell that changed a name: after each cell the values of all names are looked at, quickly, and changes noted.

A value is looked at as far as a bound: of huge ones the identity, the size and some samples. No method of the author's is called for that,
since one that is slow would hold up each cell: the type says what a value is, and the methods of Python's own types look into it. What a slice reaches is compared
whole when a comparison is asked for; this only says after which cell a name had changed.
"""

from __future__ import annotations

import operator
import re
import sys
import time
import types
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import lru_cache
from itertools import combinations, islice
from typing import Any

from data_engine.formatting import cells_text
from data_engine.proof.data import PYPLOT
from data_engine.record import frozen

_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})
_MOST_ITEMS = 20
_DEEPEST = 3
_SAMPLES = 32
_CONTAINERS = (dict, list, tuple, set, frozenset)
_MOST_COLUMNS = 30
_MOST_RUNS = 2000
_OF_IPYTHON = frozenset({"In", "Out", "exit", "quit", "get_ipython", "open"})
_MOST_S = 0.005
"""A look ends then, after the names that stand in the cell: what it has not reached counts as it was."""
_WORD = re.compile(r"\w+")
_STREAMS = {"the stream of random": "random", "the stream of numpy.random": "numpy.random"}
_GENERATORS = frozenset({"Random", "Generator", "RandomState"})
_SEEDS = re.compile(r"\bseed\(")


class CellChanges:
    """The names that each run of a cell changed, in the order in which cells ran."""

    def __init__(self) -> None:
        self._marks: dict[str, object] = {}
        self._runs: deque[tuple[str, frozenset[str]]] = deque(maxlen=_MOST_RUNS)
        self.failed: set[int] = set()
        """The execution counts of cells that ended with an error."""

    def look(self, namespace: Mapping[str, Any], cell: str) -> None:
        """Note what changed since the last look; `cell` is the text that ran."""
        until_s = time.perf_counter() + _MOST_S
        words = set(_WORD.findall(cell))
        marks: dict[str, object] = {}
        for name, value in sorted(namespace.items(), key=lambda item: item[0] not in words):
            if name.startswith("_") or name in _OF_IPYTHON:
                continue
            if issubclass(type(value), types.ModuleType):
                if value is sys.modules.get(PYPLOT):
                    marks[name] = _open_figures()
                continue
            is_late = name not in words and name in self._marks and time.perf_counter() > until_s
            marks[name] = self._marks[name] if is_late else _mark(value)
        marks |= {name: _state_of(sys.modules[module]) for name, module in _STREAMS.items() if module in sys.modules}
        changed = frozenset(name for name, mark in marks.items() if self._marks.get(name) != mark)
        if changed:
            self._runs.append((cell.strip(), changed))
        self._marks = marks

    def cells_behind(
        self, name: str, namespace: Mapping[str, Any], bound: Collection[str], left: Collection[str]
    ) -> list[str]:
        """The texts among `left`, of left-out cells, that must be kept for the value of a name to be as it is.

        From the last run back: what changed the value, under any name, then what changed what these cells and those that made it
        read or drew random numbers from. A cell that does no more than bind what is wanted is taken without being named. Where
        there is none: the cells that made it, changed one of the names `bound`, or drew, and what these need.
        """
        value = namespace.get(name)
        values = list(namespace.items())
        same = {name, *(other for other, target in values if target is value and type(value) not in _PLAIN)}
        streams = {other for other, target in values if type(target).__name__ in _GENERATORS}
        near = {*same, *bound, *_STREAMS}
        _, made_of = self._walk(same, left, streams, held=set(), named=set())
        walks = (
            self._walk(names, left, streams, held=made_of - streams, named=named)[0]
            for names, named in ((same, set[str]()), (near, near))
        )
        return next(filter(None, walks), [])

    def _walk(
        self, names: Set[str], left: Collection[str], streams: Set[str], held: Set[str], named: Set[str]
    ) -> tuple[list[str], Set[str]]:
        """The texts among `left` behind the `names`, and all names that these were made of: a value may hold those that are `held`,
        so that a later change of them counts, too; and so does each cell that changed a name in `named`."""
        behind: dict[str, None] = {}
        made_of = set(names)
        for text, changed in reversed(self._runs):
            cell = _statements_in(text)
            unbound = changed - {name for statement in cell for name in statement.binds}
            hit = changed & names | unbound & held
            held = held - {name for statement in cell if statement.is_sure for name in statement.binds}
            if not hit:
                continue
            before, is_touched = _before(cell, names)
            is_unbound = not hit.isdisjoint(unbound)
            is_drawn = any(hit & streams & statement.reads for statement in cell)
            if text in left and (is_touched or is_unbound or is_drawn or not hit.isdisjoint(named)):
                behind[text] = None
            if text in behind or is_unbound:
                before, _ = _before(cell, names, is_whole=True)
            names = self._with_later(before | (changed & _STREAMS.keys()))
            if _SEEDS.search(text):
                names -= _STREAMS.keys()
            made_of |= names
        return list(behind), made_of - _STREAMS.keys()

    def _with_later(self, names: Collection[str]) -> set[str]:
        """These names, and those that functions and classes among them read."""
        statements = (statement for text, _ in self._runs for statement in _statements_in(text))
        later = {name: statement.later for statement in statements for name in statement.binds}
        closure, more = set(names), set(names)
        while more := {name for reader in more for name in later.get(reader, ())} - closure:
            closure |= more
        return closure


@frozen
class _StatementNames:
    """The names that a statement of a cell reads, binds and may change in place; `later` are those that what it defines reads."""

    reads: Set[str]
    binds: Set[str]
    touches: Set[str]
    later: Set[str]
    is_sure: bool


@lru_cache(maxsize=_MOST_RUNS)
def _statements_in(text: str) -> tuple[_StatementNames, ...]:
    from data_engine.notebook import effects  # and the compiler, only where something differs
    from data_engine.notebook.left_out import CHANGES
    from data_engine.notebook.magics import parse_cell, quiet_syntax
    from data_engine.notebook.read import NotebookCell
    from data_engine.notebook.statements import DEFINITIONS

    entries = []
    with quiet_syntax():
        statements = parse_cell(NotebookCell(1, "", text)).statements
    for statement in statements:
        names, is_definition = statement.names, isinstance(statement.node, DEFINITIONS)
        is_sure = is_definition or not (hasattr(statement.node, "body") or hasattr(statement.node, "cases"))
        reads = names.now.keys() if is_definition else names.now.keys() | names.later.keys()
        calls = [bare for bare in names.bare if len(bare.path) > 2]
        touches = {bare.path[0] for bare in calls if not effects.only_looks(bare.path[-2], bare.text)}
        touches |= {path[0] for path, *_ in names.calls if len(path) > 2 and CHANGES.match(path[-2])}
        touches |= {path[0] for path, *_ in names.writes} | names.targets
        entries.append(_StatementNames(reads, names.binds.keys(), touches, names.later.keys(), is_sure))
    return tuple(entries)


def _before(cell: Sequence[_StatementNames], names: Set[str], *, is_whole: bool = False) -> tuple[Set[str], bool]:
    """The names needed before a cell, of whose statements all count or those that made the `names` needed after it; and whether
    one of them may have changed these in place."""
    holders, is_touched = set(names), False
    for statement in cell:
        is_touched = is_touched or not statement.touches.isdisjoint(holders)
        if not statement.reads.isdisjoint(holders):
            holders |= statement.binds
    for statement in reversed(cell):
        is_touched = is_touched or not names.isdisjoint(statement.touches)
        if is_whole or not names.isdisjoint(statement.binds | statement.touches):
            names = (names - statement.binds if statement.is_sure else names) | statement.reads
    return names, is_touched


def ran_otherwise(name: str, cells: Sequence[str], ran: Sequence[str], failed: Collection[str] = ()) -> str:
    """How the cells behind the value of a name ran otherwise than they stand, in a few words; "" where they ran as they stand.

    `cells` are the texts of the saved cells, `ran` those that the kernel has run to their end, in that order, and `failed` those
    that ended with an error. Of cells with the same text the last runs count, in their order.

    Example:
        >>> ran_otherwise("x", ["rate = 2", "x = rate"], ["rate = 1", "x = rate"])
        'made by a cell that is not saved as it ran (cell 1)'
        >>> ran_otherwise("x", ["x = [1]", "x.append(2)"], ["x = [1]"])
        'cell 2 has not run'
        >>> ran_otherwise("x", ["x = [1]", "x.append(2)"], ["x = [1]", "x.append(2)", "x.append(2)"])
        'cell 2 ran twice'
        >>> ran_otherwise("x", ["a = 1", "x = a"], ["x = a", "a = 1"]), ran_otherwise("x", ["x = 1"], ["x = 1"])
        ('cell 2 ran before cell 1', '')
    """
    facts = {text: _facts_of(text) for text in {*cells, *ran}}
    needed = _needed_for(name, facts.values())
    behind = [number for number, text in enumerate(cells, start=1) if not needed.isdisjoint(facts[text].changes)]
    for one in sorted(needed, key=lambda other: other != name):
        makers = [text for text in ran if one in facts[text].changes]
        begin = max((at for at, text in enumerate(makers) if one in facts[text].binds - facts[text].reads), default=0)
        if why := _how_made(one, makers[begin:], cells, facts, [cells[number - 1] for number in behind]):
            return why
    last = {number: at for number in behind if (at := _last_run(number, cells, ran)) is not None}
    if missing := [number for number in behind if number not in last][:2]:
        return _not_run_text(missing, is_failed=cells[missing[0] - 1] in failed)
    for number, later in combinations(behind, 2):
        first, second = cells[number - 1], cells[later - 1]
        if last[later] < last[number] and facts[first].changes & needed & facts[second].reads:
            return f"cell {later} ran before cell {number}"
    return ""


def _not_run_text(missing: Sequence[int], *, is_failed: bool) -> str:
    if is_failed:
        return f"{cells_text(missing[:1])} has not run to its end"
    return f"{cells_text(missing)} {'has' if len(missing) == 1 else 'have'} not run"


def _last_run(number: int, cells: Sequence[str], ran: Sequence[str]) -> int | None:
    """The place of the last run of a cell; None where it has not run."""
    text = cells[number - 1]
    runs, own = [at for at, other in enumerate(ran) if other == text], cells[:number].count(text)
    return runs[-cells.count(text) :][own - 1] if own <= len(runs) else None


def _needed_for(name: str, facts: Collection[_CellNames]) -> set[str]:
    """The name, and all that cells read which make or change one of these."""
    needed, more = {name}, {name}
    while more:
        more = {read for cell in facts if not needed.isdisjoint(cell.changes) for read in cell.reads} - needed
        needed |= more
    return needed


def _how_made(
    name: str, makers: Sequence[str], cells: Sequence[str], facts: Mapping[str, _CellNames], behind: Sequence[str]
) -> str:
    """How the cells that made and changed a name since it was made anew are not those that are saved, each once; "" where they are."""
    if any(text not in cells for text in makers):
        edited = [cells.index(text) + 1 for text in behind if name in facts[text].binds and text not in makers]
        if edited:
            return f"made by a cell that is not saved as it ran ({cells_text(edited[:1])})"
        return f"`{name}` was made or changed by a cell that is not in the notebook"
    for text, count in Counter(makers).items():
        cell = facts[text]
        numbers = [number for number, other in enumerate(cells, start=1) if other == text]
        if count > len(numbers) and name in cell.changes & cell.reads | cell.touches:
            return f"{cells_text(numbers)} ran {'twice' if count == 2 else 'several times'}"
    return ""


@frozen
class _CellNames:
    """The names that a cell binds, changes in place, and reads; a definition reads what its body does."""

    binds: frozenset[str]
    touches: frozenset[str]
    reads: frozenset[str]

    @property
    def changes(self) -> frozenset[str]:
        return self.binds | self.touches


def _facts_of(text: str) -> _CellNames:
    statements = _statements_in(text)
    binds = frozenset(name for one in statements for name in one.binds)
    touches = frozenset(name for one in statements for name in one.touches - one.binds)
    return _CellNames(binds, touches, frozenset(name for one in statements for name in one.reads | one.later))


CHANGES = CellChanges()
"""The changes by cells of this kernel."""


def after_cell(namespace: Mapping[str, Any], cell: str) -> None:
    """Look at what a cell of this kernel changed; that never makes a cell fail."""
    with suppress(Exception):  # of anybody's values: the cell must not fail by it
        CHANGES.look(namespace, cell)


def _mark(value: Any) -> object:
    """The mark of a value; of one that cannot be looked at, its identity."""
    try:
        return quick_mark(value)
    except Exception:
        return id(value)


def quick_mark(value: Any, depth: int = 0) -> object:
    """The mark of a value as far as it is looked at; equal as long as nothing of that has changed.

    Example:
        >>> rows = [1, 2]
        >>> before = quick_mark(rows)
        >>> rows.append(3)
        >>> quick_mark(rows) == before
        False
    """
    kind = type(value)
    if kind in _PLAIN:
        return value if kind is not str or len(value) < 200 else (len(value), value[:100])
    if depth > _DEEPEST:
        return id(value)
    own: tuple[object, ...] = (id(value), kind.__name__)
    if issubclass(kind, _CONTAINERS):
        return (*own, *_container(value, kind, depth))
    if kind is types.GeneratorType:
        return (*own, value.gi_frame and value.gi_frame.f_lasti, value.gi_frame and value.gi_frame.f_lineno)
    if kind.__module__ == "_io":
        return (*own, value.closed or value.tell())
    return (*own, *(_library(value, kind) or _object(value, kind, depth)))


def _container(value: Any, kind: type, depth: int) -> tuple[object, ...]:
    """The size of a container and some of what it holds, by the methods of Python's own types."""
    if issubclass(kind, dict):
        items = islice(dict.items(value), _MOST_ITEMS)
        return (dict.__len__(value), *((_shallow(key), quick_mark(item, depth + 1)) for key, item in items))
    if issubclass(kind, (list, tuple)):
        base: Any = list if issubclass(kind, list) else tuple
        count, half = base.__len__(value), _MOST_ITEMS // 2
        slices = (slice(_MOST_ITEMS),) if count <= _MOST_ITEMS else (slice(half), slice(-half, None))
        return (count, *(quick_mark(item, depth + 1) for part in slices for item in base.__getitem__(value, part)))
    base = set if issubclass(kind, set) else frozenset
    few = list(islice(base.__iter__(value), 1001))
    is_hashed = len(few) <= 1000 and _PLAIN.issuperset(map(type, few))
    return (base.__len__(value), hash(frozenset(few)) if is_hashed else 0)


def _shallow(value: Any) -> object:
    return value if type(value) in _PLAIN else id(value)


def _object(value: Any, kind: type, depth: int) -> tuple[object, ...]:
    if kind.__name__ in _GENERATORS and kind.__module__.startswith(("random", "numpy.random")):
        return _state_of(value)
    if kind is types.FunctionType:
        return tuple(quick_mark(part, depth + 1) for part in (*_cells(value), *(value.__defaults__ or ())))
    if issubclass(kind, type):
        parts = [(key, quick_mark(part, depth + 1)) for key, part in vars(value).items() if not key.startswith("__")]
        return tuple(parts) if depth == 0 else ()
    places = (vars(base)["__dict__"] for base in kind.__mro__ if "__dict__" in vars(base))
    if type(place := next(places, None)) is types.GetSetDescriptorType:
        state = place.__get__(value)
        return (len(state), *((key, quick_mark(part, depth + 1)) for key, part in islice(state.items(), _MOST_ITEMS)))
    return (operator.length_hint(value, -1),) if kind.__module__ in ("builtins", "collections", "array") else ()


def _cells(fn: types.FunctionType) -> Iterator[object]:
    """What a function closes over, but for what is not bound yet."""
    for cell in fn.__closure__ or ():
        with suppress(ValueError):
            yield cell.cell_contents


def _library(value: Any, kind: type) -> tuple[object, ...] | None:
    """Frames and arrays: their shape, and of the values some."""
    library = kind.__module__.partition(".")[0]
    if library == "numpy" and kind.__name__ == "ndarray":
        return _samples(value)
    if library == "pandas" and kind.__name__ in ("DataFrame", "Series"):
        some = value.iloc[:: max(1, len(value) // _SAMPLES)]
        if kind.__name__ == "Series":
            return (value.shape, value.name, *_samples(some.to_numpy()))
        names = repr(value.columns[:_MOST_COLUMNS].tolist())
        return (value.shape, names, *_samples(some.to_numpy()[:, :_MOST_COLUMNS]))
    if library == "polars" and kind.__name__ == "DataFrame":
        return (value.shape, tuple(value.columns))
    return (value.name, len(value)) if library == "polars" and kind.__name__ == "Series" else None


def _samples(array: Any) -> tuple[object, ...]:
    flat = array.reshape(-1)
    some = flat[:: max(1, len(flat) // _SAMPLES)]
    return (
        array.shape,
        str(array.dtype),
        tuple(map(_shallow, some.tolist())) if array.dtype.hasobject else some.tobytes(),
    )


def _open_figures() -> list[list[int]]:
    """How many things are drawn on each axis of the figures that pyplot has open."""
    figures = [manager.canvas.figure for manager in sys.modules["matplotlib._pylab_helpers"].Gcf.get_all_fig_managers()]
    return [[len(axis.get_children()) for axis in figure.axes] for figure in figures]


def _state_of(generator: Any) -> tuple[object, ...]:
    """The state of a generator of random numbers, of a long one the beginning and the place."""
    if hasattr(generator, "getstate"):
        return (hash(generator.getstate()),)
    state = generator.get_state(legacy=False) if hasattr(generator, "get_state") else generator.bit_generator.state
    parts = (*state["state"].values(), state.get("has_gauss"))
    return tuple(part[:4].tobytes() if hasattr(part, "tobytes") else part for part in parts)
