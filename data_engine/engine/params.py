"""The params of a run: checked before it begins, as its steps see them, and as they are recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.parameters import LOOKED_AT, GivenParams, Parameters, TypedValue, texts_to_params, wire_of
from data_engine.formatting import beginning
from data_engine.model import Run
from data_engine.secret import MASK, Secret, masked_in

MOST_PARAMS = 20_000
"""Characters of the parameters of a run that are recorded."""


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
    """The params for `flow`: each value as JSON has it where the flow declares its parameters, else as it is.

    Raises:
        FlowValidationError: no mapping; or an unknown name, a wrong value or a missing one, where they are declared.
    """
    values = taken(check_params(params), flow.parameters)
    if flow.parameters is None:
        return values
    own = {name: value for name, value in values.items() if isinstance(value, Secret)}
    return flow.parameters.check(values) | own


def taken(params: Mapping[str, Any], parameters: Parameters | None) -> Mapping[str, Any]:
    """The params, with typed texts read as a flow that declares these parameters, or none, reads them."""
    if not any(isinstance(value, TypedValue) for value in params.values()):
        return params
    pairs = {
        name: value if isinstance(value, TypedValue) else TypedValue.value(value) for name, value in params.items()
    }
    return texts_to_params(pairs, parameters)


def sendable(params: object, declared: Callable[[], Parameters | None]) -> dict[str, Any]:
    """The params as they are sent to a daemon; what the flow has `declared` is asked only where it decides how a text or a date is taken.

    Raises:
        FlowValidationError: they are no JSON, or not what is declared.

    Example:
        >>> sendable({"days": 3}, lambda: None)
        {'days': 3}
    """
    plain = check_params(params)
    is_typed = any(isinstance(value, TypedValue) for value in plain.values())
    if not is_typed and _why_no_json(plain) is None:
        return dict(plain)
    parameters = declared()
    values = dict(taken(plain, parameters))
    if parameters is not None:
        return parameters.check(values)
    if (why := _why_no_json(values)) is not None:
        raise FlowValidationError(
            f"params cannot be sent to the daemon: {why}",
            where="params=",
            fix="give texts, numbers, true, false, null, lists and mappings of them; a date as text, or declare it with"
            " Flow.params",
        )
    return values


def _why_no_json(params: Mapping[str, Any]) -> str | None:
    try:
        json.dumps(params)
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    return None


def as_steps_see(flow: Flow, values: Mapping[str, Any], *, secret: Callable[[str], Secret]) -> Any:
    """`context.params`: an instance of the author's class, or a read-only mapping where none is declared.

    Raises:
        FlowValidationError: the class refuses the values, or a secret is not on this machine.
    """
    if flow.parameters is None:
        return MappingProxyType(GivenParams(values))
    return flow.parameters.make(values, secret=secret)


def is_as_scheduled(flow: Flow, values: Mapping[str, Any]) -> bool:
    """Whether a run that comes by itself has the same params: none, or the defaults.

    Example:
        >>> is_as_scheduled(Flow("G"), {}), is_as_scheduled(Flow("G"), {"month": "2013-01"})
        (True, False)
    """
    if flow.parameters is None:
        return not values
    defaults = {field.name: field for field in flow.parameters.fields if field.has_default}

    def is_default(name: str, value: Any) -> bool:
        field = defaults.get(name)
        if field is None or field.kind == "Secret":
            return False
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        try:
            return bool(field.parse(value) == default)
        except FlowValidationError:  # it was given to an earlier version, where its type was another
            return False

    return all(is_default(name, value) for name, value in values.items())


def is_of_production(flow: Flow, run: Run) -> bool:
    """Whether a run says something of production: its code was deployed, and its params are those of a run that comes by itself."""
    return run.edited is None and is_as_scheduled(flow, run.params or {})


def unread(params: object, values: Mapping[str, Any]) -> list[str]:
    """The names of params that no step has looked at; none where parameters are declared."""
    if not values or not isinstance(params, Mapping):
        return []
    looked_at: object = params.get(LOOKED_AT, set())
    return [name for name in values if name not in looked_at] if isinstance(looked_at, set) else []


def values_of(params: Any) -> dict[str, Any]:
    """The names and values of `context.params`, whichever it is."""
    if isinstance(params, Mapping):
        return dict(params)
    return {field.name: getattr(params, field.name) for field in fields(params)}


def defaults_text(params: Any, values: Mapping[str, Any]) -> str | None:
    """The declared parameters that a run was not given, with the values it takes for them; None where there are none.

    Example:
        >>> from dataclasses import make_dataclass
        >>> defaults_text(make_dataclass("P", ["month", "days"])("2026-11", 3), {"days": 3})
        'params by default: month=2026-11'
    """
    if isinstance(params, Mapping):
        return None
    left = {name: value for name, value in values_of(params).items() if name not in values}
    text = params_text(left)
    if text is None:
        return None
    return f"params by default: {', '.join(f'{name}={value_text(value)}' for name, value in json.loads(text).items())}"


def value_text(value: Any) -> str:
    """A recorded value as a person types it.

    Example:
        >>> value_text("2013-01"), value_text([1, 2]), value_text(True)
        ('2013-01', '[1, 2]', 'true')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def params_text(values: Mapping[str, Any]) -> str | None:
    """The params of a run as they are recorded: JSON with secrets as "***", and objects by their repr.

    Example:
        >>> params_text({"days": 3, "dwh": Secret("dwh", "correct horse")}), params_text({})
        ('{"days":3,"dwh":"***"}', None)
    """
    if not values:
        return None
    shown = {name: MASK if isinstance(value, Secret) else value for name, value in values.items()}
    try:
        text = _json({name: wire_of(value) for name, value in shown.items()})
    except (TypeError, ValueError, RecursionError):  # a key that is no text, NaN, a value that holds itself
        text = _json({name: _text_of(value) for name, value in shown.items()})
    return (
        text if len(text) <= MOST_PARAMS else json.dumps({"...": f"too long to be recorded: {len(text):,} characters"})
    )


def _json(shown: Mapping[str, Any]) -> str:
    return json.dumps(masked_in(dict(shown)), separators=(",", ":"), default=_text_of, allow_nan=False)


def _text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return beginning(text, 200)
