"""Decide what is due, and why: pure functions about sources, slots and ranges, which the scheduler, runs, previews and `explain` share."""
