"""What one check of `data-engine doctor` found."""

from __future__ import annotations

from data_engine.record import frozen


@frozen
class Finding:
    """One check: `ok` is None where it could not be judged; `measured` is what was seen, `fix` what to do or set."""

    name: str
    ok: bool | None
    measured: str
    fix: str | None = None
