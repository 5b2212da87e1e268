"""What differs between systems is in one place, and each of the three is checked on every machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import data_engine
from tests.__main__ import TYPES
from tests.skips import skips, skips_of
from tests.sources import product_files
from tests.test_floors import all_imports

PACKAGE = Path(data_engine.__file__).parent
ROOT = PACKAGE.parent
WHERE_SYSTEMS_DIFFER = ("data_engine/platforms/", "data_engine/clock.py")
ASKS = {("sys", "platform"), ("os", "name"), ("platform", "system"), ("sys", "getwindowsversion"), ("os", "uname")}

IMPORTS_WHAT_KNOWS = re.compile(
    rf"import\b.*\b({'|'.join({module for module, _ in ASKS})})\b|from ({'|'.join({module for module, _ in ASKS})}) "
)

STARTS = {f"subprocess.{name}" for name in ("Popen", "run", "call", "check_call", "check_output")}


def questions_of(source: str) -> Iterator[int]:
    """The lines on which `source` asks which system this is, however it names the module."""
    if not IMPORTS_WHAT_KNOWS.search(source):
        return
    names: dict[str, str] = {}
    nodes = list(ast.walk(ast.parse(source)))
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (node.module, alias.name) in ASKS:
                    yield node.lineno
    for node in nodes:
        is_simple = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if is_simple and (names.get(node.value.id), node.attr) in ASKS:
            yield node.lineno


def test_nothing_else_asks_which_system_this_is() -> None:
    """Neither the package nor the JupyterLab extension; `hasattr(os, ...)` would only hide the question."""
    found = []
    for path in product_files():
        name, source = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        if not name.startswith(WHERE_SYSTEMS_DIFFER):
            found += [f"{name}:{line}" for line in questions_of(source)]
            if match := re.search(r"(has|get)attr\((os|signal|socket|subprocess),", source):
                found.append(f"{name}: {match[0]}...")

    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.platform",
        "from sys import platform",
        "import os as o\nif o.name == 'nt': pass",
        "import platform\nplatform.system()",
    ],
)
def test_the_reader_of_questions_sees_every_spelling(source: str) -> None:
    """A checker that overlooks one would pass everything."""
    assert list(questions_of(source)), source
    assert not list(questions_of("import sys, os\nsys.path, os.names, path.name"))


def starts_of(source: str) -> Iterator[int]:
    """The lines on which `source` starts a process without saying how it stands to this one's console."""
    for node in ast.walk(ast.parse(source)) if "subprocess" in source else ():
        if isinstance(node, ast.Call) and all(one.arg for one in node.keywords) and ast.unparse(node.func) in STARTS:
            yield node.lineno


def test_no_process_shows_a_window_on_windows() -> None:
    """A daemon has no console, and each program of the console that it starts would open one; `apart()` says that none is wanted."""
    found = []
    for path in product_files():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(WHERE_SYSTEMS_DIFFER):
            found += [f"{name}:{line}" for line in starts_of(path.read_text(encoding="utf-8"))]

    assert found == []
    assert list(starts_of("import subprocess\nsubprocess.run(['git'], check=False)")) == [2]
    assert not list(starts_of("import subprocess\nsubprocess.run(['git'], check=False, **apart())"))


READ_FILES_OF_USERS = (
    *(
        "compare/*",
        "engine/**/*",
        "flow/*",
        "helpers/**/*",
        "plan/*",
        "planning/*",
        "proof/*",
        "scheduler/*",
        "storage_version",
    ),
    *(f"notebook/{name}" for name in ("catalog", "compile", "load", "locate", "module_sets", "flow_files")),
    *("workspace/layout", "workspace/settings"),
)
"""What looks into sources, outputs, notebooks and settings while somebody works on them."""


