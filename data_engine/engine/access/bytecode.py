"""What a code object names and does, whatever its comments, line breaks and place in the file.

Read from the compiled code, not the text, so that functions of cells, helpers, lambdas and generated methods are alike.

Reference: https://docs.python.org/3/library/dis.html; `co_code` gives instructions without what the interpreter specialised.
"""

from __future__ import annotations

import dis
import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType

from data_engine.record import frozen

Chain = tuple[str, ...]
"""A name and the attributes read from it: ("pl", "read_csv")."""

CLOCK_KEYS = frozenset({"started_at_utc", "step_outputs"})
"""Entries of `context.metadata` that differ from run to run or come from other steps."""

_SKIPPED = frozenset({"NOP", "CACHE", "EXTENDED_ARG", "PUSH_NULL"})
_CALL_FORMS = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL"})
"""Instructions with a bit, or a form, for what is called at once: `json.dumps(x)` has another one where the same unit imports json."""
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"})
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_FREE = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_CONSTANTS = frozenset({"LOAD_CONST", "RETURN_CONST", "KW_NAMES", "LOAD_SMALL_INT"})
_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))
_STORES = frozenset({"STORE_FAST", "STORE_DEREF", "STORE_NAME", "STORE_GLOBAL"})
_PLAIN_FAST = frozenset({"LOAD_FAST", "STORE_FAST"})
_FUSED = {
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
}
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@frozen
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
    kind = type(value)
    if kind is str or kind is int:
        return f"{kind.__name__}:{value!r}".encode("utf-8", "surrogatepass")
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
    """Add the facts of `code` and of all code nested in it to `found`; its digest."""
    instructions = [one for one in dis.get_instructions(code) if one.opname not in _SKIPPED]
    imported = _import_stores(instructions, outer_imports)
    _note_names(code, instructions, imported, found)
    digest = hashlib.sha256(repr(_pieces(code, instructions)).encode("utf-8", "surrogatepass"))
    for one in instructions:
        if one.opname in _CONSTANTS and isinstance(one.argval, CodeType):
            digest.update(_read(one.argval, found, imported))
    return digest.digest()


