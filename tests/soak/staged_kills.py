"""`python -m tests.soak.staged_kills [KILLS] [FILES] [SEED]`: kill -9 the daemon and its workers over a staged mirror.

As `daemon_kills`, with a flow that writes three outputs of a source piece by piece. All the time somebody reads what is in
the mirror: no file there is ever partial or from a run that failed. What was killed between publishing and its record is done
again, and puts equal outputs in place of its own: those are counted. At the end each source's three outputs are of its last
version, and no stage is left but of runs that were killed within the last minute.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from data_engine.engine.publication import STAGING
from tests.soak.daemon_kills import Campaign, Report, log_tail
from tests.support import WorkspaceFiles

MODULE = """
    import hashlib
    import time
    from data_engine import Flow

    def write(context):
        text = context.source.path.read_text()
        digest = hashlib.sha256(text.encode()).hexdigest()
        targets = [context.mirror.with_suffix(f".{part}") for part in ("one", "two", "three")]
        for target in targets:
            with open(target, "w") as file:
                for at in range(0, 64, 8):
                    file.write(digest[at:at + 8])
                    file.flush()
                    time.sleep(int(text.split()[0]) / 10_000)
                file.write("\\n")
        return targets

    def build():
        return (
            Flow(group="G")
            .watch(mode="poll", source="../in", interval="200ms", extensions=".txt", settle=0, max_parallel=2)
            .mirror(root="../out", staged=True).step(write)
        )
"""


class StagedCampaign(Campaign):
    """Outputs are looked at all the time; `looks` counts the files that were read, `wrong` those that were not whole, or of no version.

    `again` holds the sources whose outputs were replaced by equal ones.
    """

    module = MODULE

    def __init__(self, ws: WorkspaceFiles, *, kills: int, files: int, seed: int) -> None:
        super().__init__(ws, kills=kills, files=files, seed=seed)
        self.looks = 0
        self.wrong: list[str] = []
        self.again: set[str] = set()
        self._seen: dict[Path, tuple[int, int, str]] = {}

    def run(self) -> Report:
        """Do all of it; raises AssertionError at what is not right."""
        over = threading.Event()
        looking = threading.Thread(target=self._look, args=(over,), daemon=True)
        looking.start()
        try:
            report = super().run()
        finally:
            over.set()
            looking.join()
        assert not self.wrong, self.wrong[:3]
        return report

    def _look(self, over: threading.Event) -> None:
        out = self.workspace.root / "out"
        while not over.is_set():
            for path in out.rglob("*.*"):
                self.looks += 1
                with open(path) as file:
                    facts, text = os.fstat(file.fileno()), file.read()
                before, now = self._seen.get(path), (facts.st_ino, facts.st_mtime_ns, text)
                if before == now:
                    continue
                self._seen[path] = now
                if before is not None and before[2] == text:
                    self.again.add(path.stem)
                versions = self._texts[f"{path.stem}.txt"]
                if text not in {f"{hashlib.sha256(one.encode()).hexdigest()}\n" for one in versions}:
                    self.wrong.append(f"{path}: {text!r}")
            time.sleep(0.01)

    def _check_output(self, name: str, digest: str) -> None:
        for part in ("one", "two", "three"):
            output = self.workspace.root / "out" / Path(name).with_suffix(f".{part}")
            assert output.read_text() == f"{digest}\n", f"{name}: output {part} is wrong"

    def left(self) -> Counter[str]:
        """What lies beside the mirror at the end."""
        staging = self.workspace.root / STAGING
        return Counter("list" if path.suffix == ".json" else "stage" for path in staging.glob("*"))


def main() -> None:
    """KILLS kills over FILES files."""
    given = [int(text) for text in sys.argv[1:]]
    kills, files, seed = [*given, *(300, 1500, random.SystemRandom().randrange(10**9))[len(given) :]]
    print(f"{kills} kills over {files} files, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "config")
        campaign = StagedCampaign(WorkspaceFiles(Path(name) / "ws"), kills=kills, files=files, seed=seed)
        try:
            report = campaign.run()
        except BaseException:
            print(log_tail(Path(name)), file=sys.stderr)
            raise
        left = ", ".join(f"{count} {what}s" for what, count in campaign.left().items()) or "nothing"
    print(report)
    print(f"{len(campaign.again)} files were done again after they were published: equal outputs replaced theirs")
    print(f"{campaign.looks:,} looks at outputs, all whole; beside the mirror, of runs that were just killed: {left}")


if __name__ == "__main__":
    main()