def plain_reads_of(source: str) -> Iterator[int]:
    """The lines on which `source` opens a file to read it so that on Windows nobody may rename or delete it meanwhile."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called, opener = ast.unparse(node.func), any(one.arg == "opener" for one in node.keywords)
        modes = [one.value for one in node.args[called in ("open", "io.open") :] if isinstance(one, ast.Constant)]
        is_to_write = any(isinstance(mode, str) and set(mode) & set("wxa") for mode in modes)
        is_member = called.endswith(".open") and bool(node.args) and not modes  # of an archive; `os.open` has flags
        is_open = called in ("open", "io.open", "os.open") or (called.endswith(".open") and not is_member)
        if (is_open and not opener and not is_to_write) or re.search(
            r"\.read_(bytes|text)$|^shutil\.copy(2|file)?$|^zipfile\.is_zipfile$|^filecmp\.", called
        ):
            yield node.lineno


def test_who_reads_a_file_of_a_user_lets_them_rename_and_delete_it() -> None:
    """On Windows a plain `open` forbids both: Excel could not save a source while its hash is computed. Elsewhere to close what it
    opened lets go of all locks that this process has on the file."""
    files = [path for name in READ_FILES_OF_USERS for path in PACKAGE.glob(f"{name}.py")]
    found = [f"{path}:{line}" for path in files for line in plain_reads_of(path.read_text(encoding="utf-8"))]
    by_itself = [one for one in all_imports() if one.imported == "data_engine.platforms.copies"]

    assert (len(files) > 100, found) == (True, [])
    assert {one.importer for one in by_itself} == {"data_engine.user_files", "data_engine.helpers.duckdb.connection"}


@pytest.mark.parametrize(
    ("line", "is_plain"),
    [
        ("open(path, 'rb')", True),
        ("open(path)", True),
        ("path.open('rb')", True),
        ("path.open()", True),
        ("path.read_bytes()", True),
        ("Path(path).read_text(encoding='utf-8')", True),
        ("os.open(path, flags)", True),
        ("shutil.copy2(path, target)", True),
        ("filecmp.cmp(path, other)", True),
        ("open(path, 'rb', opener=open_shared)", False),
        ("open_to_read(path)", False),
        ("content_of(path)", False),
        ("open(path, 'wb')", False),
        ("book.open(part)", False),
    ],
)
def test_the_reader_of_reads_tells_plain_ones(line: str, is_plain: bool) -> None:
    assert bool(list(plain_reads_of(line))) is is_plain


def test_what_is_skipped_on_windows_says_why_and_its_twin_is_there() -> None:
    """`python -m tests.skips` shows it; a mark that asks how this process is of another system is seen, too."""
    found = list(skips())

    assert [f"{one.file}:{one.line}" for one in found if not one.reason] == []
    assert [f"{one.file}:{one.line} {twin}" for one in found for twin in one.twins if not (ROOT / twin).exists()] == []
    assert {"tests/files/test_private.py", "tests/ledger/test_locks.py"} <= {one.file for one in found}


@pytest.mark.parametrize(
    ("condition", "is_skipped"),
    [
        ("sys.platform == 'win32'", True),
        ("os.name != 'posix' or os.geteuid() == 0", True),
        ("not hasattr(os, 'fork')", True),
        ("sys.platform != 'win32'", False),
        ("sys.platform == 'darwin'", False),
        ("not ON_WINDOWS", False),
    ],
)
def test_a_mark_is_read_as_windows_reads_it(condition: str, is_skipped: bool) -> None:
    source = f"mine = pytest.mark.skipif({condition}, reason='r; tests/a.py is the twin')\n@mine\ndef test_a(): ..."

    found = [(one.tests, one.line, one.twins) for one in skips_of(source)]
    assert found == [("test_a", 1, ["tests/a.py"])] * is_skipped


def test_types_are_checked_for_every_system() -> None:
    """With each run of the tests, whatever it runs on."""
    checked = {check[2] for check in TYPES if check[:2] == ("mypy", "--platform")}

    assert checked == {"linux", "darwin", "win32"}


FACES = sorted(path.stem for path in (PACKAGE / "platforms").glob("[a-z]*.py"))


@pytest.mark.parametrize("face", FACES)
def test_both_implementations_have_the_same_face(face: str) -> None:
    """What one system lacks is said by its function, not by its absence."""
    paths = [PACKAGE / "platforms" / f"{name}.py" for name in (face, f"_{face}_windows")]
    modules = [ast.parse(path.read_text("utf-8")).body for path in paths if path.exists()]
    halves = [
        node for node in modules[0] if isinstance(node, ast.If) and node.orelse and "win32" in ast.dump(node.test)
    ]
    posix = [node for half in halves for node in half.orelse]
    windows = [node for nodes in ([half.body for half in halves], modules[1:]) for body in nodes for node in body]
    public = {
        system: {node.name: _shape(node) for node in _definitions(nodes)}
        for system, nodes in (("posix", posix), ("windows", windows))
    }
    wanted = {name for name in public["posix"] if name[0] != "_"}

    assert {name: public["windows"].get(name) for name in wanted} == {name: public["posix"][name] for name in wanted}


def _definitions(nodes: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in nodes:
        if isinstance(node, ast.If):
            yield from (inner for inner in node.body if isinstance(inner, (ast.FunctionDef, ast.ClassDef)))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node


def _shape(node: ast.FunctionDef | ast.ClassDef) -> object:
    """The arguments of a function; of a class, those of its public methods."""
    if isinstance(node, ast.FunctionDef):
        return ast.unparse(node.args)
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
    return {one.name: _shape(one) for one in methods if one.name[0] != "_" or one.name == "__init__"}
