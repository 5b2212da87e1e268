"""Segments with a right checksum that no Data Engine wrote: refused by name or row by row, within bounds, and the ledger lives."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine.errors import RefusedSegmentError
from data_engine.ledger import parquet_process
from data_engine.ledger.checks import LONGEST_TEXT, refused_rows
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.segments import TABLES, decode
from data_engine.ledger.share import SharedHistory
from data_engine.model import Switch
from tests.ledger.crafted import GOOD, STARTED, T0, good, long_texts, many_rows, no_segments, segment
from tests.ledger.events import begin, end, finish, line, seen, start
from tests.ledger.sharing import Machine, machines, mounted

ROOT = Path(__file__).parents[2]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Machine]]:
    """An owner and an observer."""
    with machines(tmp_path, "/mnt/a/ws", "/mnt/b/ws") as made:
        yield made


def publish(machine: Machine, table: str, data: bytes) -> str:
    """Let the newest generation list these bytes, as whoever can write to the share may; the segment's name."""
    name = machine.folder.upload(table, data)
    files = {one: list(names) for one, names in machine.folder.head.files.items()}
    files.setdefault(table, []).append(name)
    machine.folder.append(machine.folder.head.owner, files)
    return name


def test_a_row_of_each_table_is_believed() -> None:
    """And one of a run that goes on, with what it works on."""
    for table, row in GOOD.items():
        assert refused_rows(table, [[value] for value in row], token=1) == {}
    assert refused_rows("runs", [[value] for value in STARTED], token=1) == {}
    assert set(GOOD) == set(TABLES)


