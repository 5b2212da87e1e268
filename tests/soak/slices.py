"""`python -m tests.soak.slices [N] [FIRST_SEED]`: N generated notebooks (default: for an hour), each run whole and as its slice.

Where the two give different values the comparison must tell it. A difference that nothing tells is printed with its seed, and the
exit code is 1; `judge(generate(seed).cells)` of `tests/proof/oracle.py` shows it again.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter

from tests.notebook.generated import generate
from tests.proof.oracle import judge

HOUR_S = 3600.0
PROGRESS = 5000


def main(most: int | None, first: int) -> int:
    """Judge notebooks until there are enough; the number of silent differences."""
    began = time.monotonic()
    found: Counter[str] = Counter()
    for count in itertools.count():
        if count == most or (most is None and time.monotonic() - began > HOUR_S):
            break
        verdict = judge(generate(first + count).cells)
        found[verdict.kind] += 1
        if verdict.kind == "silent":
            print(f"seed {first + count}: silent\n{verdict.detail}\n", flush=True)
        if count % PROGRESS == PROGRESS - 1:
            print(f"{count + 1} notebooks, {time.monotonic() - began:.0f} s: {dict(found)}", flush=True)
    print(f"{found.total()} notebooks in {time.monotonic() - began:.0f} s: {dict(found)}")
    return found["silent"]


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    sys.exit(1 if main(numbers[0] if numbers else None, numbers[1] if len(numbers) > 1 else 1_000_000) else 0)
