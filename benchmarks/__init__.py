"""Every figure that data_engine/docs/pages/figures.md claims, measured beside its limit: `python -m benchmarks.NAME`."""

import os

# An installed package has its bytecode; so must the one measured here, in each process that a benchmark starts.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
