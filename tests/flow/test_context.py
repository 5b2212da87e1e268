"""What a step finds in its context: config, databases, facts of the source, logs, progress and debug artifacts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Batch, FileRef, Flow, FlowContext, FlowExecutionError
from data_engine.flow.context import SourceMetadata, WorkspaceConfigContext
from data_engine.flow.control import RunInterrupted, StepControl
from data_engine.flow.debug import FlowDebugContext, json_safe
from data_engine.flow.locations import SourceContext
from data_engine.model import Event, LogLine, StepProgress
from tests.flow.running import failing, stop_after


def context_of(**options: Any) -> FlowContext:
    return FlowContext(flow_name="claims", group="Claims", **options)


def config_of(root: Path, **files: str) -> WorkspaceConfigContext:
    (root / "config").mkdir(exist_ok=True)
    for name, text in files.items():
        (root / f"config/{name}.toml").write_text(text, encoding="utf-8")
    return WorkspaceConfigContext(root)


def test_two_contexts_share_nothing() -> None:
    """Objects and metadata of one flow never appear in another's."""
    first, second = context_of(), context_of()
    first.objects["a"] = first.metadata["b"] = 1

    assert (second.objects, second.metadata, second.current, second.error) == ({}, {}, None, None)


# -- config ------------------------------------------------------------------------------------------------------------


def test_config_files_are_read_by_name(tmp_path: Path) -> None:
    """`get`, `require` and `all` give their content."""
    config = config_of(tmp_path, airlines="top = 5", zones='[eu]\nname = "Europe"')

    assert config.config_dir == tmp_path / "config"
    assert config.names() == ("airlines", "zones")
    assert config.get("airlines") == {"top": 5}
    assert config.require("zones") == {"eu": {"name": "Europe"}}
    assert config.all() == {"airlines": {"top": 5}, "zones": {"eu": {"name": "Europe"}}}


def test_names_lists_config_files_and_nothing_else(tmp_path: Path) -> None:
    """Not the workspace's own settings, hidden files, folders, or other kinds."""
    config = config_of(tmp_path, b="", a="", data_engine="")
    (tmp_path / "config/.hidden.toml").write_text("", encoding="utf-8")
    (tmp_path / "config/c.json").write_text("{}", encoding="utf-8")
    (tmp_path / "config/folder.toml").mkdir()

    assert config.names() == ("a", "b")
    assert set(config.all()) == {"a", "b"}


def test_what_a_step_changes_in_a_config_stays_in_that_step(tmp_path: Path) -> None:
    """Deep copies: also what is nested is fresh at the next call."""
    config = config_of(tmp_path, a="[x]\ny = [1]")
    for read in (config.get, config.require, lambda name: config.all()[name]):
        value: Any = read("a")
        value["x"]["y"].append(2)
        value["new"] = 1

    assert config.get("a") == {"x": {"y": [1]}}


def test_a_file_is_read_once_per_run(tmp_path: Path) -> None:
    """A run sees one state of it; the next run has a context of its own."""
    config = config_of(tmp_path, a="x = 1")
    assert config.get("a") == {"x": 1}
    config_of(tmp_path, a="x = 2")

    assert config.get("a") == {"x": 1}
    assert WorkspaceConfigContext(tmp_path).get("a") == {"x": 2}


def test_a_missing_file_is_none_or_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    """`get` asks, `require` needs."""
    config = config_of(tmp_path, airlines="", zones="")

    assert config.get("airline") is None
    error = failing(lambda: config.require("airline"))
    assert "Required config file was not found" in error.what
    assert str(tmp_path / "config/airline.toml") in error.what
    assert "airlines, zones" in str(error.fix)


def test_without_a_workspace_there_is_no_config() -> None:
    """A bare notebook: `get` finds nothing, `require` says why."""
    config = WorkspaceConfigContext(None)

    assert (config.config_dir, config.names(), config.get("a"), config.all()) == (None, (), None, {})
    assert "only available for authored workspace flows" in failing(lambda: config.require("a")).what


def test_a_workspace_without_a_config_folder_has_no_config(tmp_path: Path) -> None:
    """It is optional."""
    assert WorkspaceConfigContext(tmp_path).names() == ()
    assert WorkspaceConfigContext(tmp_path).get("a") is None


def test_a_config_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    """No raw NotADirectoryError."""
    (tmp_path / "config").write_text("", encoding="utf-8")

    assert "config" in failing(WorkspaceConfigContext(tmp_path).names).what
    assert "config" in failing(lambda: WorkspaceConfigContext(tmp_path).get("a")).what


