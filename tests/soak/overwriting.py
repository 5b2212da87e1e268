"""`python -m tests.soak.overwriting`: every writer of every library is given its run's own source, in each place where steps run.

In a preview, in `run --once` of a deployed flow, and in a daemon's worker; with the library imported at the top of the module, in the
step, and in a helper. After each, every source has its bytes, and the run failed with the guard's error. The writers are those of
`tests/preview/test_writers.py` and `test_database_writers.py`, where introspection says that they are all.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent

from data_engine import Workspace
from tests.preview.test_database_writers import CALLS, ONE, QUERIES
from tests.preview.test_writers import RIGHT_NAMES, SETUP, WRITES
from tests.support import WorkspaceFiles

SHAPES = ("above", "inside", "helper")
LIBRARIES = {"duckdb": "import duckdb, polars as pl; c = duckdb.connect()", **SETUP}
STATEMENTS: dict[str, str] = {
    **WRITES,
    **{f"duckdb.{name}": code for name, code in CALLS.items() if "BEFORE" not in code},
    **{f"duckdb.{name}": f"c.execute(f{code!r}.replace('{{{{', '{{'))" for name, code in QUERIES.items()},
}
FILES = {
    **RIGHT_NAMES,
    **{
        f"duckdb.{name}": f"old.{found[1]}"
        for name, code in QUERIES.items()
        if (found := re.search(r"old\.(json|csv)", code))
    },
}
IN_THIS_PROCESS = ("a pool of before", "an import")
"""Statements that need more than a file: what was begun before the step, or other files."""
REFUSALS = {"preview": "WriteRefusedError", "run --once": "the flow's own source", "daemon": "the flow's own source"}
IMPORTS = re.compile(r"(?:(?:import|from) [^;\n]*(?:; |\n|$))*")
FLOW = """
def step(context):
    source = context.source.path
    place = tempfile.mkdtemp()
    pathlib.Path(place, "other").write_text("other")
    given = str(source), str(source.parent), place + "/other", place
    number = source.parent.name
{calls}

def build():
    return Flow(group="G").watch(mode="manual", source="../in/{library}").step(step)
"""
PREVIEWS = """
import json, sys
from pathlib import Path
from data_engine import load_flow
root, name = Path(sys.argv[1]), sys.argv[2]
for source in sorted(path for path in (root / "in" / name.split("_")[0]).rglob("*") if path.is_file()):
    kinds = []
    try:
        load_flow(name, data_root=root).preview(source=source)
    except Exception as error:
        while error is not None:
            kinds.append(type(error).__name__)
            error = error.__cause__
    print(json.dumps([name, str(source), " ".join(kinds)]), flush=True)
