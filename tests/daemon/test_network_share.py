"""Workstations that see one workspace through mounts of their own: of a Samba export, where this machine can, each in a
network namespace of its own, whose cable may be pulled.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.helpers import read_table
from data_engine.lease.folder import OsFolder, probe
from data_engine.ledger.ledger import Ledger
from data_engine.model import utc_text
from tests.daemon.network import Kind, Network, why_not
from tests.daemon.stations import POLL, Station, drop
from tests.daemon.test_sharing import HAND, flow_state, statuses
from tests.lease.contenders import rows_at
from tests.soak.lease_kills import contender, told_rows
from tests.support import end_now, until

SETTINGS = '[deploy]\nmode = "auto"\nquiet = "0s"\n[lease]\nheartbeat = "400ms"\nstale_after = "2s"\n'
DAILY = """
import time
from pathlib import Path
from data_engine import Flow

def work(context):
    here = Path(__file__).parent.parent
    if (here / "one-day-is-done").exists():
        while (here / "hold").exists():
            time.sleep(0.05)
    (here / "one-day-is-done").touch()

def build():
    return Flow(group="Daily").watch(mode="schedule", time="00:00", tz="UTC", catch_up="all").step(work)
"""


def team_in(export: Path) -> None:
    """A shared workspace with a poll flow, one by hand, and one that is due once a day."""
    ws = Workspace.create(export / "team")
    (ws.root / "config" / "data_engine.toml").write_text(SETTINGS)
    (ws.root / "flow_modules" / "example.ipynb").unlink()
    for name, text in (("poll", POLL), ("hand", HAND), ("daily", DAILY)):
        (ws.root / "flow_modules" / f"{name}.py").write_text(text)
    (ws.root / "in").mkdir()


@contextmanager
def network_of(kind: Kind, fill: Callable[[Path], object] = lambda export: None) -> Iterator[Network]:
    if reason := why_not(kind):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="net", ignore_cleanup_errors=True) as short:  # sockets have short names
        made = Network(kind, Path(short) / "network", fill=fill)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with network_of("sftp", team_in) as made:
        yield made


@pytest.fixture
def stations(network: Network, tmp_path: Path) -> Iterator[tuple[Station, Station]]:
    """One at each mount."""
    anna, ben = (Station(n, network.mount(k) / "team", tmp_path / "stations") for k, n in enumerate(("anna", "ben")))
    yield anna, ben
    for number in range(2):  # a process whose call to a drive hangs outlives its kill
        network.plug(number, is_in=True)
    for one in (anna, ben):
        one.end()


def test_an_smb_export_is_fit_and_two_mounts_and_the_server_lose_nothing(tmp_path: Path) -> None:
    """Each claims, commits, folds, collects and hands over as fast as it can."""
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    with network_of("smb") as network:
        places = [network.mount(0), network.mount(1), network.export]
        assert [probe(OsFolder(place)) for place in places] == [[], [], []]
        with ExitStack() as stack:
            children = [
                stack.enter_context(contender(place, f"m{number}", outputs / f"m{number}", "3"))
                for number, place in enumerate(places)
            ]
            assert [child.wait(timeout=60) for child in children] == [0, 0, 0]
        rows = rows_at(network.export)
    told = told_rows(outputs)
    assert len(told) >= 9
    assert set(told) <= set(rows)  # of a commit whose answer was lost nobody was told
    assert len(rows) == len(set(rows))


TABLES = """
import polars as pl
from data_engine import Flow, helpers

def store(context):
    db, amount = context.database("w.duckdb"), {amount}
    helpers.replace_rows_by_file(db, "sales", df=pl.DataFrame({{"amount": [amount]}}), file_hash="jan", wait="1s")
    assert helpers.read_table(db, "sales", wait="1s")["amount"].to_list() == [amount]
    context.mirror.file("total.txt").write_text(str(amount))
    assert amount != 2

def build():
    return Flow(group="G").mirror(root="../out", staged=True).step(store)