@pytest.mark.parametrize("method", ["get", "require"])
@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/secret", "", " ", None, 5, "a\0"])
def test_a_config_name_cannot_leave_the_folder(tmp_path: Path, method: str, name: Any) -> None:
    """Escaping, absolute, blank and other names are refused, also when the file exists."""
    (tmp_path / "secret.toml").write_text("x = 1", encoding="utf-8")
    config = config_of(tmp_path)

    assert failing(lambda: getattr(config, method)(name)).where == "context.config"


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = = 2\n", "line 2"), ("a = 1\n\n[x\n", "line 3"), ("x = 1\nx = 2\n", "line 2")]
)
def test_what_is_not_toml_names_file_and_line(tmp_path: Path, text: str, line: str) -> None:
    """Alone and in `all`."""
    config = config_of(tmp_path, bad=text)

    for call in (lambda: config.get("bad"), lambda: config.require("bad"), config.all):
        message = str(failing(call))
        assert str(tmp_path / "config/bad.toml") in message
        assert line in message


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    """No raw UnicodeDecodeError; a folder in the file's place neither."""
    config = config_of(tmp_path)
    (tmp_path / "config/bad.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "config/folder.toml").mkdir()

    assert "is not TOML" in failing(lambda: config.get("bad")).what
    assert "cannot be read" in failing(lambda: config.get("folder")).what


def test_every_read_is_reported(tmp_path: Path) -> None:
    """Also of a file that is not there: its arrival changes a preview."""
    config_of(tmp_path, a="")
    read: list[Path] = []
    config = WorkspaceConfigContext(tmp_path, on_read=read.append)
    config.get("a")
    config.get("missing")

    assert read == [tmp_path / "config/a.toml", tmp_path / "config/missing.toml"]


# -- databases ---------------------------------------------------------------------------------------------------------


def test_a_database_is_a_path_whose_folder_exists(tmp_path: Path) -> None:
    """The file itself is the step's to make."""
    context = context_of(workspace_root=tmp_path)

    assert context.database("claims.duckdb") == tmp_path / "databases/claims.duckdb"
    assert context.database("marts/claims.duckdb") == tmp_path / "databases/marts/claims.duckdb"
    assert (tmp_path / "databases/marts").is_dir()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../x.duckdb", "inside its folder"),
        ("a/../../x", "inside its folder"),
        ("/tmp/x", "name must be relative"),
        ("", "non-empty"),
        (".", "inside its folder"),
        (None, "takes a text"),
    ],
)
def test_a_database_name_cannot_leave_the_folder(tmp_path: Path, name: Any, words: str) -> None:
    """And nothing is created."""
    assert words in failing(lambda: context_of(workspace_root=tmp_path).database(name)).what
    assert not (tmp_path / "databases").exists()


def test_a_database_needs_a_workspace_that_can_be_written(tmp_path: Path) -> None:
    """Both refusals say what to do."""
    assert "only available for authored workspace flows" in failing(lambda: context_of().database("a.duckdb")).what
    (tmp_path / "databases").write_text("", encoding="utf-8")
    assert "cannot be created" in failing(lambda: context_of(workspace_root=tmp_path).database("a.duckdb")).what


# -- facts of the source -----------------------------------------------------------------------------------------------


def test_source_metadata_are_the_files_facts(tmp_path: Path) -> None:
    """Size in bytes, time aware and in UTC."""
    import os

    path = tmp_path / "a.csv"
    path.write_bytes(b"12345")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    context = context_of(source=SourceContext(tmp_path, path, Path("a.csv")))

    assert context.source_metadata() == SourceMetadata(path, "a.csv", 5, datetime.fromtimestamp(1_700_000_000, UTC))


def test_source_metadata_without_a_file(tmp_path: Path) -> None:
    """None for a batch and for no source; an error that names the file when it is gone."""
    assert context_of().source_metadata() is None
    assert context_of(source=SourceContext(tmp_path)).source_metadata() is None
    gone = context_of(source=SourceContext(tmp_path, tmp_path / "a.csv", Path("a.csv")))
    assert f"Source file not found: {tmp_path / 'a.csv'}" in failing(gone.source_metadata).what


# -- log and progress --------------------------------------------------------------------------------------------------


def talking(may_work: Callable[[], None] | None = None) -> tuple[FlowContext, list[Event]]:
    said: list[Event] = []
    control = StepControl(emit=said.append, run_id="r1", index=2, label="Load")
    if may_work is not None:
        control.may_work = may_work
    return context_of(control=control), said


