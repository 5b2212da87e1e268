"""The panel's front-end as text: its modules joined into the one that anywidget and the labextension load."""

from __future__ import annotations

import json
from pathlib import Path

from jupyter_extension.colours import CONTROLS, TOKENS, rules
from jupyter_extension.marks import Mark, icon_svg

_STATIC = Path(__file__).parent / "static"
_PARTS = ("dom.js", "transport.js", "format.js", "flows.js", "flow_details.js", "outputs.js", "settings.js", "panel.js")


def panel_js() -> str:
    """One ES module: the parts in order, each without its imports and exports of the others, and the shapes of the marks."""
    lines = [f"const SHAPES = {json.dumps(_shapes())};"]
    for name in _PARTS:
        for line in (_STATIC / name).read_text(encoding="utf-8").splitlines():
            if line.startswith("import "):
                continue
            lines.append(line.removeprefix("export ") if name != _PARTS[-1] else line)
    return "\n".join(lines) + "\n"


def panel_css() -> str:
    """The panel's style, with the colours it shares with the displays."""
    return rules(".de-panel", (*TOKENS, *CONTROLS)) + "\n" + (_STATIC / "panel.css").read_text(encoding="utf-8")


def _shapes() -> dict[str, str]:
    names = ("disc", "cross", "square", "diamond", "triangle", "play", "ring", "half", "bar")
    return {name: icon_svg(Mark("", shape=name)) for name in names}  # type: ignore[arg-type]
