"""Pairs of texts from files, streamed, every broken line named.

A corpus is one or more files, each with one pair (source, target) a line or row:

    .tsv .txt      source TAB target, exactly one tab
    .jsonl .json   {"source": "...", "target": "..."}, further fields are ignored
    .csv           a header that names source and target, further columns are ignored
    .parquet       columns source and target, further ones are ignored
    .arrow         the same, as `save_to_disk` of HuggingFace's datasets writes it

each but the last two plain or, with a further suffix `.gz`, `.xz` or `.zst`, compressed; see
`corpus_files.py` for folders, patterns and standard input.  The text is UTF-8, see `lines.py`.
White space around a text is dropped, control characters in it are kept.

What makes a line bad: not one tab, no text on a side, invalid UTF-8, JSON or CSV, a field that is
missing or no string, half a surrogate pair, NUL (a sign of UTF-16 or of a binary file), an
empty line between others, too long a line.  It stops the reading, or it is counted.

Only this file and those that it imports, `tokenizer.py` and `evaluate.py` know text; everything
between them moves ids.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from kooler.seq2seq.arrow_rows import arrow_rows
from kooler.seq2seq.compression import compression_of
from kooler.seq2seq.corpus_errors import BadLine, CorpusError, shown, unreadable
from kooler.seq2seq.corpus_files import (
    ARROW,
    COMMA_SEPARATED,
    JSON_LINES,
    PARQUET,
    Paths,
    corpus_files,
    format_of,
)
from kooler.seq2seq.csv_records import csv_records
from kooler.seq2seq.lines import line_text, numbered_lines, stream_lines
from kooler.seq2seq.parquet_rows import parquet_rows
from kooler.seq2seq.records import json_record, texts_of

__all__ = [
    "CorpusError",
    "FileReport",
    "Pair",
    "Report",
    "corpus_fingerprint",
    "read_pairs",
    "read_sources",
]

_EXAMPLES_KEPT = 3


class Pair(NamedTuple):
    """A text and what is to be written for it."""

    source: str
    target: str


@dataclass
class FileReport:
    """What was read from one file: pairs, and bad lines with the first few problems."""

    pairs: int = 0
    skipped: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What `read_pairs` read, by file; a file that is read again starts from zero.

    Example:
        >>> report = Report()
        >>> pairs = list(read_pairs("train.tsv", skip_bad_lines=True, report=report))
        >>> report.lines()
        ['train.tsv: skipped 1 of 100 lines (line 7: the target is empty)']
    """

    files: dict[str, FileReport] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        """Number of pairs read from all files."""
        return sum(file.pairs for file in self.files.values())

    @property
    def skipped(self) -> int:
        """Number of bad lines skipped in all files."""
        return sum(file.skipped for file in self.files.values())

    def lines(self) -> list[str]:
        """One line of text for each file in which lines were skipped."""
        return [_skipped_line(name, file) for name, file in self.files.items() if file.skipped]


def read_pairs(
    paths: Paths,
    *,
    skip_bad_lines: bool = False,
    report: Report | None = None,
    columns: Sequence[str] = Pair._fields,
) -> Iterator[Pair]:
    """Reads the pairs of one or more files, in order, a few lines in memory at a time.

    Args:
        paths: A file, a folder or a pattern, or several; the suffix tells the format.
        skip_bad_lines: Whether a bad line is counted in `report` instead of raising.  A file
            that cannot be read to its end, or holds no pair, raises all the same.
        report: Filled while the pairs are taken.
        columns: The names of source and target where a format has names.

    Returns:
        An iterator over the pairs.

    Raises:
        CorpusError: At once for a file that is missing, or of an unknown suffix;
            while reading for everything else.

    Example:
        >>> for source, target in read_pairs(["news.tsv", "more.jsonl.gz"]):
        ...     print(target)
    """
    files = corpus_files(paths)
    counts = Report() if report is None else report
    return _read_files(files, skip_bad_lines, counts, columns)


