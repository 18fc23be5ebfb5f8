"""Large arrays from a worker process to its parent, through memory that both see.

A pipe takes a result in pieces of 64 kB, and it is copied on both sides.  What is large goes into
a file of the memory file system instead (/dev/shm, on Linux), which the parent maps and takes from
its folder at once: one copy, and the memory is free when the last array is.  Where there is no such
file system, or it is full, a result goes through the pipe.

The folder belongs to one pool of workers.  Whoever ends last removes it: the parent, or a worker
that finds the parent gone.
"""

import mmap
import os
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SHARED = Path("/dev/shm")
LARGE = 2**20  # bytes
_ALIGNED = 64


class Parcel(NamedTuple):
    """A result whose arrays lie in a file.

    Attributes:
        pickled: All but the arrays.
        sizes: The bytes of each array.
        path: The file.
    """

    pickled: bytes
    sizes: list[int]
    path: str


def make_folder() -> str:
    """A folder in the memory file system; empty text if there is none."""
    try:
        return tempfile.mkdtemp(prefix="kooler-", dir=SHARED)
    except OSError:
        return ""


def remove_folder(folder: str) -> None:
    """Removes a folder with what nobody fetched."""
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


def packed(value: Any, folder: str) -> Any:
    """A parcel, if the value is large and there is room for it; else the value."""
    if not folder or _size(value) < LARGE:
        return value
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    try:
        path = _written(parts, folder)
    except OSError:  # full, or the pool has been closed
        return value
    return Parcel(pickled, [part.nbytes for part in parts], path)


def unpacked(value: Any) -> Any:
    """What was packed."""
    if not isinstance(value, Parcel):
        return value
    with Path(value.path).open("rb") as file:
        Path(value.path).unlink()
        memory = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    parts, start = [], 0
    for size in value.sizes:
        parts.append(memory[start : start + size])
        start += _padded(size)
    return pickle.loads(value.pickled, buffers=parts)


def discard(value: Any) -> None:
    """Frees what nobody will unpack."""
    if isinstance(value, Parcel):
        Path(value.path).unlink(missing_ok=True)


def _written(parts: list[memoryview], folder: str) -> str:
    handle, path = tempfile.mkstemp(dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
                file.write(bytes(_padded(part.nbytes) - part.nbytes))
    except OSError:
        Path(path).unlink(missing_ok=True)
        raise
    return path


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _size(value: Any) -> int:
    """The bytes of the arrays in a batch."""
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    if isinstance(value, tuple | list):
        return sum(map(_size, value))
    return value.nbytes if isinstance(value, np.ndarray) else 0
