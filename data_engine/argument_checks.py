"""Check arguments against the annotations of their function, as they are written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from types import FunctionType

from data_engine.errors import FlowValidationError
from data_engine.formatting import beginning
from data_engine.platforms.names import is_too_long
from data_engine.suggestions import nearest_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from types import CodeType
    from typing import Any, TypeAlias, TypeGuard, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])
    Kind: TypeAlias = tuple[str, Callable[[Any], bool]]
    """A kind of value in words, and its test."""


_LONGEST_SHOWN = 80
_VARARGS = 0x04
_LARGEST = 2**63 - 1
_OURS = frozenset(("AlertRule", "Expectation", "Flow", "MirrorSpec", "Parameters", "StepSpec", "Workspace"))
"""Our classes that arguments are checked for, by name: this floor imports none of them."""


def checked(
    *,
    only: Sequence[str] | None = None,
    public: tuple[str, ...] | None = None,
    example: str = "",
    title: str | None = None,
) -> Callable[[F], F]:
    """Let a function, or all public methods of a class, refuse arguments of another type than it declares, and options that it has not,
    with the fix: the nearest option or an example, and the `public` options.

    `only` are the declared types that are checked, all by default; a declared type that is none of the known kinds is left to the
    function. `title` is its name for people.

    Example:
        >>> @checked()
        ... def runs(flow: str | None = None, *, limit: int = 100): ...
        >>> runs(limit="ten")
        Traceback (most recent call last):
        data_engine.errors.FlowValidationError: limit='ten' is not possible: runs takes a whole number
          where: runs(limit=...)
          fix:   give a whole number
        >>> runs(limits=10)
        Traceback (most recent call last):
        data_engine.errors.FlowValidationError: runs has no option 'limits'
          where: runs(limits=...)
          fix:   did you mean limit=?
    """

    def decorate(call: F) -> F:
        if isinstance(call, type):
            for name, value in list(vars(call).items()):
                method = value.__func__ if isinstance(value, classmethod) else value
                if (name == "__init__" or not name.startswith("_")) and isinstance(method, FunctionType):
                    own = _checked(method, only, public, example, title)
                    setattr(call, name, classmethod(own) if method is not value else own)
            return call
        return _checked(call, only, public, example, title)

    return decorate


def _checked(call: F, only: Sequence[str] | None, public: tuple[str, ...] | None, example: str, title: str | None) -> F:
    name = title or call.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]
    declared = call.__annotations__
    types = declared if only is None else {key: kind for key, kind in declared.items() if kind in only}

    @wraps(call)
    def checking(*args: Any, **keywords: Any) -> Any:
        if types:
            _check_types(name, call.__code__, types, args, keywords)
        try:
            return call(*args, **keywords)
        except TypeError as error:
            trace = error.__traceback__
            if trace is None or trace.tb_next is not None:  # it was raised inside
                raise
            wrong = _wrong_call(call, name, args, keywords, public, example)
        raise wrong

    return checking  # type: ignore[return-value]


def _check_types(
    title: str, code: CodeType, types: Mapping[str, object], args: tuple[Any, ...], keywords: Mapping[str, Any]
) -> None:
    names, count = code.co_varnames, code.co_argcount
    for number, value in enumerate(args):
        if number < count:
            check_argument(title, names[number], types.get(names[number]), value)
        elif code.co_flags & _VARARGS:
            name = names[count + code.co_kwonlyargcount]
            check_argument(title, name, types.get(name), value)
    for name, value in keywords.items():
        check_argument(title, name, types.get(name), value)


def _wrong_call(
    call: Callable[..., Any],
    title: str,
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    public: tuple[str, ...] | None,
    example: str,
) -> FlowValidationError:
    from inspect import signature

    spec = signature(call)
    options = [
        parameter
        for name, parameter in spec.parameters.items()
        if name != "self" and not name.startswith("_") and (public is None or name in public)
    ]
    bare = [parameter.replace(annotation=parameter.empty) for parameter in options]
    shown = str(spec.replace(parameters=bare, return_annotation=spec.empty))
    unknown = next((name for name in keywords if name not in spec.parameters), None)
    if unknown is None:
        takes = f"write {example}" if example else f"it takes {shown}"
        misfit = "these arguments do not fit"
        try:
            spec.bind(*args, **keywords)
        except TypeError as error:  # the same words on every Python
            misfit = str(error)
        return FlowValidationError(f"{title}: {misfit}", where=f"{title}(...)", fix=takes)
    names = [parameter.name for parameter in options]
    near = nearest_name(unknown, names)
    fix = f"did you mean {near}=?" if near else f"write {example}" if example else f"it takes {shown}"
    return FlowValidationError(f"{title} has no option {unknown!r}", where=f"{title}({unknown}=...)", fix=fix)


def check_argument(title: str, name: str, annotation: object, value: object) -> None:
    """Refuse an argument of another type than the annotation declares.

    Raises:
        FlowValidationError: names the argument.
    """
    kind = _kind(annotation) if isinstance(annotation, str) else None
    if kind is None or kind[1](value):
        return
    option = name.lstrip("_")
    raise FlowValidationError(
        f"{option}={value_text(value)} is not possible: {title} takes {kind[0]}",
        where=f"{title}({option}=...)",
        fix=f"give {kind[0]}",
    )


def value_text(value: object) -> str:
    """The value as an error shows it.

    Example:
        >>> value_text("ab" * 500)[:10], value_text(3)
        ("'ababababa", '3')
    """
    try:
        return beginning(repr(value), _LONGEST_SHOWN)
    except Exception:  # of somebody else's `__repr__`
        return f"a {type(value).__name__}"


def is_text(value: object) -> TypeGuard[str]:
    """Whether a file, a database and another process accept the text; file names that are no UTF-8 are accepted.

    Example:
        >>> is_text("ü"), is_text("a\\0"), is_text("\\ud800"), is_text(b"a")
        (True, False, False, False)
    """
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def is_unicode(value: object) -> TypeGuard[str]:
    """Whether DuckDB and Polars accept the text, too, which excludes file names that are no UTF-8.

    Example:
        >>> is_unicode("ü"), is_unicode("\\udcff")
        (True, False)
    """
    return is_text(value) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_path(value: object) -> bool:
    try:
        return isinstance(value, (str, os.PathLike)) and is_text(text := os.fspath(value)) and not is_too_long(text)
    except Exception:  # of somebody else's `__fspath__`
        return False


def _is_date(value: object) -> bool:
    from datetime import date

    return isinstance(value, date)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


_PLAIN: dict[str, Kind] = {
    "None": ("None", lambda value: value is None),
    "str": ("a text", is_text),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "int": (
        "a whole number",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST,
    ),
    "float": ("a number", _is_number),
    "date": ("a date", _is_date),
    "type": ("a class", lambda value: isinstance(value, type)),
    "Callable": ("a function", callable),
    "PathLike": ("a path", _is_path),
    "PathText": ("a path", _is_path),
    "Mapping": ("a mapping", lambda value: isinstance(value, Mapping)),
}
_MANY: dict[str, Any] = {"list": list, "tuple": tuple, "set": (set, frozenset), "Sequence": Sequence}


@cache
def _kind(annotation: str) -> Kind | None:
    """The kind of an annotation; None where it is, or may be, any other."""
    import ast

    return _read(ast.parse(annotation, mode="eval").body)


def _read(node: ast.expr) -> Kind | None:
    import ast

    if isinstance(node, ast.BinOp):
        left, right = _read(node.left), _read(node.right)
        return None if left is None or right is None else _either(left, right)
    inside = node.slice if isinstance(node, ast.Subscript) else None
    name = ast.unparse(node.value if isinstance(node, ast.Subscript) else node).rpartition(".")[2]
    if name == "Literal" and inside is not None:
        words = ast.literal_eval(inside)
        words = words if isinstance(words, tuple) else (words,)
        return " or ".join(map(repr, words)), lambda value: isinstance(value, str) and value in words
    if name in _MANY and inside is not None:
        of = _read(inside.elts[0] if isinstance(inside, ast.Tuple) else inside)
        return None if of is None else _several(_MANY[name], of)
    if name in _OURS:
        return f"a {name}", lambda value: any(base.__name__ == name for base in type(value).__mro__)
    return _PLAIN.get(name)


def _either(left: Kind, right: Kind) -> Kind:
    if left == _PLAIN["str"] and right == _PLAIN["PathLike"]:
        return right  # a text among paths is one
    words = " or ".join(dict.fromkeys([*left[0].split(" or "), *right[0].split(" or ")]))
    return words, lambda value: left[1](value) or right[1](value)


def _several(types: Any, of: Kind) -> Kind:
    words = f"a list of {of[0].removeprefix('a ')}s"
    return (
        words,
        lambda value: isinstance(value, types) and not isinstance(value, (str, bytes)) and all(map(of[1], value)),
    )
