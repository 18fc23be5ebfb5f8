"""Pickles for another process of this machine, in which a memory map stays a memory map.

Pickle writes a `numpy.memmap` with all its bytes, so that each worker would be sent the whole file.
Here it is written as the name of its file and opened again.  That goes for a map as it was opened;
a slice of one is an array like any other, and so is a map whose changes do not reach the file.
"""

import io
import mmap
import os
import pickle
from typing import Any

import numpy as np


def dumps(value: Any) -> bytes:
    """A value as bytes; `pickle.loads` reads them."""
    target = io.BytesIO()
    _Pickler(target, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return target.getvalue()


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if not (isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap)):
            return NotImplemented
        if not value.filename or value.mode == "c":
            return NotImplemented
        order = "C" if value.flags.c_contiguous else "F"
        return _open, (os.fspath(value.filename), value.dtype, value.offset, value.shape, order)


def _open(file: str, dtype: Any, offset: int, shape: tuple[int, ...], order: Any) -> Any:
    return np.memmap(file, dtype, "r", offset, shape, order)
