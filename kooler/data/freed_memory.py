"""A worker keeps the memory that it frees, for its next batch.

glibc gives large blocks back to the system when they are freed, and the top of the heap as soon as
a little of it is.  The samples of a batch are freed together, so each batch would get all of its
memory anew, page by page and cleared: for images of 0.8 MB that took several times as long as to
make and stack them.  With other allocators nothing is changed.

Source: mallopt(3), https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

import ctypes
import sys

KEPT = 2**27  # bytes at the top of the heap
_FROM_HEAP = 2**25  # the largest blocks that glibc lets come from the heap
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> bool:
    """Lets this process keep up to 128 MB that it freed; False if its allocator cannot."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_MMAP_THRESHOLD, _FROM_HEAP))