def _pieces(code: CodeType, instructions: list[dis.Instruction]) -> list[object]:
    """What the code does, whatever its place: its shape, its handlers and each instruction with what it means."""
    shape = (code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    handlers = getattr(dis.Bytecode(code), "exception_entries", ()) if code.co_exceptiontable else ()
    targets = {one.argval for one in instructions if one.opcode in _JUMPS}
    targets.update(offset for entry in handlers for offset in entry[:3])
    places = _places(instructions, targets) if targets else {}
    pieces: list[object] = [shape, code.co_varnames, code.co_freevars, code.co_cellvars]
    pieces += [(*(places[offset] for offset in entry[:3]), *entry[3:]) for entry in handlers]
    for one in instructions:
        name, value = one.opname, one.argval
        if name in _CONSTANTS:
            pieces.append(name if isinstance(value, CodeType) else (name, constant_bytes(value)))
        elif one.opcode in _JUMPS:
            pieces.append((name, places[value]))
        elif isinstance(value, str):
            is_plain = name in _PLAIN_FAST or name in _CALL_FORMS
            plain = "LOAD_ATTR" if name == "LOAD_METHOD" else name
            pieces.append((plain, value) if is_plain else (name, value, (one.arg or 0) & 1))
        elif name in _FUSED:  # the compiler fuses two that stand on one line
            pieces += zip(_FUSED[name], value, strict=True)
        else:
            pieces.append((name, one.arg))
    return pieces


def _note_names(
    code: CodeType, instructions: list[dis.Instruction], imported: dict[str, set[_Imported]], found: _Found
) -> None:
    """Note the names the code uses, with the attributes read from them, and its texts."""
    told = 0  # attributes before this position belong to a chain
    for position, one in enumerate(instructions):
        name, value = one.opname, one.argval
        if name in _CONSTANTS:
            found.strings += _texts(value)
        elif name in _ATTRIBUTE:
            found.mentions.add(value)
            if position >= told:
                found.loose.add(value)
            if value == "metadata" and not _is_plain_metadata(instructions[position + 1 : position + 4]):
                found.odd_metadata = True
        elif name in _GLOBAL:
            attributes = _attributes_after(instructions, position)
            told = position + 1 + len(attributes)
            found.globals.add((value, *attributes))
        elif name in _FREE or name.startswith("LOAD_FAST"):
            told = max(told, _note_variable(code, instructions, position, imported, found))
        elif name == "IMPORT_NAME":
            found.imported.add((value, _level(instructions, position)))
        elif name in ("STORE_ATTR", "DELETE_ATTR"):
            found.mentions.add(value)


def _note_variable(
    code: CodeType,
    instructions: list[dis.Instruction],
    position: int,
    imported: dict[str, set[_Imported]],
    found: _Found,
) -> int:
    """Note a variable that is read, if an import bound it or it is an enclosing function's; where its attributes end."""
    one = instructions[position]
    *others, local = one.argval if isinstance(one.argval, tuple) else (one.argval,)
    for other in others:
        found.imports |= imported.get(other, set())
    attributes = _attributes_after(instructions, position)
    if local in imported:
        found.imports |= {(module, level, (*lead, *attributes)) for module, level, lead in imported[local]}
    elif one.opname in _FREE and local in code.co_freevars:
        found.free.add((local, *attributes))
    else:
        return 0
    return position + 1 + len(attributes)


def _places(instructions: list[dis.Instruction], targets: set[int]) -> dict[int, int]:
    """Where jumps lead, as the number of the next instruction that does something."""
    places: dict[int, int] = {}
    waiting = sorted(targets, reverse=True)
    number = 0
    for one in instructions:
        while waiting and waiting[-1] <= one.offset:
            places[waiting.pop()] = number
        number += 2 if one.opname in _FUSED else 1
    return places | dict.fromkeys(waiting, number)


def _attributes_after(instructions: list[dis.Instruction], position: int) -> Chain:
    end = position + 1
    while end < len(instructions) and instructions[end].opname in ("LOAD_ATTR", "LOAD_METHOD"):
        end += 1
    return tuple(one.argval for one in instructions[position + 1 : end])


def _is_plain_metadata(after: list[dis.Instruction]) -> bool:
    """Whether `.metadata` is followed by `["key"]` or `.get("key"` with a key that never differs between runs."""
    if len(after) < 2:
        return False
    if after[0].opname in _ATTRIBUTE and after[0].argval == "get":
        key = after[1]
    elif after[1].opname == "BINARY_SUBSCR" or after[1].argrepr == "[]":
        key = after[0]
    else:
        return False
    return key.opname == "LOAD_CONST" and isinstance(key.argval, str) and key.argval not in CLOCK_KEYS


def _import_stores(instructions: list[dis.Instruction], outer: dict[str, set[_Imported]]) -> dict[str, set[_Imported]]:
    """Names bound by imports: `import a.b` binds a, `import a.b as c` binds a.b, `from a import b` binds a's b."""
    if not any(one.opname == "IMPORT_NAME" for one in instructions):
        return outer
    bound = dict(outer)
    module, level, part, is_from = "", 0, None, False
    for position, one in enumerate(instructions):
        name = one.opname
        if name == "IMPORT_NAME":
            module, level, part = one.argval, _level(instructions, position), None
            is_from = bool(instructions[position - 1].argval)
        elif not module:
            continue
        elif name == "IMPORT_FROM":
            part = one.argval
        elif name in _STORES:
            if is_from and part is not None:
                source: _Imported = (module, level, (part,))
            else:
                source = (module if part is not None else module.partition(".")[0], level, ())
            bound[one.argval] = bound.get(one.argval, set()) | {source}
            part = None
            module = module if is_from else ""
        elif (is_from and name == "POP_TOP") or name not in ("LOAD_CONST", "LOAD_SMALL_INT", "POP_TOP", "SWAP", "COPY"):
            module = ""
    return bound


def _level(instructions: list[dis.Instruction], position: int) -> int:
    value = instructions[position - 2].argval if position >= 2 else 0
    return value if isinstance(value, int) else 0


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (tuple, frozenset)):
        return [text for item in value for text in _texts(item)]
    return []
