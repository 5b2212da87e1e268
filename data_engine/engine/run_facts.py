"""What a run's record says, in words: who began it and why, with what, on which files, how many rows, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from data_engine.counted import counted
from data_engine.cut import first_few
from data_engine.engine.fact import zoned_words
from data_engine.engine.params import value_words
from data_engine.model import Run, RunFile, RunTrigger, StepRun

_FEW = 5
_TRIGGERS = {
    "slot": "by its schedule",
    "file": "by a file",
    "hand": "by hand",
    "retry": "by a retry",
    "backfill": "by a backfill",
    "flow": "by another flow",
}
_ASKED = ("hand", "backfill")
"""Where the person who is recorded is the one who asked; else it is the account that the daemon runs as."""


def facts_of(run: Run, tz: str | None = None) -> list[tuple[str, str]]:
    """Labels and words, the most telling first; what is not known is left out. `tz` is the zone that a slot is told in.

    Example:
        >>> run = Run("3f", "claims", "G", None, "success", "t0", trigger=RunTrigger("backfill", "605d"), by="anna@ANNA-PC",
        ...           params={"month": "2013-01-01"}, peak_memory_bytes=52_428_800, cpu_s=1.5, scheduled_for="2026-01-01T06:00:00+00:00")
        >>> for label, words in facts_of(run, "Europe/Berlin"):
        ...     print(f"{label}: {words}")
        Started: by a backfill (605d) for 2026-01-01 07:00 Europe/Berlin
        Asked by: anna@ANNA-PC
        Params: month=2013-01-01
        Used: 50.0 MiB of memory, 1.5 s of CPU time
    """
    code = [f"deployment {run.deployment_id[:8]}" if run.deployment_id else "", _git(run)]
    environment = f"Python {run.python}, packages {run.environment[:8]}" if run.python and run.environment else ""
    used = [
        f"{run.peak_memory_bytes / 1024**2:,.1f} MiB of memory" if run.peak_memory_bytes is not None else "",
        f"{cpu_words(run.cpu_s)} of CPU time" if run.cpu_s is not None else "",
    ]
    rows = [
        ("Started", _started_words(run, tz)),
        ("Asked by" if run.trigger is not None and run.trigger.kind in _ASKED else "Run as", run.by or ""),
        ("Params", params_words(run)),
        ("Code", ", ".join(filter(None, code))),
        ("With", environment),
        ("Read", files_words(run.inputs, run.more_inputs)),
        ("Wrote", files_words(run.outputs, run.more_outputs)),
        ("Used", ", ".join(filter(None, used))),
    ]
    return [(label, words) for label, words in rows if words]


def cpu_words(cpu_s: float) -> str:
    """A time of computing.

    Example:
        >>> cpu_words(0.00712), cpu_words(1.53)
        ('7 ms', '1.5 s')
    """
    return f"{cpu_s * 1000:.0f} ms" if cpu_s < 1 else f"{cpu_s:,.1f} s"


def slot_words(run: Run, tz: str | None = None) -> str:
    """The slot that a run is for, in a zone, which is named (None: this machine's); "" for a run without one."""
    return zoned_words(run.scheduled_for, tz).replace(":00 ", " ", 1)


def _started_words(run: Run, tz: str | None) -> str:
    trigger = run.trigger
    if trigger is None or run.scheduled_for is None:
        return trigger_words(trigger)
    why = RunTrigger(trigger.kind) if trigger.detail == run.scheduled_for else trigger
    return f"{trigger_words(why)} for {slot_words(run, tz)}"


def trigger_words(trigger: RunTrigger | None) -> str:
    """Why a run was begun, in a few words; "" where that is not known."""
    if trigger is None:
        return ""
    words = _TRIGGERS.get(trigger.kind, trigger.kind)
    return f"{words} ({trigger.detail})" if trigger.detail else words


def params_words(run: Run) -> str:
    """What a run was given, as it could be typed; "" for nothing."""
    return ", ".join(f"{name}={value_words(value)}" for name, value in (run.params or {}).items())


def files_words(files: Sequence[RunFile], more: int) -> str:
    """The first files with their rows, and how many more; `more` are not among the `files`.

    Example:
        >>> files = [RunFile(f"/in/{name}.csv") for name in "abcdef"]
        >>> files_words(files[:2], 3), files_words(files, 10)
        ('/in/a.csv, /in/b.csv and 3 more', '/in/a.csv, /in/b.csv, /in/c.csv, /in/d.csv, /in/e.csv and 11 more')
    """
    return first_few([f"{one.path}{_rows_of(one)}" for one in files], _FEW, more=more)


def _rows_of(one: RunFile) -> str:
    return "" if one.rows is None else f" ({counted(one.rows, 'row')})"


def also_read_words(run: Run) -> str:
    """That a run for one file read other files of its folder, as one that collects them does; "" where it did not.

    Example:
        >>> files = tuple(RunFile(f"/in/{name}.csv") for name in "abc")
        >>> also_read_words(Run("3f", "totals", "G", "/in/b.csv", "success", "t0", inputs=files))
        'it read 2 other files of that folder, too: a.csv, c.csv'
    """
    if run.source is None:
        return ""
    folder = PurePath(run.source).parent
    paths = [PurePath(one.path) for one in run.inputs if one.path != run.source]
    others = [path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder)]
    if not others:
        return ""
    least = "at least " if run.more_inputs else ""
    count = counted(len(others), "other file")
    return f"it read {least}{count} of that folder, too: {first_few(others, _FEW)}"


def rows_words(step: StepRun) -> str:
    """The rows that went into a step and came out; what is not known is left out, as of a step that is given a file.

    Example:
        >>> rows_words(StepRun("3f", 0, "Clean", "success", "t0", rows_in=1200, rows_out=1150))
        '1,200 → 1,150'
        >>> rows_words(StepRun("3f", 0, "Read", "success", "t0", rows_out=1200))
        '1,200 out'
    """
    if step.rows_in is not None and step.rows_out is not None:
        return f"{step.rows_in:,} → {step.rows_out:,}"
    told = ((step.rows_in, "in"), (step.rows_out, "out"))
    return next((f"{count:,} {side}" for count, side in told if count is not None), "")


def by_label(steps: Sequence[StepRun]) -> dict[str, StepRun]:
    """The steps of a run by their labels; of two with one label the second is called so.

    Example:
        >>> list(by_label([StepRun("3f", number, "Clean", "success", "t0") for number in range(2)]))
        ['Clean', 'Clean (2)']
    """
    found: dict[str, StepRun] = {}
    for step in steps:
        name, number = step.label, 2
        while name in found:
            name, number = f"{step.label} ({number})", number + 1
        found[name] = step
    return found


def _git(run: Run) -> str:
    if run.git_commit is None:
        return ""
    return f"commit {run.git_commit[:8]}{' and edits' if run.git_dirty else ''}"
