"""Who has control of a workspace, as the panel says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_engine.commands.situation import UNUSABLE, host_of, unusable_words
from data_engine.marks import Mark

_MARKS = {
    "mine": Mark("yours", "good", "disc", "mine"),
    "available": Mark("available"),
    "owned": Mark("owned", "warn", "square"),
    "control_requested": Mark("requested", "live", "half", "control_requested"),
    "takeover_available": Mark("takeover available", "warn", "triangle"),
    "unreachable": Mark("unreachable", "bad", "triangle"),
    "damaged": Mark("damaged", "bad", "cross"),
}


def lease_mark(lease: Mapping[str, Any]) -> Mark:
    """The mark of the lease's state."""
    return _MARKS.get("mine" if is_mine(lease) else lease["state"], Mark(str(lease["state"])))


def lease_line(lease: Mapping[str, Any], *, machine_id: str | None = None) -> str:
    """Who owns the workspace, in a sentence; "" where one works alone and all is well.

    Example:
        >>> lease_line({"state": "owned", "owner": {"host_name": "ann-pc"}, "takeover_in_s": 12.4, "is_overdue": True})
        'ann-pc has control · takeover available in 12 s'
    """
    if not lease.get("is_worth_words", True):
        return ""
    state, owner, asking = lease["state"], host_of(lease.get("owner")), lease.get("requested_by")
    wants = f" · {host_of(asking)} asks for it" if asking else ""
    if state == "available":
        return "Nobody has control"
    if state in UNUSABLE:
        return unusable_words(lease)
    if is_mine(lease):
        if lease.get("releasing"):
            return "Giving control up when running work is done"
        if lease.get("lapsed"):
            return "Control is lost for now: the shared drive does not answer"
        return f"This workstation has control{wants}"
    if state == "takeover_available":
        return f"{owner} sends no sign of life · takeover available"
    if is_of(asking, machine_id):
        return f"Control requested from {owner}"
    left_s = lease.get("takeover_in_s") if lease.get("is_overdue") else None
    engine = ", its engine is on" if lease.get("engine_there") else ""
    return f"{owner} has control{engine}{wants}" + (
        "" if left_s is None else f" · takeover available in {left_s:.0f} s"
    )


def is_mine(lease: Mapping[str, Any]) -> bool:
    """Whether this workstation has control."""
    return lease["state"] == "mine" or bool(lease.get("is_mine"))


def is_of(machine: Mapping[str, Any] | None, machine_id: str | None) -> bool:
    """Whether it is this machine that the lease names."""
    return bool(machine) and machine_id is not None and (machine or {}).get("machine_id") == machine_id
