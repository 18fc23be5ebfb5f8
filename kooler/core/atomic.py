"""Files that are never half written.

A file is written beside its place and then takes it in one step of the file system, so that at any
moment, also after a power cut or with a full disk, the old file or the new one is there, whole.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to; when the block ends, it becomes `path`, else it goes.

    Args:
        path: The file to write or to replace; its folder must exist.

    Raises:
        OSError: If it cannot be written; `path` is then what it was before.

    Example:
        >>> with replacing(Path("settings.json")) as part:
        ...     part.write_text("{}")
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield part
        _to_disk(part)
        part.replace(path)
        _to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def check_place(path: Path) -> None:
    """Raises ValueError if `path` could not be written; to be asked before long work."""
    if path.is_dir():
        raise ValueError(f"`{path}` cannot be written, it is a directory. Name a file in it.")
    if path.exists() and not path.is_file():
        raise ValueError(f"`{path}` cannot be written, it is no plain file. Name another file.")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
        if path.exists():
            path.open("ab").close()
    except OSError as error:
        raise ValueError(
            f"`{path}` cannot be written ({error.strerror}). "
            "Name a file in a folder that is there and that takes files."
        ) from None


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
