"""The key of a step's code: its function and everything it reaches, by value. What cannot be followed gives a reason, and the step
is always run.
"""

from __future__ import annotations

import decimal
import hashlib
import io
import locale
import os
import pickle
import sys
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any

from data_engine.engine.access.code import constant_bytes, is_authored
from data_engine.engine.memo.tracer import Purpose, Tracer, attributes_of, digest_of
from data_engine.flow.check import Check
from data_engine.flow.report import Report
from data_engine.flow.spec import Collect, Map, StepSpec

_MAX_VALUE_BYTES = 256 * 1024 * 1024
_PASSING = frozenset(
    {"PYTEST_CURRENT_TEST", "COLUMNS", "LINES", b"PYTEST_CURRENT_TEST", b"COLUMNS", b"LINES"}
)  # set anew all the time by the tools around a kernel


def _watched_content(tracer: Tracer, value: Any, kind: type, name: str) -> bytes:
    content = tracer.standard_content(value, kind, name)
    if content is None and is_authored(kind.__module__):
        content = tracer.instance(value, kind, name, attributes_of(value))
        known = ("builtins", "abc", "typing", "enum")
        bases = [base for base in kind.__mro__ if not is_authored(base.__module__) and not is_dataclass(base)]
        if any(base.__module__ not in known for base in bases):
            tracer.mark_unseen(f"{name} is a {kind.__name__}, whose state cannot be compared")
    elif content is None:
        content = _library_content(value, kind, kind.__module__.partition(".")[0])
    if content is None:
        tracer.mark_unseen(f"{name} is a {kind.__name__}, whose state cannot be compared")
    return content or b""


def _library_content(value: Any, kind: type, library: str) -> bytes | None:
    """The content of a library's value, None when unknown."""
    with suppress(Exception):  # of another library: content that cannot be read is unknown
        if library == "polars":
            return _polars_content(value, kind)
        if library == "pyarrow" and kind.__name__ in ("Table", "RecordBatch"):
            if value.nbytes > _MAX_VALUE_BYTES:
                return None
            import pyarrow.ipc

            sink = io.BytesIO()
            with pyarrow.ipc.new_stream(sink, value.schema) as writer:
                writer.write(value)
            return hashlib.sha256(sink.getbuffer()).digest()
        if library == "pyarrow" and kind.__name__ in ("Schema", "Field"):
            return f"{value.to_string()} {value.metadata!r}".encode()
        if library == "pyarrow" and kind.__name__.endswith(("DataType", "Type")):
            return repr(value).encode()
        if library == "numpy" and hasattr(value, "dtype"):
            if value.dtype.hasobject or value.nbytes > _MAX_VALUE_BYTES or kind.__name__ == "memmap":
                return None
            return hashlib.sha256(repr((value.dtype, value.shape)).encode() + value.tobytes()).digest()
        if library == "numpy" and isinstance(value, sys.modules["numpy"].dtype):
            return repr(value).encode()
        if library == "pandas" and kind.__name__ in ("DataFrame", "Series", "Index", "Timestamp", "Timedelta"):
            return hashlib.sha256(pickle.dumps(value, 5)).digest()
    return None


def _polars_content(value: Any, kind: type) -> bytes | None:
    name = kind.__name__
    if name in ("DataFrame", "Series"):
        frame = value if name == "DataFrame" else value.to_frame()
        if frame.estimated_size() > _MAX_VALUE_BYTES or "Object" in repr(frame.dtypes):
            return None
        sink = io.BytesIO()
        frame.write_ipc_stream(sink)
        return hashlib.sha256(repr(frame.schema).encode() + sink.getbuffer()).digest()
    if name == "Expr":
        data = bytes(value.meta.serialize())
        return None if b"AnonymousFunction" in data or b"PLPYFN" in data else hashlib.sha256(data).digest()
    polars: Any = sys.modules["polars"]
    if isinstance(value, polars.DataType):
        return repr(value).encode()
    return None


WATCHED = Purpose("constant ", lambda fn, label: label, _watched_content, lambda tracer, module, attribute, value: None)
"""The keys of previews: code is as it was, and all that it reads can be watched."""

Traces = dict[tuple[int, str], Tracer]
"""The traces of functions that several steps reach."""


def code_fingerprint(step: StepSpec, traces: Traces | None = None) -> Tracer:
    """The code of `step`; `traces` are shared with other steps. Modules it imports inside functions are imported, as the step itself would do."""
    tracer = Tracer(WATCHED, traces)
    fn = step.fn
    options: tuple[object, ...] = (step.use, step.save_as, step.label)
    if isinstance(fn, Map):
        options += ("map", fn.takes_context, fn.max_parallel, fn.keep_errors)
        fn = fn.fn
    elif isinstance(fn, Collect):
        options += ("collect", fn.extensions, fn.recursive, None if fn.root is None else str(fn.root.path))
    elif isinstance(fn, Check):
        options += ("check", fn.on_fail, fn.at_most, fn.rejected, fn.as_before, tuple(fn.rules.names))
        for rule in fn.rules.each:
            tracer.parts[f"rule {rule.name}"] = tracer.value(rule.says, rule.name)
        if fn.rules.schema is not None:
            tracer.parts["the schema"] = tracer.value(fn.rules.schema, "schema")
    elif isinstance(fn, Report):
        options += ("report", fn.objects, fn.to, fn.rows, fn.title, fn.note)
        tracer.mentions.add("objects")
    tracer.parts["its options"] = constant_bytes(options)
    if not isinstance(fn, (Collect, Check, Report)):
        tracer.root(fn)
    tracer.follow_texts()
    tracer.follow_added_methods()
    if "__doc__" in tracer.mentions | tracer.literals:
        docstrings = [target.__doc__ for target in tracer.alive if isinstance(target, (types.FunctionType, type))]
        tracer.parts["a docstring"] = digest_of(docstrings)
    return tracer


def world() -> dict[str, bytes]:
    """Digests of what every step depends on without naming it: environment, working directory, locale, decimal context."""
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
    tracer = Tracer(WATCHED)
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
