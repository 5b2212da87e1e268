"""What of a folder of modules one of them needs: a look at one flow reads no other."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from data_engine.notebook.module_sets import module_digests, read_contents, read_module
from tests.support import notebook_bytes

LINES = (
    "import rates",
    "import years, odd",
    "from flow_helpers import tools",
    "from flow_helpers.deep.inner import x",
    "from . import tools",
    "import importlib; importlib.import_module('ra' + 'tes')",
    "import",
    "x = 1",
)
FILES = ("claims.py", "rates.py", "years.py", "flow_helpers/__init__.py", "flow_helpers/tools.py")
DEEP = ("flow_helpers/deep/inner.py", "flow_helpers/.hidden.py", "flow_helpers/table.csv", "odd.py/inside.txt")


def test_a_module_is_read_with_what_it_imports_and_nothing_else(tmp_path: Path) -> None:
    """Through helpers that import others, too."""
    (tmp_path / "flow_helpers").mkdir()
    texts = {
        "claims.ipynb": notebook_bytes("import years", "def build():\n    return years.FLOW"),
        "years.py": b"from flow_helpers.tools import FLOW",
        "flow_helpers/tools.py": b"FLOW = 1",
        "flow_helpers/other.py": b"",
        "parts.py": b"def build():\n    pass",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)

    assert sorted(read_module(tmp_path, "claims", cache_dir=None)) == [
        "claims.ipynb",
        "flow_helpers/tools.py",
        "years.py",
    ]
    assert read_module(tmp_path, "nobody", cache_dir=None) == {}


@given(st.dictionaries(st.sampled_from(FILES + DEEP), st.lists(st.sampled_from(LINES), max_size=2), min_size=1))
def test_the_digest_of_a_module_is_the_same_among_what_it_needs_and_among_all(files: dict[str, list[str]]) -> None:
    """Whatever imports what, by computed names too, with files that no set can hold beside them."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        for name, lines in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("\n".join(lines))
        found = module_digests(read_contents(folder)[0], folder, cache_dir=None)
        alone = {
            stem: module_digests(read_module(folder, stem, cache_dir=None), folder, cache_dir=None).get(stem)
            for stem in (*found, "nobody")
        }

    assert alone == {**found, "nobody": None}
