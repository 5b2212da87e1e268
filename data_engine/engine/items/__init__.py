"""How the items of a map are spread: over threads, processes of this machine, or a cluster. `engine.executor` decides which.

threads.py     the loop that all ways share: order, errors, stops, progress
travel.py      values and errors as bytes, and back
far_context.py the context of a step as an item in another process sees it
worker.py      that process itself
processes.py   the processes of one run, as their owner holds them
"""
