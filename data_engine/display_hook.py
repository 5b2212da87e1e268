"""The display hook of a notebook: values ask whoever is registered from above for their picture or table.

A package registers a function under the entry point group `data_engine.display`; it is loaded when the first value is shown.
"""

from __future__ import annotations

from data_engine.formatting import MOST_TEXT, both_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")
    Bundle = dict[str, Any]

GROUP = "data_engine.display"
FORMS = "data_engine.form"

_displays: list[Callable[..., Bundle | None]] | None = None


def bundle_of(value: Any) -> Bundle | None:
    """`value` as HTML, as text and perhaps more, by MIME type; None where nobody shows it better than its `repr`."""
    return next((bundle for display in _registered() if (bundle := display(value)) is not None), None)


def text_with_samples(value: Any) -> str:
    """`value` as text for a terminal, with the rows of a comparison that a saved notebook leaves out; else its `str`."""
    found = (bundle for display in _registered() if (bundle := display(value, samples=True)) is not None)
    return str(next(found, {}).get("text/plain", value))


class Hint:
    """A text that may name commands of ours: who shows values words them for the cell that its reader types in."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def hint_here(text: str) -> str:
    """`text`, with the commands in it as they are typed where it is read: in a notebook its cells have some of their own.

    Example:
        >>> hint_here("not deployed: data-engine deploy claims")
        'not deployed: data-engine deploy claims'
    """
    if "data-engine " not in text:
        return text
    found = bundle_of(Hint(text))
    return text if found is None else str(found["text/plain"])


def _registered() -> list[Callable[..., Bundle | None]]:
    global _displays
    if _displays is None:
        from importlib.metadata import entry_points

        _displays = [found.load() for found in entry_points(group=GROUP)]
    return _displays


def form_of(value: Any, **options: Any) -> Any:
    """The form of `value` for a notebook; None where nobody has one.

    A package registers it under the entry point group `data_engine.form`.
    """
    from importlib.metadata import entry_points

    makers = (found.load() for found in entry_points(group=FORMS))
    return next((form for make in makers if (form := make(value, **options)) is not None), None)


class Displayable:
    """A value that a notebook shows as a picture or a table, with or without `%load_ext data_engine`."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle | None:
        return bundle_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython prefers its own printers of lists, dicts and exceptions to the text of the bundle.
        found = None if cycle or len(printer.stack) > 1 else self._repr_mimebundle_()
        if found is not None:
            printer.text(found["text/plain"])
        elif isinstance(self, (list, dict)) and not cycle:
            printer.pretty(list(self) if isinstance(self, list) else dict(self))
        else:
            printer.text(both_ends(repr(self), MOST_TEXT))


class Listing(Displayable, list["T"]):
    """A list that shows itself as a table; otherwise as any list, and equal to one.

    Example:
        >>> Listing([1, 2]) == [1, 2], Listing([1, 2])
        (True, [1, 2])
    """

    __slots__ = ()
