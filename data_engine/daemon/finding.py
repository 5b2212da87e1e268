"""What one check of `data-engine doctor` found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `ok` is None where it could not be judged; `measured` is what was seen, `fix` what to do or set."""

    name: str
    ok: bool | None
    measured: str
    fix: str | None = None
