"""What to type instead of a line with more words than its command takes: quoted, one at a time, or as parameters."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from data_engine.errors import FlowValidationError
from data_engine.flow.suggestions import nearest_name

PAIR = re.compile(r"[A-Za-z_]\w*=")
"""A parameter with its value."""
_MOST_LINES = 3


class Takes(NamedTuple):
    """What a command takes: its `options`, with whether a value follows and that is free text, and `most` names (None: any number).

    `called` is what a name is, `needed` stands for one that has to be there, `without` says what the command does without, and with `has_pairs` NAME=VALUE is a parameter. `verb` is the command itself.
    """

    options: dict[str, bool | None]
    most: int | None = 1
    called: str = "flow"
    needed: str | None = None
    without: str | None = None
    has_pairs: bool = False
    verb: str = ""


class _Part(NamedTuple):
    """A word that names something, or an option with its value."""

    words: tuple[str, ...]
    is_name: bool = False
    is_text: bool = False


def mended(
    words: Sequence[str], takes: Takes, flows: Collection[str], typed: Callable[..., str], *, is_unknown: bool = False
) -> str | None:
    """What to type instead of these words of a command, which has names too many, or (`is_unknown`) one that is no flow's.

    `typed` makes of words what is typed. None where nothing better is known.

    Example:
        >>> from data_engine.typed import typed_magic
        >>> takes = Takes({"--note": True, "--yes": None}, without="for all of them")
        >>> def deploy(*words):
        ...     return typed_magic("deploy", *words)
        >>> mended(["claims", "--note", "last", "week"], takes, ["claims"], deploy)
        "put what belongs together into quotation marks: `%flow deploy claims --note 'last week'`"
        >>> mended(["claims", "parts"], takes, ["claims", "parts"], deploy)
        'name one flow at a time: `%flow deploy claims`, then `%flow deploy parts`; or none for all of them: `%flow deploy`'
        >>> mended(["claims", "in/a.csv"], Takes({"--source": True}), ["claims"], deploy)
        'name a file with --source: `%flow deploy claims --source in/a.csv`'
        >>> mended(["claims", "yes"], takes, ["claims"], deploy)
        'write yes as an option: `%flow deploy claims --yes`'
        >>> mended(["monthly", "claims"], takes, ["monthly claims"], deploy)
        "put what belongs together into quotation marks: `%flow deploy 'monthly claims'`"
    """
    parts = _parts(words, takes)
    quoted = _with_texts_joined(parts, takes, lambda word: nearest_name(word, flows) is not None)
    if quoted is not None:
        return f"put what belongs together into quotation marks: `{typed(*_line(quoted))}`"
    names = [part.words[0] for part in parts if part.is_name]
    if " ".join(names) in flows and len(names) > 1:
        return f"put what belongs together into quotation marks: `{typed(*_naming(parts, ' '.join(names)))}`"
    if is_unknown:
        return None
    pairs = [name for name in names if PAIR.match(name)]
    if pairs and "--set" in takes.options:
        given = [word for name in pairs for word in ("--set", name)]
        others = [part for part in parts if part.words[0] not in pairs]
        return f"give parameters with --set: `{typed(*_line(others), *given)}`"
    return _as_options(parts, names, takes, typed, flows) or _fewer(parts, names, takes, typed, flows)


def _as_options(
    parts: Sequence[_Part], names: Sequence[str], takes: Takes, typed: Callable[..., str], flows: Collection[str]
) -> str | None:
    """The line where what stands as a name is an option without its dashes, or a file beside its flow."""
    bare = next((name for name in names if f"--{name}" in takes.options and name not in flows), None)
    if bare is not None and takes.options[f"--{bare}"] is None:
        others = [name for name in names if name != bare]
        return f"write {bare} as an option: `{typed(*_naming(parts, *others), f'--{bare}')}`"
    of_file = next((option for option in ("--source", "--where") if option in takes.options), None)
    if of_file is None or takes.most != 1 or len(names) != 2 or (names[0] in flows) == (names[1] in flows):
        return None
    flow, file = names if names[0] in flows else reversed(names)
    if nearest_name(file, flows) is not None or not _is_like_a_file(file):
        return None
    given = os.path.basename(file) if of_file == "--where" else file  # which is looked for inside the source
    return f"name a file with {of_file}: `{typed(*_naming(parts, flow), of_file, given)}`"


def _is_like_a_file(word: str) -> bool:
    return bool(os.path.splitext(word)[1]) or "/" in word or os.sep in word or os.path.exists(word)


def fix_of_line(command: Any, arguments: Sequence[str], *, is_unknown: bool) -> str | None:
    """What to type instead of a line of the `command` data-engine that was refused; None where that is not known.

    It was refused for a name that is no flow's, perhaps (`is_unknown`), or for more words than its command takes.
    """
    from data_engine.typed import typed

    at, root = 0, None
    while at < len(arguments):
        word = arguments[at]
        if word == "--workspace" and at == 0:
            root, at = "".join(arguments[1:2]), 2
        elif word in getattr(command, "commands", ()):
            command, at = command.commands[word], at + 1
        elif word == "--debug":
            at += 1
        else:
            break
    path, words = arguments[:at], arguments[at:]
    if hasattr(command, "commands") and not {"secret", "alert"} & set(path) and not is_unknown:
        return _of_flow(words[:1], flows_of(root))  # of a flow's name in place of a command
    if hasattr(command, "commands") or "secret" in path:  # what stands there may be one
        return None
    takes = _takes(command, words)
    if "alert" in path:
        takes = takes._replace(called="secret")
    names = [part.words[0] for part in _parts(words, takes) if part.is_name]
    if is_unknown and takes.most is not None and len(names) > takes.most:
        is_unknown = False
    flows = flows_of(root)
    if takes.called in _PLACES or os.path.exists(" ".join(names)):
        flows |= {" ".join(names)}
    return mended(words, takes, flows, lambda *line: typed(*path, *line), is_unknown=is_unknown)


TEXTS = frozenset("TEXT PATH GLOB OBJECT COL NAME=VALUE".split())
"""What stands in the help for a value that may hold blanks."""
_PLACES = ("folder", "workspace")
_CALLED = {
    "FLOW_OR_FILE": "flow or file",
    "RUN": "run",
    "PATH": "folder",
    "PATH|ID": "workspace",
    "WORKSPACE": "workspace",
}
"""What a name is, by what stands for it in the help; else a flow."""
_ALL = frozenset("compile deploy deployments plan retry runs test tidy".split())
"""What without a name is done for all flows."""


def _takes(command: Any, words: Sequence[str]) -> Takes:
    """What a command of Typer takes; `run` without an end takes several names."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options: dict[str, bool | None] = {}
    for one in command.params:
        if one.param_type_name == "option":
            options |= dict.fromkeys([*one.opts, *one.secondary_opts], None if one.is_flag else one.metavar in TEXTS)
    metavar = arguments[0].metavar if arguments else None
    is_run = command.name == "run"
    is_of_all = command.name in _ALL or (is_run and "--once" in words)
    many = [one for one in arguments if one.nargs == -1]
    return Takes(
        options,
        most=1 if is_run and "--watch" not in words else None if many else len(arguments),
        called=_CALLED.get(metavar or "", "flow"),
        needed=metavar if arguments and arguments[0].required else None,
        without="for all of them" if is_of_all else None,
        verb=command.name or "",
    )