ODD: list[tuple[str, str, Any]] = [
    *((table, "fencing_token", token) for table in TABLES for token in (2, 2**62, 0, -1, None)),
    *((table, "rev", rev) for table in TABLES for rev in (2**62, 0, -1, None)),
    *((table, name, None) for table in TABLES for name in TABLES[table].key if (table, name) not in [("logs", "run_id")]
      and table != "logs"),
    *(("runs", name, None) for name in ("flow_name", "group_name", "status", "started_at_utc")),
    *((table, "flow_name", name) for table in TABLES if "flow_name" in TABLES[table].columns for name in ("a/b", "..", "a\\b", "a\0b", "\x1b[2J", "x" * 1001)),
    *(("runs", "run_id", text) for text in ("", "../x", "a\\b", "a\nb", "x" * 201)),
    *(("runs", "status", text) for text in ("", "sucess", "SUCCESS", "started ")),
    ("step_runs", "status", "done"),
    ("file_state", "last_status", "good"),
    *(("runs", "started_at_utc", text) for text in ("", "yesterday", "2026-01-01", "2026-02-30T00:00:00+00:00")),
    *(("runs", "finished_at_utc", text) for text in ("9999-12-31T23:59:59+00:00", "2026-01-01T00:00:00Z", "\u0660" * 25)),
    ("file_state", "last_at_utc", "2026-01-01T00:00:00+02:00"),
    ("schedule_slots", "slot_utc", "never"),
    ("resets", "reset_at_utc", "2026-13-01T00:00:00+00:00"),
    *(("deployments", "set_id", text) for text in ("../../x", "AB" * 12, "ab", "/etc")),
    *(("deployments", "number", number) for number in (0, -1, 2**62)),
    *(("deployments", name, text) for name in ("cells", "config") for text in ("", "{", "{}", "[[]]", "[null]", "[" * 100_000)),
    *(("deployments", "kind", text) for text in ("", "deployed")),
    ("deployments", "git_dirty", 2),
    *(("deployments", "compared", text) for text in ("", "[]", '{"at_utc": "yesterday"}', '{"changed": ["3"]}', '{"differences": [1]}')),
    ("deployments", "at_utc", "yesterday"),
    *(("requests", "state", text) for text in ("", "done")),
    ("requests", "verb", "reset"),
    ("requests", "outcome", "well"),
    ("requests", "run_ids", '{"a": 1}'),
    *(("runs", "source_key", text) for text in ("../b", "/etc/passwd", "a/../../b", "..\\b", "C:\\x", "a\0b")),
    ("file_state", "source_key", "../../b.csv"),
    ("file_state", "source_root", "x" * 40_001),
    *((table, name, path) for table, name in (("runs", "source_path"), ("step_runs", "output_path"), ("outputs", "output_path"))
      for path in ("", "../../etc/passwd", "out/../../x", "out\\..\\..\\x", "/a\0b")),
    *(("runs", "elapsed_s", value) for value in (float("nan"), float("inf"))),
    *(("step_runs", "step_index", value) for value in (-1, 2**62)),
    *(("runs", "trigger_kind", text) for text in ("", "a slot", "x" * 61)),
    *(("runs", "params", text) for text in ("", "[]", "{", "[" * 100_000)),
    *(("runs", name, text) for name in ("inputs", "outputs") for text in ("", "[]", '{"files":[]}', '{"files":[],"more":-1}',
      '{"files":[["../../x",1,2,3]],"more":0}', '{"files":[["a",1.5,2,3]],"more":0}', '{"files":[["a"]],"more":0}')),
    *(("runs", "cpu_s", value) for value in (-1.0, float("nan"))),
    *(("runs", "feed", text) for text in ("", "[]", "[1]", '{"a":-1}', '{"a":true}', '{"a":null}')),
    *(("runs", "reports", text) for text in ("", "{}", "[1]", '[["/a.html","ab","x"]]', f'[["a\\u0000.html","{"ab" * 32}","x"]]', f'[["/a.html","{"ab" * 32}",1]]')),
    *(("runs", "metadata", text) for text in ("", "[]", "7", '{"a"', "[" * 100_000)),
    *(("runs", "checks", text) for text in ("", "{}", "[1]", '[["a","b",1,2]]', '[["a","b",1,2,-1]]', '[["a","b",1,2,true]]', "[" * 100_000)),
    ("runs", "peak_memory_bytes", -1),
    ("runs", "reads", "../x"),
    ("read_sets", "digest", "../x"),
    *(("read_sets", "files", text) for text in ("", "{}", "[1]", '[["../../x",1,2,null]]', '[["a",-1,2,null]]', '[["a",1,2,"x"]]',
      '[["a",1,null,null]]', '[["a",1,2]]', "[" * 100_000)),
    *(("reference_files", "reference_path", path) for path in ("", "../../etc/passwd", "/a\0b")),
    *(("reference_files", "content_hash", text) for text in ("", "x", "AB" * 32)),
    ("reference_files", "size_bytes", -1),
    ("reference_files", "mtime_ns", None),
    ("reference_files", "at_utc", "yesterday"),
    ("step_runs", "rows_out", -1),
    ("environments", "digest", "../x"),
    ("frame_schemas", "digest", "../x"),
    *(("frame_schemas", "frames", text) for text in ("", "[]", "{}", "[1]", '[["raw","c0de"]]', '[["raw","c0de",["day"]]]', "[" * 100_000)),
    *(("runs", "drift", text) for text in ("", "[]", "[1]", '[["raw",[],[]]]', '[["raw",[],[],[["a","b"]],null]]', "[" * 100_000)),
    ("runs", "schema", "../x"),
    ("runs", "accepted", 2),
    *(("backfills", "state", text) for text in ("", "gone")),
    *(("backfills", name, "[]") for name in ("asked", "params")),
    ("backfills", "kind", "rows"),
    ("backfill_items", "source_key", "../../etc/passwd"),
    ("backfill_items", "slot_utc", "yesterday"),
    *(("troubles", name, "yesterday") for name in ("since_utc", "told_at_utc", "digest_until_utc", "recovered_at_utc")),
    *(("troubles", "kind", text) for text in ("", "a trouble", "x" * 61)),
    *(("troubles", "detail", text) for text in ("", "[]", "[" * 100_000)),
    *(("troubles", "is_closed", value) for value in (-1, 2)),
    ("troubles", "again", -1),
    ("troubles", "message_id", "../x"),
    ("environments", "distributions", '{"a": 1}'),
    ("file_state", "size_bytes", -1),
    ("file_state", "size_bytes", None),
    ("file_state", "abandoned_in_a_row", -1),
    ("file_state", "success_mtime_ns", None),
    ("logs", "line_no", None),
    ("logs", "message", "x" * (LONGEST_TEXT + 1)),
    *(("runs", "started_seen", text) for text in ("", "{", "[" * 100_000, "{}", "[[]]", '[["in","../a",1,2,null]]',
      '[["in","a",1e999,2,null]]', '[["in","a",true,2,null]]', '[["in","a",1,2,[]]]', '[["in","a",1,' + "9" * 30 + ',null]]')),
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "name", "value"), ODD, ids=[f"{t}.{n}-{number}" for number, (t, n, _) in enumerate(ODD)]
)
def test_a_row_that_nobody_writes_is_left_out(table: str, name: str, value: Any) -> None:
    """It alone, with the reason."""
    rows = [good(table), good(table, **{name: value}), good(table)]

    found = refused_rows(table, [list(column) for column in zip(*rows, strict=True)], token=1)

    assert list(found) == [1]
    assert name in found[1] or "come together" in found[1]
    assert len(found[1]) < 200


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("outputs", "output_path", "/data/mart/x.parquet"),
        ("outputs", "output_path", "\\\\server\\mart\\x.parquet"),
        ("outputs", "output_path", "D:\\mart\\x.parquet"),
        ("outputs", "output_path", "out/b\\udcff.csv"),
        ("runs", "source_key", ""),
        ("runs", "source_key", "2026/..a/b\\udcff.csv"),
        ("runs", "flow_name", "b\\udcff"),
        ("runs", "error_text", "x" * LONGEST_TEXT),
        ("runs", "elapsed_s", -0.5),
        ("logs", "message", "\x1b[31mred\x1b[0m\0"),
        ("file_state", "mtime_ns", -1),
        ("schedule_slots", "run_id", ""),
        ("schedule_slots", "run_id", None),
    ],
)
def test_a_row_that_somebody_may_write_is_taken_in(table: str, name: str, value: Any) -> None:
    """An output lies where its author put it, a file name may be no Unicode, a clock may have gone back."""
    assert refused_rows(table, [[column] for column in good(table, **{name: value})], token=1) == {}


