"""What may help against an error of somebody's code: the name that was meant, the package that is missing.

Python prints such offers itself where a program ends with the error, but they are not part of its text, so that no
notebook, log or panel shows them; for options it makes them from 3.13 on.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from itertools import islice
from types import FunctionType

from data_engine.argument_checks import check_arguments
from data_engine.cut import beginning
from data_engine.errors import FlowValidationError, message_of
from data_engine.platforms.host import shell_line
from data_engine.secret import masked
from data_engine.storage_version import fix_of_newer
from data_engine.workspace.here import kernel_shell

_MOST_NEAR = 3
_MOST_COMPARED = 10_000
_LEAST_LETTERS = 3
_LONGEST_VALUE = 60
_MISTYPED = 0.8
_ALIKE = (("folder", "dir", "directory", "path", "source", "root"),)
"""Options of ours for the same thing, as people guess them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspect import Signature
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`; None when none is like it. Names with an underscore in front are nobody's guess.

    First comes one that differs only in the case of its letters, or in "-", "_" and blanks.

    Example:
        >>> nearest_name("saveas", ["use", "save_as", "label"]), nearest_name("x", ["use"])
        ('save_as', None)
        >>> nearest_name("A", ["ab", "a"]), nearest_name("SALES-NEW", ["sales", "sales_new"]), nearest_name("CLAMS", ["claims"])
        ('a', 'sales_new', 'claims')
        >>> nearest_name("-", ["_", " "]), nearest_name("T", ["to"])
        (None, None)
    """
    import difflib

    guesses = [one for one in known if not one.startswith("_")]
    bare, of_bare = _bare_name(name), {_bare_name(one): one for one in reversed(guesses)}
    if bare and bare in of_bare:
        return of_bare[bare]
    if found := difflib.get_close_matches(name, guesses, n=1):
        return found[0]
    found = difflib.get_close_matches(bare, of_bare, n=1) if len(bare) >= _LEAST_LETTERS else []
    return of_bare[found[0]] if found else None


def _bare_name(name: str) -> str:
    return re.sub(r"[-_\s]+", "", name).casefold()


def mistyped_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was meant by `name`, which has a typing mistake; None where it may be another word.

    Use it for the names of a library or of ours, where a near name runs and does something else.

    Example:
        >>> mistyped_name("nmae", ["name", "stem"]), mistyped_name("warn", ["warnings"])
        ('name', None)
    """
    import difflib

    bare = _bare_name(name)
    names = {_bare_name(one): one for one in known if not one.startswith("_")}
    swapped = (one for word, one in names.items() if sorted(word) == sorted(bare))
    found = difflib.get_close_matches(bare, names, n=1, cutoff=_MISTYPED)
    return names[found[0]] if found else next(swapped, None)


def nearest_files(name: str, paths: Iterable[str]) -> tuple[str, ...]:
    """Of these paths those whose files' names are most like that of `name`, in any case of letters; of very many the first are compared.

    Example:
        >>> nearest_files("2013/clams-01.csv", ["2013/Claims-01.csv", "2013/parts.csv"])
        ('2013/Claims-01.csv',)
    """
    import difflib

    of_name: dict[str, str] = {}
    for path in islice(paths, _MOST_COMPARED):
        of_name.setdefault(path.rpartition("/")[2].lower(), path)
    wanted = name.replace("\\", "/").rpartition("/")[2].lower()
    return tuple(of_name[one] for one in difflib.get_close_matches(wanted, of_name, n=_MOST_NEAR))


def meant(name: str, known: Iterable[str]) -> str:
    """The beginning of a fix that names the nearest known name; "" when none is like it. A path is read as the name of its file.

    A name with blanks is quoted as a command takes it.

    Example:
        >>> meant("clean_d", ["raw_df", "clean_df"]), meant("x", ["raw_df"])
        ('did you mean clean_df? Else ', '')
    """
    known = tuple(known)
    file = name.replace("\\", "/").rpartition("/")[2]
    near = nearest_name(name, known) or nearest_name(file.rpartition(".")[0] or file, known)
    return "" if near is None else f"did you mean {as_typed(near)}? Else "


def as_typed(name: str) -> str:
    """A name as a command takes it: quoted where it holds blanks.

    Example:
        >>> as_typed("claims"), len(as_typed("monthly claims"))
        ('claims', 16)
    """
    return shell_line([name]) if " " in name else name


def suggestion(error: BaseException) -> str | None:
    """The fix of an attribute that its object does not have, a name that a module does not have, a package that is missing, a file that is not what it seems, a
    secret used as text, or a question that nobody answers.

    None for every other error, or when no name is like it.

    Example:
        >>> try:
        ...     "a".uper()
        ... except AttributeError as error:
        ...     suggestion(error)
        "did you mean 'upper'?"
    """
    if isinstance(error, SyntaxError):
        return syntax_fix(str(error))
    if isinstance(error, ImportError) or is_panic(error):
        return _other_name(error) or _missing_package(error)
    if isinstance(error, EOFError) and "reading a line" in str(error):
        return "nobody answers input() in production: take a parameter, context.params['name']"
    if _is_not_utf8(error):
        return 'the file is not UTF-8: say what it is, such as encoding="cp1252" (Excel on Windows); or it is not a text file'
    if (said := _of_file(error)) is not None:
        return said
    if _is_secret_as_text(error):
        return 'a secret shows its text only when you ask for it: context.secret("name").reveal()'
    if not isinstance(error, AttributeError) or not isinstance(error.name, str) or error.name.startswith("_"):
        return None
    try:
        found = mistyped_name(error.name, dir(error.obj))
    except Exception:  # a `__dir__` of somebody else's
        return None
    return None if found is None else f"did you mean {found!r}?"


def syntax_fix(problem: str) -> str | None:
    """The fix of what Python says of a text that is no Python; None where nothing is known.

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
"""Words of Python for what it cannot parse, and what to write."""


def _other_name(error: BaseException) -> str | None:
    """The name of a module that was meant by one it does not have."""
    wanted = re.match(r"cannot import name '(\w+)'", str(error))
    module = sys.modules.get(getattr(error, "name", None) or "")
    near = None if wanted is None or module is None else mistyped_name(wanted[1], dir(module))
    return None if near is None else f"did you mean {near!r}?"


def _is_not_utf8(error: BaseException) -> bool:
    """Whether Python, or a reader in its own words, met bytes that are no UTF-8."""
    if isinstance(error, UnicodeDecodeError):
        return error.encoding.replace("-", "").lower() == "utf8"
    text = message_of(error)[:1000].lower()
    return any(words in text for words in ("invalid utf-8", "invalid utf8", "not utf-8 encoded"))


def _is_secret_as_text(error: BaseException) -> bool:
    """Whether a `Secret` was used as the text that it holds."""
    return isinstance(error, (TypeError, AttributeError)) and re.search(r"\bSecret\b", message_of(error)) is not None


def _of_file(error: BaseException) -> str | None:
    """What helps against a file that a reader cannot take, or a drive that is full, told in the words of a parser."""
    text = message_of(error)[:1000].lower()
    return fix_of_newer(text) or next((fix for words, fix in _FILES if any(one in text for one in words)), None)


DRIVE_FULL = "the drive that the step writes to is full: free some space there"
_FILES = (
    (
        ("password protected", "password-protected"),
        "the workbook opens with a password only: open it in Excel, save a copy without a password, and read that copy",
    ),
    (
        ("could not find eocd", "invalid zip archive", "is not a zip file", "cannot detect file format"),
        "this is not a valid .xlsx file: open it in Excel and save it as .xlsx, without a password. Text is read with read_csv; a file"
        " that was copied in part is copied again",
    ),
    (
        ("cfb error", "invalid ole signature", "not an ole2 structured storage", "expected bof record"),
        "this .xls is no workbook of Excel, but HTML or text under that name, as many systems export it: open it in Excel and save it as"
        " .xlsx. Text is read with read_csv",
    ),
    (
        ("utf-16 stream does not start with bom",),
        'the file is not UTF-16: say encoding="cp1252" (Excel on Windows), or "utf8"',
    ),
    (
        ("no space left on device", "disk quota exceeded", "not enough space on the disk", "(os error 112)"),
        DRIVE_FULL,
    ),
)
"""Words of parsers and systems, in small letters, with what they mean for people."""


def is_panic(error: BaseException) -> bool:
    """Whether a library in Rust (Polars) gave up: its exception is none of `Exception`."""
    return type(error).__name__ == "PanicException" and not isinstance(error, Exception)


def _missing_package(error: BaseException) -> str | None:
    """How to bring the package that Python, or Polars in its own words, does not find, to where this runs."""
    from importlib.util import find_spec

    text = str(error)
    name = getattr(error, "name", None)
    if name is not None and not isinstance(error, ModuleNotFoundError):  # it is there, and lacks a name
        return None
    if name is None:
        found = next(filter(None, (re.search(pattern, text) for pattern in _MISSING)), None)
        name = None if found is None else found[1]
    if name is None:
        return None
    package = name.partition(".")[0]
    if package == "flow_helpers" or find_spec(package) is not None:  # it is there, and a part of it is not
        return None
    package = _PACKAGES.get(package, package)
    if kernel_shell() is None:
        return f"if it is a package, install it where this runs: {sys.executable} -m pip install {package}"
    return (
        f"if it is a package, add it to this kernel: %pip install {package}; if the daemon runs flows with another "
        f"Python (Workspace.current().interpreter() names it), install it there too: PYTHON -m pip install {package}"
    )


_MISSING = (
    r"No module named '([\w.]+)'",
    r"'(\w+)' module to be installed",
    r"package '(\w+)' not found",
    r"^(\w+)\S* is required",
    r"^`Import (\w+)` failed",
    r"^Missing optional dependency '(\w+)'",
)
_PACKAGES = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Whose name is not that of the package they come in."""


def checked_call(call: F, *, public: tuple[str, ...] | None = None, example: str = "", title: str | None = None) -> F:
    """`call`, which answers arguments it does not take with an error that has the fix: the option that was meant or an example, and the options
    that are public. `title` is what people know it by.

    Example:
        >>> @checked_call
        ... def step(fn, *, save_as=None): ...
        >>> step(len, saveas="x")
        Traceback (most recent call last):
        data_engine.errors.FlowValidationError: step has no option 'saveas'
          where: step(saveas=...)
          fix:   did you mean save_as=? It takes (fn, *, save_as=None)
    """

    title = title or _title(call)

    @wraps(call)
    def checked(*args: Any, **given: Any) -> Any:
        try:
            return call(*args, **given)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:  # it was raised inside
                raise
            wrong = _wrong_call(call, title, args, given, public, example)
        raise wrong

    return checked  # type: ignore[return-value]


def typed_call(call: F, *, title: str | None = None) -> F:
    """As `checked_call`, and arguments of other types than it declares are refused, too.

    Example:
        >>> @typed_call
        ... def runs(limit: int = 100): ...
        >>> runs("ten")
        Traceback (most recent call last):
        data_engine.errors.FlowValidationError: limit='ten' is not possible: runs takes a whole number
          where: runs(limit=...)
          fix:   give a whole number
    """
    title = title or _title(call)
    inner = checked_call(call, title=title)

    @wraps(call)
    def typed(*args: Any, **given: Any) -> Any:
        check_arguments(title, call, args, given)
        return inner(*args, **given)

    return typed  # type: ignore[return-value]


def _title(call: Callable[..., Any]) -> str:
    return call.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]


def typed_verbs(owner: type) -> None:
    """Let every public method of the class, and of those of ours that it is made of, be a `typed_call`."""
    for part in owner.__mro__[:-1]:
        for name, value in list(vars(part).items()):
            of_class = isinstance(value, classmethod)
            call = value.__func__ if of_class else value
            if (name == "__init__" or not name.startswith("_")) and isinstance(call, FunctionType):
                title = owner.__name__ if name == "__init__" else f"{owner.__name__}.{name}"
                checked = typed_call(call, title=title)
                setattr(part, name, classmethod(checked) if of_class else checked)


def _wrong_call(
    call: Callable[..., Any],
    title: str,
    args: tuple[Any, ...],
    given: dict[str, Any],
    public: tuple[str, ...] | None,
    example: str,
) -> FlowValidationError:
    from inspect import signature

    found = signature(call)
    options = [
        one
        for one in found.parameters.values()
        if one.name != "self" and not one.name.startswith("_") and (public is None or one.name in public)
    ]
    shown = str(found.replace(parameters=[_bare(one) for one in options], return_annotation=found.empty))
    unknown = next((name for name in given if name not in found.parameters), None)
    if unknown is None:
        takes = f"write {example}; it takes {shown}" if example else f"it takes {shown}"
        return FlowValidationError(
            f"{title}: {_misfit(found, args, given)}",
            where=f"{title}(...)",
            fix=_by_name(found, args, options) or takes,
        )
    names = [one.name for one in options]
    alike = next((group for group in _ALIKE if unknown in group), ())
    near = mistyped_name(unknown, names) or next((one for one in alike if one in names), None)
    offer = f"did you mean {near}=? It" if near else f"write {example}; it" if example else "it"
    return FlowValidationError(
        f"{title} has no option {unknown!r}", where=f"{title}({unknown}=...)", fix=f"{offer} takes {shown}"
    )


def _by_name(found: Signature, args: tuple[Any, ...], options: list[Any]) -> str | None:
    """How the first argument that has no place is given: by the name of an option that may take it."""
    positional = [
        one for one in found.parameters.values() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    named = [one for one in options if one.kind is one.KEYWORD_ONLY and not isinstance(one.default, bool)]
    if len(args) <= len(positional) or not named:
        return None
    given = args[len(positional)]
    may_take = [one for one in named if one.default is one.empty] or [
        one for one in named if not isinstance(given, str) or re.match(r"(?:str|PathText)\b", str(one.annotation))
    ]
    words = [f"{one.name}={beginning(masked(repr(given)), _LONGEST_VALUE)}" for one in may_take[:_MOST_NEAR]]
    return f"options are given by their names: {' or '.join(words)}" if words else None


def _misfit(found: Signature, args: tuple[Any, ...], given: dict[str, Any]) -> str:
    """How arguments do not fit, in the same words on every Python."""
    try:
        found.bind(*args, **given)
    except TypeError as error:
        return str(error)
    return "these arguments do not fit"


def _bare(parameter: Any) -> Any:
    return parameter.replace(annotation=parameter.empty)
