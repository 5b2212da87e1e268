"""A report as a step: it writes saved objects as one page of HTML that people can read, and passes on what it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from data_engine.errors import FlowValidationError
from data_engine.flow.check import names_saved
from data_engine.flow.spec import StepSpec, check_count, title_text
from data_engine.model import ReportFacts
from data_engine.record import frozen
from data_engine.suggestions import near_offer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from data_engine.flow.context import FlowContext

MOST_ROWS = 10_000
"""Rows of a frame that a page may show: a table for people, not the data."""


@frozen
class Report:
    """A step that writes a page of the `objects` saved by earlier steps, as `Flow.report` says."""

    objects: tuple[str, ...]
    to: str | None = None
    rows: int = 50
    title: str | None = None
    note: str | None = None

    def __call__(self, context: FlowContext) -> Any:
        """Write the page, and give back `context.current`.

        Raises:
            FlowValidationError: an object is gone, or the page cannot have this place.
        """
        from data_engine.flow.report_page import make_page

        target = self.target(context)
        final = str(context.places.final(target))
        if any(made.path == final for made in context.control.reports):
            what = f"two reports of this run would both be {target.name}"
            raise FlowValidationError(what, where="Flow.report", fix='name one of them: .report(..., to="delays.html")')
        title = self.title or title_text(context.flow_name, "Flow")
        text = make_page(context, self.objects, rows=self.rows, title=title, note=self.note)
        page = text.encode("utf-8", "backslashreplace")
        target.write_bytes(page)
        context.control.reports.append(ReportFacts(final, hashlib.sha256(page).hexdigest(), self.note or title))
        return context.current

    def target(self, context: FlowContext) -> Path:
        """The place of the page in this run, ready to be written."""
        mirror = context.mirror
        assert mirror is not None  # `make_report` asks for it
        if self.to is not None:
            return mirror.file(self.to)
        return mirror.file(f"{context.flow_name}.html") if mirror.relative_path is None else mirror.with_suffix(".html")

    @property
    def words(self) -> str:
        """What the page shows and its name, for people."""
        shown = ", ".join(self.objects) or "no objects"
        return f"page of {shown}" + (f" as {self.to}" if self.to else "")


def make_report(
    objects: Sequence[object],
    *,
    steps: Sequence[StepSpec],
    has_mirror: bool,
    to: object,
    rows: object,
    title: object,
    note: object,
) -> Report:
    """The report that these options of `Flow.report` mean, after the `steps`.

    Raises:
        FlowValidationError: no mirror, no or unknown objects, a second report of one name, or a wrong option.

    Example:
        >>> from data_engine import Flow
        >>> flow = Flow("G").mirror(root="/out").step(len, save_as="summary_df")
        >>> make_report(["summary_df"], steps=flow.steps, has_mirror=True, to=None, rows=50, title=None, note=None).words
        'page of summary_df'
    """
    if not has_mirror:
        fix = 'write .mirror(root="../output/NAME") before .report(...)'
        raise _wrong("a report needs a mirror, below which its page is written", "", fix)
    saved = list(dict.fromkeys(name for step in steps for name in names_saved(step)))
    if not objects:
        raise _wrong(
            "it names no object to show", "", f"name some: {', '.join(map(repr, saved)) or 'save_as= of a step'}"
        )
    for name in objects:
        if not isinstance(name, str):
            fix = 'name it as a step saved it: .report("summary_df")'
            raise _wrong(f"an object is named by a text, and not given as a {type(name).__name__}", "", fix)
        if name not in saved:
            fix = f"save it: .step(..., save_as={name!r}); saved by the steps before: {', '.join(saved) or 'none'}"
            raise _wrong(f"no step before it saves {name!r}", "", near_offer(name, saved) + fix)
    page = None if to is None else _page_name(to)
    others = {step.fn.to for step in steps if isinstance(step.fn, Report)}
    if page in others:
        named = "the default name" if page is None else f"to={page!r}"
        raise _wrong(f"two reports have {named}", "to", 'give one of them another: to="delays.html"')
    if check_count(rows, "rows", "Flow.report") > MOST_ROWS:
        raise _wrong(
            f"rows={rows} is more than {MOST_ROWS:,}", "rows", "a page is for people: write the data to a file"
        )
    texts = (_text(value, name) for name, value in (("title", title), ("note", note)))
    return Report(tuple(dict.fromkeys(map(str, objects))), page, int(str(rows)), *texts)


def _page_name(to: object) -> str:
    name = to.strip() if isinstance(to, str) else ""
    path = PurePosixPath(name)
    if path.suffix.lower() not in (".html", ".htm") or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _wrong(f"to={to!r} is no name of a page below the mirror", "to", 'to="delays.html"')
    return name


def _text(value: object, name: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise _wrong(f"{name}={value!r} is no text", name, f"give a text, or leave {name}= out")
    return None if value is None else value.strip()


def _wrong(what: str, option: str, fix: str) -> FlowValidationError:
    return FlowValidationError(what, where=f"Flow.report({option}=...)" if option else "Flow.report", fix=fix)
