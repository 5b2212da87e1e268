"""What keeps a flow from loading is told in its author's words, with what to write."""

from __future__ import annotations

import pytest

from data_engine import FlowValidationError, Workspace
from tests.support import WorkspaceFiles

STEPS = "from data_engine import Flow\ndef read(context):\n    return 1\ndef build():\n"
WINDOWS = 'from data_engine import Flow\ndef build():\n    return Flow(group="G").watch(mode="manual", source="C:\\Users\\anna")'


def error_of(ws: WorkspaceFiles) -> FlowValidationError:
    with pytest.raises(FlowValidationError) as caught:
        Workspace(ws.root).load_flow("claims")
    return caught.value


@pytest.mark.parametrize("kind", ["notebook", "module"])
def test_a_path_of_windows_is_told_with_two_ways_to_write_it(ws: WorkspaceFiles, kind: str) -> None:
    r"""`\U` begins a special letter."""
    getattr(ws, kind)("claims", WINDOWS)
    fix = error_of(ws).fix

    assert fix is not None
    assert 'write a path of Windows as r"C:\\Users\\anna" or "C:/Users/anna"'.replace("\\\\", "\\") in fix


def test_a_path_of_windows_in_another_cell_is_told_so_too(ws: WorkspaceFiles) -> None:
    """A flow needs that cell."""
    ws.notebook("claims", 'FOLDER = "C:\\Users\\anna"', WINDOWS.replace('"C:\\Users\\anna"', "FOLDER"))

    assert "C:/Users/anna" in str(error_of(ws).fix)


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        ("step(read())", "a step is given by its name, without brackets: .step(read)"),
        ('step(read(), save_as="a")', "a step is given by its name, without brackets: .step(read)"),
        ("map( read())", "a step is given by its name, without brackets: .map(read)"),
        ("step(print())", "give a function by its name, without brackets: .step(read)"),
    ],
)
def test_a_step_that_is_called_is_told_to_be_named(ws: WorkspaceFiles, call: str, fix: str) -> None:
    """Whether the call fails, or gives no function."""
    ws.notebook("claims", f"{STEPS}    return (\n        Flow(group='G')\n        .{call}\n    )")

    assert error_of(ws).fix == fix


@pytest.mark.parametrize(
    ("call", "verb"),
    [
        ("schedule", '.watch(mode="schedule", time="07:00")'),
        ("poll", '.watch(mode="poll", source="../in", interval="30s")'),
        ("output", '.mirror(root="../out")'),
        ("add_step", ".step(...)"),
    ],
)
def test_a_verb_that_is_guessed_names_the_one_that_does_it(ws: WorkspaceFiles, call: str, verb: str) -> None:
    ws.notebook("claims", f"{STEPS}    return Flow(group='G').step(read).{call}(1)")

    assert f"'Flow' object has no attribute '{call}': write {verb}" in error_of(ws).what


def test_another_call_without_its_argument_is_not_taken_for_a_step(ws: WorkspaceFiles) -> None:
    """It may be a function that makes one."""
    ws.notebook("claims", f"{STEPS}    one = read()\n    return Flow(group='G').step(one)")

    assert error_of(ws).fix is None


@pytest.mark.parametrize("inside", [False, True])
def test_a_name_that_a_helper_lacks_is_told_as_its_author_writes_it(ws: WorkspaceFiles, inside: bool) -> None:
    """At the top of the module as inside of a step."""
    ws.helper("prices", "def net(x):\n    return x\n\ndef gross(x):\n    return x")
    line = "from flow_helpers.prices import grosss"
    build = "from data_engine import Flow\ndef build():\n    return Flow(group='G').step(read)"
    head = f"def read(context):\n    {line}" if inside else f"{line}\ndef read(context):\n    return grosss(1)"
    ws.notebook("claims", f"{head}\n{build}")
    if inside:
        with pytest.raises(FlowValidationError) as caught:
            Workspace(ws.root).load_flow("claims").preview()
        error = caught.value
    else:
        error = error_of(ws)

    place = ws.modules / "flow_helpers" / "prices.py"
    assert f"cannot import name 'grosss' from 'flow_helpers.prices' ({place})" in error.what
    assert error.fix == "did you mean 'gross'?"
    assert "data_engine_flows" not in str(error)


def test_names_that_helpers_have_are_imported_whatever_they_are(ws: WorkspaceFiles) -> None:
    """A submodule, a name that a module makes when it is asked, all names, and a module of a circle."""
    ws.helper("__init__", "")
    ws.helper("one", "from flow_helpers import two\nX = 1")
    ws.helper("two", "from flow_helpers import one\ndef y(): return one.X + 1")
    ws.helper("lazy", "def __getattr__(name):\n    if name == 'Z': return 3\n    raise AttributeError(name)")
    head = "from flow_helpers import one, two\nfrom flow_helpers.lazy import Z\nfrom flow_helpers.two import *\n"
    ws.notebook("claims", f"{head}{STEPS.replace('return 1', 'return one.X, y(), Z')}    return Flow('G').step(read)")

    assert Workspace(ws.root).load_flow("claims").preview() == (1, 2, 3)


def test_a_circle_of_imports_is_told_as_one(ws: WorkspaceFiles) -> None:
    """No name is amiss then."""
    ws.helper("one", "values = 2\nfrom flow_helpers.two import y\nvalue = 1")
    ws.helper("two", "from flow_helpers.one import value\ny = 1")
    ws.notebook(
        "claims", f"from flow_helpers.one import value\n{STEPS.replace('1', 'value')}    return Flow('G').step(read)"
    )
    error = error_of(ws)

    assert "cannot import name 'value' from partially initialized module 'flow_helpers.one'" in error.what
    assert "circular import" in error.what
    assert error.fix is None
