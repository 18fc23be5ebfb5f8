r"""The lines of a text file, plain or compressed, from bytes to checked text.

Only `\n` and `\r\n` end a line: U+2028, U+0085 and their like stay in the text, where
`str.splitlines` would break a pair in two.  A byte order mark and the empty lines at the end
of a file are passed over.  One line is in memory at a time, and none of more than
`MAXIMUM_LINE_BYTES`, so that a file without line ends cannot fill it.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from kooler.seq2seq.compression import opened
from kooler.seq2seq.corpus_errors import BadLine, CorpusError, Damaged, shown, unreadable

MAXIMUM_LINE_BYTES = 16 * 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1, up to the last that is not empty.

    Raises:
        CorpusError: If the file cannot be read to its end, or is not what its name says.
    """
    empty: list[int] = []
    number = 0
    try:
        with opened(path) as stream:
            for number, line in enumerate(stream_lines(stream), start=1):
                if not line.strip(b" "):
                    empty = [*empty[:1], number]
                    continue
                yield from ((earlier, b"") for earlier in _span(empty))
                empty = []
                yield number, line
    except Damaged as problem:
        raise CorpusError(f"{shown(path)}:{number + 1}: {problem}.") from None
    except OSError as error:
        raise CorpusError(unreadable(path, error)) from error


def stream_lines(stream: IO[str] | IO[bytes]) -> Iterator[bytes]:
    """The lines of a stream as bytes, without their ends and without a byte order mark.

    A text stream over bytes is read from below, as UTF-8 whatever encoding it was given.
    """
    stream = getattr(stream, "buffer", stream)
    lines: Iterator[bytes]
    if isinstance(stream, io.TextIOBase):
        lines = (line.encode("utf-8", "surrogatepass") for line in cast(IO[str], stream))
    else:
        lines = _bounded_lines(cast(IO[bytes], stream))
    return _without_byte_order_mark(_without_end(line) for line in lines)


def line_text(line: bytes) -> str:
    """The text of a line.

    Raises:
        BadLine: For a line that is too long, for invalid UTF-8, and for NUL.
    """
    if len(line) > MAXIMUM_LINE_BYTES:
        raise BadLine(f"the line is longer than {MAXIMUM_LINE_BYTES:,} bytes")
    try:
        return checked_text(line.decode())
    except UnicodeDecodeError as error:
        raise BadLine(_invalid_utf8(line, error)) from None


def checked_text(text: str) -> str:
    """The text itself, if it can be written as UTF-8 and holds no NUL.

    Raises:
        BadLine: Otherwise.
    """
    if "\0" in text:
        raise BadLine("a NUL character; the file may be UTF-16, or no text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise BadLine(f"U+{code:04X} is half a surrogate pair, not a character") from None
    return text


def _bounded_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines with their end; of one that is too long, just enough to see that it is."""
    limit = MAXIMUM_LINE_BYTES + len(b"\r\n")
    while line := stream.readline(limit):
        rest = line
        while len(rest) == limit and not rest.endswith(b"\n"):
            rest = stream.readline(limit)
        yield line


def _without_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _without_byte_order_mark(lines: Iterable[bytes]) -> Iterator[bytes]:
    lines = iter(lines)
    for first in lines:
        yield first.removeprefix(_BYTE_ORDER_MARK)
        break
    yield from lines


def _span(ends: Sequence[int]) -> range:
    return range(ends[0], ends[-1] + 1) if ends else range(0)


def _invalid_utf8(line: bytes, error: UnicodeDecodeError) -> str:
    problem = f"invalid UTF-8: byte 0x{line[error.start]:02X} at position {error.start + 1}"
    if line.startswith(b"\x1f\x8b"):
        return f"{problem}; this looks like gzip, whose name must end in .gz"
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"{problem}; this looks like UTF-16, convert it to UTF-8"
    return problem
