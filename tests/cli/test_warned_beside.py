"""`compile` and `deploy` warn of what stands beside a notebook: secrets in the modules it imports, names that differ only in case."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FLOW = "def build():\n    return Flow(group='G').step(lambda context: open_shop())"
PLACE = "flow_helpers/shop.py, line 3: `TOKEN` holds a secret as plain text"
TEXT = "h4rd-to-guess"


@pytest.fixture(autouse=True)
def flows(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two flows that use a helper with a secret, one that does not, and a helper that nobody imports."""
    ws.helper("shop", f"import places\n\nTOKEN = '{TEXT}'\n\ndef open_shop():\n    return TOKEN")
    ws.helper("unused", f"PASSWORD = '{TEXT}'")
    ws.module("places", f"SHOP_PASSWORD = '{TEXT}'")
    for name in ("claims", "parts"):
        ws.notebook(name, "from data_engine import Flow\nfrom flow_helpers.shop import open_shop", FLOW)
    ws.notebook("plain", "from data_engine import Flow\nopen_shop = print", FLOW)
    monkeypatch.chdir(ws.root)


def test_a_secret_in_an_imported_module_is_warned_of_by_file_and_line(cli: Cli) -> None:
    """By `compile` and `deploy`; in helpers and in what they import, not in those that the flow does not use."""
    for words in (("compile", "claims"), ("compile", "--check", "claims"), ("deploy", "claims")):
        answer = cli(*words)
        said = answer.out + answer.err
        assert answer.code in (0, 1)  # --check: it is not deployed
        assert said.count(PLACE) == 1
        assert said.count("places.py, line 1: `SHOP_PASSWORD` holds a secret") == 1
        assert "secret set" in said
        assert "`PASSWORD`" not in said
        assert TEXT not in said

    plain = cli("compile", "plain")
    assert "secret" not in plain.out + plain.err


def test_each_place_is_told_whole_once(cli: Cli) -> None:
    """Where several flows use the module, the others name the place."""
    compiled = cli("compile")
    assert compiled.out.count(PLACE) == 1
    assert compiled.out.count("warning: as above: flow_helpers/shop.py, line 3\n") == 1
    assert "3 modules, 0 broken, 2 with warnings" in compiled.out

    assert cli("deploy", "--yes").err.count(PLACE) == 1


def test_an_edit_of_the_helper_is_seen(cli: Cli, ws: WorkspaceFiles) -> None:
    """Though nothing of the notebook changed, and what was known of it is kept."""
    assert PLACE in cli("compile").out
    ws.helper("shop", "def open_shop():\n    return 1\n")

    assert "secret" not in cli("compile").out
    assert "secret" not in cli("compile", "claims").out


def test_a_python_module_is_looked_at_itself(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.module("code", f"from data_engine import Flow\nAPI_KEY = '{TEXT}'\n{FLOW}\nopen_shop = print")

    for words in (("compile", "code"), ("deploy", "code")):
        answer = cli(*words)
        assert "code.py, line 2: `API_KEY` holds a secret as plain text" in answer.out + answer.err


def test_json_names_the_file(cli: Cli) -> None:
    told = cli("compile", "claims", "--json").json["warnings"]

    assert [(one["file"], one["cell"], one["line"]) for one in told] == [
        ("flow_helpers/shop.py", None, 3),
        ("places.py", None, 1),
    ]
    assert all(one["fix"].startswith("keep it with") for one in told)


@pytest.mark.parametrize("words", [("compile", "Claims"), ("compile", "--check", "Claims"), ("deploy", "Claims")])
def test_names_that_differ_only_in_case_are_warned_of_for_one_alone(
    cli: Cli, ws: WorkspaceFiles, words: tuple[str, ...]
) -> None:
    """As for all of them: a colleague on Windows or macOS gets one of the two."""
    ws.notebook("Claims", "from data_engine import Flow\nopen_shop = print", FLOW)
    if len([*ws.modules.glob("*.ipynb")]) == 3:
        pytest.skip("this system holds one of them")

    answer = cli(*words)

    assert (answer.out + answer.err).count("Claims and claims differ only in upper and lower case") == 1


@pytest.mark.parametrize(
    "words", [("compile", "claims"), ("compile", "--check", "claims"), ("deploy", "claims"), ("show", "claims")]
)
def test_a_module_that_hides_a_library_the_flow_imports_is_warned_of(
    cli: Cli, ws: WorkspaceFiles, words: tuple[str, ...]
) -> None:
    """By every verb, also where a helper imports it; one that nobody imports hides nothing."""
    ws.module("polars", "X = 1")
    ws.module("statistics", "X = 1")
    ws.module("calendar", "X = 1")
    ws.helper("shop", "import polars\nimport statistics\nopen_shop = print")

    answer = cli(*words)

    told = " ".join((answer.out + answer.err).split())
    assert "polars.py hides the installed package polars: `import polars` means this file here (rename it)" in told
    assert "statistics.py hides the module statistics of Python" in told
    assert "calendar.py hides" not in told


def test_a_file_beside_a_notebook_of_its_name_is_named_and_is_no_edit(cli: Cli, ws: WorkspaceFiles) -> None:
    assert cli("deploy", "plain").code == 0
    ws.module("plain", 'print("only a test")')

    for words in (("show", "plain"), ("compile", "plain"), ("compile", "--check", "plain"), ("deploy", "plain")):
        answer = cli(*words)
        told = " ".join((answer.out + answer.err).split())
        assert "plain.py is beside plain.ipynb but is not part of it: the flow is plain.ipynb alone" in told, words
        assert "edited, not deployed" not in told, words
