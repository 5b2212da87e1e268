"""What the screen shows, as rows of styled text: a pure function of the workspace's view, what a person does, the size and the clock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from data_engine.cli.screen.cells import UNICODE, Line, Piece, Signs, broken, cell, cut, fitted, width
from data_engine.cli.screen.keys import KEYS, why_not
from data_engine.cli.screen.state import OpenLog, Seen, chosen_row, names_of
from data_engine.cli.screen.words import (
    expected_words,
    last_words,
    progress,
    short_time,
    since,
    waiting_words,
)
from data_engine.marks import Mark
from data_engine.status.record import Problem
from data_engine.status.sentences import GONE, held_words, short_error
from data_engine.status.view import PanelFlow, PanelView
from data_engine.times import offset_words

_GAP = "  "
_WIDE = 110
_COLUMNS: Mapping[str, tuple[int, int]] = {
    "GROUP": (14, _WIDE),
    "STATE": (15, 0),
    "NEXT": (10, 75),
    "LAST RUN": (20, 61),
    "HELD": (6, 0),
}
"""What a list has beside the flow's name: how wide it is, and from how many columns of the window on it is shown."""
_LEAST_FLOWS = 3
_MOST_NOTICES, _MOST_RUNNING = 4, 5
_NARROWEST, _LOWEST, _ROOMY = 40, 10, 20
LOG_FRAME = 3
"""Rows around a log: its title, a rule, its keys."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a terminal shows."""

    columns: int
    rows: int


def draw(view: PanelView | None, seen: Seen, size: Size, now: datetime, signs: Signs = UNICODE) -> list[Line]:
    """The screen: exactly `size.rows` lines of at most `size.columns` columns; `now` has the zone whose clock is shown."""
    if size.columns < _NARROWEST or size.rows < _LOWEST:
        lines: list[Line] = [(("", f"The window is smaller than {_NARROWEST} x {_LOWEST}."),), (("dim", "q quits"),)]
    elif view is None:
        lines = [(("", "Reading the workspace" + signs.cut),), (), (("dim", "q quits"),)]
    elif seen.log is not None:
        lines = _log(seen.log, size, signs)
    else:
        lines = _overview(view, seen, size, now, signs)
    shown = [fitted(line, size.columns, signs) for line in lines[: size.rows]]
    return shown + [()] * (size.rows - len(shown))


def _overview(view: PanelView, seen: Seen, size: Size, now: datetime, signs: Signs) -> list[Line]:
    room = size.columns
    top = [*_head(view, size, signs), *_notices(view, room, signs)]
    bottom = [
        (("dim", signs.rule * room),),
        *_asked_or_known(view, seen, size, now, signs),
        _key_line(view, seen, signs),
    ]
    running = _running(view, room, now, signs)
    left = size.rows - len(top) - len(bottom)
    if left - len(running) < _LEAST_FLOWS + 2:
        running = running[: max(left - _LEAST_FLOWS - 2, 0)]
    return [*top, *_flows(view, seen, left - len(running), room, now, signs), *running, *bottom]


def _head(view: PanelView, size: Size, signs: Signs) -> Iterator[Line]:
    room = size.columns
    name = cut(view.workspace_id, room, signs)
    yield (("bold", name), ("dim", f"  {_tail(view.workspace_root, room - width(name) - 2, signs)}"))
    parts: list[Line] = [_sign(view.engine, f"engine {view.engine.word}", signs)]
    parts.append(_sign(view.daemon, f"daemon {view.daemon.word}", signs))
    if view.lease_line:
        parts.append(_sign(view.lease, view.lease_line, signs))
    yield tuple(piece for number, part in enumerate(parts) for piece in ((("", _GAP),) if number else ()) + part)
    if view.watch_line and size.rows >= _ROOMY:
        yield (("dim", view.watch_line),)


def _notices(view: PanelView, room: int, signs: Signs) -> list[Line]:
    found: list[Line] = []
    for notice in view.notices:
        mark = Mark("", "bad", "cross") if notice.tone == "bad" else Mark("", "warn", "triangle")
        text = notice.text if notice.fix is None else f"{notice.text}: {notice.fix}"
        for number, row in enumerate(broken(text, room - 2)):
            sign = signs.shapes[mark.shape] if number == 0 else " "
            found.append(((mark.tone, f"{sign} "), (mark.tone, row)))
    if len(found) <= _MOST_NOTICES:
        return found
    more = (("warn", f"  {len(found) - _MOST_NOTICES + 1} more lines: data-engine status"),)
    return [*found[: _MOST_NOTICES - 1], more]