def flows_of(root: str | None) -> set[str]:
    """The flows that there are in a workspace, and that were deployed once; none where there is no workspace."""
    from data_engine.cli.looks import selected
    from data_engine.ledger.deployments import published
    from data_engine.notebook.flow_files import module_files

    try:
        ws = selected(root)
        return {*module_files(ws.layout.flow_modules_dir), *(row.flow for row in published(ws.home.ledger()))}
    except FlowValidationError:
        return set()


def of_flow(name: str) -> str:
    """What tells of one flow, where its name was typed for something else.

    Example:
        >>> of_flow("claims")
        '`data-engine show claims` shows the flow, and `data-engine explain claims` why it does or does not run'
    """
    from data_engine.typed import typed

    return f"`{typed('show', name)}` shows the flow, and `{typed('explain', name)}` why it does or does not run"


def _started(name: str) -> str:
    """What starts one flow, where the engine was asked to start with its name."""
    from data_engine.typed import typed

    return (
        f"`{typed('run', name)}` runs the flow now, `{typed('enable', name)}` lets it run by itself again where it was disabled;"
        f" `{typed('start')}` lets all flows run by themselves"
    )


def _ended(name: str) -> str:
    """What ends what one flow does, where the daemon was to be ended with its name."""
    from data_engine.typed import typed

    return (
        f"`{typed('stop', name)}` ends the flow's runs at their next step; `{typed('status')}` shows the runs under way,"
        f" and `{typed('kill-run', 'RUN')}` ends one at once"
    )