def test_the_rest_of_a_segment_is_taken_in_and_the_others_are_told(
    two: list[Machine], caplog: pytest.LogCaptureFixture
) -> None:
    """Once: they are counted, the segment is done with."""
    a, b = two
    a.claim()
    runs = [good("runs", run_id=f"r{number}") for number in range(9)]
    runs[3] = good("runs", run_id="r3", source_key="../../etc/passwd")
    runs[4] = good("runs", run_id="r4", status="sucess")
    name = publish(a, "runs", segment("runs", *runs))
    b.refresh()

    assert {run.run_id for run in b.ledger.runs()} == {f"r{number}" for number in range(9)} - {"r3", "r4"}
    assert b.share.left_out == (
        "2 rows of the shared history were left out, because no Data Engine writes such rows:"
        f" runs/{name}: source_key cannot be '../../etc/passwd'"
    )
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    caplog.clear()
    publish(a, "outputs", segment("outputs", GOOD["outputs"]))
    b.refresh()
    assert caplog.records == []
    assert b.share.left_out is not None


def test_a_version_from_nowhere_does_not_win_for_ever(two: list[Machine]) -> None:
    """A row that claims a token nobody has yet would beat every later one, in each ledger and in each fold."""
    a, b = two
    a.claim()
    publish(a, "flow_switches", segment("flow_switches", good("flow_switches", enabled=True, fencing_token=2**62)))
    a.ledger.set_switch("claims", Switch(False))
    a.commit()
    b.refresh()
    assert b.ledger.switches() == {"claims": Switch(False)}

    names = a.folder.head.files["flow_switches"]
    assert len(names) == 2
    folded = parquet_process.perform(
        parquet_process.MergeSegments(_spooled(a, names, Path(a.ledger.path).parent), a.token or 0)
    )
    assert [columns[:2] for columns in decode("flow_switches", folded)] == [[["claims"], [False]]]


def _spooled(machine: Machine, names: list[str], folder: Path) -> list[tuple[str, str, Path]]:
    found = []
    for number, name in enumerate(names):
        path = folder / f"spool{number}"
        path.write_bytes(machine.folder.data["flow_switches", name])
        found.append(("flow_switches", name, path))
    return found


def test_what_is_taken_over_can_be_settled(two: list[Machine]) -> None:
    """The sources of a run that nobody will end are read when its workspace is taken over."""
    a, b = two
    a.claim()
    at = list(TABLES["runs"].columns).index("started_seen")
    odd = (*STARTED[:at], '[["in","a",{}]]', *STARTED[at + 1 : -1], 6)
    publish(a, "runs", segment("runs", STARTED, ("r2", *odd[1:])))

    assert b.claim() == ["r1"]
    assert [state.status for state in b.ledger.source_states("claims").values()] == ["abandoned"]


