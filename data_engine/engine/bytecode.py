"""What a code object names and does, whatever its comments, line breaks and place in the file.

Read from the compiled code, not the text, so that functions of cells, helpers, lambdas and generated methods are alike.

Reference: https://docs.python.org/3/library/dis.html; `co_code` gives instructions without what the interpreter specialised.
"""

from __future__ import annotations

import dis
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any

Chain = tuple[str, ...]
"""A name and the attributes read from it: ("pl", "read_csv")."""

CLOCK_KEYS = frozenset({"started_at_utc", "step_outputs"})
"""Entries of `context.metadata` that differ from run to run or come from other steps."""

_SKIPPED = frozenset({"NOP", "CACHE", "EXTENDED_ARG"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_FREE = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_STORES = frozenset({"STORE_FAST", "STORE_DEREF", "STORE_NAME", "STORE_GLOBAL"})
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """One code object with all code nested in it.

    `globals` and `free` are chains that start at a global or a variable of an enclosing function; `imported` are the
    modules imported inside with their levels, and `imports` what is used of them; `mentions` every attribute name, `loose`
    those read from something nobody knows before it runs; `strings` the text constants; `odd_metadata` whether
    `.metadata` is used in any other way than by a constant key that never changes.
    """

    digest: bytes
    globals: frozenset[Chain]
    free: frozenset[Chain]
    imported: frozenset[tuple[str, int]]
    imports: frozenset[tuple[str, int, Chain]]
    mentions: frozenset[str]
    loose: frozenset[str]
    strings: tuple[str, ...]
    odd_metadata: bool


@lru_cache(maxsize=4096)
def code_facts(code: CodeType) -> CodeFacts:
    """The facts of `code`; equal code has equal facts.

    Example:
        >>> facts = code_facts((lambda context: max(context.current)).__code__)
        >>> facts.globals, sorted(facts.mentions)
        (frozenset({('max',)}), ['current'])
    """
    found = _Found()
    digest = _read(code, found, {})
    return CodeFacts(
        digest,
        frozenset(found.globals),
        frozenset(found.free),
        frozenset(found.imported),
        frozenset(found.imports),
        frozenset(found.mentions),
        frozenset(found.loose),
        tuple(dict.fromkeys(found.strings)),
        found.odd_metadata,
    )


@lru_cache(maxsize=4096)
def identifiers(text: str) -> frozenset[str]:
    """Every word of `text` that could be a name; SQL reads frames by name.

    Example:
        >>> sorted(identifiers('select a from "lookup"'))
        ['a', 'from', 'lookup', 'select']
    """
    return frozenset(_IDENTIFIER.findall(text))


def constant_bytes(value: object) -> bytes:
    """A constant with its type: 1, 1.0 and True differ, 0.0 and -0.0 too."""
    if isinstance(value, tuple):
        return b"(" + b",".join(map(constant_bytes, value)) + b")"
    if isinstance(value, frozenset):
        return b"{" + b",".join(sorted(map(constant_bytes, value))) + b"}"
    return f"{type(value).__name__}:{value!r}".encode("utf-8", "surrogatepass")


@dataclass
class _Found:
    globals: set[Chain] = field(default_factory=set)
    free: set[Chain] = field(default_factory=set)
    imported: set[tuple[str, int]] = field(default_factory=set)
    imports: set[tuple[str, int, Chain]] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    strings: list[str] = field(default_factory=list)
    odd_metadata: bool = False


_Imported = tuple[str, int, Chain]


def _read(code: CodeType, found: _Found, outer_imports: dict[str, set[_Imported]]) -> bytes:
    instructions = [one for one in dis.get_instructions(code) if one.opname not in _SKIPPED]
    imported = dict(outer_imports)
    for name, source in _import_stores(instructions):
        imported[name] = imported.get(name, set()) | {source}
    place = {one.offset: number for number, one in enumerate(instructions)}
    offsets = [one.offset for one in instructions]
    digest = hashlib.sha256()
    shape = (code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    digest.update(repr((shape, code.co_varnames, code.co_freevars, code.co_cellvars)).encode())
    digest.update(code.co_exceptiontable)
    inside: list[CodeType] = []
    position = 0
    while position < len(instructions):
        one = instructions[position]
        digest.update(_instruction_bytes(one, place, offsets))
        if isinstance(one.argval, CodeType):
            inside.append(one.argval)
        elif one.opname == "LOAD_CONST" or one.opname == "RETURN_CONST":
            found.strings += _texts(one.argval)
        elif one.opname == "IMPORT_NAME":
            found.imported.add((one.argval, _level(instructions, position)))
        elif one.opname in _ATTRIBUTE:
            _loose_attribute(found, instructions, position)
        elif one.opname == "STORE_ATTR" or one.opname == "DELETE_ATTR":
            found.mentions.add(one.argval)
        for name, kind in _loaded(one):
            attributes = _attributes_after(instructions, position) if name == _last(one) else ()
            if kind == "global":
                found.globals.add((name, *attributes))
            elif name in imported:
                found.imports |= {(module, level, (*lead, *attributes)) for module, level, lead in imported[name]}
            elif kind == "free" and name in code.co_freevars:
                found.free.add((name, *attributes))
            else:
                continue
            found.mentions.update(attributes)
            if "metadata" in attributes:
                found.odd_metadata = True
            for skipped in instructions[position + 1 : position + 1 + len(attributes)]:
                digest.update(_instruction_bytes(skipped, place, offsets))
            position += len(attributes)
        position += 1
    for nested in inside:
        digest.update(_read(nested, found, imported))
    return digest.digest()


def _instruction_bytes(one: dis.Instruction, place: dict[int, int], offsets: list[int]) -> bytes:
    value = one.argval
    if isinstance(value, CodeType):
        return b"code;"  # what is in it follows
    if one.opname in ("LOAD_CONST", "RETURN_CONST", "KW_NAMES", "LOAD_SMALL_INT"):
        return one.opname.encode() + b" " + constant_bytes(value) + b";"
    if one.opcode in dis.hasjrel or one.opcode in dis.hasjabs:
        target = next((place[offset] for offset in range(value, value + 64, 2) if offset in place), len(offsets))
        return f"{one.opname} to {target};".encode()
    if one.opcode in dis.hasname:
        return f"{one.opname} {value} {(one.arg or 0) & 1};".encode("utf-8", "surrogatepass")
    return f"{one.opname} {one.arg} {value if isinstance(value, str) else ''};".encode("utf-8", "surrogatepass")


def _loaded(one: dis.Instruction) -> Iterator[tuple[str, str]]:
    if one.opname in _GLOBAL:
        yield one.argval, "global"
    elif one.opname in _FREE:
        yield one.argval, "free"
    elif one.opname.startswith("LOAD_FAST") or one.opname == "STORE_FAST_LOAD_FAST":
        for name in one.argval if isinstance(one.argval, tuple) else (one.argval,):
            yield name, "local"


def _last(one: dis.Instruction) -> Any:
    return one.argval[-1] if isinstance(one.argval, tuple) else one.argval


def _attributes_after(instructions: list[dis.Instruction], position: int) -> Chain:
    end = position + 1
    while end < len(instructions) and instructions[end].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        end += 1
    return tuple(one.argval for one in instructions[position + 1 : end])


def _loose_attribute(found: _Found, instructions: list[dis.Instruction], position: int) -> None:
    name = instructions[position].argval
    found.mentions.add(name)
    found.loose.add(name)
    if name != "metadata":
        return
    after = instructions[position + 1 : position + 4]
    if after and after[0].opname in _ATTRIBUTE and after[0].argval == "get":
        key = after[1] if len(after) > 1 else None
        is_plain = True
    else:
        key = after[0] if after else None
        is_plain = len(after) > 1 and (after[1].opname == "BINARY_SUBSCR" or after[1].argrepr == "[]")
    is_plain = is_plain and key is not None and key.opname == "LOAD_CONST" and isinstance(key.argval, str)
    if not is_plain or (key is not None and key.argval in CLOCK_KEYS):
        found.odd_metadata = True


def _import_stores(instructions: list[dis.Instruction]) -> Iterator[tuple[str, _Imported]]:
    """Names bound by imports: `import a.b` binds a, `import a.b as c` binds a.b, `from a import b` binds a's b."""
    module, level, part, is_from = "", 0, None, False
    for position, one in enumerate(instructions):
        if one.opname == "IMPORT_NAME":
            module, level, part = one.argval, _level(instructions, position), None
            is_from = bool(instructions[position - 1].argval)
        elif one.opname == "IMPORT_FROM":
            part = one.argval
        elif one.opname in _STORES and module:
            if is_from and part is not None:
                yield one.argval, (module, level, (part,))
            elif part is not None:
                yield one.argval, (module, level, ())
            elif not is_from:
                yield one.argval, (module.partition(".")[0], level, ())
            part = None
            if not is_from:
                module = ""
        elif one.opname in ("POP_TOP", "SWAP", "COPY", "ROT_TWO") and module:
            if is_from and one.opname == "POP_TOP":
                module = ""
        elif one.opname not in ("LOAD_CONST", "LOAD_SMALL_INT"):
            module = ""


def _level(instructions: list[dis.Instruction], position: int) -> int:
    value = instructions[position - 2].argval if position >= 2 else 0
    return value if isinstance(value, int) else 0


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (tuple, frozenset)):
        return [text for item in value for text in _texts(item)]
    return []
