"""Processes: started so that they outlive or hide, told from later ones of the same number, ended with what they started."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from data_engine.platforms._processes_windows import (
        apart,
        at_fork,
        become,
        crash_name,
        create_time_of,
        detached,
        end_session,
        end_started_by,
        ended_with_session,
        has_children,
        is_crash,
        is_this_users,
        kill,
        limit_memory,
        memory_bytes,
        memory_kills,
        new_event_loop,
        open_files,
        session_members,
        stop_timer,
        was_killed,
    )
else:
    from data_engine.platforms._processes_posix import (
        apart,
        at_fork,
        become,
        crash_name,
        create_time_of,
        detached,
        end_session,
        end_started_by,
        ended_with_session,
        has_children,
        is_crash,
        is_this_users,
        kill,
        limit_memory,
        memory_bytes,
        memory_kills,
        new_event_loop,
        open_files,
        session_members,
        stop_timer,
        was_killed,
    )

__all__ = [
    "apart",
    "at_fork",
    "become",
    "crash_name",
    "create_time_of",
    "detached",
    "end_session",
    "end_started_by",
    "ended_with_session",
    "has_children",
    "is_crash",
    "is_this_users",
    "kill",
    "limit_memory",
    "memory_bytes",
    "memory_kills",
    "new_event_loop",
    "open_files",
    "session_members",
    "stop_timer",
    "was_killed",
]
