"""Refuse production's verbs in a process that only tries a notebook out."""

from __future__ import annotations

import os

from data_engine.errors import FlowValidationError

TRIAL_VARIABLE = "DATA_ENGINE_TRIAL"
_is_trial = bool(
    os.environ.get(TRIAL_VARIABLE)
)  # set before the process begins; to look each time takes a tenth of a small run


def refuse_in_trial(verb: str) -> None:
    """Refuse a verb that production sees, in a trial.

    Raises:
        FlowValidationError: its notebook is only tried out, by `data-engine compile NAME --run`.

    Example:
        >>> refuse_in_trial("deploy")
    """
    if _is_trial:
        raise FlowValidationError(
            f"{verb} is refused while `compile --run` executes the notebook: it only compares",
            where=verb,
            fix="put `#| skip` at the top of the cell, or take the call out of the notebook",
        )
