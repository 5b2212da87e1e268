"""Steps as values, their labels, and the test whether a function can be a step."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable

from data_engine.errors import FlowValidationError
from data_engine.flow.paths import AuthoredPath
from data_engine.flow.scan import walk
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from data_engine.flow.batch import Batch, FileRef
    from data_engine.flow.context import FlowContext


@frozen
class StepSpec:
    """One step: `fn(context)`, what it takes (`use`), what its result is called (`save_as`), and how it is shown."""

    fn: Callable[[FlowContext], Any]
    use: str | None
    save_as: str | None
    label: str
    function_name: str


@frozen
class Collect:
    """A step that finds files: the candidates with these extensions, as a `Batch` of `FileRef` in path order."""

    extensions: tuple[str, ...]
    root: AuthoredPath | None
    recursive: bool

    def __call__(self, context: FlowContext) -> Batch[FileRef]:
        from data_engine.flow.batch import Batch, FileRef

        if self.root is not None:
            root = self.root.path
        elif context.source is not None:
            root = context.source.root
        else:
            raise FlowValidationError(
                "collect requires an explicit root or a flow context with source",
                where="Flow.collect",
                fix='give collect(..., root="../in") or watch(source="../in")',
            )
        resolved = os.path.realpath(root)
        try:
            files = sorted(
                (name, entry.is_symlink()) for name, entry in walk(resolved, self.extensions, recursive=self.recursive)
            )
        except OSError as error:
            raise FlowValidationError(
                f"the folder to collect from cannot be read: {error.filename or root} ({error.strerror})",
                where=f"Flow.collect(root={str(root)!r})",
                fix="create the folder, or correct root= (relative paths start at the flow_modules folder)",
            ) from error
        lead = resolved if resolved.endswith(os.sep) else resolved + os.sep
        ref_of = FileRef._resolved
        paths = ((lead + name.replace("/", os.sep), is_link) for name, is_link in files)
        return Batch(tuple(FileRef(path) if is_link else ref_of(path) for path, is_link in paths))


@frozen
class Map:
    """A step that calls `fn` for each item of the current batch."""

    fn: Callable[..., Any]
    takes_context: bool
    max_parallel: int | None
    keep_errors: bool

    def __call__(self, context: FlowContext) -> Batch[Any]:
        from data_engine.flow.batch import Batch
        from data_engine.flow.control import ItemCall, ItemMap

        items = _batch_items(context.current)
        call = ItemCall(self.fn, context) if self.takes_context else self.fn
        control = context.control
        work = ItemMap(call, items, self.max_parallel or 1, self.keep_errors, control)
        batch: Batch[Any] = Batch(tuple(control.spread(work)))
        if self.keep_errors and (errors := batch.errors()):
            context.log(
                f"{len(errors)} of {len(items)} items failed: {'; '.join(map(str, errors[:5]))}", level="WARNING"
            )
        return batch


def _batch_items(current: object) -> tuple[Any, ...]:
    if current is None or isinstance(current, (str, bytes, dict)) or not isinstance(current, Iterable):
        raise FlowValidationError(
            f"map requires an iterable current value, not {type(current).__name__}",
            where="Flow.map",
            fix='let the step before return a list or Batch, or name one with use=; .collect(".csv") before it gives the files of the folder',
        )
    if hasattr(current, "columns") and hasattr(current, "shape"):
        raise FlowValidationError(
            f"map requires an iterable current value, and a {type(current).__name__} would be taken column by column",
            where="Flow.map",
            fix="give it items: frame.iter_rows(named=True), frame.partition_by(...), or a list of files",
        )
    items = tuple(current)
    if not items:
        raise FlowValidationError(
            "map requires at least one item",
            where="Flow.map",
            fix="check the extensions and the root of collect(), give recursive=True for its subfolders, or leave the map out",
        )
    return items


def check_count(value: object, name: str, where: str) -> int:
    """`value`, when it is a whole number from 1.

    Raises:
        FlowValidationError: it is none; names it and `where`.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        what = f"{name}={value!r} must be a whole number greater than or equal to one"
        raise FlowValidationError(what, where=where, fix=f"{name}=1")
    return value


def check_step(fn: object, verb: str) -> None:
    """Refuse what cannot be called with one context.

    Raises:
        FlowValidationError: not callable, a coroutine function, or a signature that needs anything but one context.
    """
    _check_callable(fn, verb)
    signature = _signature(fn)
    if signature is not None and not _binds(signature, 1):
        raise FlowValidationError(
            f"{function_name(fn)}{signature} does not accept exactly one context parameter",
            where=f"Flow.{verb}",
            fix="write the step as def name(context): ...; give other parameters defaults",
        )


def map_takes_context(fn: object) -> bool:
    """Whether `fn` wants `(context, item)` rather than `(item)`, judged by what the call needs.

    Raises:
        FlowValidationError: not callable, a coroutine function, or neither call fits.
    """
    _check_callable(fn, "map")
    signature = _signature(fn)
    if signature is None or _binds(signature, 1):
        return False
    if _binds(signature, 2):
        return True
    raise FlowValidationError(
        f"{function_name(fn)}{signature} accepts neither (item) nor (context, item): a map function takes either (item) or "
        "(context, item)",
        where="Flow.map",
        fix="write it as def name(item): ... or def name(context, item): ...; give other parameters defaults",
    )


def _check_callable(fn: object, verb: str) -> None:
    if not callable(fn):
        raise FlowValidationError(
            f"a step must be callable, not {type(fn).__name__} {fn!r}",
            where=f"Flow.{verb}",
            fix=f"give a function by its name, without brackets: .{verb}(read)",
        )
    called = (fn, getattr(type(fn), "__call__", None))  # noqa: B004  (an object whose __call__ is async)
    if any(inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target) for target in called):
        raise FlowValidationError(
            f"{function_name(fn)} is an async function",
            where=f"Flow.{verb}",
            fix="write it as a plain function; inside, asyncio.run(...) runs async code",
        )


def _signature(fn: object) -> inspect.Signature | None:
    try:
        return inspect.signature(fn)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return None  # a builtin without a signature, such as dict


def _binds(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def function_name(fn: object) -> str:
    """The name of a callable as its author would say it."""
    name = getattr(fn, "__name__", None)
    return name if isinstance(name, str) and name else type(fn).__name__


def default_label(fn: object) -> str:
    """The label of a step whose author gave none.

    Example:
        >>> def build_claims_summary(context): ...
        >>> default_label(build_claims_summary), default_label(lambda context: 1)
        ('Build Claims Summary', 'Lambda')
    """
    name = function_name(fn)
    return "Lambda" if name == "<lambda>" else title_text(name, "Step")


def title_text(text: str, fallback: str) -> str:
    """A name as words in title case.

    Example:
        >>> title_text("build_claims_summary", "Flow"), title_text("alreadyTitleCase", "Flow")
        ('Build Claims Summary', 'Already Title Case')
    """
    spaced = re.sub(r"(?<!^)(?=[A-Z])", " ", re.sub(r"[_\s]+", " ", text).strip())
    return " ".join(word.capitalize() for word in spaced.split()) or fallback
