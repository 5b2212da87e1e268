"""The folder a team shares and the folder this machine keeps for it: their paths, identity and settings.

`layout` names every path and finds the notebook or script that is asking, `select` finds the workspace that is meant,
`identity` knows it again after a move, `settings` and `machine` read and edit the two settings files, and `provision`
makes what is missing.
"""
