"""The context of a step as an item in another process sees it.

What is small travels along: the source, the places, the params. The objects of earlier steps are fetched from the run when
an item looks at them. Where to write is asked of the run, whose stage or scratch folder knows what was handed out.
"""

from __future__ import annotations

from collections import UserDict, deque
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any

from data_engine.flow.context import FlowContext, WorkspaceConfigContext
from data_engine.flow.control import StepControl
from data_engine.flow.locations import IN_PLACE, Places
from data_engine.flow.parameters import GivenParams

Ask = Callable[[str, tuple[Any, ...]], Any]
"""Asks the run a question, by its name and arguments, and gives the answer or raises what it raised."""

_WAYS = ("root", "enter", "database", "final", "publish")


_AS_THEY_ARE = ("flow_name", "group", "source", "scheduled_for", "workspace_root")


def facts_of(context: FlowContext) -> dict[str, Any]:
    """What of a run's context travels with each map. Its tables are not looked at: a preview notices who does."""
    own: dict[str, Any] = vars(FlowContext)["__dict__"].__get__(context)
    debug = copy(context.debug)
    if debug is not None:
        debug.control = None
    return {
        **{name: own[name] for name in _AS_THEY_ARE},
        "mirror": None if context.mirror is None else replace(context.mirror, places=IN_PLACE),
        "params": dict(context.params) if isinstance(context.params, MappingProxyType) else context.params,
        "debug": debug,
        "is_in_place": context.places is IN_PLACE,
        "objects": tuple(own["objects"]),
        "metadata": tuple(own["metadata"]),
    }


def answer(context: FlowContext, question: str, arguments: tuple[Any, ...]) -> Any:
    """What the run answers to what an item asks; the other side of `Ask`."""
    if question in _WAYS:
        *positional, named = arguments
        return getattr(context.places, question)(*positional, **named)
    if question == "current":
        return context.current
    (name,) = arguments
    return {"objects": context.objects, "metadata": context.metadata}[question][name]


class FarContext(FlowContext):
    """A context in another process than its run, of the `facts_of` that."""

    _current: _Fetched

    def __init__(self, facts: dict[str, Any], control: StepControl, ask: Ask) -> None:
        places = IN_PLACE if facts["is_in_place"] else _FarPlaces(ask)
        mirror, debug, params = facts["mirror"], facts["debug"], facts["params"]
        if debug is not None:
            debug.control = control
        self.__dict__.update({name: facts[name] for name in _AS_THEY_ARE})
        self.__dict__.update(
            mirror=None if mirror is None else replace(mirror, places=places),
            objects=_Fetched(facts["objects"], lambda name: ask("objects", (name,))),
            metadata=_Fetched(facts["metadata"], lambda name: ask("metadata", (name,))),
            config=WorkspaceConfigContext(facts["workspace_root"]),
            debug=debug,
            params=MappingProxyType(GivenParams(params)) if type(params) is dict else params,
            error=None,
            control=control,
            places=places,
            _current=_Fetched(("current",), lambda name: ask("current", ())),
        )

    @property
    def current(self) -> Any:
        """The batch that is gone through."""
        return self._current["current"]

    @current.setter
    def current(self, value: Any) -> None:
        self._current["current"] = value


class _FarPlaces(Places):
    """Where the run writes. What stands for a mirror root does not change in a run, so it is asked for once."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._roots: dict[Path, Path] = {}

    def root(self, final: Path) -> Path:
        if final not in self._roots:
            self._roots[final] = Path(self._ask("root", (final, {})))
        return self._roots[final]

    def enter(self, place: Path, *, is_folder: bool) -> None:
        self._ask("enter", (place, {"is_folder": is_folder}))

    def database(self, final: Path, *, read_only: bool) -> Path:
        return Path(self._ask("database", (final, {"read_only": read_only})))

    def final(self, path: Path) -> Path:
        for final, root in self._roots.items():
            if path.is_relative_to(root):
                return final / path.relative_to(root)
        return Path(self._ask("final", (path, {})))

    def publish(self) -> None:
        self._ask("publish", ({},))


class _Fetched(UserDict[str, Any]):
    """A mapping whose values are fetched when they are looked at."""

    def __init__(self, names: tuple[str, ...], fetch: Callable[[str], Any]) -> None:
        super().__init__(dict.fromkeys(names, _FAR))
        self._fetch = fetch

    def __getitem__(self, name: str) -> Any:
        value = self.data[name]
        if value is _FAR:
            value = self.data[name] = self._fetch(name)
        return value

    def __repr__(self) -> str:
        return repr(dict(self))


_FAR = object()


_MOST_NAMES = 100
_MOST_VALUES = 1_000
_CONTAINERS = (list, dict, set, bytearray, deque)

Look = dict[str, tuple[int, ...]]
"""What a name holds: its identity, and of a container its length and the identities of what is in it."""


class LostChanges:
    """Compares the globals and the closure of a map's function before and after its items.

    Example:
        >>> seen = []
        >>> changes = LostChanges(lambda item: seen.append(item))
        >>> changes.names(), seen.append(1), changes.names(), changes.names()
        ([], None, ['seen'], [])
    """

    def __init__(self, call: Any) -> None:
        while isinstance(call, partial):
            call = call.func
        call = getattr(call, "__func__", call)
        self._fn = call if isinstance(call, FunctionType) else None
        self._before = self._look()

    def names(self) -> list[str]:
        """The names whose values have changed since the last time."""
        before, self._before = self._before, self._look()
        return sorted(name for name in before | self._before if before.get(name) != self._before.get(name))

    def _look(self) -> Look:
        if self._fn is None:
            return {}
        code = self._fn.__code__
        named = {name: self._fn.__globals__[name] for name in code.co_names if name in self._fn.__globals__}
        for name, cell in zip(code.co_freevars, self._fn.__closure__ or (), strict=False):
            try:
                named[name] = cell.cell_contents
            except ValueError:  # it is not bound yet
                continue
        return {name: _look_at(value) for name, value in islice(named.items(), _MOST_NAMES)}


def _look_at(value: Any) -> tuple[int, ...]:
    if not isinstance(value, _CONTAINERS):
        return (id(value),)
    inside: Iterable[Any] = value.values() if isinstance(value, dict) else value
    return (id(value), len(value), *map(id, islice(inside, _MOST_VALUES)))


def lost_words(name: str) -> str:
    """What the log of a run says of such a name."""
    return (
        f"items changed {name}, and ran in other processes: what they change there does not come back."
        " Let the function return it, and put it together in a step behind the map"
    )
