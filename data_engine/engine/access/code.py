"""Tell the author's code from libraries, and read what a code object names and does, whatever its comments, line breaks and place in
the file.

A step is reused only when everything it reaches is the author's (and so part of its key), computes from its arguments, or
reads through an entry point that `interceptors` replaces. Whatever is on no list counts as unseen: that costs a re-run, never a stale result.

A code object is read from the compiled code, not the text, so that functions of cells, helpers, lambdas and generated methods are alike.

Reference: https://docs.python.org/3/library/dis.html; `co_code` gives instructions without what the interpreter specialised.
"""

from __future__ import annotations

import dis
import hashlib
import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

_COMPUTING = frozenset(
    """abc array ast base64 binascii bisect builtins bz2 calendar cmath codecs collections colorsys configparser
    contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib enum errno fnmatch fractions functools
    genericpath glob graphlib gzip hashlib heapq hmac html io itertools json keyword logging lzma math marshal
    ntpath numbers opcode operator os pathlib pickle posixpath pprint quopri re reprlib shutil sqlite3 stat statistics
    string stringprep struct sys tarfile textwrap token tokenize tomllib types typing unicodedata uuid warnings
    weakref xml zipfile zlib zoneinfo __future__ _bisect _collections _collections_abc _csv _datetime _decimal _functools
    _heapq _io _json _operator _pickle _sqlite3 _sre _statistics _struct _weakref _pydecimal _weakrefset""".split()
)
_TRUSTED = frozenset(
    """attr attrs data_engine dateutil duckdb _duckdb fastexcel numpy openpyxl pandas polars _polars_runtime_32 polars_runtime_32
    pyarrow pytz tomlkit typing_extensions tzdata xlsxwriter yaml""".split()
)
_OS_FINE = frozenset(
    """DirEntry F_OK PathLike R_OK W_OK X_OK access altsep curdir devnull extsep fsdecode fsencode fspath getcwd lstat linesep
    link listdir makedirs mkdir name open close fdopen pardir path pathsep read readlink remove removedirs rename renames replace rmdir
    scandir sep stat strerror symlink unlink utime walk write chmod fsync truncate error""".split()
)
_SYS_FINE = frozenset(
    "byteorder float_info hash_info int_info maxsize maxunicode platform stderr stdout version version_info intern".split()
)
_DUCKDB_FINE = frozenset(
    """connect sql query execute from_query read_csv read_parquet read_json from_parquet from_csv_auto from_df from_arrow
    values col lit fn when coalesce star array_type decimal_type enum_type list_type map_type row_type sqltype string_type
    struct_type union_type dtype type sqltypes typing functional""".split()
)
_DATA_ENGINE_FINE = (
    "data_engine.flow",
    "data_engine.errors",
    "data_engine.helpers",
    "data_engine.model",
    "data_engine.duration",
)

_UNSEEN_BY_REASON = {
    "the clock": """
        datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today time
        pandas.Timestamp.now pandas.Timestamp.today pandas.Timestamp.utcnow""",
    "random numbers": "random secrets uuid.uuid1 uuid.uuid4 os.urandom numpy.random polars.set_random_seed",
    "this machine": "uuid.getnode",
    "the environment": "os.environ os.environb os.getenv os.getenvb",
    "a subprocess": "os.system os.popen subprocess multiprocessing",
    "the network": """
        socket ssl http urllib.request ftplib smtplib asyncio pandas.read_gbq polars.Catalog pyarrow.flight""",
    "a database through pandas": "pandas.read_sql pandas.read_sql_query pandas.read_sql_table",
    "the clipboard": "pandas.read_clipboard polars.read_clipboard",
    "code made while it runs (eval)": "builtins.eval",
    "code made while it runs (exec)": "builtins.exec",
    "code made while it runs (compile)": "builtins.compile",
    "names looked up while it runs (globals)": "builtins.globals",
    "names looked up while it runs (locals)": "builtins.locals",
    "modules named while it runs (__import__)": "builtins.__import__",
    "io.FileIO": "io.FileIO _io.FileIO",
    "the keyboard": "builtins.input builtins.breakpoint io.stdin",
    "addresses in memory (id)": "builtins.id",
    "another flow's run": "data_engine.Workspace data_engine.load_flow data_engine.discover_flows",
    "another flow's notebook": "data_engine.compile_notebook",
}
_UNSEEN_ITSELF = """
    numpy.lib pandas.ExcelFile pandas.HDFStore numpy.memmap numpy.DataSource sqlite3.Connection pyarrow.fs
    pyarrow.cuda pyarrow.OSFile pyarrow.MemoryMappedFile io.open_code marshal weakref
    contextvars logging.config xml.sax"""
