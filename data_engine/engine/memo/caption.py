"""The report of a preview, as a value and as one line."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from data_engine.flow.rules import ALL_GOOD
from data_engine.formatting import MOST_CELL, beginning, both_ends, duration_text, first_few, visible
from data_engine.ledger.logs import warned_text
from data_engine.record import frozen
from data_engine.workspace.layout import kernel_shell

_LONGEST_LIST = 3
_MOST_PATHS = 10
MOST_SHOWN = 80
_QUIET = "opacity: 0.75; font-size: 85%"
_LOUD = "color: var(--vscode-list-warningForeground, var(--jp-warn-color1, #b35900)); font-size: 90%; font-weight: 600"


@frozen
class PreviewedStep:
    """The report of one previewed step: `ran` and `why`, or reused since `at_s`; `not_kept` says why its result is not kept.

    `name` is what people call it: what it saves, else its label. `doubts` names what it read that its author hardly meant, `headings` the
    same of the frame that it gave (None: it gave none), `warned` what it logged as a warning, `checked` what a check has found.
    """

    name: str
    ran: bool
    why: str | None = None
    at_s: float = 0.0
    not_kept: str | None = None
    doubts: tuple[str, ...] = ()
    headings: tuple[str, ...] | None = None
    warned: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()


@frozen
class PreviewSummary:
    """One preview: what became of each step, the seconds it took, what it wrote, and what else to know.

    `source` is the name of the previewed file. `wrote` are files as production calls them: they were written to scratch, or,
    where it `is_in_place`, where production has them. `outside` are files beside them, written for real. `notes` are to be acted on,
    `standing` compares the code with what is deployed.

    Example:
        >>> steps = (PreviewedStep("raw", ran=False, at_s=0.0), PreviewedStep("clean", ran=True, why="its code changed"))
        >>> caption(PreviewSummary("claims", steps, 0.014), at=lambda at_s: "12:04:31")
        'preview claims · raw reused (12:04:31) · clean ran: its code changed · 14 ms'
    """

    flow: str
    steps: tuple[PreviewedStep, ...]
    elapsed_s: float
    wrote: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    source: str | None = None
    is_in_place: bool = False
    outside: tuple[Path, ...] = ()
    standing: tuple[str, ...] = ()


def caption(report: PreviewSummary, *, at: Any = None) -> str:
    """Format the report as one line; neighbouring steps with the same outcome share a part."""
    name = f"preview {report.flow}" + (f" of {report.source}" if report.source else "")
    steps, written, doubtful = _parts(report, at)
    parts = [name, *steps, *written, *doubtful, *report.standing, duration_text(report.elapsed_s)]
    return both_ends(visible(" · ".join(parts)), MOST_CELL)


def caption_html(report: PreviewSummary, *, at: Any = None) -> str:
    """Format the report as HTML below a cell: what was written to scratch, what was reused and what ran, in at most 80 characters, which
    open the whole; what is to be acted on, and what was written for real, in lines of their own.

    Example:
        >>> steps = (PreviewedStep("raw", ran=True, why="first preview"),)
        >>> caption_html(PreviewSummary("claims", steps, 0.014, standing=("same code as the deployed flow",))).count("<div")
        1
        >>> "&lt;b&gt; is odd" in caption_html(PreviewSummary("claims", steps, 0.014, notes=("<b> is odd",)))
        True
    """
    steps, _, doubtful = _parts(report, at)
    short = escape(beginning(visible(" · ".join(steps)) or "previewed", MOST_SHOWN))
    whole = f'<details style="{_QUIET}"><summary>{short}</summary><div>{escape(caption(report, at=at))}</div></details>'
    return whole + "".join(map(loud_html, doubtful))


def loud_html(text: str) -> str:
    """Format a line that stands out, as HTML."""
    return f'<div style="{_LOUD}">▲ {escape(both_ends(visible(text), MOST_CELL))}</div>'


def _parts(report: PreviewSummary, at: Any) -> tuple[list[str], list[str], list[str]]:
    """The parts of a caption: what was written to scratch, reused and ran; what is not kept; and what to act on."""
    at = at or (lambda at_s: time.strftime("%H:%M:%S", time.localtime(at_s)))
    parts, quiet, loud = [], [], []
    for (ran, why), group in groupby(report.steps, key=lambda step: (step.ran, step.why)):
        steps = list(group)
        who = ", ".join(step.name for step in steps) if len(steps) <= _LONGEST_LIST else f"{len(steps)} steps"
        parts.append(f"{who} ran: {why}" if ran else f"{who} reused ({at(min(step.at_s for step in steps))})")
    not_kept = [f"{step.name} not kept ({step.not_kept})" for step in report.steps if step.not_kept and step.ran]
    checked = [line for step in report.steps for line in step.checked]
    parts = [line for line in checked if not line.endswith(ALL_GOOD)] + parts
    quiet += [line for line in checked if line.endswith(ALL_GOOD)] + not_kept[:_LONGEST_LIST]
    if report.wrote and report.is_in_place:
        loud.append(f"WROTE IN PRODUCTION: {_names(report.wrote)}")
    elif report.wrote:
        parts.insert(0, f"wrote {_names(report.wrote)} (scratch)")
    return parts, quiet, [*loud, *outside_text(report.outside), *_warnings(report.steps), *report.notes]


def _warnings(steps: Sequence[PreviewedStep]) -> list[str]:
    """The warnings that a run of these steps would log: how many, and the first of them."""
    headings = next((step.headings for step in reversed(steps) if step.headings is not None), ())
    doubts = list(dict.fromkeys([*(line for step in steps for line in step.doubts), *headings]))
    warned = [line for step in steps for line in step.warned]
    if not doubts and not warned:
        return []
    texts = [*doubts, *dict.fromkeys(warned)]
    return [f"{warned_text(len(doubts) + len(warned))}: {first_few(texts, _LONGEST_LIST, '; ')}"]


def outside_text(outside: Sequence[Path]) -> list[str]:
    """Say what was written outside the context's folders; many files are named by their folder.

    Example:
        >>> outside_text([Path("/r/a.csv"), Path("/r/b.csv")])
        ["wrote outside the context's folders, for real: /r/a.csv, /r/b.csv"]
    """
    return [f"wrote outside the context's folders, for real: {_paths(outside)}"] if outside else []


def _paths(paths: Sequence[Path]) -> str:
    named = ", ".join(map(str, paths[:_MOST_PATHS]))
    rest = paths[_MOST_PATHS:]
    if not rest:
        return named
    folders = list(dict.fromkeys(path.parent for path in rest))
    where = str(folders[0]) if len(folders) == 1 else f"{len(folders):,} folders, the first of them {folders[0]}"
    return f"{named} and {len(rest):,} more in {where}"


def _names(paths: tuple[Path, ...]) -> str:
    return first_few([path.name for path in paths], 1)


def show_caption(text: str, html: str | None = None) -> None:
    """Show the line under the cell's result in a kernel, as `html` where that is given; on standard error elsewhere."""
    shell = kernel_shell()
    if shell is None:
        print(text, file=sys.stderr)
        return

    def under_the_result(*_: object) -> None:
        shell.events.unregister("post_run_cell", under_the_result)
        shell.display_pub.publish(
            {"text/plain": text, "text/html": html or f'<div style="{_QUIET}">{escape(text)}</div>'}
        )

    shell.events.register("post_run_cell", under_the_result)
