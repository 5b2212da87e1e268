"""Whatever bytes lie where a request or a set of modules is expected: it is one, or it is damaged; never anything else."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_engine.commands.command import Asker
from data_engine.commands.deployments import Deploy, Outcome, Rollback, Undeploy
from data_engine.commands.registry import COMMANDS, command_of
from data_engine.daemon.one_commit import run_now
from data_engine.errors import DamagedSetError, FlowValidationError
from data_engine.lease.deployment_files import DeploymentFiles
from data_engine.lease.folder import OsFolder
from data_engine.lease.protocol import Damaged
from data_engine.lease.records import encode
from data_engine.lease.requests import RemoteRequest, request_of
from data_engine.model import Backfill, Deployment, Switch
from data_engine.notebook.module_sets import hashes_of, is_module_path, set_id
from data_engine.planning.backfill import Wanted
from tests.support import examples, examples_on_files

MANY = settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY_SETS = settings(MANY, max_examples=examples_on_files(30))

ASKED = {one.asks[0] for one in COMMANDS.values() if one.asks is not None}
LINES = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
REQUESTS = st.builds(
    RemoteRequest,
    request_id=st.text("0123456789abcdef", min_size=32, max_size=32),
    verb=st.sampled_from(sorted(ASKED)),
    flow=LINES,
    arguments=st.dictionaries(st.text(max_size=8), JSON, max_size=3).map(json.dumps),
    by=LINES,
    machine_id=LINES,
    host_name=LINES,
    at_utc=LINES,
    beat=st.integers(0, 10**9),
)
FIELDS = [one.name for one in fields(RemoteRequest)]
PARTS = [
    "a",
    "x.py",
    "flow_helpers",
    "..",
    ".",
    "",
    "aux",
    "NUL.py",
    "com1.csv",
    "C:",
    "a.",
    "~",
    "b c.sql",
    "\\",
    "é.py",
]
PATHS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join) | st.text(max_size=12)
MODULE_PATHS = st.builds("{}.py".format, st.from_regex(r"[a-z_é]{1,9}", fullmatch=True)).filter(
    is_module_path
) | st.builds("flow_helpers/{}".format, st.from_regex(r"[a-z ]{0,8}/?[A-Z_0-9é]{1,8}", fullmatch=True)).filter(
    is_module_path
)
DIGESTS = st.sampled_from(["0" * 64, "f" * 64, "../" + "0" * 61, "0" * 63, "F" * 64])


@given(request=REQUESTS)
@MANY
def test_a_request_is_read_as_it_was_left(request: RemoteRequest) -> None:
    record = asdict(request)
    del record["file_owner"]

    assert request_of(encode(record)) == request


@given(data=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@MANY
def test_any_bytes_are_a_request_or_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        request_of(data)


@given(request=REQUESTS, name=st.sampled_from(FIELDS), value=JSON)
@MANY
def test_a_request_with_any_value_in_a_field_is_one_or_damaged(request: RemoteRequest, name: str, value: Any) -> None:
    """Its checksum is right: whoever can write to the share can make one."""
    try:
        read = request_of(encode(asdict(request) | {name: value}))
    except Damaged:
        return
    assert isinstance(read.values, dict)
    assert isinstance(read.set_id, str)


@pytest.fixture(scope="module")
def sets() -> Iterator[DeploymentFiles]:
    with tempfile.TemporaryDirectory() as folder:
        numbers = iter(range(10**9))
        yield DeploymentFiles(OsFolder(Path(folder)), lambda: f"{next(numbers)}")


@given(contents=st.dictionaries(MODULE_PATHS, st.binary(max_size=20), max_size=4))
@MANY_SETS
def test_a_set_is_read_as_it_was_put(sets: DeploymentFiles, contents: dict[str, bytes]) -> None:
    assert sets.read(sets.put(contents)) == contents


@given(paths=st.lists(PATHS, min_size=1, max_size=3, unique=True))
@MANY_SETS
def test_a_set_with_a_path_that_is_no_modules_is_damaged(sets: DeploymentFiles, paths: list[str]) -> None:
    """Its id and its files are right: nothing outside of the set's folder, and no device, is ever written."""
    contents = dict.fromkeys(paths, b"1")
    try:
        read = sets.read(sets.put(contents))
    except (DamagedSetError, UnicodeEncodeError):  # lone surrogates can be in no path of ours
        assert not all(map(is_module_path, paths))
    else:
        assert read == contents
        for path in paths:
            assert not path.startswith("/")
            assert ".." not in path.split("/")


