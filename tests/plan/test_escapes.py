"""Which steps are named because a plan cannot hold them back: they reach servers, mail or programs."""

from __future__ import annotations

import pytest

from data_engine.plan.making import escapes
from tests.support import WorkspaceFiles

STEPS = {
    "through the mirror": ("context.current.write_csv(context.mirror.file('a.csv'))", None),
    "into a database of the workspace": ("open(context.database('a.duckdb'), 'wb')", None),
    "reading": ("open('a.txt').read()", None),
    "a path of its own": ("context.current.write_csv('/srv/a.csv')", None),
    "a text": ("pathlib.Path('/srv/a').write_text('x')", None),
    "open to write": ("open('/srv/a', 'w')", None),
    "a library that talks": ("requests.post('http://a')", "uses requests"),
    "the network": ("urllib.request.urlopen('http://a')", "talks to the network"),
    "a program": ("subprocess.run(['ls'])", "starts a program"),
    "in a helper": ("away(context.current)", "calls to_sql"),
    "a removed folder": ("shutil.rmtree('/srv')", None),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_that_reach_something_beside_files(name: str, ws: WorkspaceFiles) -> None:
    """What the step, or what it reaches, shows of it; a step that shows nothing is not named."""
    from data_engine.client import Workspace

    code, why = STEPS[name]
    ws.module(
        "sends",
        f"""
        import pathlib, shutil, subprocess, urllib.request
        from data_engine import Flow
        try:
            import requests
        except ImportError:
            requests = None

        def away(value):
            value.to_sql("t", "x")

        def one(context):
            {code}

        def build():
            return Flow(group="G").step(one)
        """,
    )

    found = escapes(Workspace(ws.root).load_flow("sends"))

    assert [one.step for one in found] == ([] if why is None else ["One"])
    assert why is None or found[0].why.startswith(why)
