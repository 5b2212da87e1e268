"""What a run and a process of its items say to each other over two pipes: pickled tuples, each after its size.

    run      hello facts | task id content names around | forget id | item task parcel | answer is_good content
    process  ready | event e | text stream text | record r | lost names | ask question arguments | done parcel | failed error

Both are the same user's, and one has started the other.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

Frame = tuple[Any, ...]
_SIZE_BYTES = 8


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Send a frame.

    Raises:
        OSError: nobody listens.
    """
    content = pickle.dumps(frame, protocol=5)
    stream.write(len(content).to_bytes(_SIZE_BYTES, "big"))
    stream.write(content)
    stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame; None when the other side is gone."""
    try:
        size = stream.read(_SIZE_BYTES)
        if len(size) < _SIZE_BYTES:
            return None
        length = int.from_bytes(size, "big")
        content = stream.read(length)
    except (OSError, ValueError):  # it was closed meanwhile
        return None
    if len(content) < length:
        return None
    frame: Frame = pickle.loads(content)
    return frame
