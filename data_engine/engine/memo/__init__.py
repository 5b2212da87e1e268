"""Run only the changed steps in a second preview. What steps read is recorded in `data_engine/engine/access/`."""