@pytest.mark.parametrize(("message", "text"), [("hello", "hello"), (5, "5"), ({"a": 1}, "{'a': 1}"), (None, "None")])
def test_a_log_line_belongs_to_run_flow_and_step(message: object, text: str) -> None:
    """Anything can be logged; it is its text."""
    context, said = talking()
    context.log(message, level="warning")

    assert [event._replace(at_s=0) for event in said] == [LogLine("r1", "claims", "Load", "WARNING", text, 0)]


@pytest.mark.parametrize(("level", "word"), [("warn", "WARNING"), ("CRITICAL", "ERROR"), ("info", "INFO")])
def test_the_levels_of_other_libraries_are_known(level: str, word: str) -> None:
    context, said = talking()
    context.log("x", level=level)

    assert [event.level for event in said if isinstance(event, LogLine)] == [word]


@pytest.mark.parametrize("level", [5, None, "", " "])
def test_a_level_is_a_word(level: Any) -> None:
    """A number of the logging module is not."""
    context, said = talking()

    assert "level" in failing(lambda: context.log("x", level=level)).what
    assert said == []


def test_progress_is_reported_at_most_twenty_times_a_second_and_at_its_end() -> None:
    """Cheap to call for every row; the last call is never lost."""
    context, said = talking()
    for done in range(10_001):
        context.progress(done, 10_000)

    assert isinstance(said[-1], StepProgress)
    assert said[-1][:5] == ("r1", 2, "Load", 10_000, 10_000)
    assert len(said) < 2000


def test_progress_without_a_total() -> None:
    """A stream does not know its end."""
    context, said = talking()
    context.progress(7)

    assert said[0][:5] == ("r1", 2, "Load", 7, None)


@pytest.mark.parametrize(("done", "total"), [(-1, 10), (1.5, 10), (True, 10), (None, 10), ("1", 10), (1, -1), (1, 2.0)])
def test_progress_counts_in_whole_numbers(done: Any, total: Any) -> None:
    """The wrong one is named."""
    context, said = talking()

    assert "whole number" in failing(lambda: context.progress(done, total)).what
    assert said == []


@pytest.mark.parametrize("call", [lambda context: context.log("x"), lambda context: context.progress(1)])
def test_log_and_progress_end_a_stopped_run(call: Callable[[FlowContext], None]) -> None:
    """A long step that reports can be stopped; what it wanted to say is not said."""
    context, said = talking(stop_after(1))
    call(context)
    del said[:]

    with pytest.raises(RunInterrupted):
        call(context)
    assert said == []


# -- params ------------------------------------------------------------------------------------------------------------


def test_params_are_given_by_hand_and_read_only() -> None:
    """A step cannot change what another step was given, nor what the caller passed."""
    params = {"threshold": 15}
    assert Flow("G", "g").step(lambda context: context.params["threshold"]).preview(params=params) == 15

    def change(context: Any) -> None:
        context.params["threshold"] = 1

    with pytest.raises(FlowExecutionError, match="TypeError"):
        Flow("G", "g").step(change).preview(params=params)
    assert params == {"threshold": 15}


def test_a_param_that_was_not_given_says_which_were_and_how_to_give_it() -> None:
    """It is a KeyError too, for the step that catches one."""
    flow = Flow("G", "g").step(lambda context: context.params["treshold"])

    with pytest.raises(FlowExecutionError, match="no param 'treshold'; it was given: 'day', 'threshold'") as caught:
        flow.preview(params={"day": 1, "threshold": 15})
    assert "did you mean 'threshold'?" in str(caught.value.fix)
    with pytest.raises(FlowExecutionError, match="it was given: none") as caught:
        flow.run_once()
    assert "params={'treshold': ...}" in str(caught.value.fix)

    def lenient(context: Any) -> Any:
        try:
            return context.params["day"]
        except KeyError:
            return context.params.get("day", "today")

    assert Flow("G", "g").step(lenient).preview() == "today"


def test_without_params_there_are_none() -> None:
    """An empty mapping, never None."""
    assert Flow("G", "g").step(lambda context: dict(context.params)).preview() == {}


# -- debug -------------------------------------------------------------------------------------------------------------


def debug_in(root: Path, label: str | None = "Load it") -> FlowDebugContext:
    control = StepControl(label=label)
    return FlowDebugContext(
        root, workspace_id="ws", flow_name="claims daily", run_id="r1", source_path="/in/a.csv", control=control
    )


@dataclass
class Point:
    x: int
    where: Path