"""


@dataclass
class Campaign:
    """Writers of `statements`, those that are installed here, in one workspace; with a flow for each library, which imports no other, or
    `together` in one."""

    ws: WorkspaceFiles
    statements: Collection[str] = tuple(STATEMENTS)
    together: bool = False
    wrong: list[tuple[str, str, str, str]] = field(default_factory=list)
    tries: int = 0

    def run(self) -> None:
        """Try all of it; AssertionError with what was not refused, or changed a source."""
        self._write()
        for shape in SHAPES:
            names = [f"{library}_{shape}" for library in self._of]
            self._judge("preview", self._previewed(names))
        workspace = Workspace(self.ws.root)
        try:
            bad = [(entry.name, entry.error) for entry in workspace.deploy() if entry.error]
            assert bad == []
            for shape in SHAPES:
                self._judge("run --once", self._run_here([f"{library}_{shape}" for library in self._of]))
            self._judge("daemon", self._run_by_daemon(workspace))
        finally:
            workspace.kill()
        assert self.wrong == [], "\n".join(map(str, self.wrong))

    @cached_property
    def _of(self) -> dict[str, list[str]]:
        """The statements of each flow, by the first word of its name."""
        of: dict[str, list[str]] = {}
        for name in self.statements:
            library = name.partition(".")[0]
            if not name.endswith(IN_THIS_PROCESS) and (library == "python" or find_spec(library)):
                of.setdefault("all" if self.together else library, []).append(name)
        return of

    @cached_property
    def _sources(self) -> dict[str, str]:
        """The statement of each source."""
        return {
            str(self.ws.root / "in" / library / f"{number:03}" / FILES.get(name, "old.txt")): name
            for library, names in self._of.items()
            for number, name in enumerate(names)
        }

    def _write(self) -> None:
        for source in self._sources:
            self.ws.source(source, "old")
        for library, names in self._of.items():
            calls = {f"w{number:03}": name for number, name in enumerate(names)}
            step = FLOW.format(
                library=library,
                calls="\n".join(f"    if number == {name[1:]!r}:\n        {{home}}{name}(*given)" for name in calls),
            )
            head = "import os, pathlib, tempfile\nfrom data_engine import Flow\n"
            above, inside = _functions(calls, are_imports_above=True), _functions(calls, are_imports_above=False)
            self.ws.module(f"{library}_above", head + above + step.replace("{home}", ""))
            self.ws.module(f"{library}_inside", head + inside + step.replace("{home}", ""))
            self.ws.helper(f"writes_{library}", f"import os, pathlib\n{above}")
            helper = f"from flow_helpers import writes_{library}\n"
            self.ws.module(f"{library}_helper", head + helper + step.replace("{home}", f"writes_{library}."))

    def _previewed(self, names: list[str]) -> Iterator[tuple[str, str, str]]:
        for name in names:
            for line in self._process("-c", PREVIEWS, str(self.ws.root), name):
                if line.startswith("["):
                    yield tuple(json.loads(line))

    def _run_here(self, names: list[str]) -> Iterator[tuple[str, str, str]]:
        since = len(Workspace(self.ws.root).runs(limit=100_000))
        for name in names:
            self._process("-m", "data_engine", "--workspace", str(self.ws.root), "run", "--once", name, "--yes")
        runs = Workspace(self.ws.root).runs(limit=100_000)
        for run in runs[: len(runs) - since]:
            yield run.flow, str(run.source), run.error or run.status

    def _run_by_daemon(self, workspace: Workspace) -> Iterator[tuple[str, str, str]]:
        ids = [
            id_ for shape in SHAPES for library in self._of for id_ in workspace.run(f"{library}_{shape}", wait=False)
        ]
        for run in workspace.wait(ids):
            yield run.flow, str(run.source), run.error or run.status

    def _process(self, *arguments: str) -> list[str]:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        run = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, env=env, cwd=self.ws.modules, check=False
        )
        return [*run.stdout.splitlines(), *run.stderr.splitlines()]

    def _judge(self, where: str, outcomes: Iterator[tuple[str, str, str]]) -> None:
        """Note what was not refused, what was not tried, and what is not as it was."""
        seen = set[tuple[str, str]]()
        for flow, source, told in outcomes:
            path = os.path.normpath(self.ws.modules / source)
            seen.add((flow.partition("_")[2], path))
            self.tries += 1
            if REFUSALS[where] not in told:
                self.wrong.append((where, flow, self._sources.get(path, path), told))
        shapes = {shape for shape, _ in seen}
        for path, name in self._sources.items():
            missing = [shape for shape in shapes if (shape, path) not in seen]
            files = {file.name for file in Path(path).parent.iterdir()}
            with suppress(OSError):
                if not missing and Path(path).read_bytes() == b"old" and files == {Path(path).name}:
                    continue
            self.wrong.append((where, f"not tried: {missing}" if missing else "the source is not as it was", name, ""))
        assert shapes, f"nothing was tried: {where}"


def _functions(calls: Mapping[str, str], *, are_imports_above: bool) -> str:
    """A function for each statement, by its name; it imports its libraries, or the imports stand above all."""
    imports, texts = set[str](), []
    for name, statement in calls.items():
        body = []
        for code in (LIBRARIES[statement.partition(".")[0]], STATEMENTS[statement]):
            heads = IMPORTS.match(code)
            assert heads is not None
            lines = [line for line in re.split(r"; |\n", heads[0]) if line]
            (imports.update if are_imports_above else body.extend)(lines)
            body.append(code[heads.end() :])
        texts.append(
            f"def {name}(old, folder, other, place, ONE={ONE!r}):\n{indent(chr(10).join(body), '    ')}\n    return 1\n"
        )
    return "\n".join([*sorted(imports), *texts])


def main() -> None:
    """Everything, in a workspace of its own."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        tempfile.tempdir = os.environ["TMPDIR"] = str(
            Path(name) / "tmp"
        )  # a preview may write there, and the workspace is elsewhere
        Path(tempfile.tempdir).mkdir()
        campaign = Campaign(WorkspaceFiles(Path(name).resolve() / "ws"))
        campaign.run()
        print(f"{len(STATEMENTS)} statements, {campaign.tries} tries: all were refused", flush=True)


if __name__ == "__main__":
    main()
