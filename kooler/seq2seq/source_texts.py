"""Texts from files, to write a title for each: the sources of a corpus, and files of texts alone.

    .txt              a text a line
    .tsv              the text is what comes before the first tab, or the line
    .jsonl .json      {"source": "..."}, further fields are ignored
    .csv .parquet     the column source, further ones are ignored

each but the last plain or compressed; see `corpus_files.py` for folders and patterns. An empty
text has an empty title; only empty lines at the end of a file are none. A broken line is named, and
ends the reading: what is to be put beside the texts again must not miss one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kooler.seq2seq.corpus_errors import BadLine, CorpusError, shown
from kooler.seq2seq.corpus_files import (
    COMMA_SEPARATED,
    JSON_LINES,
    PARQUET,
    Paths,
    corpus_files,
    format_of,
)
from kooler.seq2seq.csv_records import csv_records
from kooler.seq2seq.lines import line_text, numbered_lines
from kooler.seq2seq.parquet_rows import parquet_rows
from kooler.seq2seq.records import json_record, texts_of

COLUMN = ("source",)


def read_texts(paths: Paths) -> Iterator[str]:
    """The texts of one or more files, in order, a few lines in memory at a time.

    Args:
        paths: A file, a folder or a pattern, or several; the suffix tells the format.

    Raises:
        CorpusError: At once for a file that is missing, or of an unknown suffix; while reading for
            a broken line.

    Example:
        >>> list(read_texts("pairs.tsv"))
        ['one text', 'another']
    """
    return (text for file in corpus_files(paths) for text in _texts_in(file))


def _texts_in(file: Path) -> Iterator[str]:
    lines, text_of = _opened(file)
    for number, line in lines:
        try:
            if isinstance(line, BadLine):
                raise line
            yield text_of(line).strip()
        except BadLine as bad:
            raise CorpusError(f"{shown(file)}:{number}: {bad}.") from None


def _opened(file: Path) -> tuple[Iterator[tuple[int, Any]], Callable[[Any], str]]:
    """The lines of a file by number, and what finds the text in one."""
    kind = format_of(file)
    if kind in PARQUET:
        return parquet_rows(file, COLUMN), _of_record
    if kind in COMMA_SEPARATED:
        return csv_records(file, COLUMN), _of_record
    if kind in JSON_LINES:
        return numbered_lines(file), lambda line: _of_record(json_record(line))
    if kind == ".txt":
        return numbered_lines(file), line_text
    return numbered_lines(file), lambda line: line_text(line).split("\t")[0]


def _of_record(record: Any) -> str:
    return texts_of(record, COLUMN)[0]