_UNSEEN = {name: reason for reason, names in _UNSEEN_BY_REASON.items() for name in names.split()}
_UNSEEN |= {name: name for name in _UNSEEN_ITSELF.split()}
_OS_ALIAS = re.compile(r"^(posix|nt)\.")
_SEEN = frozenset(
    {"time.sleep", "time.strptime", "time.struct_time", "uuid.UUID", "data_engine.notebook.load._display"}
)
_LOOSE_BY_REASON = {
    "the clock": "now utcnow today writestr",
    "the network": "urlopen",
    "the environment": "getenv environ",
    "a subprocess": "popen",
    "a path given to deserialize": "deserialize",
    "names looked up while it runs (frames)": "f_globals f_locals",
    "names looked up while it runs (__globals__)": "__globals__",
    "names looked up while it runs (__builtins__)": "__builtins__",
    "places in the code": "tb_lineno tb_frame tb_next f_lineno f_back gi_frame co_firstlineno",
    "an extension of SQLite": "enable_load_extension",
    "classes looked up while it runs (__subclasses__)": "__subclasses__",
    "a reader of its own": "register_io_source",
}
LOOSE = {name: reason for reason, names in _LOOSE_BY_REASON.items() for name in names.split()}
"""Attributes that mean no good wherever they are read from; a false alarm costs one re-run."""


def is_authored(module: object) -> bool:
    """Whether the module of this name holds the author's code: a cell, a flow module, a helper, a file beside them."""
    if not isinstance(module, str) or not module or module.startswith("_cython_"):
        return False
    top = module.partition(".")[0]
    if top in ("__main__", "data_engine_flows"):
        return True
    if top in sys.stdlib_module_names or top in _TRUSTED:
        return False
    home = sys.modules.get(module) or sys.modules.get(top)
    if home is None:
        return _is_authored_on_disk(top)
    return _is_authored_file(
        getattr(home, "__file__", None) or next(iter(getattr(home, "__path__", ())), None), home.__name__
    )


def why_unseen(dotted: str) -> str | None:
    """Why the use of a library's name ("datetime.datetime.now") cannot be seen; None when it can.

    Example:
        >>> why_unseen("datetime.datetime.now"), why_unseen("requests.get"), why_unseen("polars.read_csv")
        ('the clock', 'requests', None)
    """
    dotted = _OS_ALIAS.sub("os.", dotted)
    if dotted in _SEEN:
        return None
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        reason = _UNSEEN.get(".".join(parts[:end]))
        if reason is not None:
            return reason
    top = parts[0]
    if top not in _TRUSTED and top not in _COMPUTING and parts[:2] != ["urllib", "parse"]:
        return top
    is_fine = _FINE_PARTS.get(top)
    if is_fine is None or len(parts) == 1 or not parts[1] or is_fine(parts[1], dotted):
        return None
    return dotted if top in ("_duckdb", "data_engine") else f"{top}.{parts[1]}"


_FINE_PARTS: dict[str, Callable[[str, str], bool]] = {
    "os": lambda part, dotted: part in _OS_FINE or part.startswith("O_"),
    "sys": lambda part, dotted: part in _SYS_FINE,
    "duckdb": lambda part, dotted: part in _DUCKDB_FINE or part[0].isupper(),
    "_duckdb": lambda part, dotted: not part[0].islower(),
    "data_engine": lambda part, dotted: not part.islower() or dotted.startswith(_DATA_ENGINE_FINE),
}
"""Libraries of which only some parts are fine: whether this one is, by its name and its whole dotted name."""


