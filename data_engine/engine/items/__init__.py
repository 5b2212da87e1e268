"""Spread the items of a map: over threads, processes of this machine, or a cluster. `engine.run.item_executor` decides which."""
