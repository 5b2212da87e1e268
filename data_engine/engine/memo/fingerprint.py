"""The key of a step's code: its function and everything it reaches, by value.

From the function every name its code reads is followed: helpers, classes, closures, defaults, the values of globals,
helper modules by the attributes used of them. The author's code counts by its compiled form, libraries by name and version,
values by content. What cannot be followed gives a reason, and the step is always run.
"""

from __future__ import annotations

import decimal
import hashlib
import locale
import os
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

from data_engine.engine.access.access_log import Namespace
from data_engine.engine.access.bytecode import constant_bytes
from data_engine.engine.memo.content import digest_of
from data_engine.engine.memo.tracer import CodeTracer
from data_engine.flow.check import Check
from data_engine.flow.spec import Collect, Map, StepSpec
from data_engine.record import frozen

_PATH_LIKE = re.compile(r"[^\n\0]{0,400}([/\\][^\n\0]{0,400}|\.\w{1,8})")
_PASSING = frozenset(
    {"PYTEST_CURRENT_TEST", "COLUMNS", "LINES", b"PYTEST_CURRENT_TEST", b"COLUMNS", b"LINES"}
)  # set anew all the time by the tools around a kernel


@frozen
class CodeFingerprint:
    """What a step's code is at this moment.

    `parts` name everything it is made of, each with a digest; `unseen` is why it must always run, None when it need not;
    `literals` are texts and paths in it that could be files; `classes` the identities of the author's classes; `captured` the author's names that hold a reader itself;
    `tables` are the tables of a context among the attributes it reads, `odd_metadata` whether those could give facts that
    differ from run to run; `is_as_it_was` tells quickly whether a fingerprint now would be equal, False where only one can tell.
    """

    parts: Mapping[str, bytes]
    unseen: str | None
    literals: frozenset[str]
    classes: frozenset[int]
    captured: tuple[tuple[Namespace, str], ...]
    tables: frozenset[str]
    odd_metadata: bool
    is_as_it_was: Callable[[], bool]

    @property
    def names_objects(self) -> bool:
        """Whether it may take saved objects from the context."""
        return "objects" in self.tables


Traces = dict[tuple[int, str], CodeTracer]
"""The traces of functions that several steps reach."""


def code_fingerprint(step: StepSpec, traces: Traces | None = None) -> CodeFingerprint:
    """The code of `step`; `traces` are shared with other steps. Modules it imports inside functions are imported, as the step itself would do."""
    tracer = CodeTracer(traces)
    fn = step.fn
    options: tuple[object, ...] = (step.use, step.save_as, step.label)
    if isinstance(fn, Map):
        options += ("map", fn.takes_context, fn.max_parallel, fn.keep_errors)
        fn = fn.fn
    elif isinstance(fn, Collect):
        options += ("collect", fn.extensions, fn.recursive, None if fn.root is None else str(fn.root.path))
        tracer.parts["its options"] = constant_bytes(options)
        return _result(tracer)
    elif isinstance(fn, Check):
        options += ("check", fn.on_fail, fn.at_most, fn.rejected, tuple(fn.rules.names))
        tracer.parts["its options"] = constant_bytes(options)
        for rule in fn.rules.each:
            tracer.parts[f"rule {rule.name}"] = tracer.value(rule.says, rule.name)
        if fn.rules.schema is not None:
            tracer.parts["the schema"] = tracer.value(fn.rules.schema, "schema")
        return _result(tracer)
    tracer.parts["its options"] = constant_bytes(options)
    tracer.root(fn)
    return _result(tracer)


def world() -> dict[str, bytes]:
    """What every step depends on without naming it: environment, working directory, locale, decimal context."""
    decimals = decimal.getcontext()
    traps = [flag.__name__ for flag, is_set in decimals.traps.items() if is_set]
    shape = (decimals.prec, decimals.rounding, decimals.Emin, decimals.Emax, decimals.capitals, decimals.clamp, traps)
    return {
        "the environment": _environment(),
        "the working directory": os.fsencode(_working_directory()),
        "the locale": locale.setlocale(locale.LC_ALL).encode(),
        "the decimal context": repr(shape).encode(),
    }


def value_digest(value: object) -> bytes | None:
    """A digest of the content of `value`; None when it has none."""
    tracer = CodeTracer()
    digest = tracer.value(value, "value")
    return None if tracer.unseen else hashlib.sha256(b"".join([digest, *tracer.parts.values()])).digest()


_environment_then: tuple[dict[Any, Any], bytes] = ({}, b"")


def _environment() -> bytes:
    global _environment_then
    raw: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)  # decoding every entry takes longer than a step
    then, digest = _environment_then
    if raw != then:
        digest = digest_of(sorted(item for item in raw.items() if item[0] not in _PASSING))
        _environment_then = (dict(raw), digest)
    return digest


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _result(tracer: CodeTracer) -> CodeFingerprint:
    tracer.follow_texts()
    tracer.follow_added_methods()
    if "__doc__" in tracer.mentions | tracer.literals:
        told = [one.__doc__ for one in tracer.alive if isinstance(one, (types.FunctionType, type))]
        tracer.parts["a docstring"] = digest_of(told)
    return CodeFingerprint(
        tracer.parts,
        tracer.unseen,
        frozenset(text for text in tracer.literals if _PATH_LIKE.fullmatch(text)),
        frozenset(id(target) for target in tracer.alive if isinstance(target, type)),
        tuple(tracer.captured),
        frozenset({"objects", "metadata"} & tracer.mentions),
        tracer.odd_metadata,
        tracer.is_as_it_was,
    )
