"""Bringing a workspace from the older system: its history, what has run already, and the settings of this machine."""
