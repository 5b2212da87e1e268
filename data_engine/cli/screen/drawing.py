"""What the screen shows, as rows of styled text: a pure function of the workspace's view, what a person does, the size and the clock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from data_engine.cli.screen.cells import UNICODE, Line, Signs, broken, cell, cut, fitted, width
from data_engine.cli.screen.keys import KEYS, why_not
from data_engine.cli.screen.state import OpenLog, Seen, chosen_row, names_of
from data_engine.cli.screen.words import last_words, mark_shown, progress, short_time, since
from data_engine.engine.wording import held_words
from jupyter_extension.marks import Mark
from jupyter_extension.view import FlowRow, PanelView

_GAP = "  "
_WIDE = 110
"""From so many columns on a list also has the group and the reason."""
_STATE, _NEXT, _LAST, _HELD, _GROUP = 14, 10, 19, 6, 14
_LEAST_FLOWS = 3
_MOST_NOTICES, _MOST_RUNNING, _MOST_DETAILS = 4, 5, 6
_NARROWEST, _LOWEST = 40, 10
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
    top = [*_head(view, room, signs), *_notices(view, room, signs)]
    bottom = [(("dim", signs.rule * room),), *_asked_or_known(view, seen, room, signs), _key_line(view, seen, signs)]
    running = _running(view, room, now, signs)
    left = size.rows - len(top) - len(bottom)
    if left - len(running) < _LEAST_FLOWS + 2:
        running = running[: max(left - _LEAST_FLOWS - 2, 0)]
    return [*top, *_flows(view, seen, left - len(running), room, now, signs), *running, *bottom]


def _head(view: PanelView, room: int, signs: Signs) -> Iterator[Line]:
    name = cut(view.workspace_id, room, signs)
    yield (("bold", name), ("dim", f"  {_tail(view.workspace_root, room - width(name) - 2, signs)}"))
    parts: list[Line] = [_sign(view.engine, f"engine {view.engine.word}", signs)]
    parts.append(_sign(view.daemon, f"daemon {view.daemon.word}", signs))
    if view.lease_line:
        parts.append(_sign(view.lease, view.lease_line, signs))
    yield tuple(piece for number, part in enumerate(parts) for piece in ((("", _GAP),) if number else ()) + part)


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
    lines = [(), _table_head(room, signs, first, len(names), len(shown))]
    lines += [_flow(view.flows[name], name == row.name, room, now, signs) for name in shown]
    return (lines + [()] * rows)[:rows]


def _name_room(room: int) -> int:
    taken = 4 + sum(one + len(_GAP) for one in (_STATE, _NEXT, _LAST, _HELD))
    return min(room - taken, 40) if room < _WIDE else 24


def _table_head(room: int, signs: Signs, first: int, total: int, shown: int) -> Line:
    here = "" if shown == total else f" {first + 1}-{first + shown} of {total}"
    titles = [cell(f"FLOW{here}", _name_room(room), signs)]
    if room >= _WIDE:
        titles.append(cell("GROUP", _GROUP))
    titles += [cell("STATE", _STATE), cell("NEXT", _NEXT), cell("LAST RUN", _LAST), cell("HELD", _HELD, right=True)]
    if room >= _WIDE:
        titles.append("WHY NOT NOW")
    return (("dim", "    " + _GAP.join(titles)),)


def _flow(row: FlowRow, is_chosen: bool, room: int, now: datetime, signs: Signs) -> Line:
    mark = mark_shown(row)
    base = "chosen " if is_chosen else ""
    last_tone = "" if row.last is None or row.last.mark.tone in ("good", "idle") else row.last.mark.tone
    line = [
        (f"{base}bold", f"{signs.chosen if is_chosen else ' '} "),
        (f"{base}{mark.tone}", f"{signs.shapes[mark.shape]} "),
        (f"{base}bold" if is_chosen else "", cell(row.title, _name_room(room), signs) + _GAP),
    ]
    if room >= _WIDE:
        line.append((f"{base}dim", cell(row.group, _GROUP, signs) + _GAP))
    line += [
        (f"{base}{mark.tone}", cell(mark.word, _STATE, signs) + _GAP),
        (base, cell(short_time(row.next_run_utc, now), _NEXT, signs) + _GAP),
        (f"{base}{last_tone}", cell(last_words(row, now), _LAST, signs) + _GAP),
        (f"{base}bad", cell(f"{row.held:,}" if row.held else "", _HELD, signs, right=True)),
    ]
    if room >= _WIDE:
        line.append((f"{base}dim", _GAP + "; ".join(filter(None, (row.edit, row.reason)))))
    return tuple((style.strip(), text) for style, text in line)


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
        doing = _GAP.join(filter(None, (source, run.step or "", progress(run, signs), run.worker or "", where)))
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


def _asked_or_known(view: PanelView, seen: Seen, room: int, signs: Signs) -> list[Line]:
    """What stands between list and keys: a question, the keys, or what is known of the chosen flow and what was said."""
    if seen.question is not None:
        rows: list[Line] = [(("ask", row),) for row in broken(seen.question.text, room)]
        return rows[:_MOST_DETAILS]
    row = chosen_row(view, seen)
    if seen.shows_keys:
        return [_key_told(key, row, room, signs) for key in KEYS]
    details = [] if row is None else _details(row, room, signs)
    if busy := seen.doing or seen.looking:
        said: list[Line] = [(("live", f"{signs.shapes['half']} {busy}{signs.cut}"),)]
    elif seen.said is not None:
        said = [((seen.said.tone, text),) for text in broken(seen.said.text, room)][:3]
    else:
        said = []
    return [*details[: _MOST_DETAILS - len(said)], *said]


def _details(row: FlowRow, room: int, signs: Signs) -> list[Line]:
    facts = f" {signs.between} ".join(
        filter(None, (row.name if row.name != row.title else "", row.group, row.trigger.strip("-")))
    )
    found: list[Line] = [(("bold", row.title), ("dim", f"  {facts}"))]
    kind = None if row.why is None else str(row.why.get("kind"))
    error = row.error or {}
    cause = row.last.cause if row.last is not None and row.last.mark.tone == "bad" else None
    texts = (
        ("bad", str(error.get("what") or "")),
        ("dim", f"where: {error['where']}" if error.get("where") else ""),
        ("dim", f"fix: {error['fix']}" if error.get("fix") else ""),
        ("warn", row.edit or ""),
        ("", row.reason if row.reason and row.reason != error.get("what") else ""),
        ("bad", held_words(row.name, row.held, kind) or ""),
        ("bad", f"the last run {row.last.mark.word}: {cause}; l shows its log" if cause and row.last else ""),
        ("warn", f"backfill: {row.backfill.text}" if row.backfill is not None else ""),
    )
    for style, text in texts:
        if text:
            found += [((style, part),) for part in broken(text, room)]
    return found


def _key_told(key: str, row: FlowRow | None, room: int, signs: Signs) -> Line:
    name, does = KEYS[key]
    why = why_not(key, row)
    told = f"{does}" if why is None else f"{does}: not now, {why}"
    return (("key" if why is None else "dim", cell(name, 11)), ("" if why is None else "dim", cut(told, room - 11, signs)))


def _key_line(view: PanelView, seen: Seen, signs: Signs) -> Line:
    if seen.question is not None:
        return (("key", "y"), ("", " yes   "), ("key", "n"), ("", " no"))
    row = chosen_row(view, seen)
    pieces: list[tuple[str, str]] = []
    for key, word in (("r", "run"), ("s", "stop"), ("t", "try again"), ("l", "log"), ("?", "keys"), ("q", "quit")):
        is_off = why_not(key, row) is not None
        pieces += [("dim" if is_off else "key", key), ("dim" if is_off else "", f" {word}   ")]
    return tuple(pieces)


def _log(log: OpenLog, size: Size, signs: Signs) -> list[Line]:
    head: list[Line] = [(("bold", log.title),), (("dim", signs.rule * size.columns),)]
    keys: Line = (("key", "up down"), ("", " scroll   "), ("key", "end"), ("", " newest   "), ("key", "esc"), ("", " back"))
    high = size.rows - LOG_FRAME
    if log.lines is None:
        body: list[Line] = [(("", "Reading" + signs.cut),)]
    elif not log.lines:
        body = [(("dim", "It printed and logged nothing."),)]
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
