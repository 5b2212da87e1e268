"""Jobs on a Dask cluster: a job is a whole run (`daemon.cluster_runs`) or some items of a map (`engine.items.cluster`).

connection.py  one client a scheduler, and the check of the nodes' versions
local.py       the cluster of this machine
link.py        the owner's side: which nodes there are, and attempts at jobs with their ends
node.py        the node's side: takes an attempt, and carries messages between owner and job
"""
