"""`python -m tests.soak.share_chaos [ROUNDS] [SEED]`: a shared folder is damaged at random under daemons that are killed.

Two or three real daemons on one workspace, in campaigns of 25 rounds, each with a seed of its own: parts of
`.workspace_state` are deleted, corrupted, linked elsewhere, replaced and restored, owners are frozen and killed, and then
people do what they are told to do. Histories agree, nothing that is done is done again but what a repair said is lost, no
link is followed. A violation is printed with its seed, `python -m tests.soak.share_chaos 25 SEED` tries it again.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

from tests.daemon.chaos import Report, ViolationError, run_together

ROUNDS = 25
AT_A_TIME = 2 * (os.cpu_count() or 1)


def main() -> int:
    """So many rounds; 1 when something was violated."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(10**9)
    seeds = range(seed, seed + max(1, rounds // ROUNDS))
    print(f"{len(seeds) * ROUNDS} rounds, seeds {seeds[0]} to {seeds[-1]}", flush=True)
    report, violations = Report(), 0
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "machine")
        os.environ["XDG_CONFIG_HOME"] = str(Path(name) / "config")
        for done in run_together(Path(name), seeds, rounds=ROUNDS, at_a_time=AT_A_TIME):
            if isinstance(done, ViolationError):
                violations += 1
                print(f"VIOLATION: {done}", flush=True)
            else:
                report.add(done)
                print(f"{report.rounds} rounds", flush=True)
    print(report)
    print(f"{violations} violations")
    return min(1, violations)


if __name__ == "__main__":
    sys.exit(main())
