"""A flow that puts rows apart, in a workspace of its own; and, as a program, one run of it that dies at a file operation:
`python -m tests.engine.rejecting ROOT KIND AT` (AT 0: it does not; negative: it tells when it is about to work)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl

from data_engine import Flow
from data_engine.flow.context import FlowContext

KINDS = ("staged file", "staged batch", "in place file", "in place batch")


def flow_of(root: Path, kind: str) -> Flow:
    """The flow `claims`, which reads `in/*.csv` and writes what is good of each to `out/`."""
    is_batch = kind.endswith("batch")

    def read(context: FlowContext) -> pl.DataFrame:
        assert context.source is not None
        if context.source.path is not None:
            return pl.read_csv(context.source.path)
        return pl.concat([pl.read_csv(path) for path in sorted(context.source.root.glob("*.csv"))])

    def write(context: FlowContext) -> list[Path]:
        assert context.mirror is not None
        names = ("all.csv", "again.csv") if is_batch else ("{}.csv", "{}.again.csv")
        stem = "" if context.source is None or context.source.path is None else context.source.path.stem
        targets = [context.mirror.root_file(name.format(stem)) for name in names]
        for target in targets:
            context.current.write_csv(target)
        return targets

    flow = Flow(group="G", name="claims", _workspace_root=root)
    flow = flow.watch(mode="manual", source=root / "in", run_as="batch" if is_batch else "individual")
    flow = flow.mirror(root=root / "out", staged=kind.startswith("staged"))
    return flow.step(read).check({"positive": "amount > 0"}, on_fail="quarantine").step(write)


def put_source(root: Path, version: int, *, bad: int, name: str = "a.csv") -> None:
    """A source of this version: three good rows, and so many bad ones."""
    path = root / "in" / name
    path.parent.mkdir(exist_ok=True)
    rows = [f"{version},{amount}" for amount in (1, 2, 3)] + [f"{version},{-amount - 1}" for amount in range(bad)]
    path.write_text("version,amount\n" + "\n".join(rows) + "\n")


def versions(root: Path) -> tuple[set[int], set[int]]:
    """Which versions lie in the outputs, and which in the rejected rows; a file of two versions is an error."""
    out = [set(pl.read_csv(path)["version"]) for path in (root / "out").glob("*.csv")]
    rejected = [pl.read_parquet(path) for path in (root / "rejected" / "claims").glob("*.parquet")]
    assert all(len(one) == 1 for one in out), out
    assert all(frame["_run"].n_unique() == 1 for frame in rejected)
    return set().union(*out), set().union(*(frame["version"].to_list() for frame in rejected))


def main(root: str, kind: str, at: str) -> None:
    """Run it; die before file operation number `at` of those that change something in the workspace."""
    seen = 0

    def die(event: str, given: tuple[object, ...]) -> None:
        nonlocal seen
        if event in ("os.rename", "os.remove") and int(at) > 0:
            seen += 1
            if seen == int(at):
                os._exit(9)

    flow = flow_of(Path(root), kind)
    sys.addaudithook(die)
    if int(at) < 0:
        print("working", flush=True)
    flow.run_once()


def run_in(environment: dict[str, str], root: str, kind: str, at: str) -> None:
    """What the program does, with this environment."""
    os.environ.clear()
    os.environ.update(environment)
    main(root, kind, at)


if __name__ == "__main__":
    main(*sys.argv[1:])
