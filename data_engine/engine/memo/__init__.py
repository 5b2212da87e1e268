"""How a second preview runs only what changed. What steps read is recorded in `data_engine/engine/access/`."""
