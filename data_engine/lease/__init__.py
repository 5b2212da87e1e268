"""Who owns a workspace on a shared folder: one owner at a time, whatever clocks, pauses and drives do.

An append-only list of numbered *generations* decides everything. A generation is a filled folder that appears at its
number by one rename; each number can be won once. Claiming, committing, renewing and releasing all append the next
generation, so whoever knows less than the newest one cannot append. The number of a claim is its *fencing token*.
Heartbeats, marker folders and clocks only decide when one may try and what people see.

    protocol.py         pure: Limits, Identity, Generation, Request; what may follow a generation
    records.py          pure: these as bytes on the share, with checksums, each field checked
    view.py             pure: what a look means, the rule of silence
    status.py           pure: LeaseStatus, what people are told
    folder.py           OsFolder (the drive; follows no link), probe, sync_client, host_id
    generations.py      the list: newest generation, the one arbiter, whole snapshots, collection
    heartbeat_files.py  heartbeat, request and markers: they inform and never decide
    removal.py          what is ours is removed, what is not is left alone or put aside
    repair.py           going on after damage, numbered above all that was ever seen
    observer.py         Observer: looks, asks, claims and repairs
    held_lease.py       HeldLease: what only the owner may do
    history.py          what an owner publishes, folds and drops; taking in what others published, repairing damage
    requests.py         what is asked of the owner, as files
    deployment_files.py sets of deployed modules and their files, by their content
    older_owner.py      whether an owner of the older system is there
    alarms.py           who tells people of a silent owner: claims, each won by one rename
    keeper.py           when a daemon does all this, on a thread of its own
    peek.py             one look for whoever runs something without a daemon

In use, by one thread that does all input and output on the share (nothing here is thread-safe; `can_work`, `work_until`
and `is_over` are memory only and may be read from any thread):

    observer = Observer(OsFolder(layout.workspace_state_dir), me, workspace=identity, limits=Limits(30, 90),
                        holds_lock=lambda: lock.is_held, known_list=kept)
    view = observer.poll()                      # every view.limits.poll_s; never raises
    status_of(view, me).words                 # "owned by ANNA-PC for 12 min, takeover available in 40 s"
    held = observer.claim(view)                 # when view.is_claimable: available, stale; or mine after an InDoubt;
                                                # only where all segments are there and what was written
    snapshot = observer.snapshot(seen=names)    # refresh before the first commit; only segments not in `seen` are read
    held.heartbeat("idle")                      # every limits.heartbeat_s; after an error again in limits.retry_s
    observer.fetch("runs", name)                # one segment of the newest generation, to fold it
    generation = held.commit({"runs": parquet}, fold={"runs": Fold(names, parquet)}, engine_on=True)
    held.collect()                              # now and then, after commits
    held.release(handoff_to=view.request)       # stop work and commit first
    observer.request_control("ui"), observer.repeat_request(), observer.withdraw_request()
    observer.repair(view)                       # only when a person asked for it
    observer.known_list                         # keep it in the local ledger: what has been seen of the list
    observer.left_alone                         # what lies among our files and is none of them

`Fenced`: somebody else owns now; the HeldLease is over. `Lost`: look again. `InDoubt` and `OSError` (the share is away,
full, read-only): keep the state and call again; the work deadline keeps running. `Damaged`: the list or a segment cannot
be read; `NewerFormat` is its kind that needs an update of Data Engine.
"""

from __future__ import annotations
