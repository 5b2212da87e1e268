"""The ownership of a workspace on a shared folder: one owner at a time, whatever clocks, pauses and drives do.

An append-only list of numbered *generations* decides everything. A generation is a filled folder that appears at its
number by one rename; each number can be won once. Claiming, committing, renewing and releasing all append the next
generation, so whoever knows less than the newest one cannot append. The number of a claim is its *fencing token*.
Heartbeats, marker folders and clocks only decide when one may try and what people see.

In use, by one thread that does all input and output on the share (only `can_work`, `work_until` and `is_over` may be asked from others):

    observer = Observer(OsFolder(layout.workspace_state_dir), me, workspace=identity, limits=Limits(30, 90),
                        holds_lock=lambda: lock.is_held, known_list=kept)
    view = observer.poll()                      # every view.limits.poll_s; never raises
    held = observer.claim(view)                 # when view.is_claimable
    held.heartbeat("idle")                      # every limits.heartbeat_s; after an error again in limits.retry_s
    generation = held.commit({"runs": parquet}, fold={"runs": Fold(names, parquet)}, engine_on=True)
    held.release(handoff_to=view.request)       # stop work and commit first

`Fenced`: somebody else owns now; the HeldLease is over. `Lost`: look again. `InDoubt` and `OSError` (the share is away,
full, read-only): keep the state and call again; the work deadline keeps running. `Damaged`: the list or a segment cannot
be read; `NewerFormat` is its kind that needs an update of Data Engine.
"""

from __future__ import annotations
