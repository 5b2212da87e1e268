"""How the items of a map are spread: over threads, processes of this machine, or a cluster. `engine.executor` decides which.

threads.py     the loop that all ways share: order, errors, stops, progress
travel.py      values, errors and the context of a step as bytes, and back
worker.py      that process itself
processes.py   the processes of one run, as their owner holds them
"""
