"""The path tables of `context.source` and `context.mirror`, and that two sources never write one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.flow.locations import InPlace, MirrorContext, SourceContext
from tests.flow.running import failing, files_in

NO_FILE = "concrete source file"


def source_of(kind: str, root: Path) -> SourceContext:
    """What a run has for a file of a folder, for a single-file source, and for a batch."""
    path = root / "a/b.xlsx"
    return {
        "folder": SourceContext(root, path, Path("a/b.xlsx")),
        "single": SourceContext(root / "a", path, Path("b.xlsx")),
        "batch": SourceContext(root),
    }[kind]


def mirror_of(kind: str, root: Path, mirror: Path) -> MirrorContext:
    path = root / "a/b.xlsx"
    return {
        "folder": MirrorContext(mirror, path, Path("a/b.xlsx")),
        "single": MirrorContext(mirror, path, Path("b.xlsx"), has_siblings=False),
        "batch": MirrorContext(mirror),
    }[kind]


EXPRESSIONS: dict[str, Callable[[Any], Path]] = {
    ".dir": lambda where: where.dir,
    ".folder": lambda where: where.folder,
    ".with_suffix": lambda where: where.with_suffix(".json"),
    ".with_extension": lambda where: where.with_extension("JSON"),
    ".file": lambda where: where.file("n.json"),
    ".file sub": lambda where: where.file("sub/n.json"),
    ".namespaced_file": lambda where: where.namespaced_file("n.json"),
    ".root_file": lambda where: where.root_file("l.csv"),
}
SOURCE_TABLE = {  # expression: folder, single-file, batch
    ".dir": ("a/b", "a/b", "."),
    ".folder": ("a", "a", "."),
    ".with_suffix": ("a/b.json", "a/b.json", NO_FILE),
    ".with_extension": ("a/b.json", "a/b.json", NO_FILE),
    ".file": ("a/n.json", "a/n.json", "n.json"),
    ".file sub": ("a/sub/n.json", "a/sub/n.json", "sub/n.json"),
    ".namespaced_file": ("a/b/n.json", "a/b/n.json", NO_FILE),
    ".root_file": ("l.csv", "a/l.csv", "l.csv"),
}
MIRROR_TABLE = {
    ".dir": ("a/b", "b", "."),
    ".folder": ("a", ".", "."),
    ".with_suffix": ("a/b.json", "b.json", NO_FILE),
    ".with_extension": ("a/b.json", "b.json", NO_FILE),
    ".file": ("a/n.json", "n.json", "n.json"),
    ".file sub": ("a/sub/n.json", "sub/n.json", "sub/n.json"),
    ".namespaced_file": ("a/b/n.json", "b/n.json", "n.json"),
    ".root_file": ("l.csv", "l.csv", "l.csv"),
}
KINDS = ("folder", "single", "batch")


def rows(table: dict[str, tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(name, kind, cells[number]) for name, cells in table.items() for number, kind in enumerate(KINDS)]


@pytest.mark.parametrize(("expression", "kind", "expected"), rows(SOURCE_TABLE))
def test_the_source_table(tmp_path: Path, expression: str, kind: str, expected: str) -> None:
    """Every row for every kind of run; reading a path creates nothing."""
    root = files_in(tmp_path / "R", "a/b.xlsx")
    source = source_of(kind, root)

    if expected is NO_FILE:
        assert NO_FILE in failing(lambda: EXPRESSIONS[expression](source)).what
    else:
        assert EXPRESSIONS[expression](source) == root / expected

    assert sorted(path.name for path in root.rglob("*")) == ["a", "b.xlsx"]


@pytest.mark.parametrize(("expression", "kind", "expected"), rows(MIRROR_TABLE))
def test_the_mirror_table(tmp_path: Path, expression: str, kind: str, expected: str) -> None:
    """Every row for every kind of run; the folder to write to is there when the path is handed out, and the file not."""
    root, mirror = files_in(tmp_path / "R", "a/b.xlsx"), tmp_path / "M"
    target = mirror_of(kind, root, mirror)

    if expected is NO_FILE:
        assert NO_FILE in failing(lambda: EXPRESSIONS[expression](target)).what
        assert not mirror.exists()
        return
    path = EXPRESSIONS[expression](target)

    assert path == mirror / expected
    if expression in (".dir", ".folder"):
        assert path.is_dir()
    else:
        assert path.parent.is_dir()
        assert not path.exists()


def test_only_the_last_extension_is_replaced() -> None:
    """`c.tar.gz` becomes `c.tar.json`; a compound one may be given."""
    source = SourceContext(Path("/R"), Path("/R/c.tar.gz"), Path("c.tar.gz"))

    assert source.with_suffix("json") == Path("/R/c.tar.json")
    assert source.with_suffix(".csv.gz") == Path("/R/c.tar.csv.gz")
    assert source.dir == Path("/R/c.tar")


@pytest.mark.parametrize(
    ("suffix", "words"), [("", "Empty extension"), (".", "Empty extension"), (None, "an extension")]
)
def test_a_blank_extension_is_refused(tmp_path: Path, suffix: Any, words: str) -> None:
    """In source and mirror."""
    root = files_in(tmp_path / "R", "a/b.xlsx")
    assert words in failing(lambda: source_of("folder", root).with_suffix(suffix)).what
    assert words in failing(lambda: mirror_of("folder", root, tmp_path / "M").with_extension(suffix)).what
    assert not (tmp_path / "M").exists()


@pytest.mark.parametrize("method", ["file", "namespaced_file", "root_file"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/x", "name must be relative"),
        ("", "non-empty"),
        ("  ", "non-empty"),
        (".", "inside its folder"),
        ("../../../x", "inside its folder"),
        (None, "cannot be NoneType"),
    ],
)
def test_names_never_leave_the_root(tmp_path: Path, method: str, name: Any, words: str) -> None:
    """Absolute, blank and escaping names are refused before anything is created; the error names the method."""
    root = files_in(tmp_path / "R", "a/b.xlsx")
    for where, target in (("source", source_of("folder", root)), ("mirror", mirror_of("folder", root, tmp_path / "M"))):
        error = failing(lambda target=target: getattr(target, method)(name))  # type: ignore[misc]

        assert words in error.what
        assert error.where == f"{where}.{method}"
    assert not (tmp_path / "M").exists()


def test_dots_that_stay_inside_are_allowed(tmp_path: Path) -> None:
    """A file for the year beside the month folders, for instance."""
    root = files_in(tmp_path / "R", "a/b.xlsx")

    assert source_of("folder", root).file("../n.json") == root / "n.json"
    assert mirror_of("folder", root, tmp_path / "M").namespaced_file("../../n.json") == tmp_path / "M/n.json"


def test_a_mirror_folder_that_leads_out_is_refused(tmp_path: Path) -> None:
    """A link in the mirror does not carry a named file out of it."""
    (tmp_path / "M").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "M/a").symlink_to(tmp_path / "elsewhere")

    error = failing(lambda: mirror_of("folder", tmp_path / "R", tmp_path / "M").file("n.json"))

    assert "inside its folder" in error.what
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_in_the_way_of_a_mirror_folder_is_an_error_with_its_fix(tmp_path: Path) -> None:
    """No raw FileExistsError or NotADirectoryError."""
    files_in(tmp_path / "M", "a")

    error = failing(lambda: mirror_of("folder", tmp_path / "R", tmp_path / "M").file("n.json"))

    assert "cannot be created" in error.what
    assert "no file is in the way" in str(error.fix)


def test_whoever_watches_the_mirror_is_asked_before_anything_is_created(tmp_path: Path) -> None:
    """A preview can refuse before the first folder is made."""

    class Refusing(InPlace):
        def enter(self, place: Path, *, is_folder: bool) -> None:
            raise PermissionError(str(place))

    mirror = MirrorContext(tmp_path / "M", None, Path("a/b.xlsx"), places=Refusing())
    for expression in EXPRESSIONS.values():
        with pytest.raises(PermissionError):
            expression(mirror)

    assert not (tmp_path / "M").exists()


def test_no_target_is_the_source_file_itself(tmp_path: Path) -> None:
    """Also where the mirror may lie around it: beside a single file, or above the source folder."""
    single = mirror_of("single", tmp_path / "R", tmp_path / "R/a")
    above = mirror_of("folder", tmp_path / "M/R", tmp_path / "M")

    for call in (
        lambda: single.file("b.xlsx"),
        lambda: single.with_suffix(".xlsx"),
        lambda: above.root_file("R/a/b.xlsx"),
        lambda: above.file("../R/a/b.xlsx"),
    ):
        assert "the source file itself" in failing(call).what
    assert single.with_suffix(".parquet") == tmp_path / "R/a/b.parquet"


# -- one stem, two sources ---------------------------------------------------------------------------------------------


def mirror_for(root: Path, name: str, *extensions: str) -> MirrorContext:
    return MirrorContext(root.parent / "M", root / name, Path(name), extensions or None)


DERIVED = (".with_suffix", ".with_extension", ".namespaced_file")


@pytest.mark.parametrize("expression", DERIVED)
def test_the_second_of_two_sources_with_one_stem_is_refused(tmp_path: Path, expression: str) -> None:
    """The first in sort order keeps the target; the other's error names both and offers a name of one's own."""
    root = files_in(tmp_path / "R", "sales/a.csv", "sales/a.xlsx")

    assert EXPRESSIONS[expression](mirror_for(root, "sales/a.csv")).is_relative_to(tmp_path / "M/sales")
    error = failing(lambda: EXPRESSIONS[expression](mirror_for(root, "sales/a.xlsx")))

    assert "a.csv" in error.what
    assert "a.xlsx" in error.what
    assert "mirror.file('a.xlsx.json')" in str(error.fix)


def test_the_offered_name_works_and_chosen_names_are_shared(tmp_path: Path) -> None:
    """`file` and `root_file` are the author's own business."""
    root = files_in(tmp_path / "R", "a.csv", "a.xlsx")
    for name in ("a.csv", "a.xlsx"):
        assert mirror_for(root, name).file("a.xlsx.json") == tmp_path / "M/a.xlsx.json"
        assert mirror_for(root, name).root_file("all.json") == tmp_path / "M/all.json"


