"""What one daemon of a workspace leaves to the next one on this machine: whether its engine was on."""

from __future__ import annotations

from data_engine.ledger.ledger import Ledger

_ENGINE = "engine_is_on"


def was_engine_on(ledger: Ledger) -> bool:
    """Whether the engine was on when the last daemon ended, however that was."""
    return ledger.setting(_ENGINE) == "1"


def remember_engine(ledger: Ledger, *, is_on: bool) -> None:
    """Let the next daemon turn its engine on by itself, or not."""
    ledger.set_setting(_ENGINE, "1" if is_on else "0")