def read_sources(stream: IO[str] | IO[bytes], name: str = "<input>") -> Iterator[str]:
    r"""Reads one text a line, to write a title for each; an empty line gives an empty text.

    Args:
        stream: A text or binary stream, for example `sys.stdin`.
        name: Stands for the file in messages.

    Raises:
        CorpusError: For invalid UTF-8, NUL, and a line that is too long.

    Example:
        >>> list(read_sources(io.StringIO("one text\nanother\n")))
        ['one text', 'another']
    """
    for number, line in enumerate(stream_lines(stream), start=1):
        try:
            yield line_text(line).strip()
        except BadLine as bad:
            raise CorpusError(f"{shown(name)}:{number}: {bad}.") from None


def corpus_fingerprint(paths: Paths) -> str:
    """A digest of the files' formats and content, in order, whatever their names and dates.

    Raises:
        CorpusError: For a file that cannot be read, or of an unknown suffix.
    """
    digest = hashlib.sha256()
    for path in corpus_files(paths):
        try:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").digest()
        except OSError as error:
            raise CorpusError(unreadable(path, error)) from error
        digest.update(f"{format_of(path)} {compression_of(path)} ".encode() + content)
    return digest.hexdigest()


def _read_files(
    files: Sequence[Path], skip: bool, report: Report, columns: Sequence[str]
) -> Iterator[Pair]:
    for file in files:
        name = shown(file)
        report.files[name] = counts = FileReport()
        for number, found in _entries(file, columns):
            if isinstance(found, Pair):
                counts.pairs += 1
                yield found
            elif skip:
                _count(counts, number, found)
            else:
                raise CorpusError(_bad_line(name, number, found))
        _check_not_empty(name, counts)


def _entries(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, Pair | BadLine]]:
    """What is on each line of a file: a pair, or a problem."""
    lines, parse = _opened(file, columns)
    for number, line in lines:
        try:
            yield number, line if isinstance(line, BadLine) else parse(line)
        except BadLine as bad:
            yield number, bad


def _opened(
    file: Path, columns: Sequence[str]
) -> tuple[Iterator[tuple[int, Any]], Callable[[Any], Pair]]:
    """The lines of a file by number, and what makes a pair of one."""
    kind = format_of(file)
    if kind in PARQUET:
        return parquet_rows(file, columns), partial(_parse_record, columns)
    if kind in ARROW:
        return arrow_rows(file, columns), partial(_parse_record, columns)
    if kind in COMMA_SEPARATED:
        return csv_records(file, columns), partial(_parse_record, columns)
    if kind in JSON_LINES:
        return numbered_lines(file), partial(_parse_json, columns)
    return numbered_lines(file), _parse_tsv


def _parse_tsv(line: bytes) -> Pair:
    text = line_text(line)
    tabs = text.count("\t")
    if not text:
        raise BadLine("the line is empty")
    if tabs != 1:
        raise BadLine(f"expected one tab (source TAB target), found {tabs or 'none'}")
    source, target = text.split("\t")
    return _pair(source, target)


def _parse_json(columns: Sequence[str], line: bytes) -> Pair:
    return _parse_record(columns, json_record(line))


def _parse_record(columns: Sequence[str], record: Mapping[str, object]) -> Pair:
    return _pair(*texts_of(record, columns))


def _pair(source: str, target: str) -> Pair:
    pair = Pair(source.strip(), target.strip())
    if not pair.source:
        raise BadLine("the source is empty")
    if not pair.target:
        raise BadLine("the target is empty")
    return pair


def _bad_line(name: str, number: int, bad: BadLine) -> str:
    return f"{name}:{number}: {bad}; --skip-bad-lines skips such lines."


def _count(counts: FileReport, number: int, bad: BadLine) -> None:
    counts.skipped += 1
    if len(counts.examples) < _EXAMPLES_KEPT:
        counts.examples.append(f"line {number}: {bad}")


def _check_not_empty(name: str, counts: FileReport) -> None:
    if counts.pairs:
        return
    if counts.skipped:
        bad = f"all {counts.skipped:,} lines are bad ({counts.examples[0]})"
        raise CorpusError(f"{name}: no usable pair, {bad}.")
    raise CorpusError(f"{name}: the file is empty; it must hold at least one pair.")


def _skipped_line(name: str, file: FileReport) -> str:
    examples = "; ".join(file.examples) + ("; …" if file.skipped > len(file.examples) else "")
    return f"{name}: skipped {file.skipped:,} of {file.skipped + file.pairs:,} lines ({examples})"
