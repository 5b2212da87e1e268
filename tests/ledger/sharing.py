"""Machines that share a workspace: a ledger each, and a list of generations in memory in place of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from data_engine.ledger import parquet_process
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.replication import UnpublishedRows
from data_engine.ledger.share import SharedHistory


@dataclass(frozen=True)
class Generation:
    """What everybody can see: who owns, and per table the names of its segments."""

    number: int
    owner: int | None
    files: dict[str, list[str]]


@dataclass
class Folder:
    """The share: one chain of generations, and segments that never change."""

    chain: list[Generation] = field(default_factory=lambda: [Generation(0, None, {})])
    data: dict[tuple[str, str], bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    @property
    def head(self) -> Generation:
        return self.chain[-1]

    def append(self, owner: int | None, files: dict[str, list[str]] | None = None) -> Generation:
        self.chain.append(Generation(self.head.number + 1, owner, files or self.head.files))
        return self.head

    def upload(self, table: str, content: bytes) -> str:
        name = f"{self.head.number + 1:010d}-{len(self.data):04x}.parquet"
        self.data[table, name] = content
        return name

    def fetch(self, table: str, name: str) -> bytes:
        self.fetched.append(name)
        return self.data[table, name]

    def sizes(self) -> dict[str, list[tuple[str, int]]]:
        files = self.head.files
        return {table: [(name, len(self.data[table, name])) for name in names] for table, names in files.items()}

    def size(self) -> int:
        return sum(size for listed in self.sizes().values() for _, size in listed)


class Machine:
    """A workstation with the workspace mounted at `root`; it owns while the newest generation carries its token."""

    def __init__(self, folder: Folder, path: Path, root: Path = Path("/mnt/workspace")) -> None:
        self.folder = folder
        self.ledger = Ledger.open(path)
        self.share = SharedHistory(self.ledger, root, perform=parquet_process.perform)
        self.token: int | None = None

    @property
    def is_owner(self) -> bool:
        return self.token is not None and self.folder.head.owner == self.token

    def claim(self) -> list[str]:
        """Own the workspace: take everything in, close what nobody else will; the ids of those runs."""
        head = self.folder.append(self.folder.head.number + 1)
        self.token = head.owner
        return self.share.hydrate(head.number, head.files, self.folder.fetch, owner=self.token, mine=True, now_s=9.0)

    def release(self) -> None:
        self.folder.append(None)

    def commit(self, *, landed: bool = True, answered: bool = True, limit: int = 100_000) -> UnpublishedRows | None:
        """Publish what is new; a commit may be lost on its way, or its answer may."""
        assert self.is_owner
        assert self.token is not None
        batch = self.share.unpublished(self.token, limit=limit)
        if batch is None or not landed:
            return batch
        names = {table: self.folder.upload(table, content) for table, content in batch.tables.items()}
        files = {table: list(listed) for table, listed in self.folder.head.files.items()}
        for table, name in names.items():
            files.setdefault(table, []).append(name)
        head = self.folder.append(self.token, files)
        if answered:
            self.share.mark_published(batch, head.number, names)
        return batch

    def fold(self, tables: dict[str, list[str]] | None = None, *, answered: bool = True) -> list[str]:
        """Fold what the plan, or the test, says; the tables that were folded."""
        if tables is None:
            folds = self.share.folds(self.folder.sizes(), self.folder.fetch)
        else:
            from data_engine.ledger.segments import fold

            folds = {
                t: (names, fold(t, [(name, self.folder.data[t, name]) for name in names]))
                for t, names in tables.items()
            }
        if not folds:
            return []
        files = dict(self.folder.head.files)
        folded = {}
        for table, (names, content) in folds.items():
            new = self.folder.upload(table, content)
            at = files[table].index(names[0])
            files[table] = [*files[table][:at], new, *files[table][at + len(names) :]]
            folded[table] = names, new
        head = self.folder.append(self.folder.head.owner, files)
        if answered:
            self.share.mark_published(None, head.number, folded=folded)
        return list(folds)

    def drop(self, tables: dict[str, list[str]]) -> None:
        """Take segments from the share, as retention does."""
        files = {
            table: [name for name in listed if name not in tables.get(table, ())]
            for table, listed in self.folder.head.files.items()
        }
        self.folder.append(self.folder.head.owner, files)

    def refresh(self) -> list[str]:
        """See what the newest generation holds."""
        head = self.folder.head
        return self.share.hydrate(head.number, head.files, self.folder.fetch, owner=head.owner)

    def close(self) -> None:
        self.ledger.close()


def mounted(path: str) -> str:
    """A path from the root as this system writes it, with a drive where there are some."""
    return str(Path(path).absolute())


@contextmanager
def machines(folder: Path, *roots: str) -> Iterator[list[Machine]]:
    """Machines of one workspace, each with its own mount path."""
    share = Folder()
    made = [Machine(share, folder / f"{n}" / "ledger.sqlite", Path(mounted(root))) for n, root in enumerate(roots)]
    try:
        yield made
    finally:
        for machine in made:
            machine.close()
