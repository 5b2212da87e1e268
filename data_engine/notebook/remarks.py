"""What the compiler tells an author: why a notebook cannot become a module, and what to know about one that can."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from data_engine.notebook import effects
from data_engine.notebook.callees import Callees
from data_engine.notebook.names import HINT, LOAD, Path
from data_engine.notebook.shapes import texts_in
from data_engine.notebook.units import DEFINITIONS, FUNCTIONS, Unit, Units

SETS_UP = "sets up the process"
MARKED_KEEP = "its cell is marked keep"
"""Reasons for taking a statement that say its author means its effect."""

_PLAIN_ASSIGNMENT = "give `{}` its value in an assignment of its own"
_FULL_NAME = "write the full name, such as `from flow_helpers.tables import lookup`"
_KEEP_CALL = "put `#| keep` at the top of the cell if production needs it, or call it inside a step"
_IN_PLACE = re.compile(r"changes `(.*)` in place")
_PROCESS_MAGIC = re.compile(r"the line magic %(env|set_env|cd|dotenv|pushd|popd)")


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a line of a cell, and its mend."""

    message: str
    cell: int
    line: int
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """Who needs a name: the unit and line that use it, before unit `at`. No unit means the flow itself.

    `target` is the unit that has the name as its loop or with variable, when nothing else supplies it.
    """

    name: str
    at: int
    user: Unit | None
    line: int
    target: Unit | None = None

    @property
    def label(self) -> str:
        """How messages call the user."""
        return self.user.label if self.user else "the flow"

    @property
    def cell(self) -> int:
        """The cell of the user."""
        return self.user.number if self.user else 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What slicing came to: `taken` maps units to reasons, `followed` are the names needed when the flow runs.

    `shadowed` are wants that a left-out loop also sets, `starred` those that only a star import can supply;
    `callees` tells what the notebook's own methods do.
    """

    taken: Mapping[int, str]
    followed: Collection[str]
    shadowed: Sequence[Want]
    starred: Sequence[tuple[Want, Unit]]
    callees: Callees


def unsupplied(units: Units, want: Want) -> Remark:
    """Why nothing in the notebook supplies a needed name."""
    name = want.name
    if want.target is not None:
        kind = "`with`" if isinstance(want.target.node, (ast.With, ast.AsyncWith)) else "loop"
        return Remark(
            f"{want.label} needs `{name}`, which is only the variable of a {kind} in {want.target.place};"
            " production does not run that",
            want.cell,
            want.line,
            _PLAIN_ASSIGNMENT.format(name),
        )
    later = [unit for unit in units.events.get(name, ()) if unit.index > want.at]
    if later:
        return Remark(
            f"{want.label} uses `{name}` before {later[0].place} defines it; your kernel has it from an earlier run",
            want.cell,
            want.line,
            f"move the definition of `{name}` above its use",
        )
    return (
        _made_by_unreadable_cell(units, want)
        or _made_out_of_reach(units, want)
        or Remark(
            f"`{name}` exists only in your kernel's memory: {want.label} uses it and no cell defines it",
            want.cell,
            want.line,
            _mend_missing(units, name),
        )
    )


def _made_by_unreadable_cell(units: Units, want: Want) -> Remark | None:
    word = re.compile(rf"\b{re.escape(want.name)}\b")
    for cell in units.cells:
        number = cell.cell.number
        if cell.problem and word.search(cell.cell.text):
            return Remark(
                f"cell {number} does not parse ({cell.problem}), and {want.label} needs `{want.name}`",
                number,
                cell.problem_line,
                f"mend the cell, or define `{want.name}` in another",
            )
        if cell.language and word.search(cell.cell.text):
            return Remark(
                f"{want.label} needs `{want.name}`, which cell {number} may make, but that is a {cell.language} cell",
                want.cell,
                want.line,
                f"make `{want.name}` in Python",
            )
    return None


def _made_out_of_reach(units: Units, want: Want) -> Remark | None:
    name = want.name
    for unit in units.all:
        if unit.magic and any(name in re.findall(r"\w+", text) for text in texts_in(unit.node)):
            found = f"which only {unit.magic} in {unit.place} may make; production does not run that"
            mend = f"give `{name}` its value in plain Python"
        elif unit.is_skipped and name in unit.names.binds:
            found = f"which is defined only in {unit.place}, and that cell is marked skip"
            mend = "take the mark off, or move the definition into a cell without it"
        elif name in unit.names.bound_globals:
            found = f"which only a call of {unit.label} sets; such calls stay in the notebook"
            mend = f"assign `{name}` at the top of a cell, or put `#| keep` at the top of the cell with the call"
        elif name in unit.names.comprehension_targets:
            found = f"which is only the variable of a comprehension in {unit.place}"
            mend = _PLAIN_ASSIGNMENT.format(name)
        else:
            continue
        return Remark(f"{want.label} needs `{name}`, {found}", want.cell, want.line, mend)
    return None


def _mend_missing(units: Units, name: str) -> str:
    import difflib

    mend = f"define `{name}` in a cell, or import it"
    runs = [unit for unit in units.all if unit.magic in ("the line magic %run", "the line magic %pylab")]
    if runs:
        return f"{mend} (if {runs[0].magic} in {runs[0].place} made it, import it from a module instead)"
    near = difflib.get_close_matches(name, [known for known in units.events if known != name], n=1, cutoff=0.75)
    return f"{mend}; did you mean `{near[0]}`?" if near else mend


def forbidden(units: Units, unit: Unit, want: Want | None) -> Iterator[Remark]:
    """Why production cannot run a statement it needs, whatever names that uses; `want` is who needs it."""
    names = unit.names
    user = f"; {want.label} needs `{want.name}` from it" if want and want.user else ""
    number = unit.number
    if unit.magic:
        yield Remark(f"production cannot run {unit.magic}{user}", number, unit.magic_line, "write it in plain Python")
    if names.await_line:
        what = f"`await` at the top of a cell does not work in a module{user}"
        yield Remark(what, number, names.await_line, "call asyncio.run(...) inside a step")
    if names.relative_line:
        what = f"a notebook has no package to import from relatively{user}"
        yield Remark(what, number, names.relative_line, _FULL_NAME)
    if unit.is_main:
        what = f'`if __name__ == "__main__"` is not true in production{user}'
        yield Remark(what, number, unit.line, "define it outside the `if`")
    for uses, lines in ((names.now, names.now_lines), (names.later, names.later_lines)):
        if uses.get("get_ipython", 0) & (LOAD | HINT):
            mend = "keep IPython's tools in cells that build() does not need, or mark the cell `#| skip`"
            yield Remark(f"`get_ipython` does not exist in production{user}", number, lines["get_ipython"], mend)
    for path, call, _ in names.calls:
        runs_one_inside = len(path) == 2 and "flow" in units.done_by(path[0], unit.index)
        if runs_one_inside or "flow" in effects.kinds(units.resolve(path, unit)):
            shown = f"{path[0] if runs_one_inside else path[-2]}()"
            value = f"`{want.name}` comes from {shown}" if want else f"{shown} runs a flow"
            yield Remark(
                f"{value} in cell {number}, and production has no such value{user}",
                number,
                call.lineno,
                "move the work into a step, and take the value from `context.current` or `context.objects`",
            )
            return


def warnings_of(units: Units, outcome: Outcome) -> Iterator[Remark]:
    """What to know about a notebook that compiles."""
    yield from _about_cells(units)
    yield from _about_names(units, outcome)
    build = max((unit.number for unit in units.events.get("build", ())), default=0)
    for unit in units.all:
        if unit.index in outcome.taken:
            why = outcome.taken[unit.index]
            yield from _about_input(units, unit, why)
            if unit.number > build and (match := _IN_PLACE.fullmatch(why)):
                what = f"`{match[1]}` is changed in place below build(), in production too"
                yield Remark(what, unit.number, unit.line, "mark the cell `#| skip` if it only tries something out")
        elif not unit.is_skipped:
            yield from _about_left_out(units, unit, outcome)


def _about_cells(units: Units) -> Iterator[Remark]:
    for cell in units.cells:
        number = cell.cell.number
        if cell.problem and cell.verdict != "skip":
            what = f"the cell does not parse and is left out: {cell.problem}"
            yield Remark(what, number, cell.problem_line, "mend it, or mark it `#| skip`")
        if cell.mistaken_directive is not None:
            line, word, mend = cell.mistaken_directive
            yield Remark(f"`#| {word}` means nothing here", number, line, mend)


def _about_names(units: Units, outcome: Outcome) -> Iterator[Remark]:
    for name in outcome.followed:
        yield from _about_duplicates(units, name)
    for want in outcome.shadowed:
        if want.target is not None and want.target.index not in outcome.taken:
            owner = units.reaching(want.name, want.at)[0][0]
            yield Remark(
                f"a left-out loop or `with` also sets `{want.name}`; production takes the one of {owner.place}",
                want.target.number,
                want.target.line,
                f"use another name than `{want.name}` here",
            )
    for want, star in outcome.starred:
        module = star.names.star
        yield Remark(
            f"`{want.name}` must come from `from {module} import *` in cell {star.number}: nothing else defines it",
            want.cell,
            want.line,
            f"write `from {module} import {want.name}`",
        )


def _about_duplicates(units: Units, name: str) -> Iterator[Remark]:
    events = [unit for unit in units.events.get(name, ()) if name not in unit.names.targets]
    while events and name in events[-1].names.now:
        events.pop()  # a link of a chain, made from the one before
    if not events:
        return
    last = events[-1]
    earlier = [unit.number for unit in events[:-1] if unit.number != last.number]
    is_sure = last.definite is None or name in last.definite
    if earlier and is_sure and name not in last.names.additive:
        numbers = [str(number) for number in dict.fromkeys([*earlier, last.number])]
        yield Remark(
            f"`{name}` is defined in cells {', '.join(numbers[:-1])} and {numbers[-1]}; the last one wins",
            last.number,
            last.names.binds[name],
            "rename one, or delete what is out of date",
        )


def _about_input(units: Units, unit: Unit, why: str) -> Iterator[Remark]:
    if why in (SETS_UP, MARKED_KEEP) or isinstance(unit.node, DEFINITIONS):
        return
    for path, call, _ in unit.names.calls:
        kinds = effects.kinds(units.resolve(path, unit))
        if len(path) == 2:
            kinds |= units.done_by(path[0], unit.index)
        shown = effects.dotted(path)
        if "read" in kinds:
            what = f"{shown} reads data when the module is loaded, outside every step"
            yield Remark(what, unit.number, call.lineno, "did you mean `context.current`? Read the data inside a step")
            return
        if "io" in kinds:
            what = f"{shown} does input or output when the module is loaded, outside every step"
            yield Remark(what, unit.number, call.lineno, "move it into a step or use `context.config`")
            return


def _about_left_out(units: Units, unit: Unit, outcome: Outcome) -> Iterator[Remark]:
    number = unit.number
    if match := _PROCESS_MAGIC.fullmatch(unit.magic):
        mend = "runs start in the flow_modules folder" if match[1] in ("cd", "pushd", "popd") else "use os.environ"
        yield Remark(f"{unit.magic} is not run in production", number, unit.line, mend)
    if unit.magic or unit.is_main:
        return
    for name in sorted(unit.names.deletes):
        owners = units.reaching(name, unit.index)[0]
        if name in outcome.followed and any(owner.index in outcome.taken for owner in owners):
            what = f"`del {name}` is left out: build() needs `{name}`"
            yield Remark(what, number, unit.line, f"keep `{name}`, or rename it")
    if unit.names.relative_line and not isinstance(unit.node, DEFINITIONS):
        what = "a notebook has no package to import from relatively; the import is left out"
        yield Remark(what, number, unit.names.relative_line, _FULL_NAME)
    told = set()
    for path, line, text in unit.names.bare:
        if units.resolve(path, unit) == "os.chdir()":
            mend = "write paths relative to the flow_modules folder: every run starts there"
            yield Remark("`os.chdir(...)` is left out", number, line, mend)
        elif _may_be_missed(units, unit, path, text, outcome):
            told.add(line)
            yield Remark(
                f"`{effects.dotted(path[:-1])}(...)` is left out: nothing tells what the call changes, so production does not make it",
                number,
                line,
                _KEEP_CALL,
            )
    for remark in _about_trials(units, unit, outcome):
        if remark.line not in told:
            yield remark


def _may_be_missed(units: Units, unit: Unit, path: Path, text: str, outcome: Outcome) -> bool:
    """Whether a call that stands alone and is left out may have been there for its effect on needed code."""
    owners = units.reaching(path[0], unit.index)[0]
    if not owners:
        return False
    owner = owners[0]
    taken = outcome.taken
    method = path[-2]
    if path[0] in owner.names.imports:
        if len(path) == 2:
            return effects.sounds_like_setup(owner.names.imports[path[0]].rpartition(".")[2])
        package = units.packages[owner.names.imports[path[0]].partition(".")[0]]
        is_needed = any(importer.index in taken for importer, _ in package)
        return is_needed and not effects.only_looks(method, text) and effects.sounds_like_setup(method)
    if len(path) == 2:
        done = set() if owner.index in taken else units.done_by(path[0], unit.index)
        return "setup" in done and "flow" not in done
    if owner.index not in taken or isinstance(owner.node, FUNCTIONS):
        return False
    only_looks = effects.only_looks(method, text)
    found = [outcome.callees.done(body) for body in outcome.callees.called(path, unit.index)]
    if found:  # the class is the notebook's own: its source tells more than the method's name
        return any(each.changes or (each.is_open and not only_looks) for each in found)
    return not only_looks


def _about_trials(units: Units, unit: Unit, outcome: Outcome) -> Iterator[Remark]:
    """Calls of needed code that surely change what they are given or called on: trials, or part of making a needed value."""
    callees = outcome.callees
    if callees.own.isdisjoint(unit.names.now):
        return
    for path, call, _ in unit.names.calls:
        changed = [
            name
            for body in callees.called(path, unit.index)
            for name, flags in callees.changed_by(call, path, body)
            if units.is_changed(name, flags, unit.index, outcome.taken)
        ]
        if changed:
            yield Remark(
                f"`{effects.dotted(path[:-1])}(...)` changes `{changed[0]}`, which build() needs, and is left out",
                unit.number,
                call.lineno,
                _KEEP_CALL,
            )
