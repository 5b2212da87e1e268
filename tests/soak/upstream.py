"""Random flows that feed one another, against the oracle of what followed from what: `python -m tests.soak.upstream 100000`."""

from __future__ import annotations

import sys

from tests.scheduler.upstream_schedules import violations
from tests.soak.schedules import campaign

if __name__ == "__main__":
    sys.exit(not campaign(violations))
