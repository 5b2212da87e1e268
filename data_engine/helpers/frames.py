"""`frame.de`: the helpers that take a frame, as methods of every Polars DataFrame and LazyFrame.

The methods are the public functions themselves with the frame left out; nothing is listed twice. They are registered once
both this package and Polars were imported, in either order: Polars is waited for, and not imported.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_FRAMES = ("df", "lf", "frame")
"""The names by which functions take their frame."""


def register_frames(functions: Callable[[], dict[str, Any]]) -> None:
    """Give frames `.de`, now if Polars was imported and else as soon as it is."""
    if "polars" in sys.modules and hasattr(sys.modules["polars"], "api"):
        _register(sys.modules["polars"], functions)
    else:
        sys.meta_path.insert(0, _AfterPolars(functions))


class _AfterPolars:
    """Finds nothing itself: has the real loader of Polars register the frames after its work, and leaves."""

    def __init__(self, functions: Callable[[], dict[str, Any]]) -> None:
        self._functions = functions

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "polars":
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _register(module, self._functions)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _register(polars: Any, functions: Callable[[], dict[str, Any]]) -> None:
    for kind, register in (
        ("DataFrame", polars.api.register_dataframe_namespace),
        ("LazyFrame", polars.api.register_lazyframe_namespace),
    ):
        members = {"__doc__": _Namespace.__doc__, "_kind": kind, "_functions": staticmethod(functions)}
        register("de")(type(f"DataEngine{kind}Namespace", (_Namespace,), members))


class _Namespace:
    """Data Engine's helpers with this frame as their frame; those that give expressions are here for completion."""

    _kind: str
    _functions: Callable[[], dict[str, Any]]
    _is_filled = False

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        if not self._is_filled:  # with the first frame asked, so that an import of Polars does not wait for the helpers
            cls = type(self)
            for name, function in cls._functions().items():
                method = _method(function, cls._kind)
                if method is not None:
                    setattr(cls, name, method)
            cls._is_filled = True


def _method(function: Any, kind: str) -> Any:
    """The function as a method of frames of this kind; None when it takes no such frame and gives no expression."""
    annotations = getattr(function, "__annotations__", {})
    if annotations.get("return") == "pl.Expr":
        return staticmethod(function)
    name = next((argument for argument in _FRAMES if argument in annotations), None)
    if name is None or annotations[name] not in ("Frame", f"pl.{kind}", "pl.DataFrame | pl.LazyFrame"):
        return None
    parameters = inspect.signature(function).parameters
    is_keyword = parameters[name].kind is inspect.Parameter.KEYWORD_ONLY

    def method(self: _Namespace, *args: Any, **options: Any) -> Any:
        if is_keyword:
            return function(*args, **{name: self._frame}, **options)
        return function(self._frame, *args, **options)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    rest = [parameter for parameter in parameters.values() if parameter.name != name]
    method.__name__ = method.__qualname__ = function.__name__
    method.__doc__ = function.__doc__
    method.__signature__ = inspect.Signature([own, *rest])  # type: ignore[attr-defined]
    return method
