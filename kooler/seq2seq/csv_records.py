r"""The records of a CSV file (RFC 4180): a header that names the columns, cells with line ends.

    id,source,target
    1,"a ""text"", in quotes",a title
    2,"a text
    of two lines",another

A record begins on one line and ends on the first on which all its quotes are closed; a line end
within a cell is `\n`.  A record that is wrong costs one line: reading goes on behind the line on
which it began, so a quote that is never closed does not swallow what follows.

Source: Y. Shafranovich, RFC 4180, https://www.rfc-editor.org/rfc/rfc4180
"""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from kooler.seq2seq.corpus_errors import BadLine, CorpusError, shown
from kooler.seq2seq.lines import MAXIMUM_LINE_BYTES, line_text, numbered_lines

Line = tuple[int, bytes]
Record = dict[str, str]

MAXIMUM_RECORD_LINES = 10_000


def csv_records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Record | BadLine]]:
    """The records of a CSV file, each with the number of its first line.

    Args:
        path: The file.
        columns: What the header must name, among other things.

    Raises:
        CorpusError: For a header without these columns, and for what `numbered_lines` raises it.
    """
    lines = _Lines(numbered_lines(path))
    header: list[str] | None = None
    for first in lines:
        held = _record_lines(first, lines)
        cells = _cells(held)
        if isinstance(cells, BadLine):
            lines.give_back(held[1:])
        elif header is None:
            header = cells
            _check_header(path, first[0], header, columns)
            continue
        if header is None:
            raise CorpusError(f"{shown(path)}:{first[0]}: {cells}; the header is needed.")
        yield first[0], _record(header, cells)


class _Lines(Iterator[Line]):
    """Lines, some of which may be given back to come again."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()

    def __next__(self) -> Line:
        return self._again.popleft() if self._again else next(self._lines)

    def give_back(self, lines: Sequence[Line]) -> None:
        self._again.extendleft(reversed(lines))


def _record_lines(first: Line, lines: Iterator[Line]) -> list[Line]:
    """The lines of one record; no more if its quote is never closed."""
    held = [first]
    is_open, size = first[1].count(b'"') % 2 == 1, len(first[1])
    while is_open and size <= MAXIMUM_LINE_BYTES and len(held) < MAXIMUM_RECORD_LINES:
        following = next(lines, None)
        if following is None:
            break
        held.append(following)
        is_open ^= following[1].count(b'"') % 2 == 1
        size += len(following[1])
    return held


def _cells(held: Sequence[Line]) -> list[str] | BadLine:
    before = csv.field_size_limit(MAXIMUM_LINE_BYTES + 1)
    try:
        text = line_text(b"\n".join(line for _, line in held))
        return next(csv.reader([text], strict=True), [])
    except BadLine as bad:
        return bad
    except csv.Error as error:
        return BadLine(f"invalid CSV: {_problem(str(error))}")
    finally:
        csv.field_size_limit(before)


def _problem(text: str) -> str:
    """What the parser says, in words for someone who has not read its source."""
    if "new-line" in text:
        return "a carriage return outside of quotes"
    return "quotes do not match (a cell with a quote is put in quotes, and that quote doubled)"


def _check_header(path: Path, number: int, header: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if header.count(name) != 1:
            problem = "has no column" if name not in header else "has more than one column"
            raise CorpusError(
                f"{shown(path)}:{number}: the header {problem} {name!r}, it names {header!r:.200}; "
                f"the first line must name the columns, separated by commas: {','.join(columns)}."
            )


def _record(header: Sequence[str], cells: list[str] | BadLine) -> Record | BadLine:
    if isinstance(cells, BadLine):
        return cells
    if not cells:
        return BadLine("the line is empty")
    if len(cells) != len(header):
        return BadLine(f"expected {len(header)} cells as in the header, found {len(cells)}")
    return dict(zip(header, cells, strict=True))
