"""`doctor`: what the workspace's drive and this machine really do, and what to set where that is not enough."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.options import AsJson, chosen_workspace
from data_engine.cli.output import print_json, say, table
from data_engine.formatting import local_time, plural
from data_engine.model import utc_text

if TYPE_CHECKING:
    from data_engine.daemon.doctor import Finding

_WORDS = {True: "ok", False: "wrong", None: "unknown"}
_STYLES = {True: "", False: "red", None: "yellow"}


AcceptClock = Annotated[
    bool,
    typer.Option(
        "--accept-clock",
        help="First confirm that this machine's clock is right: it decides which history is too old and is removed.",
    ),
]


def doctor(ctx: typer.Context, accept_clock: AcceptClock = False, as_json: AsJson = False) -> int:
    """Measure what the workspace needs of its drive and this machine; say what to set. Exits 1 when something is wrong."""
    from data_engine.daemon.doctor import examine

    ws = chosen_workspace(ctx)
    if accept_clock:
        from data_engine.ledger.wall_clock import accept_clock as accept

        now_s = time.time()
        accept(ws.home.ledger(), now_s)
        if not as_json:
            say(f"The clock of this machine is right: it is {local_time(utc_text(now_s))}.", "")
    layout = ws.layout
    findings = list(examine(layout))
    wrong = [finding for finding in findings if finding.ok is False]
    if as_json:
        print_json({"ok": not wrong, "findings": [_as_dict(finding) for finding in findings]})
        return 1 if wrong else 0
    shown = table("CHECK", "", "MEASURED")
    for finding in findings:
        shown.add_row(finding.name, _WORDS[finding.ok], finding.measured, style=_STYLES[finding.ok])
    say(shown)
    for finding in findings:
        if finding.fix is not None and finding.ok is not True:
            say("")
            say(f"{finding.name}: {finding.fix}")
    say("")
    say(f"{plural(len(findings), 'check')}, {len(wrong)} wrong")
    return 1 if wrong else 0


def _as_dict(finding: Finding) -> dict[str, str | bool | None]:
    return {"name": finding.name, "ok": finding.ok, "measured": finding.measured, "fix": finding.fix}
