"""A canary: the value of a secret, spilled by failing steps in every way there is, is nowhere that anything is stored or shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import psutil
import pyarrow.parquet as parquet
import pytest

from data_engine import Workspace, load_flow
from data_engine.cli.app import run as command
from data_engine.workspace.machine import state_root
from jupyter_extension.actions import answer
from tests.support import AUTO, WorkspaceFiles, until

RUNS = 69
"""Three of each way."""
CANARY = "c4nary/b1rd ünd \"ß'\\ 9f2e"
FLOW = """
    import base64, html, json, logging, os, shlex, subprocess, sys, threading, warnings
    from dataclasses import dataclass
    from pathlib import Path
    from urllib.parse import quote, quote_plus
    import polars as pl
    from data_engine import Flow, FlowStoppedError, FlowValidationError, Secret

    @dataclass
    class Settings:
        canary: Secret

    def raising(error):
        raise error

    def in_a_thread(value):
        thread = threading.Thread(target=raising, args=(KeyError(value),))
        thread.start()
        thread.join()

    def chained(value):
        try:
            raise ValueError(value)
        except ValueError as error:
            raise RuntimeError("could not connect with " + quote(value, safe="")) from error

    def die(value):
        os.write(2, f"FATAL: {value}\\n".encode())
        os._exit(3)

    def save(context, value):
        context.debug.save_json({"login": {"user": "ann", value: [value]}}, name=value, info={"url": quote(value)})
        context.debug.save_frame(pl.DataFrame({"a": [value, "x"], "b": [[value], []], "c": [{"d": value}, {"d": ""}]}))

    def written(value):
        return "\\n".join([
            *(quote(value, safe=safe) for safe in ("", " +", "!#$%&'()*+,/:;=?@[]~")), quote_plus(value).lower(), ascii(value),
            repr(value.encode()), json.dumps(repr(value)), value.replace("'", "''"), value.replace('"', '""'), html.escape(value),
            html.escape(value).encode("ascii", "xmlcharrefreplace").decode(), shlex.quote(value), subprocess.list2cmdline([value]),
            "PWD={" + value.replace("}", "}}") + "}", json.dumps({value: [value]}, ensure_ascii=False), " ".join(value.split()),
        ])

    def output(value):
        path = Path("spilled-" + quote(value, safe=""))
        path.write_text("x")
        return path

    WAYS = [
        lambda context, value: raising(ValueError(value)),
        lambda context, value: raising(KeyError(value)),
        lambda context, value: raising(ConnectionError(f"postgresql://ann:{quote(value, safe='')}@dwh/sales")),
        lambda context, value: raising(ConnectionError(f"https://dwh?password={quote_plus(value)}&x=1")),
        lambda context, value: raising(OSError("Authorization: Basic " + base64.b64encode(f"ann:{value}".encode()).decode())),
        lambda context, value: raising(RuntimeError(json.dumps({"password": value}))),
        lambda context, value: raising(FlowValidationError(value, where=value, fix=value)),
        lambda context, value: raising(FlowStoppedError(value)),
        lambda context, value: raising(SystemExit(value)),
        lambda context, value: raising(ValueError(f"line one\\nline two {value}\\nline three")),
        lambda context, value: chained(value),
        lambda context, value: print("printed", value),
        lambda context, value: print(repr(value), file=sys.stderr),
        lambda context, value: sys.__stdout__.write(value + "\\n"),
        lambda context, value: context.log(f"logged {value}", level="WARNING"),
        lambda context, value: logging.getLogger("lib").warning("with %s", value),
        lambda context, value: warnings.warn(value),
        lambda context, value: os.write(1, f"raw {value}\\n".encode()),
        lambda context, value: os.write(2, f"raw {value}\\n".encode()),
        lambda context, value: subprocess.run([sys.executable, "-c", "import sys; print(sys.stdin.read())"], input=value.encode()),
        lambda context, value: in_a_thread(value),
        lambda context, value: save(context, value),
        lambda context, value: output(value),
        lambda context, value: raising(RuntimeError(written(value))),
        lambda context, value: print(written(value)),
        lambda context, value: logging.getLogger("lib").error(written(value)),
        lambda context, value: os.write(2, written(value).encode()),
        lambda context, value: die(value),
    ]

    def spill(context):
        value = context.params.canary.reveal()
        assert repr(context.params) == "Settings(canary=***)"
        return WAYS[int(context.source.path.stem) % len(WAYS)](context, context.secret("canary").reveal())

    def fail(context):
        raise RuntimeError("always")

    def items(context):
        return [context.secret("canary").reveal()]

    def build():
        return (
            Flow(group="G").watch(mode="manual", source="../in", max_parallel=2).params(Settings)
            .step(spill, save_as="spilled").step(items).map(lambda item: raising(ValueError("item")))
        )
