"""Do something with a module right after its own code has run, whenever and wherever it is imported first."""

from __future__ import annotations

import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class AfterImport:
    """A finder at the head of `sys.meta_path` that finds no module itself: it asks the finders behind it, so that several of them stand
    one behind another, and lets `do` follow the code of a module whose name is `wanted`.

    Example:
        >>> hook = AfterImport({"colorsys"}.__contains__, lambda module: print("imported", module.__name__))
        >>> hook.install()
        >>> _ = sys.modules.pop("colorsys", None)
        >>> import colorsys
        imported colorsys
        >>> hook.remove()
    """

    def __init__(self, wanted: Callable[[str], bool], do: Callable[[ModuleType], None]) -> None:
        self._wanted, self._do = wanted, do

    def install(self) -> None:
        """Stand at the head."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Leave; nothing happens where it has left."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that a finder behind this one gives, with what follows."""
        if not self._wanted(name):
            return None
        finders = list(sys.meta_path)
        behind = finders[finders.index(self) + 1 :] if self in finders else finders
        for finder in behind:
            spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                return self._followed(spec)
        return None

    def _followed(self, spec: ModuleSpec) -> ModuleSpec:
        """The spec whose loader calls `do`; of a loader that is a class, as that of built-in modules, nothing follows."""
        loader = spec.loader
        if loader is None or isinstance(loader, type) or not hasattr(loader, "exec_module"):
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._do(module)

        with suppress(AttributeError):  # a loader whose instances take no attribute
            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
