"""`python -m tests.soak.rejected_kills [KILLS] [SEED]`: kill -9 runs of a flow that puts rows apart, at random instants.

Staged and in place, for a file and for a batch, in turn. After each kill: no file holds rows of two runs, and of a staged mirror no output is
newer than its rejected rows; after the next run all are of the last version. The seed is printed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from data_engine import Workspace
from tests.engine.rejecting import KINDS, flow_of, put_source, versions


def main(kills: int = 200, seed: int | None = None) -> None:
    """So many kills over all kinds."""
    seed = random.SystemRandom().randrange(10**9) if seed is None else seed
    print(f"{kills} kills, seed {seed}", flush=True)
    draw, done, late = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        roots = {kind: Workspace.create(Path(name) / kind.replace(" ", "_")).root for kind in KINDS}
        while done < kills:
            kind = KINDS[done % len(KINDS)]
            root, version, bad = roots[kind], done + late + 1, draw.randint(0, 3)
            put_source(root, version, bad=bad)
            command = [sys.executable, "-m", "tests.engine.rejecting", str(root), kind, "-1"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
                assert run.stdout is not None
                run.stdout.readline()
                time.sleep(draw.uniform(0, 0.8))
                run.kill()
                was_killed = run.wait() != 0
            done, late = done + was_killed, late + (not was_killed)
            if kind.startswith("staged"):
                out, rejected = versions(root)
                assert not bad or version not in out or rejected == {version}, (kind, version, out, rejected)
            flow_of(root, kind).run_once()
            assert versions(root) == ({version}, {version} if bad else set()), (kind, version, bad)
    print(f"{done} kills, {late} runs were over before; nothing was lost", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
