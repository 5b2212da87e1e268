"""What is wrong with where a flow reads and writes as it lies there now, whom it tells that this machine does not know, and why a run finds nothing to do."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.scan import walk
from data_engine.flow.suggestions import near_offer
from data_engine.formatting import cli_line
from data_engine.notebook.catalog import CatalogEntry

LOOK_LIMIT_S = 2.0
"""A person waits for it: a drive that answers at all does so in less."""

_MOST_ENDINGS = 5
_MOST_NAMES = 2_000


def source_warnings(flow: Flow) -> list[str]:
    """What keeps the flow's source or mirror from being used now, each with its fix; it may be there tomorrow.

    Example:
        >>> flow = Flow("Claims", "claims").watch(mode="poll", source="/nowhere/in", interval="10s")
        >>> source_warnings(flow)[0].partition(";")[0]
        'claims: its source /nowhere/in does not exist'
    """
    found = []
    trigger, mirror = flow.trigger, flow.mirror_spec
    if trigger is not None and trigger.source is not None:
        trouble = _source_trouble(trigger.source, trigger.extensions)
        found += [] if trouble is None else [f"{flow.name}: its source {trouble}"]
    if mirror is not None and mirror.root.is_file():
        found.append(f"{flow.name}: its mirror root {mirror.root} is a file; name a folder in mirror(root=...)")
    return found


def all_source_warnings(flows: Sequence[Flow]) -> list[list[str]]:
    """The `source_warnings` of each flow, within `LOOK_LIMIT_S` for all together: a drive that hangs is told, and holds up nobody."""
    found: dict[int, list[str]] = {}

    def look(numbers: Iterable[int]) -> None:
        for number in numbers:
            found[number] = source_warnings(flows[number])

    began_s = time.monotonic()
    first = threading.Thread(target=look, args=(range(len(flows)),), daemon=True)  # as a rule it takes a moment
    first.start()
    first.join(LOOK_LIMIT_S / 4)
    if first.is_alive():
        missing = [number for number in range(len(flows)) if number not in found]
        threads = [threading.Thread(target=look, args=([number],), daemon=True) for number in missing]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, began_s + LOOK_LIMIT_S - time.monotonic()))
    answered = dict(found)
    return [answered[number] if number in answered else _silent(flow) for number, flow in enumerate(flows)]


def with_source_warnings(entries: Iterable[CatalogEntry]) -> tuple[CatalogEntry, ...]:
    """The entries, each with what keeps its source or mirror from being used now among its warnings."""
    known = list(entries)
    flows = [entry.flow for entry in known if entry.flow is not None]
    warnings = iter(all_source_warnings(flows))
    return tuple(
        entry if entry.flow is None else replace(entry, warnings=(*entry.warnings, *next(warnings))) for entry in known
    )


def with_recipient_warnings(entries: Iterable[CatalogEntry], others: Collection[str]) -> tuple[CatalogEntry, ...]:
    """The entries, each with the recipients that this machine does not know among its warnings; `others` are told of other flows.

    The keyring is asked only for names that are nowhere else.
    """
    known = tuple(entries)
    if not any(entry.flow is not None and entry.flow.alerts for entry in known):
        return known
    from data_engine.workspace.secret_store import has_secret, stored_secrets

    try:
        stored = {one.name for one in stored_secrets()}
        wanted = {name for entry in known if entry.flow is not None for name in recipients_of(entry.flow)}
        here = stored | {name for name in wanted - stored if has_secret(name)}
    except FlowValidationError:  # it cannot be known, which `doctor` tells; what is done is done
        return known
    found = []
    for entry in known:
        unknown = [] if entry.flow is None else [name for name in recipients_of(entry.flow) if name not in here]
        told = []
        for name in unknown:
            known_here = sorted(stored | {*others} - {name})
            fix = f"{near_offer(name, known_here)}`{cli_line('secret', 'set', name)}` stores its address"
            listed = f"; known here: {', '.join(known_here)}" if known_here else ""
            told.append(
                f"{entry.name}: Flow.alert(to=...) names {name!r}, and this machine has no such secret: {fix}{listed}"
            )
        found.append(replace(entry, warnings=(*entry.warnings, *told)))
    return tuple(found)


def recipients_of(flow: Flow) -> tuple[str, ...]:
    """The secrets that `Flow.alert(to=...)` names.

    Example:
        >>> recipients_of(Flow(group="Claims").alert(to=["ops", "boss"]).alert(to="ops", on=["late"]))
        ('ops', 'boss')
    """
    return tuple(dict.fromkeys(name for rule in flow.alerts for name in rule.to or ()))


def why_nothing(flow: Flow) -> str:
    """Why a run of the flow for all that lies in its source has no file, and what to do.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> flow = Flow("Claims", "claims").watch(mode="manual", source=folder, extensions=".csv")
        >>> why_nothing(flow).replace(str(folder), "/in")
        'no files to run for in /in: the folder is empty; put files there, or correct source='
        >>> _ = (folder / "a.txt").write_text("1")
        >>> why_nothing(flow).replace(str(folder), "/in")
        'no files to run for in /in: there are only .txt files, and the flow takes .csv; correct extensions=, or put such files there'
    """
    trigger = flow.trigger
    if trigger is None or trigger.source is None:
        return "no files to run for"
    start = f"no files to run for in {trigger.source}"
    trouble = _source_trouble(trigger.source, trigger.extensions)
    if trouble is not None:
        return f"no files to run for: its source {trouble}"
    mirror = None if flow.mirror_spec is None else flow.mirror_spec.root
    try:
        is_empty = not os.listdir(trigger.source)
        endings = sorted({Path(name).suffix for name, _ in walk(trigger.source, None, skip=mirror)})
    except OSError as error:
        return f"{start}: it cannot be read ({error.strerror}); check its permissions"
    if is_empty:
        return f"{start}: the folder is empty; put files there, or correct source="
    if endings and trigger.extensions is not None:
        shown = ", ".join(one or "nameless" for one in endings[:_MOST_ENDINGS])
        more = " and other" if len(endings) > _MOST_ENDINGS else ""
        takes = ", ".join(trigger.extensions)
        return f"{start}: there are only {shown}{more} files, and the flow takes {takes}; correct extensions=, or put such files there"
    return f"{start}: what is there is hidden, temporary, a lock file, an empty folder or the flow's own output"


def _silent(flow: Flow) -> list[str]:
    source = None if flow.trigger is None else flow.trigger.source
    where = flow.mirror_spec.root if source is None and flow.mirror_spec is not None else source
    return [f"{flow.name}: {where} gave no answer within {LOOK_LIMIT_S:g} s; check whether its drive is connected"]


def _source_trouble(source: Path, extensions: tuple[str, ...] | None) -> str | None:
    """What is wrong with a source, and the fix; None where nothing is."""
    correct = "or correct source= (relative paths start at the flow_modules folder)"
    try:
        mode = os.stat(source).st_mode
    except (FileNotFoundError, NotADirectoryError):  # Windows does not tell them apart
        above = next((one for one in source.parents if one.is_file()), None)
        if above is not None:
            return f"{source} cannot exist, because {above} is a file; name another folder, {correct}"
        if "\\" in str(source) and os.sep == "/":
            return f'{source} does not exist; write "/" between folders, which works on every machine: a "\\" is a part of the name here'
        near = _in_other_letters(source)
        begin = "create it" if near is None else f"did you mean {near}? Else create it"
        return f"{source} does not exist; {begin}, connect its drive, {correct}"
    except OSError as error:
        return f"{source} cannot be looked at ({error.strerror}); check its drive and permissions"
    if not stat.S_ISDIR(mode) and extensions is not None and not source.name.lower().endswith(extensions):
        return f"{source} is a file, and the flow takes {', '.join(extensions)}; name its folder, {correct}"
    return None


def _in_other_letters(source: Path) -> Path | None:
    """What lies there under a name that differs from the source's in its case, or in a letter; None where nothing does."""
    above = next((one for one in source.parents if one.is_dir()), None)
    if above is None:
        return None
    missing, *rest = source.relative_to(above).parts
    try:
        with os.scandir(above) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES) if not entry.name.startswith(".")]
    except OSError:
        return None
    alike = [name for name in names if name.casefold() == missing.casefold()]
    near = next(iter(alike or get_close_matches(missing, names, n=1, cutoff=0.8)), None)
    found = None if near is None else above.joinpath(near, *rest)
    return found if found is not None and found.exists() else None
