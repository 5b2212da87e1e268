"""`python -m tests.soak.decisions [N] [FIRST]`: N random schedules of deployments and requests, from the seed FIRST on.

Two processes share them. Prints what was injected and what happened, and the seed of each schedule that broke something;
the exit code is 1 then.
"""

from __future__ import annotations

import sys

from tests.lease.decisions import violations
from tests.soak.schedules import campaign

if __name__ == "__main__":
    sys.exit(0 if campaign(violations) else 1)
