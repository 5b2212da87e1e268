"""Whether each secret that alerts go to is on this machine and holds an address that Apprise knows; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from data_engine.daemon.alert_trial import look_at
from data_engine.daemon.finding import Finding
from data_engine.errors import FlowValidationError

_AT_ONCE = 4


def check_alerts(names: Sequence[str]) -> Iterator[Finding]:
    """A finding for each recipient; one where there is none."""
    if not names:
        yield Finding("alerts", True, "nobody is told of troubles: neither [alerts] to nor Flow.alert names a secret")
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(_check, dict.fromkeys(names))


def _check(name: str) -> Finding:
    try:
        service = look_at(name)
    except FlowValidationError as error:
        return Finding(f"alerts to {name}", False, error.what, error.fix)
    return Finding(f"alerts to {name}", True, f"its secret is here and leads to: {service}")