"""


def test_tables_of_a_workspace_on_a_share_are_whole() -> None:
    """Rows are applied, or left as they were where the run fails or another program has the database open. (DuckDB itself cannot
    write by smbnetfs.)"""
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with network_of("sftp") as network:
        workspace = Workspace.create(network.mount(0) / "team")
        db, total = workspace.root / "databases" / "w.duckdb", workspace.root / "out" / "total.txt"

        def run(amount: int) -> None:
            (workspace.root / "flow_modules" / "sales.py").write_text(TABLES.format(amount=amount))
            workspace.load_flow("sales").run_once()

        run(1)
        with pytest.raises(FlowExecutionError):
            run(2)
        with subprocess.Popen(
            [sys.executable, "-c", hold, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(FlowValidationError, match="is in use"):
                run(3)
        assert (read_table(db, "sales").rows(), total.read_text()) == ([(1, "jan")], "1")
        run(4)
        assert (read_table(db, "sales").rows(), total.read_text()) == ([(4, "jan")], "4")


def test_a_taker_over_at_another_mount_does_what_was_not_done_and_nothing_else(
    network: Network, stations: tuple[Station, Station]
) -> None:
    """Files of which its mount shows coarser times, slots, a disabled flow: all as the owner that died left them."""
    anna, ben = stations
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    slots = [utc_text((today - timedelta(days=days)).timestamp()) for days in (2, 1, 0)]
    with Ledger.open(anna.local.ledger_path) as ledger:  # it served the slot of three days ago
        ledger.serve_slot("daily", utc_text((today - timedelta(days=3)).timestamp()), "")
    for name in ("a.txt", "b.txt"):
        drop(network.export / "team", name)
    (network.export / "team" / "hold").touch()
    anna.start()
    anna.daemon.post("/disable", {"flow": "hand"})
    ben.start(engine=False)
    until(lambda: statuses(ben).get("a.txt") == statuses(ben).get("b.txt") == ["success"])
    until(lambda: "success" in statuses(ben).get("", []))
    until(lambda: statuses(anna).get("", [])[-1:] == ["started"])
    end_now(anna.pid)
    anna.end()

    (network.export / "team" / "hold").unlink()
    ben.take_over()
    drop(network.export / "team", "c.txt")
    until(lambda: statuses(ben).get("c.txt") == ["success"])
    until(lambda: statuses(ben)[""].count("success") == len(slots))
    time.sleep(1)  # in which it would do again what it takes for not done
    files, daily = {name: ended for name, ended in statuses(ben).items() if name}, statuses(ben)[""]
    assert files == {"a.txt": ["success"], "b.txt": ["success"], "c.txt": ["success"]}
    assert [ended for ended in daily if ended != "abandoned"] == ["success"] * len(slots)
    with Ledger.open(ben.local.ledger_path) as ledger:
        assert set(slots) <= ledger.served_slots("daily")
    assert flow_state(ben, "hand")["enabled"] is False


def test_an_owner_whose_cable_is_pulled_is_taken_over_and_learns_it(
    network: Network, stations: tuple[Station, Station]
) -> None:
    """It starts nothing once its deadline has passed, though every call to the share hangs; its history is kept."""
    anna, ben = stations
    anna.start()
    ben.start(engine=False)
    drop(network.export / "team", "a.txt")
    until(lambda: statuses(ben) == {"a.txt": ["success"], **({"": ["success"]} if "" in statuses(ben) else {})})
    network.plug(0, is_in=False)
    until(lambda: anna.lease["lapsed"])
    ben.take_over()
    drop(network.export / "team", "b.txt")
    until(lambda: statuses(ben).get("b.txt") == ["success"])

    network.plug(0, is_in=True)
    until(lambda: anna.lease["lost_to"] == "ben", timeout_s=90)
    until(lambda: statuses(anna).get("b.txt") == ["success"], timeout_s=40)
    assert statuses(ben)["a.txt"] == ["success"]
    assert anna.daemon.get("/status")["engine"]["on"] is False