"""


def spilled(text: str) -> list[str]:
    """The forms of the canary that are in the text."""
    raw = CANARY.encode()
    forms = {CANARY, repr(CANARY)[1:-1], json.dumps(CANARY)[1:-1], quote(CANARY), quote(CANARY, safe="")}
    forms |= {base64.b64encode(b"\0" * shift + raw).decode()[4:-4] for shift in range(3)}
    forms.add("c4nary")
    return [form for form in forms if form in text]


def stored_texts(*folders: Path) -> Iterator[tuple[Path, str]]:
    """Everything that lies there, Parquet as its rows."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in ("secrets.json", "secrets.lock") and "spilled-" not in path.name:
                yield path, path.read_bytes().decode("utf-8", "replace")
                if path.suffix == ".parquet":
                    yield path, json.dumps(parquet.read_table(path).to_pylist(), default=str, ensure_ascii=False)


@pytest.fixture
def workspace(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.setenv("DATA_ENGINE_SECRET_CANARY", CANARY)
    ws.source("config/data_engine.toml", AUTO)
    for number in range(RUNS):
        ws.source(f"in/{number:03}.txt")
    ws.module("leaky", FLOW)
    found = Workspace(ws.root)
    found.deploy("leaky")
    yield found
    found.kill()


@pytest.mark.timeout(300)
def test_a_secret_spilled_in_every_way_is_found_nowhere(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    """Many runs in the daemon's workers: nothing in ledger, journals, logs, shared state, debug frames, panel and processes."""
    runs = workspace.run("leaky")
    lines = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a zombie is one, too
            lines.append(" ".join(process.cmdline()))

    assert len(runs) == RUNS
    assert {run.status for run in runs} == {"failed", "stopped"}  # type: ignore[union-attr]
    until(lambda: workspace.home.deployments() and list(workspace.root.glob(".workspace_state/**/*.parquet")))
    for run in runs[:48]:
        shown = json.dumps(answer(str(workspace.root), "run_details", {"run_id": run.run_id}), default=str)  # type: ignore[union-attr]
        assert spilled(shown) == []
        assert "***" in shown or "item" in shown
    texts = [
        json.dumps(answer(str(workspace.root), action, args), default=str)
        for action, args in (("flow", {"flow": "leaky"}), ("debug", {}))
    ]
    texts += [json.dumps(workspace.status().as_dict()), *lines]
    command(["--workspace", str(workspace.root), "runs", "--json"])
    command(["--workspace", str(workspace.root), "doctor"])
    texts += capfd.readouterr()
    assert [spilled(text) for text in texts] == [[]] * len(texts)

    workspace.shutdown()
    until(lambda: not workspace.status().daemon.running)
    found = [(path, forms) for path, text in stored_texts(workspace.root, state_root()) if (forms := spilled(text))]
    assert found == []


def test_a_secret_spilled_here_is_in_no_error_and_no_output(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the caller's own process: the errors' texts, what a kernel shows of them, and what was printed through Python."""
    flow = load_flow("leaky", data_root=workspace.root)
    texts = []
    for number in [
        one for one in range(26) if one not in (13, 17, 18, 19, 20)
    ]:  # those write past Python, and pytest hears of threads
        context = flow.run_once(source=f"{number:03}.txt", on_error="continue")[0]
        texts += [str(context.error), "\n".join(getattr(context.error, "trace", ()))]
    texts += capfd.readouterr()
    texts += [text for _, text in stored_texts(state_root())]

    assert [spilled(text) for text in texts] == [[]] * len(texts)
