"""A directory that has one writer.

The operating system holds the lock for as long as the process lives.  A process that was killed
leaves the lock file behind, but not the lock, so nothing ever has to be declared stale.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path` for this process.

    Args:
        path: The lock file; it is made where missing, and stays.

    Raises:
        ValueError: If a living process holds it; the text names that process.

    Example:
        >>> with locked(Path("run/lock")):
        ...     train()
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(_held(path)) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _held(path: Path) -> str:
    holder = path.read_text("utf-8") or "another process"
    return (
        f"`{path.parent}` is in use by {holder}. "
        "Wait for that training, stop it, or choose another run directory."
    )
