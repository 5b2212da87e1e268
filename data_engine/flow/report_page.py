"""The page of a report: one file of HTML that needs no network, runs no script, and is the same for the same objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from html import escape
from typing import Any

from data_engine.flow.context import FlowContext
from data_engine.flow.shown_objects import ShownObject, shown
from data_engine.formatting import beginning, size_text
from data_engine.secret import Secret, masked

MOST_BYTES = 2 * 1000 * 1000
"""The largest page; an object that would make it larger is left out, and the page says so."""

_LONGEST_VALUE = 200


def make_page(context: FlowContext, objects: Sequence[str], *, rows: int, title: str, note: str | None) -> str:
    """The page of these objects as they are now, of frames the first `rows`.

    Raises:
        FlowValidationError: an object cannot be read.
    """
    left, sections = MOST_BYTES - 20_000, []
    for name in objects:
        entry = shown(context.objects[name], name=name, rows=rows)
        if _size(entry.html) > left:
            fix = "give fewer rows=, or save a smaller picture"
            what = f"{name} is left out: it takes {size_text(_size(entry.html))}, and a page has {size_text(MOST_BYTES)} at most"
            entry = ShownObject(f'<p class="none">{what}</p>', "", f"{what}; {fix}")
        if entry.trouble:
            context.log(f"the report: {masked(entry.trouble)}", level="WARNING")
        left -= _size(entry.html)
        sections.append((name, entry.html, entry.about))
    page: str = _template().render(
        title=title,
        note=note,
        facts=[*_origin(context), *_params(context.params)],
        sections=sections,
        checks=context.control.findings,
    )
    return _HEAD + masked(page)


def _size(html: str) -> int:
    return len(html.encode("utf-8", "backslashreplace"))


def _origin(context: FlowContext) -> list[tuple[str, str]]:
    """The source of the run, and the slot that it is for."""
    facts = []
    if context.source is not None and context.source.relative_path is not None:
        facts.append(("Source", context.source.relative_path.as_posix()))
    if context.scheduled_for is not None:
        facts.append(("For", context.scheduled_for.isoformat(" ", "minutes")))
    return facts


def _params(params: Any) -> list[tuple[str, str]]:
    values = (
        params if isinstance(params, Mapping) else {each.name: getattr(params, each.name) for each in fields(params)}
    )
    return [(str(name), _value_text(value)) for name, value in values.items()]


def _value_text(value: Any) -> str:
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, (bool, list, tuple, dict)) or value is None:
        value = json.dumps(value, default=str, ensure_ascii=False)
    return beginning(str(value), _LONGEST_VALUE)


def framed(page: str, name: str) -> str:
    """The page in a frame of another page: nothing in it runs, and it cannot leave the frame. In JupyterLab it is dark with the theme.

    Example:
        >>> framed("<p>'late'</p>", "delays.html").partition(" style=")[0]
        '<iframe sandbox class="de-report" title="delays.html" srcdoc="&lt;p&gt;&#x27;late&#x27;&lt;/p&gt;"'
    """
    style = "width: 100%; height: 32rem; border: 1px solid #8884; border-radius: 4px; resize: vertical"
    frame = (
        f'<iframe sandbox class="de-report" title="{escape(name)}" srcdoc="{escape(page)}" style="{style}"></iframe>'
    )
    return f"{frame}<style>{_THEMES}</style>"


_THEMES = "".join(
    f'body[data-jp-theme-light="{is_light}"] .de-report {{ color-scheme: {scheme}; }}'
    for is_light, scheme in (("true", "light"), ("false", "dark"))
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy of a page: no script, and no network."""

_HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
"""


def is_page(text: str) -> bool:
    """Whether a text begins as our pages do, so that a browser holds it to their policy.

    Example:
        >>> is_page("<script>x()</script>"), is_page(_HEAD)
        (False, True)
    """
    return text.startswith(_HEAD)


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(_PAGE)


_PAGE = """<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<base target="_blank">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --text: #1b1f24; --faint: #59636e; --line: #d1d9e0; --band: #f3f5f7; --page: #fff; --link: #0a58ca; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ec; --faint: #9aa4ae; --line: #3a424b; --band: #20262d; --page: #14181d; --link: #7ab5ff; }
}
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 70rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
a { color: var(--link); }
.note, .text { white-space: pre-line; max-width: 45rem; }
.none, .about, dt, td > i { color: var(--faint); }
.about { font-size: .85rem; margin: .35rem 0 0; }
dl { display: grid; grid-template-columns: fit-content(12rem) 1fr; gap: .1rem 1rem; margin: .75rem 0; font-size: .9rem; }
dd { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; white-space: nowrap;
  overflow-wrap: normal; }
td { max-width: 30rem; overflow: hidden; text-overflow: ellipsis; }
th { font-weight: 600; border-bottom: 2px solid var(--line); }
th + th, td + td { padding-left: .25rem; }
.number { text-align: right; }
img { max-width: 100%; height: auto; }
section > img[src] { background: #fff; border-radius: 4px; padding: .5rem; box-sizing: border-box; }
pre { background: var(--band); padding: .75rem; border-radius: 4px; overflow-x: auto; font-size: .85rem; white-space: pre-wrap; }
@media print {
  :root { --text: #000; --faint: #444; --line: #bbb; --band: #f3f5f7; --page: #fff; --link: #000; }
  @page { margin: 15mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { white-space: normal; padding: .15rem .4rem .15rem 0; }
  @page across { size: landscape; margin: 10mm; }
  section:has(> .across) { page: across; }
  .across table { font-size: 6pt; }
  .across th, .across td { overflow-wrap: break-word; padding: .1rem .25rem .1rem 0; }
  thead { display: table-header-group; }
  tr, img { break-inside: avoid; }
  h2 { break-after: avoid; }
}
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if note %}
<p class="note">{{ note }}</p>
{% endif %}
{% if facts %}
<dl>
{% for name, value in facts %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
{% endif %}
{% for name, html, about in sections %}
<section>
<h2>{{ name }}</h2>
{{ html | safe }}
{% if about %}
<p class="about">{{ about }}</p>
{% endif %}
</section>
{% endfor %}
{% if checks %}
<section>
<h2>Checks</h2>
<ul>
{% for words in checks %}
<li>{{ words }}</li>
{% endfor %}
</ul>
</section>
{% endif %}
</body>
</html>
"""