@lru_cache(maxsize=256)
def version_of(top: str) -> str:
    """The version of a library by its top-level name; "" where it has none."""
    if top in sys.stdlib_module_names:
        return sys.version
    version = getattr(sys.modules.get(top), "__version__", None)
    if isinstance(version, str):
        return version
    from importlib import metadata  # whose imports are a tenth of those of a process that compares

    try:
        return metadata.version(top)
    except metadata.PackageNotFoundError:
        return ""


@lru_cache(maxsize=1024)
def _is_authored_file(file: str | None, name: str) -> bool:
    if file is None:
        return name not in sys.builtin_module_names  # made in memory: by a cell, a test, a loader
    path = os.path.realpath(file)
    return not path.startswith(library_folders()) and not path.endswith((".so", ".pyd"))


@lru_cache(maxsize=256)
def _is_authored_on_disk(top: str) -> bool:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    folders = list(spec.submodule_search_locations or ())
    return _is_authored_file(spec.origin if spec.has_location else folders[0] if folders else None, top)


@lru_cache(maxsize=1)
def library_folders() -> tuple[str, ...]:
    """The folders of Python and installed packages, each with a separator at its end."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {os.path.realpath(sysconfig.get_path(name)) for name in names}
    folders |= {os.path.realpath(path) for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    return tuple(f"{path}{os.sep}" for path in sorted(folders))


Chain = tuple[str, ...]
"""A name and the attributes read from it: ("pl", "read_csv")."""

CLOCK_KEYS = frozenset({"started_at_utc", "step_outputs"})
"""Entries of `context.metadata` that differ from run to run or come from other steps."""

_SKIPPED = frozenset({"NOP", "CACHE", "PUSH_NULL"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_SUPER_ATTR"})
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"})
_FREE = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_CONSTANTS = frozenset({"LOAD_CONST", "RETURN_CONST", "KW_NAMES", "LOAD_SMALL_INT"})
_STORES = frozenset({"STORE_FAST", "STORE_DEREF", "STORE_NAME", "STORE_GLOBAL"})
_JUMPS = frozenset(dis.opname[op] for op in (*dis.hasjrel, *dis.hasjabs) if op < 256)
_SUBSCRIPT = 26
"""What `BINARY_OP` does for `a[b]`, from Python 3.14 on."""
_FAST = re.compile("(?:LOAD|STORE)_FAST(?:_BORROW)?")
_IDENTIFIER = re.compile(r"[^\W\d]\w*")


@dataclass(slots=True)
class CodeFacts:
    """One code object with all code nested in it.

    `globals` and `free` are chains that start at a global or a variable of an enclosing function; `imported` are the
    modules imported inside with their levels, and `imports` what is used of them; `mentions` every attribute name, `loose`
    those read from a value unknown before it runs; `strings` the text constants; `odd_metadata` whether
    `.metadata` is used in any other way than by a constant key that never changes.
    """

    digest: bytes = b""
    globals: set[Chain] = field(default_factory=set)
    free: set[Chain] = field(default_factory=set)
    imported: set[tuple[str, int]] = field(default_factory=set)
    imports: set[_Imported] = field(default_factory=set)
    mentions: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    strings: list[str] = field(default_factory=list)
    odd_metadata: bool = False


_Imported = tuple[str, int, Chain]


@lru_cache(maxsize=4096)
def code_facts(code: CodeType) -> CodeFacts:
    """The facts of `code`; equal code has equal facts.

    Example:
        >>> facts = code_facts((lambda context: max(context.current)).__code__)
        >>> facts.globals, sorted(facts.mentions)
        ({('max',)}, ['current'])
    """
    facts = CodeFacts()
    facts.digest = _read(code, facts, {})
    return facts


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


class _Instruction(NamedTuple):
    """An instruction of the interpreter with its argument: a constant, a name, the offset of a jump, or a number."""

    offset: int
    name: str
    value: Any


def _instructions(code: CodeType) -> list[_Instruction]:
    """The instructions of `code` that do something; two that the compiler fused because they stand on one line are two.

    `dis.get_instructions` gives the same, with texts and places that take ten times as long.
    """
    data, names, constants = code.co_code, code.co_names, code.co_consts
    variables = (
        *code.co_varnames,
        *(cell for cell in code.co_cellvars if cell not in code.co_varnames),
        *code.co_freevars,
    )
    instructions: list[_Instruction] = []
    extended = 0
    for offset in range(0, len(data), 2):
        name, kind, shift = _OPERATIONS[data[offset]]
        number = extended | data[offset + 1]
        extended = 0
        if name in _SKIPPED:
            continue
        value: Any = number
        if kind == "extended":
            extended = number << 8
            continue
        if kind == "name":
            value = names[number >> shift]
        elif kind == "constant":
            value = constants[number]
        elif kind == "variable":
            value = variables[number]
        elif kind == "jump":
            after = offset + 2
            while data[after : after + 1] == b"\0":  # what the interpreter notes there
                after += 2
            value = after + (-2 if "BACKWARD" in name else 2) * number
        elif kind == "fused":
            first, name = _FAST.findall(name)
            instructions.append(_Instruction(offset, first, variables[number >> 4]))
            value = variables[number & 15]
        instructions.append(_Instruction(offset, name, value))
    return instructions


def _operation(op: int) -> tuple[str, str, int]:
    """The name of an instruction, what its number stands for, and how many of its bits are flags: whether the loaded value is called
    at once, for example, which depends for `json.dumps(x)` on whether the same unit imports json."""
    name = dis.opname[op]
    kinds = {"constant": dis.hasconst, "name": dis.hasname, "jump": (*dis.hasjrel, *dis.hasjabs)}
    kind = next((kind for kind, ops in kinds.items() if op in ops), "")
    if op in dis.haslocal or op in dis.hasfree:
        kind = "variable" if len(_FAST.findall(name)) < 2 else "fused"
    shift = {"LOAD_GLOBAL": 1, "LOAD_ATTR": int(sys.version_info >= (3, 12)), "LOAD_SUPER_ATTR": 2}.get(name, 0)
    return name.replace("LOAD_METHOD", "LOAD_ATTR"), "extended" if name == "EXTENDED_ARG" else kind, shift


_OPERATIONS = [_operation(op) for op in range(256)]


def _read(code: CodeType, facts: CodeFacts, outer_imports: dict[str, set[_Imported]]) -> bytes:
    """Add the facts of `code` and of all code nested in it to `facts`; its digest."""
    instructions = _instructions(code)
    imported = _import_stores(instructions, outer_imports)
    _note_names(code, instructions, imported, facts)
    digest = hashlib.sha256(repr(_pieces(code, instructions)).encode("utf-8", "surrogatepass"))
    for instruction in instructions:
        if instruction.name in _CONSTANTS and isinstance(instruction.value, CodeType):
            digest.update(_read(instruction.value, facts, imported))
    return digest.digest()


def _pieces(code: CodeType, instructions: list[_Instruction]) -> list[object]:
    """The code as data, whatever its place: its shape, its handlers and each instruction with its argument."""
    shape = (code.co_name, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    handlers = getattr(dis.Bytecode(code), "exception_entries", ()) if code.co_exceptiontable else ()
    targets = {instruction.value for instruction in instructions if instruction.name in _JUMPS}
    targets.update(offset for entry in handlers for offset in entry[:3])
    places = _places(instructions, targets) if targets else {}
    pieces: list[object] = [shape, code.co_varnames, code.co_freevars, code.co_cellvars]
    pieces += [(*(places[offset] for offset in entry[:3]), *entry[3:]) for entry in handlers]
    for _, name, value in instructions:
        if name in _CONSTANTS:
            pieces.append(name if isinstance(value, CodeType) else (name, constant_bytes(value)))
        else:
            pieces.append((name, places[value] if name in _JUMPS else value))
    return pieces


def _note_names(
    code: CodeType, instructions: list[_Instruction], imported: dict[str, set[_Imported]], facts: CodeFacts
) -> None:
    """Note the names the code uses, with the attributes read from them, and its texts."""
    end = 0  # attributes before this position belong to a chain
    for position, (_, name, value) in enumerate(instructions):
        if name in _CONSTANTS:
            facts.strings += _texts(value)
        elif name in _ATTRIBUTE:
            facts.mentions.add(value)
            if position >= end:
                facts.loose.add(value)
            if value == "metadata" and not _is_plain_metadata(instructions[position + 1 : position + 4]):
                facts.odd_metadata = True
        elif name in _GLOBAL:
            attributes = _attributes_after(instructions, position)
            end = position + 1 + len(attributes)
            facts.globals.add((value, *attributes))
        elif name in _FREE or name.startswith("LOAD_FAST"):
            attributes = _attributes_after(instructions, position)
            if value in imported:
                facts.imports |= {(module, level, (*lead, *attributes)) for module, level, lead in imported[value]}
            elif name in _FREE and value in code.co_freevars:
                facts.free.add((value, *attributes))
            else:
                continue
            end = position + 1 + len(attributes)
        elif name == "IMPORT_NAME":
            facts.imported.add((value, _level(instructions, position)))
        elif name in ("STORE_ATTR", "DELETE_ATTR"):
            facts.mentions.add(value)


def _places(instructions: list[_Instruction], targets: set[int]) -> dict[int, int]:
    """The targets of jumps, each as the number of the next instruction that does something."""
    places: dict[int, int] = {}
    waiting = sorted(targets, reverse=True)
    for number, instruction in enumerate(instructions):
        while waiting and waiting[-1] <= instruction.offset:
            places[waiting.pop()] = number
    return places | dict.fromkeys(waiting, len(instructions))


def _attributes_after(instructions: list[_Instruction], position: int) -> Chain:
    end = position + 1
    while end < len(instructions) and instructions[end].name == "LOAD_ATTR":
        end += 1
    return tuple(instruction.value for instruction in instructions[position + 1 : end])


def _is_plain_metadata(after: list[_Instruction]) -> bool:
    """Whether `.metadata` is followed by `["key"]` or `.get("key"` with a key that never differs between runs."""
    if len(after) < 2:
        return False
    if after[0].name in _ATTRIBUTE and after[0].value == "get":
        key = after[1]
    elif after[1].name == "BINARY_SUBSCR" or after[1][1:] == ("BINARY_OP", _SUBSCRIPT):
        key = after[0]
    else:
        return False
    return key.name == "LOAD_CONST" and isinstance(key.value, str) and key.value not in CLOCK_KEYS


def _import_stores(instructions: list[_Instruction], outer: dict[str, set[_Imported]]) -> dict[str, set[_Imported]]:
    """Names bound by imports: `import a.b` binds a, `import a.b as c` binds a.b, `from a import b` binds a's b."""
    if not any(instruction.name == "IMPORT_NAME" for instruction in instructions):
        return outer
    bound = dict(outer)
    module, level, part, is_from = "", 0, None, False
    for position, (_, name, value) in enumerate(instructions):
        if name == "IMPORT_NAME":
            module, level, part = value, _level(instructions, position), None
            is_from = bool(instructions[position - 1].value)
        elif not module:
            continue
        elif name == "IMPORT_FROM":
            part = value
        elif name in _STORES:
            if is_from and part is not None:
                source: _Imported = (module, level, (part,))
            else:
                source = (module if part is not None else module.partition(".")[0], level, ())
            bound[value] = bound.get(value, set()) | {source}
            part = None
            module = module if is_from else ""
        elif (is_from and name == "POP_TOP") or name not in ("LOAD_CONST", "LOAD_SMALL_INT", "POP_TOP", "SWAP", "COPY"):
            module = ""
    return bound


def _level(instructions: list[_Instruction], position: int) -> int:
    value = instructions[position - 2].value if position >= 2 else 0
    return value if isinstance(value, int) else 0


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, (tuple, frozenset)):
        return [text for item in value for text in _texts(item)]
    return []
