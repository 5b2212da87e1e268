"""The library that watches folders, as each system can bear it."""

from __future__ import annotations

import sys
from typing import Any

if sys.platform == "win32":
    import threading

    from watchdog.observers.api import BaseObserver
    from watchdog.observers.read_directory_changes import WindowsApiEmitter
    from watchdog.observers.winapi import close_directory_handle  # type: ignore[attr-defined, unused-ignore]

    class _Emitter(WindowsApiEmitter):
        """The library's own, which closes the handle of its folder once.

        That one closes it whenever it is stopped: by itself when the folder goes, or when it reads as somebody stops it, and
        by whoever stops it then. The second time the number may be that of any other handle of this process: a file, a
        socket, a lock of the interpreter.
        """

        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            self._closing = threading.Lock()

        def on_thread_stop(self) -> None:
            with self._closing:
                handle, self._whandle = self._whandle, None  # type: ignore[has-type, unused-ignore]
            if handle:
                close_directory_handle(handle)

    def new_observer() -> Any:
        """An observer of the library, which is not started."""
        return BaseObserver(_Emitter)

else:
    from watchdog.observers import Observer

    def new_observer() -> Any:
        """An observer of the library, which is not started."""
        return Observer()
