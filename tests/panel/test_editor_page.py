"""In an editor's page, such as a notebook's output in VS Code: its colours, and its keys that are not the panel's."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.view.card import Card
from jupyter_extension.assets import panel_css, panel_js
from jupyter_extension.html import CONTROLS, TOKENS, html
from jupyter_extension.panel import first_look

VSCODE = "--vscode-editor-foreground:rgb(1,2,3);--vscode-editor-background:rgb(4,5,6);"
JUPYTER = "--jp-ui-font-color1:rgb(7,8,9);--jp-layout-color1:rgb(10,11,12);"

MOUNT = """
async ([script, view]) => {
    const module = await (await import(`data:text/javascript;base64,${script}`)).load();
    const transport = {
        root: view.workspace_root, kind: 'still', at: () => transport, call: async () => ({ result: {} }),
        hello: async () => ({ workspaces: [] }),
        subscribe: (listen) => { window.tell = listen; listen({ kind: 'view', view }); return () => {}; },
    };
    module.mount(document.querySelector('#panel'), transport);
    window.heard = [];
    window.addEventListener('keydown', (event) => window.heard.push((event.ctrlKey ? 'Control+' : '') + event.key));
}
"""


@pytest.fixture
def editor(browser: Any) -> Iterator[Any]:
    page = browser.new_page(color_scheme="dark")
    page.set_default_timeout(8000)
    yield page
    page.close()


def shown(editor: Any, variables: str) -> dict[str, list[str]]:
    """What a page that defines these variables shows: colour and background of a card and of a panel."""
    editor.set_content(
        f"<style>html{{{variables}}}{panel_css()}</style>{html(Card('Claims'))}<div id='panel' class='de-panel'></div>"
    )
    found: dict[str, list[str]] = editor.evaluate(
        """() => Object.fromEntries(['de-card', 'de-panel'].map((name) => {
            const style = getComputedStyle(document.querySelector(`.${name}`));
            return [name, [style.color, style.backgroundColor]];
        }))"""
    )
    return found


@pytest.mark.parametrize(
    ("variables", "colour", "back"),
    [
        pytest.param(VSCODE + JUPYTER, "rgb(1, 2, 3)", "rgb(4, 5, 6)", id="VS Code, which defines Jupyter's names too"),
        pytest.param(JUPYTER, "rgb(7, 8, 9)", "rgb(10, 11, 12)", id="Jupyter"),
        pytest.param("", "rgb(227, 227, 227)", "rgb(30, 30, 30)", id="neither, and a dark system"),
    ],
)
def test_colours_are_those_of_the_editor_around(editor: Any, variables: str, colour: str, back: str) -> None:
    """A display has no background of its own; the panel has."""
    found = shown(editor, variables)

    assert found == {"de-card": [colour, "rgba(0, 0, 0, 0)"], "de-panel": [colour, back]}


def test_every_colour_asks_vs_code_first() -> None:
    """One mapping for all: each colour once, VS Code's names before Jupyter's."""
    tokens = (*TOKENS, *CONTROLS)

    assert len({token.name for token in tokens}) == len(tokens)
    assert all(token.themes.startswith("--vscode-") for token in tokens)
    assert all("--vscode-" not in token.themes.partition("--jp-")[2] for token in tokens)


def test_no_other_place_names_a_theme_colour() -> None:
    """The style's own rules name what a colour is for, and nobody's theme; sizes may be Jupyter's."""
    own = panel_css().partition("\n")[2]
    own = "\n".join(
        rule for rule in own.splitlines() if not rule.startswith(".jp-")
    )  # JupyterLab's own tab of the panel

    assert "--vscode-" not in own
    assert {word.split(",")[0].rstrip(")") for word in own.split("var(")[1:] if word.startswith("--jp-")} <= {
        "--jp-ui-font-size0",
        "--jp-ui-font-size1",
        "--jp-ui-font-size2",
        "--jp-code-font-size",
    }


def test_keys_meant_for_the_panel_are_not_the_notebooks(editor: Any, tmp_path: Path) -> None:
    """VS Code hears what reaches the window, and there "d d" deletes the cell; its own keys with Ctrl still reach it."""
    _, view = first_look(Workspace.create(tmp_path / "claims"))
    shown(editor, VSCODE)
    editor.evaluate(MOUNT, [base64.b64encode(panel_js().encode()).decode(), view])
    search = editor.get_by_label("Search flows")
    search.focus()
    for key in ("d", "d", "ArrowDown", "Enter", "Control+Enter", "Control+s", "F1"):
        editor.keyboard.press(key)

    assert search.input_value() == "dd"
    assert search.evaluate("(search) => search === document.activeElement")  # what it does not find has not been chosen
    assert [key for key in editor.evaluate("window.heard") if not key.endswith("Control")] == ["Control+s", "F1"]


def test_keys_stay_in_the_panel_when_what_had_the_focus_has_gone(editor: Any, tmp_path: Path) -> None:
    """Another one undeploys the flow that is chosen: the keys that follow are not the notebook's."""
    _, view = first_look(Workspace.create(tmp_path / "claims"))
    shown(editor, VSCODE)
    editor.evaluate(MOUNT, [base64.b64encode(panel_js().encode()).decode(), view])
    editor.get_by_role("button", name="Example", exact=False).first.focus()
    editor.evaluate("(view) => window.tell({ kind: 'view', view })", view | {"flows": {}})
    editor.locator(".de-row").wait_for(state="detached")
    for key in ("d", "d"):
        editor.keyboard.press(key)

    assert editor.evaluate("window.heard") == []


RENDER = """
async (script) => {
    const module = await import(`data:text/javascript;base64,${script}`);
    const model = { get: () => ({ root: '/claims' }), on: () => {}, off: () => {}, send: () => {} };
    await module.default.render({ model, el: document.querySelector('#cell') });
    const panel = document.querySelector('#cell .de-panel');
    return [panel.offsetHeight, getComputedStyle(panel).borderTopWidth];
}
"""


def test_the_panel_under_a_cell_has_a_frame_and_a_height_of_its_own(editor: Any) -> None:
    """Also where the page around names nothing as JupyterLab does: a long list scrolls in it."""
    editor.set_content(f"<style>{panel_css()}</style><div id='cell'></div>")

    assert editor.evaluate(RENDER, base64.b64encode(panel_js().encode()).decode()) == [540, "1px"]
