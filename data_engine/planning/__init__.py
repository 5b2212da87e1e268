"""What is due, and why: pure decisions about sources, slots and ranges, which the scheduler, runs, previews and `explain` share."""
