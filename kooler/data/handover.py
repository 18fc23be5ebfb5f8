"""Large arrays from a worker process to its parent, through memory that both see.

A pipe takes a result in pieces of 64 kB, and it is copied on both sides.  What is large goes into
memory without a name instead (`memfd_create`, on Linux), which the parent finds among the open
files of the worker and maps: one copy, and `/dev/shm`, which is tiny in many a container, is not
used.  Elsewhere, a result goes through the pipe.

The kernel takes several times as long to provide memory as we take to copy into it, so a worker
keeps a piece and writes into it again.  The first byte of a piece says whether someone still reads
there: the worker sets it, and the parent clears it when the last array is gone.  Nothing has a
name, so whoever is killed, nothing stays: a piece lives as long as the worker has it open, or an
array in the parent lies in it.
"""

import mmap
import os
import pickle
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LARGE = 2**18  # bytes
KEPT = 3  # pieces that a worker keeps although nobody reads in them
LENT = 64  # pieces that the parent reads in; each is an open file, so beyond it copies
_ALIGNED = 64
_HEAD = _ALIGNED


class Parcel(NamedTuple):
    """A result whose arrays lie in a piece of memory.

    Attributes:
        pickled: All but the arrays.
        sizes: The bytes of each array.
        path: Where the parent opens the piece.
    """

    pickled: bytes
    sizes: list[int]
    path: str


class Pieces:
    """The memory that a worker hands its results over in."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []

    def packed(self, value: Any) -> Any:
        """A parcel, if the value is large; else the value."""
        if _size(value) < LARGE:
            return value
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        parts = [buffer.raw() for buffer in buffers]
        try:
            piece = self._piece(_HEAD + sum(_padded(part.nbytes) for part in parts))
        except OSError:  # too many open files, or no memory
            return value
        piece.write(parts)
        return Parcel(pickled, [part.nbytes for part in parts], piece.path)

    def _piece(self, size: int) -> "_Piece":
        free = [piece for piece in self._pieces if not piece.memory[0]]
        for piece in free[:-KEPT]:
            self._pieces.remove(piece)
            piece.close()
        fitting = [piece for piece in free[-KEPT:] if len(piece.memory) >= size]
        if not fitting:
            self._pieces.append(_Piece(size))
            return self._pieces[-1]
        return min(fitting, key=lambda piece: len(piece.memory))


class _Piece:
    def __init__(self, size: int) -> None:
        self._file = os.memfd_create("kooler")
        try:
            os.ftruncate(self._file, size)
            self.memory = mmap.mmap(self._file, size)
        except OSError:
            os.close(self._file)
            raise
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"

    def write(self, parts: list[memoryview]) -> None:
        start = _HEAD
        for part in parts:
            self.memory[start : start + part.nbytes] = part
            start += _padded(part.nbytes)
        self.memory[0] = 1

    def close(self) -> None:
        self.memory.close()
        os.close(self._file)


def parent_can_read() -> bool:
    """Whether this process and the one that started it may look at each other's memory files."""
    if not hasattr(os, "memfd_create"):
        return False
    try:
        return any(Path(f"/proc/{os.getppid()}/fd").iterdir())
    except OSError:  # there is no /proc, or it is closed
        return False


def unpacked(value: Any) -> Any:
    """What was packed.

    Raises:
        OSError: The worker is gone, and with it what nobody had fetched.
    """
    if not isinstance(value, Parcel):
        return value
    with Path(value.path).open("r+b") as file:
        memory = _Loan(file.fileno(), 0)
    if len(_lent) < LENT:
        _lent.add(memory)
        view = memoryview(memory)
    else:
        view = memoryview(bytearray(memory))
    parts, start = [], _HEAD
    for size in value.sizes:
        parts.append(view[start : start + size])
        start += _padded(size)
    return pickle.loads(value.pickled, buffers=parts)


def discard(value: Any) -> None:
    """Lets the worker have back what nobody will unpack."""
    if isinstance(value, Parcel):
        try:
            with Path(value.path).open("r+b") as file:
                file.write(b"\0")
        except OSError:
            pass  # the worker is gone


class _Loan(mmap.mmap):
    """A piece that this process reads in; the worker has it back with the last array there."""

    def __init__(self, file: int, length: int) -> None:
        self._owner = os.getpid()

    def __del__(self) -> None:
        if os.getpid() == self._owner:  # not a fork of it, whose copies of the arrays ended
            self[0] = 0


_lent: weakref.WeakSet[_Loan] = weakref.WeakSet()


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _size(value: Any) -> int:
    """The bytes of the arrays in a batch."""
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    if isinstance(value, tuple | list):
        return sum(map(_size, value))
    return value.nbytes if isinstance(value, np.ndarray) else 0