@pytest.mark.parametrize("table", ["runs", "logs", "flow_switches"])
def test_what_is_no_segment_is_refused_by_name(two: list[Machine], table: str) -> None:
    """Whatever is wrong with it: nothing of its generation is taken in, and the ledger goes on."""
    a, b = two
    a.claim()
    before: dict[str, list[str]] = {"resets": []}
    for what, data in no_segments(table).items():
        a.folder.append(a.token, before)
        publish(a, "outputs", segment("outputs", GOOD["outputs"]))
        name = publish(a, table, data)
        with pytest.raises(RefusedSegmentError) as caught:
            b.refresh()
        assert (caught.value.table, caught.value.name) == (table, name), what
        assert pickle.loads(pickle.dumps(caught.value)).name == name
        assert table == "logs" or b.ledger.outputs("claims") == set(), what
    a.folder.append(a.token, before)
    b.refresh()
    b.ledger.set_switch("claims", Switch(True))
    assert b.ledger.switches() == {"claims": Switch(True)}


def test_a_refused_segment_is_not_read_again(two: list[Machine]) -> None:
    """An observer looks every ten seconds; a new daemon tries once more."""
    a, b = two
    a.claim()
    publish(a, "runs", b"no parquet")
    for _ in range(3):
        with pytest.raises(RefusedSegmentError):
            b.refresh()

    assert len(b.folder.fetched) == 1


def test_tables_nobody_knows_are_left_where_they_are(two: list[Machine]) -> None:
    """Neither fetched nor folded."""
    a, b = two
    a.claim()
    for _ in range(20):
        publish(a, "secrets", b"no parquet")
    b.refresh()

    assert (b.folder.fetched, a.share.folds(a.folder.sizes(), a.folder.fetch)) == ([], {})


def test_an_owner_publishes_whatever_lies_among_its_segments(two: list[Machine]) -> None:
    """What cannot be folded stays, and its neighbours are folded without it."""
    a, _ = two
    a.claim()
    for number in range(40):
        a.ledger.set_switch("claims", Switch(number % 2 == 0))
        a.commit()
        if number == 10:
            odd = publish(a, "flow_switches", b"no parquet")
    first = a.fold()
    assert (first, a.commit()) == ([], None)
    while a.fold():
        pass

    names = a.folder.head.files["flow_switches"]
    assert odd in names
    assert len(names) < 30


@pytest.mark.parametrize(
    ("table", "make"),
    [
        ("logs", lambda: long_texts(5_000_000, 100_000)),
        ("logs", lambda: long_texts(100_000, 100_000)),
        ("flow_switches", lambda: many_rows(17_000_000)),
    ],
    ids=["more than memory", "more than a disk", "rows without end"],
)
def test_a_bomb_is_refused_by_a_process_with_bounds(tmp_path: Path, table: str, make: Any) -> None:
    """Some hundred kB that unfold to 500 GB, to 10 GB, to millions of rows: this process never sees a byte of that."""
    data = make()
    assert len(data) < 1_000_000
    name = "0000000002-ff.parquet"
    script = f"""
import psutil, sys
from pathlib import Path
from data_engine.errors import RefusedSegmentError
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.share import SharedHistory
from data_engine.model import Switch
with Ledger.open(Path(sys.argv[1])) as ledger:
    try:
        SharedHistory(ledger, Path("/mnt/ws")).hydrate(
            2, {{{table!r}: [{name!r}]}}, lambda table, name: Path(sys.argv[2]).read_bytes(), owner=1
        )
    except RefusedSegmentError as refused:
        print(refused.table, refused.name)
    ledger.set_switch("claims", Switch(True))
    print(ledger.switches(), ledger.runs(), ledger.version() is not None)
most = 0
if sys.platform != "win32":  # there nobody keeps what a child that is gone has had
    import resource
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(psutil.Process().memory_info().rss, most)
"""
    (tmp_path / "bomb").write_bytes(data)
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "ledger.sqlite"), str(tmp_path / "bomb")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.splitlines()

    assert told[:2] == [
        f"{table} {name}",
        "{'claims': Switch(is_enabled=True, by='', machine='', at_utc=None, note='')} [] True",
    ]
    own, child = (int(used) for used in told[2].split())
    assert own < 100_000_000
    assert child < parquet_process.MOST_MEMORY_BYTES + 300_000_000


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (parquet_process.Bounds(20_000_000, 1e9), "took more than 20,000,000 bytes of memory"),
        (parquet_process.Bounds(10**12, 0.3), "took more than 0 s"),
    ],
)
def test_who_waits_for_the_child_ends_it(tmp_path: Path, bounds: parquet_process.Bounds, said: str) -> None:
    """Where the system sets no bounds; the segment it was at is named, and nothing was taken in.

    More than the launcher takes that starts a Python in an environment on Windows.
    """
    (tmp_path / "0").write_bytes(segment("outputs", GOOD["outputs"]))
    (tmp_path / "1").write_bytes(long_texts(50_000, 100_000))
    segments = [("outputs", "fine", tmp_path / "0"), ("logs", "large", tmp_path / "1")]
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(RefusedSegmentError, match=said) as caught:
            parquet_process.in_child(parquet_process.TakeIn(ledger.path, Path("/mnt/ws"), segments, 1), bounds)
        assert caught.value.name in ("fine", "large")
        assert ledger.reset_all() == 0


