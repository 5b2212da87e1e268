"""Warns of mistakes in the names of objects (`save_as=`, `use=`), and of steps that change an object which a later one uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data_engine.flow.check import names_saved
from data_engine.flow.spec import StepSpec
from data_engine.formatting import first_few
from data_engine.suggestions import nearest_name

_MOST_STEPS = 5


def object_warnings(steps: Sequence[StepSpec]) -> list[str]:
    """A warning for each name that no earlier step saves, and for each that several steps save.

    Example:
        >>> from data_engine import Flow
        >>> object_warnings(Flow("G").step(len, save_as="raw_df").step(str, use="raw_fd").steps)
        ["step 'Str' uses 'raw_fd', which no earlier step saves (saved so far: raw_df): did you mean raw_df?"]
    """
    return [*_never_saved(steps), *saved_twice(steps)]


def saved_twice(steps: Sequence[StepSpec], shown: str | None = None) -> list[str]:
    """The warnings of names that several steps save, where a later one does not take the object by that name.

    A step that takes an object and saves it under the same name replaces it on purpose. The name of the object on screen (`shown`)
    gets a warning all the same, which says whose result it is.

    Example:
        >>> from data_engine import Flow
        >>> flow = Flow("G").step(len, save_as="df").step(str, use="df", save_as="df")
        >>> saved_twice(flow.steps), saved_twice(flow.steps, shown="df")
        ([], ["'df' is saved by 2 steps (step 1 'Len', step 2 'Str'): it is the result of step 2"])
    """
    savers: dict[str, list[int]] = {}
    for number, step in enumerate(steps):
        if step.save_as is not None:
            savers.setdefault(step.save_as, []).append(number)
    unasked = {steps[number].save_as for number in replaced_unasked(steps)}
    return [
        _twice_text(steps, name, numbers, is_meant=name not in unasked)
        for name, numbers in savers.items()
        if name in unasked or (name == shown and len(numbers) > 1)
    ]


def replaced_unasked(steps: Sequence[StepSpec]) -> dict[int, int]:
    """The steps that replace an object which they do not take by its name, each with the step that saved it; counted from 0.

    Example:
        >>> from data_engine import Flow
        >>> replaced_unasked(Flow("G").step(len, save_as="df").step(str, save_as="df").steps)
        {1: 0}
    """
    newest: dict[str, int] = {}
    pairs = {}
    for number, step in enumerate(steps):
        if step.save_as is None:
            continue
        if step.save_as in newest and step.use != step.save_as:
            pairs[number] = newest[step.save_as]
        newest[step.save_as] = number
    return pairs


def taken_later(steps: Sequence[StepSpec]) -> dict[int, int]:
    """The steps whose result a later one, not the next, takes by its name, each with the last that does; counted from 0.

    Example:
        >>> from data_engine import Flow
        >>> taken_later(Flow("G").step(list, save_as="raw").step(sorted).step(len, use="raw").steps)
        {0: 2}
        >>> taken_later(Flow("G").step(list, save_as="raw").step(len, use="raw").steps)
        {}
    """
    savers: dict[str, int] = {}
    takers = {}
    for number, step in enumerate(steps):
        at = savers.get(step.use or "")
        if at is not None and number > at + 1:
            takers[at] = number
        if step.save_as is not None:
            savers[step.save_as] = number
    return takers


def taken_changed(steps: Sequence[StepSpec], index: int, changed: Iterable[str | None]) -> list[str]:
    """The warning where a later step takes by its name an object that step number `index` (from 0) has `changed`; only the first.

    Example:
        >>> from data_engine import Flow
        >>> flow = Flow("G").step(list, save_as="raw").step(sorted).step(len, use="raw")
        >>> print(taken_changed(flow.steps, 1, ["raw"])[0])
        step 'Sorted' changes raw itself, so step 'Len', which uses raw later, is given it changed: let it change a copy (copy.deepcopy), and return that
    """
    for name in filter(None, changed):
        again = (number for number in range(index, len(steps)) if steps[number].save_as == name)
        later = steps[index + 1 : next(again, len(steps) - 1) + 1]
        taker = next((step for step in later if step.use == name), None)
        if taker is not None:
            return [
                f"step {steps[index].label!r} changes {name} itself, so step {taker.label!r}, which uses {name} later, is given it "
                "changed: let it change a copy (copy.deepcopy), and return that"
            ]
    return []


def how_to_take(name: str) -> str:
    """The fix that takes an object which an earlier step saved under this name.

    Example:
        >>> how_to_take("raw_df")
        'take it by context.objects["raw_df"], or by context.current with use="raw_df" in the step'
    """
    return f'take it by context.objects["{name}"], or by context.current with use="{name}" in the step'


def _never_saved(steps: Sequence[StepSpec]) -> list[str]:
    """A warning for each `use=` of a name no earlier step saves; a step may still have put it into `context.objects`."""
    saved: list[str] = []
    warnings = []
    for step in steps:
        if step.use not in (None, "current", *saved):
            names = ", ".join(dict.fromkeys(saved)) or "none"
            near = nearest_name(str(step.use), saved)
            offer = "" if near is None else f": did you mean {near}?"
            warnings.append(
                f"step {step.label!r} uses {step.use!r}, which no earlier step saves (saved so far: {names}){offer}"
            )
        saved += names_saved(step)
    return warnings


def _twice_text(steps: Sequence[StepSpec], name: str, numbers: Sequence[int], *, is_meant: bool) -> str:
    who = first_few([f"step {number + 1} {steps[number].label!r}" for number in numbers], _MOST_STEPS)
    text = f"{name!r} is saved by {len(numbers)} steps ({who}): it is the result of step {numbers[-1] + 1}"
    if is_meant:
        return text
    return f"{text}; give the others names of their own, or add use={name!r} to a step that is meant to replace it"
