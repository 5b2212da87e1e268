"""What shows itself in a notebook: the one door from the values up to their pictures and tables."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")


class Shown:
    """A value that a notebook shows as a picture or a table, with or without `%load_ext data_engine`."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str] | None:
        from jupyter_extension.display import bundle

        return bundle(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython prefers its own printers of lists, dicts and exceptions to the text of the bundle.
        found = None if cycle or len(printer.stack) > 1 else self._repr_mimebundle_()
        if found is not None:
            printer.text(found["text/plain"])
        elif isinstance(self, (list, dict)) and not cycle:
            printer.pretty(list(self) if isinstance(self, list) else dict(self))
        else:
            printer.text(repr(self))


class Listing(Shown, list["T"]):
    """A list that shows itself as a table; otherwise as any list, and equal to one.

    Example:
        >>> Listing([1, 2]) == [1, 2], Listing([1, 2])
        (True, [1, 2])
    """

    __slots__ = ()