@pytest.mark.parametrize(
    "path",
    ["../x.py", "/x.py", "flow_helpers/../../x.py", "C:/x.py", "flow_helpers/C:x", "aux.py", "flow_helpers/NUL", "x.py.",
     "flow_helpers/com1.csv", "flow_helpers//x", "flow_helpers/.x/y", "a\\b.py", "x.txt", ""],
)  # fmt: skip
def test_no_set_holds(path: str, sets: DeploymentFiles) -> None:
    assert not is_module_path(path)
    with pytest.raises(DamagedSetError):
        sets.read(sets.put({path: b"1"}))


@given(files=JSON | st.dictionaries(PATHS, JSON | st.tuples(DIGESTS, JSON), max_size=3))
@MANY_SETS
def test_any_list_of_a_set_is_one_or_damaged(sets: DeploymentFiles, files: Any) -> None:
    name = set_id(hashes_of({"x.py": b"1"}))
    path = f"deployments/sets/{name}.json"
    sets.put({})
    with suppress(FileNotFoundError):
        sets.folder.unlink(path)
    sets.folder.write(path, encode({"format": 1, "files": files}))

    with pytest.raises(DamagedSetError):
        sets.read(name)


class Accepting:
    """An owner, and its daemon, that do whatever they are asked for."""

    asker = Asker("eve", "EVE-PC", request_id="0" * 32)

    @property
    def work(self) -> Any:
        return self

    @property
    def production(self) -> Any:
        return self

    async def deploy(self, asked: Deploy, asker: Asker) -> Outcome:
        assert len(str(asked.set_id)) == 24
        return Outcome()

    async def undeploy(self, asked: Undeploy, asker: Asker) -> Outcome:
        return Outcome()

    async def roll_back(self, asked: Rollback, asker: Asker) -> Deployment:
        return Deployment("", 0, asked.flow, "rollback", "")

    async def run(self, flow: str, source: str | None, params: dict[str, Any]) -> list[str]:
        assert source is None or ".." not in source.replace("\\", "/").split("/")
        raise FlowValidationError("no")

    async def retry(
        self, flow: str | None, source: str | None, *, accept: bool = False
    ) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        return 0, (), ()

    async def switch(self, flow: str, switch: Switch) -> None: ...

    async def backfill(self, flow: str, wanted: Wanted, params: dict[str, Any], **more: Any) -> Backfill:
        assert all(one is None or isinstance(one, str) for one in (wanted.since, wanted.until, wanted.where))
        return Backfill("b7", flow, "running")

    def known_backfill(self, backfill_id: str) -> tuple[str, str]:
        assert isinstance(backfill_id, str)
        return backfill_id, "claims"

    async def stop_backfill(self, backfill_id: str) -> Backfill:
        return Backfill(backfill_id, "claims", "stopped")

    async def retry_backfill(self, backfill_id: str) -> Backfill:
        return Backfill(backfill_id, "claims", "running")


NAMES = "source params set_id note force to x do id since until where reprocess digest".split()
ARGUMENTS = st.dictionaries(
    st.sampled_from(NAMES), JSON | st.sampled_from(["stop", "retry", "start", "all", "missing"])
)


@given(request=REQUESTS, arguments=ARGUMENTS)
@MANY
def test_any_arguments_are_done_or_refused(request: RemoteRequest, arguments: dict[str, Any]) -> None:
    object.__setattr__(request, "arguments", json.dumps(arguments))
    try:
        command = command_of(request.verb, request.flow, request.values)
        owner: Any = Accepting()
        answer = run_now(command.carry_out(owner))
    except FlowValidationError:
        return
    assert command.outcome(answer) == "done"
    json.dumps(answer.as_dict())