def test_save_json_keeps_the_value_with_its_facts(tmp_path: Path) -> None:
    """In the debug folder, which is made; the name tells flow, step, time and artifact."""
    root = tmp_path / "debug"
    value = {
        "p": Path("a"),
        "d": date(2024, 1, 2),
        "s": {2, 1},
        "t": (1, None),
        "o": Point(1, Path("b")),
        "n": float("nan"),
    }

    path = debug_in(root).save_json(value, name="my value!", info={"k": Path("x")})

    flow, step, stamp, name = path.name.split("__")
    assert (path.parent, flow, step, name) == (root, "claims-daily", "Load-it", "my-value.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["data"] == {
        "p": "a",
        "d": "2024-01-02",
        "s": [1, 2],
        "t": [1, None],
        "o": {"x": 1, "where": "b"},
        "n": "nan",
    }
    assert content["info"] == {"k": "x"}
    saved_at = content["debug"].pop("saved_at_utc")
    assert datetime.fromisoformat(saved_at).utcoffset() == UTC.utcoffset(None)
    assert saved_at.replace(":", "-").replace(".", "-") == stamp
    assert content["debug"] == {
        "workspace_id": "ws",
        "flow_name": "claims daily",
        "step_name": "Load it",
        "run_id": "r1",
        "source_path": "/in/a.csv",
        "artifact_kind": "json",
        "artifact_path": str(path),
        "display_name": f"claims daily / Load it / {saved_at}",
    }


@pytest.mark.parametrize("lazy", [False, True])
def test_save_frame_keeps_the_frame_as_parquet(tmp_path: Path, lazy: bool) -> None:
    """A lazy one is collected; the description lies beside it."""
    import polars as pl

    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})

    path = debug_in(tmp_path).save_frame(frame.lazy() if lazy else frame)

    assert path.name.endswith("__artifact.parquet")
    assert pl.read_parquet(path).equals(frame)
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert (content["debug"]["rows"], content["debug"]["columns"]) == (2, ["a", "b"])
    assert content["debug"]["artifact_kind"] == "dataframe"
    assert "info" not in content
    assert {found.suffix for found in tmp_path.iterdir() if found.is_file()} == {".parquet", ".json"}


@pytest.mark.parametrize("frame", [None, [1], {"a": [1]}, "x"])
def test_save_frame_refuses_what_is_no_frame(tmp_path: Path, frame: Any) -> None:
    """The fix names `save_json`; nothing is written."""
    assert "save_json" in str(failing(lambda: debug_in(tmp_path / "d").save_frame(frame)).fix)
    assert not (tmp_path / "d").exists()


def test_no_artifact_overwrites_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However coarse the machine's clock; a frame and a value do not share a description."""
    import polars as pl

    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    debug = debug_in(tmp_path)
    paths = [debug.save_json(number, name="same") for number in range(50)]
    frames = [debug.save_frame(pl.DataFrame({"a": [number]}), name="same") for number in range(10)]

    assert [json.loads(path.read_text(encoding="utf-8"))["data"] for path in paths] == list(range(50))
    assert [pl.read_parquet(path)["a"].item() for path in frames] == list(range(10))
    assert len(list(tmp_path.glob("*.json"))) == 60


@pytest.mark.parametrize(
    ("name", "token"),
    [(None, "artifact"), ("", "artifact"), ("///", "artifact"), ("../../x", "x"), (5, "5"), ("ü-a", "a")],
)
def test_a_debug_name_is_made_fit_for_a_file(tmp_path: Path, name: Any, token: str) -> None:
    """It never leaves the folder."""
    path = debug_in(tmp_path).save_json(1, name=name)

    assert path.parent == tmp_path
    assert path.name.split("__")[-1] == f"{token}.json"


def test_debug_problems_are_told(tmp_path: Path) -> None:
    """A value that contains itself, and a folder that cannot be made: no raw RecursionError, ValueError or OSError."""
    circle: list[Any] = []
    circle.append(circle)
    assert "contains itself" in failing(lambda: debug_in(tmp_path).save_json(circle)).what
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "cannot be written" in failing(lambda: debug_in(tmp_path / "file").save_json(1)).what


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.datetimes()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(VALUES)
def test_any_value_can_be_written_as_json(value: Any) -> None:
    """Strict JSON: no NaN, no type error."""
    json.dumps(json_safe(value), allow_nan=False)


def test_batches_sets_and_file_refs_are_written_by_what_they_hold() -> None:
    """Not by their repr; a set in one order every time."""
    value = Batch((FileRef("/in/a.csv"), set("fedcba"), frozenset({"x"})))

    assert json_safe(value) == [str(Path("/in/a.csv").absolute()), list("abcdef"), ["x"]]
