"""The display hook of a notebook: values get their picture or table from `jupyter_extension`, imported when the first one is shown."""

from __future__ import annotations

from importlib import import_module

from data_engine.formatting import MOST_TEXT, both_ends

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")
    Bundle = dict[str, Any]

_DISPLAY, _FORM, _FOLD = "jupyter_extension.display", "jupyter_extension.form", "jupyter_extension.fold"


def bundle_of(value: Any) -> Bundle | None:
    """`value` as HTML, as text and perhaps more, by MIME type; None where its `repr` is best."""
    bundle: Bundle | None = import_module(_DISPLAY).bundle(value)
    return bundle


class Hint:
    """A text that may name our commands: the display words them for the cell that its reader types in."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def hint_here(text: str) -> str:
    """`text` with its commands as its reader types them: a notebook's cells have some of their own.

    Example:
        >>> hint_here("not deployed: data-engine deploy claims")
        'not deployed: data-engine deploy claims'
    """
    if "data-engine " not in text:
        return text
    bundle = bundle_of(Hint(text))
    return text if bundle is None else str(bundle["text/plain"])


def form_of(value: Any, **options: Any) -> Any:
    """The form of `value` for a notebook."""
    return import_module(_FORM).form(value, **options)


def fold_of(frame: Any) -> Bundle:
    """The fold below a frame, by MIME type, whose profile is made when it is opened."""
    bundle: Bundle = import_module(_FOLD).fold(frame)
    return bundle


class Displayable:
    """A value that a notebook shows as a picture or a table, with or without `%load_ext data_engine`."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Bundle | None:
        return bundle_of(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython prefers its own printers of lists, dicts and exceptions to the text of the bundle.
        bundle = None if cycle or len(printer.stack) > 1 else self._repr_mimebundle_()
        if bundle is not None:
            printer.text(bundle["text/plain"])
        elif isinstance(self, (list, dict)) and not cycle:
            printer.pretty(list(self) if isinstance(self, list) else dict(self))
        else:
            printer.text(both_ends(repr(self), MOST_TEXT))


class Listing(Displayable, list["T"]):
    """A list that shows itself as a table, or as the `card` of the answer that it belongs to; otherwise as any list, and equal to one.

    Example:
        >>> Listing([1, 2]) == [1, 2], Listing([1, 2])
        (True, [1, 2])
    """

    __slots__ = ("card",)
    card: Any
