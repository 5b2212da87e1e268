"""The time zones that a person may mean who names a country, a city, or a zone with a letter amiss."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from functools import cache
from pathlib import Path

_MOST = 3
_SHORT = 4


def near_zones(name: str) -> list[str]:
    """The zones of the country of this name or code, else those whose own name, or the name of whose city, is like it.

    Example:
        >>> near_zones("Berlin"), near_zones("Switzerland"), near_zones("america/newyork"), near_zones("nowhere at all")
        (['Europe/Berlin'], ['Europe/Zurich'], ['America/New_York'], [])
    """
    wanted = _plain(name)
    if (of_country := _of_countries().get(wanted)) is not None:
        return list(of_country[:_MOST])
    known: dict[str, str] = {}
    for zone in sorted(zoneinfo.available_timezones(), key=lambda one: (one.startswith("Etc/"), one)):
        known.setdefault(_plain(zone), zone)
        known.setdefault(_plain(zone.rpartition("/")[2]), zone)
    if wanted in known or len(wanted) <= _SHORT:  # two short ones are soon alike
        return [known[wanted]] if wanted in known else []
    return list(dict.fromkeys(known[one] for one in difflib.get_close_matches(wanted, known, n=_MOST, cutoff=0.8)))


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_]+", name)).strip().casefold()


@cache
def _of_countries() -> dict[str, tuple[str, ...]]:
    """The zones of each country, by its name and its code; none where this machine has no tables of them.

    Reference: `iso3166.tab` and `zone.tab` of the time zone database (https://data.iana.org/time-zones/tz-link.html).
    """
    zones: dict[str, tuple[str, ...]] = {}
    for code, _, zone in (row[:3] for row in _rows("zone.tab") if len(row) > 2):
        zones[code] = (*zones.get(code, ()), zone)
    found: dict[str, tuple[str, ...]] = {}
    for code, country in (row[:2] for row in _rows("iso3166.tab") if len(row) > 1):
        if code in zones:
            names = {code, country, *re.split(r" \(|\)| & ", country)} - {
                ""
            }  # "Korea (South)" is one of two called Korea
            found.update({_plain(one): (*found.get(_plain(one), ()), *zones[code]) for one in names})
    return found


def _rows(table: str) -> list[list[str]]:
    for folder in (*zoneinfo.TZPATH, *_packaged()):
        try:
            text = Path(folder, table).read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return []


def _packaged() -> list[str]:
    """The folder of the package `tzdata`, where the system has no zones of its own, as on Windows."""
    from importlib.util import find_spec

    found = find_spec("tzdata")
    return [] if found is None or found.origin is None else [str(Path(found.origin).parent / "zoneinfo")]
