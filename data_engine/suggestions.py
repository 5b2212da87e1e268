"""Finds the known name nearest to an unknown one, and the fix of a syntax error."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from data_engine.platforms.host import shell_line

_MOST_NEAR = 3
_MOST_COMPARED = 10_000
_LEAST_LETTERS = 3
_LONGEST_VALUE = 60


def nearest_name(name: str, names: Iterable[str]) -> str | None:
    """The known name nearest to `name`; None when that is not sure. Names with an underscore in front are left out.

    It differs only in the case of its letters, or in "-", "_" and blanks; else by one typing mistake in a name of at least three
    letters: one is wrong, missing, too many, or two are swapped; or it is the only one that goes on with "_" there. A digit is no
    mistake: `a_2025` is not `a_2026`.

    Example:
        >>> nearest_name("saveas", ["use", "save_as", "label"]), nearest_name("A", ["ab", "a"]), nearest_name("CLAMS", ["claims"])
        ('save_as', 'a', 'claims')
        >>> nearest_name("nmae", ["name", "stem"]), nearest_name("fillna", ["fill_nan"]), nearest_name("a_2025", ["a_2026"])
        ('name', None, None)
        >>> nearest_name("clean", ["raw_df", "clean_df"]), nearest_name("clean", ["clean_df", "clean_rows"])
        ('clean_df', None)
    """
    guesses = [guess for guess in names if not guess.startswith("_")]
    bare = _bare_name(name)
    if same := [guess for guess in guesses if bare and _bare_name(guess) == bare]:
        return same[0]
    word = name.casefold()
    if mistyped := [guess for guess in guesses if _is_mistyped(word, guess.casefold())]:
        return mistyped[0]
    longer = [guess for guess in guesses if len(word) > 2 and guess.casefold().startswith(f"{word}_")]
    return longer[0] if len(longer) == 1 else None


def _bare_name(name: str) -> str:
    return re.sub(r"[-_\s\ufeff\u200b]+", "", name).casefold()


def _is_mistyped(name: str, word: str) -> bool:
    """Whether one typing mistake makes `name` of `word`."""
    if max(len(name), len(word)) < _LEAST_LETTERS or name == word:
        return False
    letters = zip(name, word, strict=False)
    start = next((at for at, (letter, other) in enumerate(letters) if letter != other), min(len(name), len(word)))
    typed, right = name[start:], word[start:]
    mistakes = (
        (typed == right[1:], right[:1]),  # missing
        (typed[1:] == right, typed[:1]),  # too many
        (typed[1:] == right[1:], typed[:1] + right[:1]),
        (typed[2:] == right[2:] and typed[:2] == right[:2][::-1], typed[:2]),
    )
    return any(is_made and not re.search(r"\d", letters) for is_made, letters in mistakes)


def nearest_files(name: str, paths: Iterable[str]) -> tuple[str, ...]:
    """The paths whose file names are nearest to that of `name`, by `nearest_name`; of very many only the first are compared.

    Example:
        >>> nearest_files("2013/clams-01.csv", ["2013/Claims-01.csv", "2013/Claims-02.csv"]), nearest_files("nowhere.csv", ["leer.csv"])
        (('2013/Claims-01.csv',), ())
    """
    file = name.replace("\\", "/").rpartition("/")[2]
    near = (path for path in islice(paths, _MOST_COMPARED) if nearest_name(file, [path.rpartition("/")[2]]) is not None)
    return tuple(islice(near, _MOST_NEAR))


def near_offer(name: str, names: Iterable[str]) -> str:
    """The beginning of a fix with the nearest known name; "" when none is like it. A path is read as the name of its file.

    A name with blanks is quoted as a command takes it.

    Example:
        >>> near_offer("clean_d", ["raw_df", "clean_df"]), near_offer("x", ["raw_df"])
        ('did you mean clean_df? Else ', '')
    """
    names = tuple(names)
    file = name.replace("\\", "/").rpartition("/")[2]
    near = nearest_name(name, names) or nearest_name(file.rpartition(".")[0] or file, names)
    return "" if near is None else f"did you mean {as_typed(near)}? Else "


def as_typed(name: str) -> str:
    """A name as a command takes it: quoted where it holds blanks.

    Example:
        >>> as_typed("claims"), len(as_typed("monthly claims"))
        ('claims', 16)
    """
    return shell_line([name]) if " " in name else name


def syntax_fix(problem: str) -> str | None:
    """The fix of a syntax error, by Python's message; None where nothing is known.

    Example:
        >>> print(syntax_fix("(unicode error) 'unicodeescape' codec can't decode bytes in position 2-3"))
        a backslash begins a special letter in a text: write a path of Windows as r"C:\\Users\\anna" or "C:/Users/anna"
        >>> print(syntax_fix("'(' was never closed"), syntax_fix("invalid syntax"), sep="; ")
        add the closing bracket, or take out the one that is too many; None
    """
    return next((fix for words, fix in _SYNTAX if re.search(words, problem)), None)


_SYNTAX = (
    (
        "'unicodeescape' codec",
        'a backslash begins a special letter in a text: write a path of Windows as r"C:\\Users\\anna" or "C:/Users/anna"',
    ),
    (r"\(U\+(?:201[89A-F]|00AB|00BB|2039|203A|00B4)\)", "write straight quotes: \" or '"),
    (
        r"U\+(?:00A0|200B|202F|FEFF)",
        "a blank there is a special one, as pages and mails have them: delete it, and type it again",
    ),
    ("never closed|unmatched|does not match opening", "add the closing bracket, or take out the one that is too many"),
    ("unterminated", "end the text with the quotes that it begins with"),
    ("expected an indented block", "begin the lines below it further right, by four blanks"),
    ("unexpected indent|unindent does not match", "begin the line where the lines of the same block begin"),
    ("inconsistent use of tabs", "begin all lines with blanks, and none with tabs"),
    (r"expected ':'", "end the line with a colon"),
)
"""Words in Python's syntax errors, and the fix."""
