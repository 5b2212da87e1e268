"""Every figure the README claims, measured beside its limit: `python -m benchmarks.NAME`."""