@pytest.mark.parametrize(
    "other",
    ["a.bak/x", ".a.csv", "~$a.csv", "a.part", "a.tmp", "b.csv", "sub/a.csv", "a.zip", "a.csv.gz", "aa.csv", "a-b.csv"],
)
def test_what_is_no_earlier_candidate_of_the_folder_does_not_count(tmp_path: Path, other: str) -> None:
    """Folders, hidden and temporary files, other stems, other folders, later names."""
    root = files_in(tmp_path / "R", "a.xlsx", other)

    assert mirror_for(root, "a.xlsx").with_suffix(".parquet") == tmp_path / "M/a.parquet"


def test_the_extension_filter_counts(tmp_path: Path) -> None:
    """A file the flow does not take cannot collide; case is ignored, as in watching."""
    root = files_in(tmp_path / "R", "a.CSV", "a.xlsx")

    assert mirror_for(root, "a.xlsx", ".xlsx").with_suffix("parquet") == tmp_path / "M/a.parquet"
    failing(lambda: mirror_for(root, "a.xlsx", ".xlsx", ".csv").with_suffix("parquet"))


def test_a_collision_that_appears_or_goes_away_is_seen(tmp_path: Path) -> None:
    """The folder is looked at again when it has changed."""
    root = files_in(tmp_path / "R", "a.xlsx")
    assert mirror_for(root, "a.xlsx").with_suffix("parquet")

    files_in(root, "a.csv")
    _touch(root, 1)
    failing(lambda: mirror_for(root, "a.xlsx").with_suffix("parquet"))

    (root / "a.csv").unlink()
    _touch(root, 2)
    assert mirror_for(root, "a.xlsx").with_suffix("parquet")


def _touch(folder: Path, second: int) -> None:
    import os

    os.utime(folder, (1_700_000_000 + second, 1_700_000_000 + second))


def test_a_folder_that_is_gone_is_no_collision(tmp_path: Path) -> None:
    """The source's folder may vanish during the run; the output is still welcome."""
    assert mirror_for(tmp_path / "gone", "a.xlsx").with_suffix("parquet") == tmp_path / "M/a.parquet"


@given(
    st.sets(st.sampled_from(["a.csv", "a.xlsx", "a.txt", "a", "b.csv", "b.txt", "a.csv.gz", "a.csv.zip"]), min_size=1)
)
def test_no_two_candidates_ever_get_one_derived_target(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    """Whatever lies in a folder, the accepted targets are all different, and the first of each stem gets one."""
    root = files_in(tmp_path_factory.mktemp("one") / "R", *names)
    targets: list[Path] = []
    refused = 0
    for name in names:
        try:
            targets.append(mirror_for(root, name).with_suffix(".parquet"))
        except ValueError:
            refused += 1

    assert len(set(targets)) == len(targets)
    assert {target.name for target in targets} == {Path(name).stem + ".parquet" for name in names}
    assert refused == len(names) - len(targets)
