"""Shorten TensorBoard's event files to what a run had logged up to a step.

TensorBoard itself hides events by their step when a run goes on. That cannot hide pictures, whose step is the
number of their task.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

HEAD, FOOT = struct.Struct("<QI"), 4  # of a record: length and its checksum; checksum of the content


def cut(folder: Path, step: int) -> None:
    """Remove from event files what was logged after a step, and a last record that is not whole.

    Events are written in the order in which they were logged. So everything behind the first event of a later
    step is cut off, whatever its own step is.

    Args:
        folder: the folder; it may be missing.
        step: the last step to keep.

    Raises:
        OSError: a file cannot be read or shortened.
    """
    for path in sorted(folder.glob("events.out.tfevents.*")):
        size = path.stat().st_size
        with path.open("rb") as file:
            end = _end(file, size, step)
        if 0 < end < size:  # 0: not an event file, whatever it is called
            os.truncate(path, end)


def _end(file: BinaryIO, size: int, step: int) -> int:
    """Where the events up to a step end; 0 if the file does not begin with one."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    end = 0
    while len(head := file.read(HEAD.size)) == HEAD.size:
        length, _ = HEAD.unpack(head)
        behind = end + HEAD.size + length + FOOT
        if behind > size:
            break
        try:
            event = Event.FromString(file.read(length))
        except DecodeError:
            break
        if event.HasField("summary") and event.step > step:
            break
        end = behind
        file.seek(end)
    return end
