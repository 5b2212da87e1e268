"""Flows as values: triggers, steps, paths, batches, the context a step receives, and the step loop."""
