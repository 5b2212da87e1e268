"""What a run was given: checked before it begins, and as its steps see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from data_engine.errors import FlowValidationError, MissingParamError
from data_engine.flow.flow import Flow
from data_engine.flow.suggestions import nearest_name
from data_engine.secret import Secret


def check_params(params: object) -> Mapping[str, Any]:
    """`params` as a mapping of names to values; empty for None.

    Raises:
        FlowValidationError: not a mapping, or a key that is no text.
    """
    if params is None:
        return {}
    if isinstance(params, Mapping) and all(isinstance(key, str) for key in params):
        return params
    raise FlowValidationError(
        f"params must be a mapping with text keys, not {params!r}", where="params=", fix='params={"threshold": 15}'
    )


def params_for(flow: Flow, params: object) -> Mapping[str, Any]:
    """What `flow` is given: of one that declares its parameters each value as JSON has it, else as it is.

    Raises:
        FlowValidationError: no mapping; or an unknown name, a wrong value or a missing one, where they are declared.
    """
    given = check_params(params)
    if flow.parameters is None:
        return given
    own = {name: value for name, value in given.items() if isinstance(value, Secret)}
    return flow.parameters.check(given) | own


def as_steps_see(flow: Flow, given: Mapping[str, Any], *, secret: Callable[[str], Secret]) -> Any:
    """`context.params`: an instance of the author's class, or a read-only mapping where none is declared.

    Raises:
        FlowValidationError: the class refuses the values, or a secret is not on this machine.
    """
    if flow.parameters is None:
        return MappingProxyType(_Params(given))
    return flow.parameters.make(given, secret=secret)


def unread(params: object, given: Mapping[str, Any]) -> list[str]:
    """The names that were given and that no step has looked at; of declared parameters none."""
    if not given or not isinstance(params, Mapping):
        return []
    looked_at: object = params.get(_LOOKED_AT, set())
    return [name for name in given if name not in looked_at] if isinstance(looked_at, set) else []


def values_of(params: Any) -> dict[str, Any]:
    """The names and values of `context.params`, whichever it is."""
    if isinstance(params, Mapping):
        return dict(params)
    return {one.name: getattr(params, one.name) for one in fields(params)}


_LOOKED_AT = "\0looked at"
"""No name of a parameter: a read-only view of a mapping lets nobody else ask it anything."""


class _Params(dict[str, Any]):
    """What a run was given, and what of it was looked at; a name it was not given is an error that says how to give it."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._looked_at: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self._looked_at.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name == _LOOKED_AT:
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
            f" a flow that runs by itself is given none: context.params.get({name!r}, default), or declare it with"
            " Flow.params",
        )
