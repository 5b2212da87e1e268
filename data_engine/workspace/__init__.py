"""The folder a team shares and the folder this machine keeps beside it: where they are, who they are, what they say.

`layout` names every path, `select` finds the workspace that is meant, `identity` knows it again after a move,
`settings` and `machine` read and edit the two settings files, `provision` makes what is missing, and `here` finds the
notebook or script that is asking.
"""
