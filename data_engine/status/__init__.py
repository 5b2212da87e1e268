"""The state of a workspace as people and programs read it: one record, filled from facts once, and what explains it."""
