"""Differences, plans and goldens as cards. Samples are rows of somebody's data: they are in a card only where asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from itertools import chain
from typing import Any

from data_engine.compare.difference import Difference, Sample
from data_engine.formatting import beginning, duration_text, first_few, local_time, plural, visible
from data_engine.marks import Mark, mark_of
from data_engine.plan.golden import Golden, GoldenResult
from data_engine.plan.plan import BOTH, Plan
from data_engine.view.card import (
    MOST_ROWS,
    Card,
    Cell,
    Code,
    Column,
    Faint,
    Lines,
    Marked,
    Note,
    Pairs,
    Part,
    Section,
    table,
)

_MOST_COLUMNS = 8
_LONG = 40
_AROUND = 12
_MOST_PARTS = 5
_LOOKS: Mapping[str, tuple[Any, Any]] = {"differ": ("warn", "triangle"), "equal": ("good", "disc")}


def difference_card(difference: Difference, *, samples: bool) -> Card:
    """What differs between two values."""
    word = "equal" if difference.equal else "differs"
    sides = [Faint(text) for text in dict.fromkeys((difference.before, difference.after)) if text]
    facts: list[Cell] = [mark_of(word), *(sides if len(sides) < 2 else [Faint(f"{sides[0].text} → {sides[1].text}")])]
    return Card("Difference", tuple(facts), tuple(_parts_of(difference, samples)))


def _parts_of(difference: Difference, samples: bool) -> Iterator[Part]:
    if difference.equal and not difference.parts:
        yield Pairs((("", difference.text),) if difference.text != "equal" else ())
        return
    yield Pairs((("what", difference.text),))
    if difference.changed_values and difference.kind == "table":
        counts = sorted(difference.changed_values.items(), key=lambda pair: -pair[1])
        rows = [(Code(name), f"{number:,}") for name, number in counts[:MOST_ROWS]]
        yield table(("Column", Column("Values changed", "number")), rows, total=len(counts))
    if samples:
        yield from sample_tables(difference)
    elif difference.samples:
        yield Pairs((("samples", Faint(f"{plural(len(difference.samples), 'row')} in .samples")),))
    different = [(name, part) for name, part in difference.parts.items() if not part.equal]
    for name, part in different[:_MOST_PARTS]:
        yield Section(
            Mark(f"{name}: {part.text}", "warn", "triangle"), tuple(_details(part, samples)), is_folded=not samples
        )
    if len(different) > _MOST_PARTS:
        yield Pairs((("", f"and {len(different) - _MOST_PARTS} more parts that differ"),))


def _details(difference: Difference, samples: bool) -> Iterator[Part]:
    """The samples and parts below a title."""
    if samples:
        yield from sample_tables(difference)
    for name, part in difference.parts.items():
        if not part.equal and (part.samples or part.parts or part.text not in difference.text):
            yield Section(visible(f"{name}: {part.text}"), tuple(_details(part, samples)))


def sample_tables(difference: Difference) -> Iterator[Part]:
    """Rows that differ, a table for each kind; only columns that differ, numbers aligned, changes in long texts marked."""
    for kind in ("changed", "removed", "added"):
        rows = [sample for sample in difference.samples if sample.kind == kind]
        if rows:
            yield _changed(rows) if kind == "changed" else _whole(rows, kind)


def _changed(rows: Sequence[Sample]) -> Part:
    key = list(dict.fromkeys(name for row in rows for name in row.key))
    all_names = list(dict.fromkeys(name for row in rows for name in row.differs))
    names = all_names[:_MOST_COLUMNS]
    columns = [*key]
    for name in names:
        columns += [f"{name} before", f"{name} after"]
    shown: list[list[Cell]] = []
    for row in rows:
        cells: list[Cell] = [mark_of("differs"), *(_value(row.key.get(name)) for name in key)]
        for name in names:
            cells += _pair(*row.differs[name]) if name in row.differs else ("", "")
        shown.append(cells)
    plain = {name for name in names if all(map(_is_number, chain(*(sample.differs.get(name, ()) for sample in rows))))}
    numbers = [f"{name} {side}" for name in names for side in ("before", "after") if name in plain]
    numbers += [name for name in key if all(_is_number(row.key.get(name)) for row in rows)]
    return _rows(columns, shown, numbers, len(all_names) - len(names))


def _whole(rows: Sequence[Sample], kind: str) -> Part:
    side = 0 if kind == "removed" else 1
    all_names = list(dict.fromkeys(name for row in rows for name in (*row.key, *row.differs)))
    names = all_names[:_MOST_COLUMNS]
    values = [{**row.key, **{name: pair[side] for name, pair in row.differs.items()}} for row in rows]
    shown: list[list[Cell]] = [
        [Mark(kind, "warn", "cross" if kind == "removed" else "disc"), *(_value(row.get(name)) for name in names)]
        for row in values
    ]
    numbers = [name for name in names if all(_is_number(row.get(name)) for row in values)]
    return _rows(names, shown, numbers, len(all_names) - len(names))


def _rows(columns: Sequence[str], rows: Sequence[Sequence[Cell]], numbers: Sequence[str], more: int) -> Part:
    heads = (Column(name, "number" if name in numbers else "word") for name in columns)
    shown = table(("", *heads), rows)
    return Section(plural(more, "more column"), (shown,)) if more else shown


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _pair(before: Any, after: Any) -> tuple[Cell, Cell]:
    """Two values beside each other; of long texts the part that differs, marked."""
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > 1:
        return marked(before, after)
    return _value(before), _value(after)


def marked(before: str, after: str) -> tuple[Marked, Marked]:
    """Two texts with the part that differs marked, and of long ones only what is around it.

    Example:
        >>> [side.text for side in marked("Main Street 5", "Main Road 5")]
        ['Main [Street] 5', 'Main [Road] 5']
    """
    start = _alike(before, after)
    end = _alike(before[start:][::-1], after[start:][::-1])
    is_long = max(len(before), len(after)) > _LONG

    def mark(text: str) -> Marked:
        lead, middle, tail = text[:start], text[start : len(text) - end], text[len(text) - end :]
        if is_long:
            lead = f"…{lead[-_AROUND:]}" if len(lead) > _AROUND else lead
            tail = f"{tail[:_AROUND]}…" if len(tail) > _AROUND else tail
            middle = beginning(middle, _LONG)
        return Marked(tuple(part for part in ((lead, False), (middle, True), (tail, False)) if part[0]))

    return mark(before), mark(after)


def _alike(text: str, other: str) -> int:
    """The length of the common beginning, by bisection: a text may have millions of letters."""
    length, most = 0, min(len(text), len(other))
    while length < most:
        middle = (length + most + 1) // 2
        if text[length:middle] == other[length:middle]:
            length = middle
        else:
            most = middle - 1
    return length


def _value(value: object) -> Cell:
    """One value of a sample."""
    if value is None:
        return Faint("null")
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    text = value if isinstance(value, str) else repr(value)
    text = text if text.strip() == text and text else repr(text)
    return Code(beginning(text, _LONG), beginning(text, 1000))


# -- a plan ----------------------------------------------------------------------------------------------------------------


def plan_card(plan: Plan, *, samples: bool) -> Card:
    """What a deploy would change: the code, then the data."""
    facts: tuple[Cell, ...] = (mark_of_plan(plan), *_how(plan))
    code = (Section(f"Code: {cell.where}", (Lines(cell.lines),)) for cell in plan.cells)
    return Card(f"Plan of {plan.flow}", facts, (*_notes(plan), *code, *_data(plan, samples)))


def mark_of_plan(plan: Plan) -> Mark:
    """The mark of a plan: the edit mends something, fails, or gives equal or different data."""
    if plan.mends:
        return Mark(plan.mends, "good", "disc")
    if plan.is_worse:
        is_of_both = all(error.side == BOTH for error in plan.failures)
        return Mark("both versions fail" if is_of_both else "the edit fails", "bad", "cross")
    return mark_of("equal" if plan.equal else "differs")


def plan_data_card(plan: Plan, *, samples: bool) -> Card:
    """The changes of a deploy in the data, where the code stands beside the card."""
    return Card("Data", (mark_of_plan(plan), *_how(plan)), (*_notes(plan), *_data(plan, samples)))


def _how(plan: Plan) -> tuple[Cell, ...]:
    took = f"deployed {duration_text(plan.elapsed_s.deployed)}, edit {duration_text(plan.elapsed_s.current)}"
    return plural(len(plan.sources), "source"), Faint(took)


def _notes(plan: Plan) -> Iterator[Part]:
    yield from (Note(Mark(visible(error.text), "bad", "cross")) for error in plan.failures[:MOST_ROWS])
    yield from (Note(Mark(f"ran for real: {step.text}", "warn", "triangle")) for step in plan.not_held_back)
    yield from (Note(Mark(note, "idle", "ring")) for note in plan.notes)
    if plan.config:
        yield Note(Mark(f"config changed since it was deployed: {', '.join(plan.config)}", "idle", "ring"))


def _data(plan: Plan, samples: bool) -> Iterator[Part]:
    yield from _compared("Data", plan.objects, samples)
    yield from _compared("Output", plan.outputs, samples)
    if any(source.seen_at_utc for source in plan.sources):
        rows = [(Code(row.name, row.path or ""), local_time(row.seen_at_utc)) for row in plan.sources[:MOST_ROWS]]
        shown = table((Column("Source", "path"), "Read by production"), rows, total=len(plan.sources))
        yield Section("Sources", (shown,), is_folded=True)


def _compared(title: str, differences: Mapping[str, Difference], samples: bool) -> Iterator[Part]:
    """A part for each difference; what is equal in one line."""
    different = [(name, difference) for name, difference in differences.items() if not difference.equal]
    shown: dict[tuple[str, tuple[Part, ...]], list[str]] = {}
    for name, difference in different[:_MOST_PARTS]:
        shown.setdefault((difference.text, tuple(_details(difference, samples))), []).append(name)
    for (text, details), names in shown.items():
        words = visible(f"{first_few(names, MOST_ROWS)}: {text}")
        if details:
            yield Section(Mark(words, "warn", "triangle"), details, is_folded=not samples)
        else:
            yield Note(Mark(words, "idle", "triangle"))
    for what, names in (
        ("differ", [name for name, _ in different[_MOST_PARTS:]]),
        ("equal", [name for name, difference in differences.items() if difference.equal]),
    ):
        if names:
            yield Note(Mark(visible(f"{title}, {what}: {first_few(names, MOST_ROWS)}"), *_LOOKS[what]))


# -- goldens ---------------------------------------------------------------------------------------------------------------


def golden_card(golden: Golden) -> Card:
    """What a golden keeps."""
    pairs = (
        ("columns", Code(", ".join(golden.columns))),
        ("left out", Code(", ".join(golden.drop))),
        ("key", Code(", ".join(golden.key))),
        ("params", Code(", ".join(f"{name}={value!r}" for name, value in golden.params.items()))),
        ("kept", Faint(f"{local_time(golden.kept_at_utc)} by {golden.kept_by}")),
        ("shared", "through Git" if golden.share else "not through Git"),
    )
    return Card(f"Golden {golden.flow}/{golden.name}", (golden.text,), (Pairs(pairs),))


def goldens_card(results: Sequence[GoldenResult], *, samples: bool) -> Card:
    """Which goldens hold; for the others the difference, and the command that accepts it."""
    bad = [golden for golden in results if golden.is_bad]
    rows = [
        (mark_of(golden.status), golden.flow, Code(golden.name), duration_text(golden.elapsed_s), golden.text)
        for golden in (*bad, *(golden for golden in results if not golden.is_bad))
    ]
    shown = table(("", "Flow", "Golden", Column("Time", "number"), Column("What", "text")), rows, most=5 * MOST_ROWS)
    parts: list[Part] = [shown]
    for golden in bad[:_MOST_PARTS]:
        details = tuple(_details(golden.difference, samples)) if golden.difference is not None else ()
        if details:
            mark = Mark(f"{golden.flow}/{golden.name}", "warn", "triangle")
            parts.append(Section(mark, details, is_folded=not samples))
    kinds = [golden.status for golden in results]
    facts = tuple(
        f"{kinds.count(word)} {word}"
        for word in ("holds", "differs", "failed", "not compared", "updated")
        if word in kinds
    )
    if any(golden.status == "differs" for golden in bad):
        parts.append(Pairs((("when that is right", Code("%flow test --update, data-engine test --update")),)))
    return Card(plural(len(results), "golden"), facts, tuple(parts), tone="warn" if bad else "")