def _of_flow(names: Sequence[str], flows: Collection[str]) -> str | None:
    return of_flow(names[0]) if len(names) == 1 and names[0] in flows else None


def _fewer(
    parts: Sequence[_Part], names: Sequence[str], takes: Takes, typed: Callable[..., str], flows: Collection[str]
) -> str | None:
    """One line for each name; of a command that takes two the line with the first two."""
    if takes.most is None or len(names) <= takes.most:
        return None
    if takes.most == 0:
        of_one = {"start": _started, "kill": _ended}.get(takes.verb, of_flow) if _of_flow(names, flows) else None
        return f"leave out what follows it: `{typed(*_naming(parts))}`" if of_one is None else of_one(names[0])
    if takes.most > 1:
        return f"name two {takes.called}s at a time: `{typed(*_naming(parts, *names[: takes.most]))}`"
    lines = [f"`{typed(*_naming(parts, name))}`" for name in names[:_MOST_LINES]]
    more = ", and so on" if len(names) > _MOST_LINES else ""
    every = "" if takes.without is None else f"; or none {takes.without}: `{typed(*_naming(parts))}`"
    return f"name one {takes.called} at a time: {', then '.join(lines)}{more}{every}"


def _parts(words: Sequence[str], takes: Takes) -> list[_Part]:
    found: list[_Part] = []
    left = list(words)
    while left:
        word = left.pop(0)
        option, equals, _ = word.partition("=")
        if word == "--":
            return found + [_Part((one,), is_name=True) for one in left]
        if not word.startswith("-") or len(word) == 1:
            found.append(_Part((word,), is_name=not (takes.has_pairs and PAIR.match(word))))
        elif equals or not left or takes.options.get(option) is None:
            found.append(_Part((word,), is_text=bool(equals and takes.options.get(option))))
        else:
            found.append(_Part((word, left.pop(0)), is_text=bool(takes.options[option])))
    return found


def _with_texts_joined(parts: Sequence[_Part], takes: Takes, is_flow: Callable[[str], bool]) -> list[_Part] | None:
    """The parts with the loose words behind a text as part of it, but for those that name a flow; None where there are none."""
    for number, part in enumerate(parts):
        loose = [one.words[0] for one in takewhile(lambda one: one.is_name, parts[number + 1 :])]
        if not part.is_text or not loose:
            continue
        before, after = list(parts[:number]), list(parts[number + 1 + len(loose) :])
        is_named = any(one.is_name for one in (*before, *after))
        joined = loose if is_named else list(takewhile(lambda word: not is_flow(word), loose))
        if is_flow(loose[0]) or not joined or any(PAIR.match(word) for word in joined):
            continue
        rest = [_Part((word,), is_name=True) for word in loose[len(joined) :]]
        if not is_named and not rest and takes.needed is not None:
            before.insert(0, _Part((takes.needed,), is_name=True))
        given = (part.words[-1], *joined)
        text = _pattern_of(given) if part.words[0] == "--where" else " ".join(given)
        return [*before, _Part((*part.words[:-1], text)), *rest, *after]
    return None


def _pattern_of(words: Sequence[str]) -> str:
    """The pattern for which a shell put in these files, where they have one ending; else the words as one.

    Example:
        >>> _pattern_of(["a.csv", "b.csv"]), _pattern_of(["claims", "2026.csv"])
        ('*.csv', 'claims 2026.csv')
    """
    endings = {os.path.splitext(word)[1] for word in words}
    return f"*{endings.pop()}" if len(endings) == 1 and "" not in endings else " ".join(words)


def _line(parts: Sequence[_Part]) -> list[str]:
    return [word for part in parts for word in part.words]


def _naming(parts: Sequence[_Part], *names: str) -> list[str]:
    """The words with these names in place of those that are there."""
    return [*names, *_line([part for part in parts if not part.is_name])]
