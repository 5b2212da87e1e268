"""Values that stand behind a subcommand of `%flow`, as what they mean."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from data_engine.errors import FlowValidationError

if TYPE_CHECKING:
    from data_engine.flow.parameter_values import Given


def whole(text: str, option: str) -> int:
    """The whole number that an option was given."""
    try:
        return int(text)
    except ValueError:
        raise FlowValidationError(f"{text!r} is not a whole number", where=option, fix=f"{option} 3") from None


def params_of(given: Namespace) -> dict[str, Given]:
    """The parameters of a run that were given."""
    if not given.set:
        return {}
    from data_engine.flow.parameter_values import read_params

    return read_params(given.set)
