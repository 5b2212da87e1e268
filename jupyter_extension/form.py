"""The form of a flow in a notebook: a field for each parameter, and a button that previews with their values."""

from __future__ import annotations

from html import escape
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from data_engine.errors import FlowValidationError
from data_engine.flow.batch import frame_kind
from data_engine.flow.parameters import Parameter
from data_engine.verbs import Flow
from data_engine.workspace.secret_store import has_secret
from jupyter_extension.fold import fold

_WIDE = widgets.Layout(width="min(100%, 520px)")
_STYLE = {"description_width": "160px"}


class FlowForm(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """The fields of a flow's parameters; `values` is what was typed into those that are not at their default.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Settings:
        ...     days: int = 3
        >>> form = FlowForm(Flow(group="Demo").params(Settings).step(lambda context: context.params.days))
        >>> form.fields["days"].value = "5"
        >>> form.values
        {'days': '5'}
    """

    def __init__(self, flow: Flow, *, use: str | None = None, source: Any = None) -> None:
        self.flow, self._use, self._source = flow, use, source
        parameters = () if flow.parameters is None else flow.parameters.fields
        self.fields: dict[str, Any] = {parameter.name: _field(parameter) for parameter in parameters}
        self._first = {name: field.value for name, field in self.fields.items()}
        self.message = widgets.HTML()
        self.shown = widgets.Output()
        self.button = widgets.Button(description="Preview", button_style="primary", tooltip="Preview with these values")
        self.button.on_click(lambda button: self.preview())
        rows: list[Any] = []
        for name, text in ((parameter.name, parameter.help) for parameter in parameters):
            rows.append(self.fields[name])
            if text:
                rows.append(widgets.HTML(f'<small style="margin-left:168px;opacity:.75">{escape(text)}</small>'))
        super().__init__([*rows, self.button, self.message, self.shown])

    @property
    def values(self) -> dict[str, Any]:
        """The values of the changed fields, for `params=`."""
        return {
            name: field.value
            for name, field in self.fields.items()
            if field.value != self._first[name] and not isinstance(field, widgets.HTML)
        }

    def preview(self) -> None:
        """Preview the flow with these values, and show the object below; an error is shown in a line."""
        self.message.value = ""
        self.button.disabled = True
        try:
            self.shown.clear_output(wait=True)
            with self.shown:
                value = self.flow.preview(use=self._use, source=self._source, params=self.values)
                display(value)  # type: ignore[no-untyped-call]
                if frame_kind(value):
                    display(fold(value), raw=True)  # type: ignore[no-untyped-call]
        except FlowValidationError as error:
            self.message.value = f'<div role="alert"><b>{escape(error.what)}</b><br>{escape(error.fix or "")}</div>'
        finally:
            self.button.disabled = False


def form(flow: Any, *, use: str | None = None, source: Any = None) -> FlowForm | None:
    """The form of a flow; None for anything else."""
    return FlowForm(flow, use=use, source=source) if isinstance(flow, Flow) else None


def _field(field: Parameter) -> Any:
    common = {"description": field.title, "tooltip": field.help, "layout": _WIDE, "style": _STYLE}
    if field.kind == "Secret":
        state = "is on this machine" if has_secret(field.name) else f"is missing: data-engine secret set {field.name}"
        return widgets.HTML(value=f"the secret {escape(field.name)} {escape(state)}", **common)
    if field.kind == "bool" and not (field.is_list or field.is_optional):
        return widgets.Checkbox(value=bool(field.default), indent=True, **common)
    if field.choices and not field.is_list:
        blank = [("", "")] if field.is_optional or not field.has_default else []
        options = [*blank, *((choice, choice) for choice in field.choices)]
        return widgets.Dropdown(options=options, value=field.default or options[0][1], **common)
    return widgets.Text(value=text_of(field.default), placeholder=field.type, continuous_update=True, **common)


def text_of(value: Any) -> str:
    """A default as a person would type it.

    Example:
        >>> text_of(("a", "b")), text_of(True), text_of(None)
        ('a, b', 'true', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(text_of, value)) if isinstance(value, (list, tuple)) else str(value)
