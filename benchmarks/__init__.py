"""Every figure that data_engine/docs/pages/figures.md claims, measured beside its limit: `python -m benchmarks.NAME`."""