def _flows(view: PanelView, seen: Seen, rows: int, room: int, now: datetime, signs: Signs) -> list[Line]:
    """The list, exactly `rows` high, moved so that the chosen flow is in it."""
    names, row = names_of(view), chosen_row(view, seen)
    if row is None:
        lines: list[Line] = [(), (("", view.empty or "There are no flows."),)]
        return (lines + [()] * rows)[:rows]
    high = max(rows - 2, 1)
    first = min(max(names.index(row.name) - high // 2, 0), max(len(names) - high, 0))
    shown = names[first : first + high]
    lines = [(), _table_head(room, signs, first, len(names), len(shown), now)]
    lines += [_flow(view.flows[name], name == row.name, room, now, signs) for name in shown]
    return (lines + [()] * rows)[:rows]


def _shown_columns(room: int) -> dict[str, int]:
    return {title: wide for title, (wide, least) in _COLUMNS.items() if room >= least}


def _name_room(room: int) -> int:
    left = room - 4 - sum(wide + len(_GAP) for wide in _shown_columns(room).values())
    return min(left, 40) if room < _WIDE else 24


def _table_head(room: int, signs: Signs, first: int, total: int, shown: int, now: datetime) -> Line:
    here = "" if shown == total else f" {first + 1}-{first + shown}/{total}"
    titles = [cell(f"FLOW{here}", _name_room(room), signs)]
    offset = offset_words(now)
    named = {"NEXT": f"NEXT {offset}" if len(offset) <= len("UTC+1") else f"NEXT {offset.removeprefix('UTC')}"}
    titles += [
        cell(named.get(title, title), wide, right=title == "HELD") for title, wide in _shown_columns(room).items()
    ]
    return (("dim", "    " + _GAP.join([*titles, "WHY NOT NOW"] if room >= _WIDE else titles)),)


def _flow(row: PanelFlow, is_chosen: bool, room: int, now: datetime, signs: Signs) -> Line:
    mark = row.mark
    last = row.last_mark
    last_tone = "" if last is None or last.tone in ("good", "idle") else last.tone
    cells: dict[str, Piece] = {
        "GROUP": ("dim", row.group or ""),
        "STATE": (mark.tone, mark.word),
        "NEXT": ("", short_time(row.next_run_utc, now)),
        "LAST RUN": (last_tone, last_words(row, now)),
        "HELD": ("bad", f"{row.held:,}" if row.held else ""),
    }
    line: list[Piece] = [
        ("bold", f"{signs.chosen if is_chosen else ' '} "),
        (mark.tone, f"{signs.shapes[mark.shape]} "),
        ("bold" if is_chosen else "", cell(row.title, _name_room(room), signs)),
    ]
    for title, wide in _shown_columns(room).items():
        style, text = cells[title]
        line.append((style, _GAP + cell(text, wide, signs, right=title == "HELD")))
    if room >= _WIDE:
        what, expected = None if row.error is None else row.error.what, expected_words(row, now)[1]
        line.append(("dim", _GAP + "; ".join(filter(None, (row.edit, row.reason or what, expected)))))
    return tuple((f"chosen {style}".strip() if is_chosen else style, text) for style, text in line)


def _running(view: PanelView, room: int, now: datetime, signs: Signs) -> list[Line]:
    if not view.active:
        return []
    found: list[Line] = [(), (("dim", f"    RUNNING ({len(view.active)})"),)]
    for run in view.active[:_MOST_RUNNING]:
        for_s = since(run.started_at_utc, now)
        row = view.flows.get(run.flow)
        title = cell(run.flow if row is None else row.title, _name_room(room), signs)
        source = os.path.basename(run.source.rstrip("/\\")) if run.source else ""
        where = "" if run.in_daemon else f"in process {run.pid}"
        stopping, waiting = "stopping" if run.stopping else "", "" if row is None else waiting_words(row)
        doing = _GAP.join(
            filter(None, (stopping, source, run.step or "", progress(run, signs), waiting, run.worker or "", where))
        )
        middle = max(room - 4 - width(title) - 2 * len(_GAP) - 10, 0)
        found.append(
            (
                ("live", f"  {signs.shapes['play']} "),
                ("", title + _GAP),
                ("", cell(doing, middle, signs) + _GAP),
                ("live", cell(for_s, 10, signs, right=True)),
            )
        )
    if len(view.active) > _MOST_RUNNING:
        found.append((("dim", f"    and {len(view.active) - _MOST_RUNNING} more"),))
    return found


def _asked_or_known(view: PanelView, seen: Seen, size: Size, now: datetime, signs: Signs) -> list[Line]:
    """What stands between list and keys: a question, the keys, or what is known of the chosen flow and what was said.

    It is always so high, so that the list stands still while somebody moves in it.
    """
    room, high = size.columns, 8 if size.rows >= 40 else 5 if size.rows >= _ROOMY else 2
    if seen.question is not None:
        rows: list[Line] = [(("ask", row),) for row in broken(seen.question.text, room)]
        return rows + [()] * (high - len(rows))
    row = chosen_row(view, seen)
    if seen.shows_keys:
        return [_key_told(key, row, room, signs) for key in KEYS]
    details = [] if row is None else _details(row, room, now, signs)
    if busy := seen.doing or seen.looking:
        said: list[Line] = [(("live", f"{signs.shapes['half']} {busy}{signs.cut}"),)]
    elif seen.said is not None:
        tone: str = seen.said.tone
        said = [((tone, text),) for text in islice(broken(seen.said.text, room), 3)]
    else:
        said = []
    details = details[: max(high - len(said), 1)]
    return [*details, *[()] * (high - len(details) - len(said)), *said]


def _details(row: PanelFlow, room: int, now: datetime, signs: Signs) -> list[Line]:
    is_told = " " not in row.name and row.name.replace("_", " ") == row.title.casefold()  # as a command takes it
    name = "" if is_told else row.name
    facts = f" {signs.between} ".join(filter(None, (name, row.group, row.trigger.strip("-"))))
    found: list[Line] = [(("bold", row.title), ("dim", f"  {facts}"))]
    kind = None if row.why is None else row.why.kind
    error = row.error or Problem()
    mark = row.last_mark if row.last_mark is not None and row.last_mark.tone == "bad" else None
    texts = (
        ("bad", error.what),
        ("dim", f"where: {error.where}" if error.where else ""),
        ("dim", f"fix: {error.fix}" if error.fix else ""),
        expected_words(row, now),
        ("warn", row.edit or ""),
        ("", row.reason if row.reason and row.reason != error.what else ""),
        ("bad", held_words(row.name, row.held, kind) or ""),
        ("bad", "" if mark is None else f"the last run {mark.word}: {_last_error(row)}"),
        ("warn", f"backfill: {row.backfill.text}" if row.backfill is not None else ""),
    )
    for style, text in texts:
        if text:
            found += [((style, part),) for part in broken(text, room)]
    return found


def _last_error(row: PanelFlow) -> str:
    run = row.last_run
    return "" if run is None else GONE if row.is_source_gone else short_error(run.cause, run.why)


def _key_told(key: str, row: PanelFlow | None, room: int, signs: Signs) -> Line:
    name, word, does = KEYS[key]
    why = why_not(key, row)
    told = f"{word}: {does if why is None else f'not now, {why}'}"
    return (
        ("key" if why is None else "dim", cell(name, 11)),
        ("" if why is None else "dim", cut(told, room - 11, signs)),
    )


def _key_line(view: PanelView, seen: Seen, signs: Signs) -> Line:
    if seen.question is not None:
        return (("key", "y"), ("", " yes   "), ("key", "n"), ("", " no"))
    row = chosen_row(view, seen)
    pieces: list[tuple[str, str]] = []
    for key, word in (
        ("r", "run"),
        ("s", "stop"),
        ("t", "try again"),
        ("h", "held"),
        ("l", "log"),
        ("?", "keys"),
        ("q", "quit"),
    ):
        if why_not(key, row) is None:
            pieces += [("key", key), ("", f" {word}   ")]
        else:
            pieces.append(("dim", f"({key} {word})   "))
    return tuple(pieces)


def _log(log: OpenLog, size: Size, signs: Signs) -> list[Line]:
    head: list[Line] = [(("bold", log.title),), (("dim", signs.rule * size.columns),)]
    keys: Line = (
        ("key", "up down"),
        ("", " scroll   "),
        ("key", "end"),
        ("", " newest   "),
        ("key", "esc"),
        ("", " back"),
    )
    high = size.rows - LOG_FRAME
    if log.lines is None:
        body: list[Line] = [(("", "Reading" + signs.cut),)]
    elif not log.lines:
        body = [(("dim", "Nothing is held." if log.run_id is None else "It printed and logged nothing."),)]
    else:
        body = _window(log.lines, log.at, high, size.columns)
    return [*head, *body, *[()] * (high - len(body)), keys]


def _window(lines: Sequence[tuple[str, str]], at: int | None, high: int, room: int) -> list[Line]:
    """So many rows of a log from the line `at` on, or its last ones; only lines that are shown are broken into rows."""
    found: list[Line] = []
    if at is None:
        for style, text in reversed(lines):
            found = [*(((style, row),) for row in broken(text, room)), *found]
            if len(found) >= high:
                break
        return found[-high:]
    for style, text in lines[at:]:
        found += [((style, row),) for row in broken(text, room)]
        if len(found) >= high:
            break
    return found[:high]


def _sign(mark: Mark, text: str, signs: Signs) -> Line:
    return ((mark.tone, f"{signs.shapes[mark.shape]} {text}"),)


def _tail(path: str, room: int, signs: Signs) -> str:
    """The end of a path, which tells more than its beginning."""
    if width(path) <= room:
        return path
    kept = path
    while kept and width(kept) + width(signs.cut) > room:
        kept = kept[1:]
    return signs.cut + kept if room > 0 else ""
