"""What a run was given by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from data_engine.errors import MissingParamError
from data_engine.flow.suggestions import nearest_name

LOOKED_AT = "\0looked at"
"""No name of a parameter: a read-only view of a mapping lets nobody else ask it anything."""


class GivenParams(dict[str, Any]):
    """What a run was given, and what of it was looked at; a name it was not given is an error that says how to give it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._looked_at: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._looked_at.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name == LOOKED_AT:
            return self._looked_at
        self._looked_at.add(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._looked_at.add(str(name))
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self._looked_at.update(super().__iter__())
        return super().__iter__()

    def keys(self) -> Any:
        self._looked_at.update(super().__iter__())
        return super().keys()

    def values(self) -> Any:
        self._looked_at.update(super().__iter__())
        return super().values()

    def items(self) -> Any:
        self._looked_at.update(super().__iter__())
        return super().items()

    def __missing__(self, name: object) -> Any:
        near = nearest_name(str(name), self)
        offer = f"did you mean {near!r}? Otherwise give" if near else "give"
        raise MissingParamError(
            f"the run was given no param {name!r}; it was given: {', '.join(map(repr, self)) or 'none'}",
            where="context.params",
            fix=f"{offer} it: params={{{name!r}: ...}} in preview() and run_once(), --set {name}=... on the command line;"
            f" a flow that runs by itself is given no params: use context.params.get({name!r}, default), or declare it with"
            " Flow.params",
        )