def test_many_bombs_fill_no_disk(tmp_path: Path) -> None:
    """Each of them within its bounds, all together not: nothing of them is left in the ledger."""
    segments = []
    for number in range(20):
        runs = [good("runs", run_id=f"{number}-{n}", error_text="x" * 400_000) for n in range(5)]
        (tmp_path / str(number)).write_bytes(segment("runs", *runs))
        segments.append(("runs", str(number), tmp_path / str(number)))
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        request = parquet_process.TakeIn(ledger.path, Path("/mnt/ws"), segments, 1)
        with pytest.raises(RefusedSegmentError, match="more than is taken in at once") as caught:
            parquet_process.perform(request, least_growth_bytes=10_000_000)
        assert 3 < int(caught.value.name) < 20
        assert ledger.runs() == []
        parquet_process.perform(request)
        assert len(ledger.runs(limit=1000)) == 100


OUTSIDE = mounted("/mnt/a/ws/../other/y.csv")
"""With a drive where there are some: without one Windows takes it for no absolute path."""


def test_what_is_published_here_is_taken_in_there(two: list[Machine]) -> None:
    """Texts that are too long are cut, paths that climb within the workspace are straightened, much goes in several commits."""
    a, b = two
    a.claim()
    sees = (seen(),)
    a.ledger.record(start("r1", sees=sees, source=mounted("/mnt/a/ws/../ws/in/a.csv")), begin("r1"))
    a.ledger.record(end("r1", outputs=(mounted("/mnt/a/ws/flow_modules/../out/x.csv"), OUTSIDE)))
    for number in range(4):
        a.ledger.record(line("r1", f"{number}" + "x" * 1_200_000))
        a.ledger.flush()
    a.ledger.record(finish("r1", "failed", error="e" * 6_000_000, seen=sees))
    a.ledger.record(start("r2"), finish("r2", "failed", error="e" * 20_000_000))
    a.ledger.record(start("r3"), finish("r3", "failed", error="boom"))
    commits = 0
    while a.commit() is not None:
        commits += 1
    b.refresh()

    assert commits > 1
    assert b.share.left_out is None
    assert {run.run_id: len(run.error or "") for run in b.ledger.runs()} == {
        "r1": LONGEST_TEXT,
        "r2": LONGEST_TEXT,
        "r3": 4,
    }
    assert [len(entry.message) for entry in b.ledger.log("r1")] == [LONGEST_TEXT] * 4
    assert b.ledger.outputs("claims") == {mounted("/mnt/b/ws/out/x.csv"), OUTSIDE}
    assert [run.source for run in b.ledger.runs(source=mounted("/mnt/b/ws/in/a.csv"))] == [
        mounted("/mnt/b/ws/in/a.csv")
    ]


def test_a_token_is_bound_by_the_generation_also_when_nobody_owns(tmp_path: Path) -> None:
    """Where its own token is not said, its number is the bound."""
    data = {("flow_switches", str(n)): segment("flow_switches", good("flow_switches", fencing_token=n)) for n in (7, 9)}
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        share = SharedHistory(ledger, Path("/mnt/ws"), perform=parquet_process.perform)
        share.hydrate(8, {"flow_switches": ["9"]}, lambda *key: data[key], owner=None)
        assert (ledger.switches(), share.left_out is None) == ({}, False)
        share.hydrate(9, {"flow_switches": ["9", "7"]}, lambda *key: data[key], owner=None, token=6)
        assert ledger.switches() == {}
        share.hydrate(10, {"flow_switches": ["7", "9"]}, lambda *key: data[key], owner=None, token=7)
        assert ledger.switches() == {}


def test_times_of_the_product_are_times() -> None:
    """The oldest it may write, and the newest."""
    for text in (T0, "1970-01-01T00:00:00.000000+00:00", "2999-12-31T23:59:59.999999+00:00"):
        assert refused_rows("schedule_slots", [["claims"], [text], ["r1"], [1], [5]], token=1) == {}
