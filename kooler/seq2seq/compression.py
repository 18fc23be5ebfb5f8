"""Compressed files as streams of bytes: the last suffix of the name tells how.

    .gz    gzip, by Python
    .xz    xz, by Python
    .zst   zstd, by Python from 3.14 on, before that by `pip install "kooler[formats]"`

They are unpacked while they are read, a little at a time.  A file may consist of several
compressed parts, one behind the other, as `cat a.gz b.gz` makes them; one of no bytes at all is
empty, whatever its name.
"""

import contextlib
import gzip
import importlib
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from kooler.seq2seq.corpus_errors import CorpusError, Damaged, shown


class Compression(NamedTuple):
    """A way to compress.

    Attributes:
        name: What people call it.
        magic: What every such file begins with.
        open: Opens a file that was compressed so; also the exceptions for damaged data in it,
            beside EOFError for those that end too early.
    """

    name: str
    magic: tuple[bytes, ...]
    open: Callable[[Path], tuple[Any, tuple[type[Exception], ...]]]


def compression_of(path: Path) -> str:
    """The suffix of a compressed file, in small letters; empty for a plain one."""
    suffix = path.suffix.lower()
    return suffix if suffix in COMPRESSIONS else ""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file to read bytes from, unpacked.

    Raises:
        CorpusError: If the file is not what its name says, or a package is missing.
        Damaged: While it is read, if it ends too early or holds something else.
        OSError: If the system does not let us read it.
    """
    kind = COMPRESSIONS.get(compression_of(path))
    if kind is None or not path.stat().st_size:
        with path.open("rb") as stream:
            yield stream
        return
    _check_magic(path, kind)
    unpacked, damage = kind.open(path)
    try:
        with io.BufferedReader(unpacked) as stream:
            yield cast(IO[bytes], stream)
    except EOFError:
        raise Damaged(f"the {kind.name} data end here; the file is truncated") from None
    except damage:
        raise Damaged(f"the {kind.name} data are damaged here; copy or make it again") from None


def _check_magic(path: Path, kind: Compression) -> None:
    with path.open("rb") as stream:
        begin = stream.read(8)
    if not begin.startswith(kind.magic):
        raise CorpusError(
            f"{shown(path)}: is not {kind.name}, though its name ends in {path.suffix}; "
            "rename or compress it."
        )


def _gzip(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    return gzip.open(path, "rb"), (gzip.BadGzipFile, zlib.error)


def _xz(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    return lzma.open(path, "rb"), (lzma.LZMAError,)


def _zstd(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    library = _zstd_library(path)
    return library.open(path, "rb"), (library.ZstdError,)


def _zstd_library(path: Path) -> Any:
    if sys.version_info >= (3, 14):
        return importlib.import_module("compression.zstd")
    try:
        from backports import zstd
    except ImportError:
        raise CorpusError(
            f"{shown(path)}: zstd needs a package that is not installed; "
            'pip install "kooler[formats]", or unpack the file.'
        ) from None
    return zstd


_ZSTD_SKIPPED = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))

COMPRESSIONS = {
    ".gz": Compression("gzip", (b"\x1f\x8b",), _gzip),
    ".xz": Compression("xz", (b"\xfd7zXZ\0",), _xz),
    ".zst": Compression("zstd", (b"\x28\xb5\x2f\xfd", *_ZSTD_SKIPPED), _zstd),
}
