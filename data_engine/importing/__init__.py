"""Bring a workspace from the older system: its history, the state of its sources, and the settings of this machine."""
