"""The rows of a Parquet file, a thousand in memory at a time.

Only the wanted columns are read.  A row group, which may be the whole file, is not read at once:
its columns are buffered streams.  pyarrow is needed: `pip install "kooler[formats]"`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kooler.seq2seq.corpus_errors import CorpusError, shown

ROWS = 1_000
BUFFER_BYTES = 2**16  # of each column


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a Parquet file with their numbers from 1, as dictionaries of some columns.

    Raises:
        CorpusError: If it is no Parquet file, is damaged, or has no such columns of text; also if
            pyarrow is not installed.
    """
    parquet, damage = _library(path)
    number = 0
    try:
        with parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
            check_columns(path, file.schema_arrow, columns)
            for batch in file.iter_batches(ROWS, columns=list(columns), use_threads=False):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except damage as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise CorpusError(
            f"{shown(path)}:{number + 1}: the Parquet data cannot be read here: {first}."
        ) from None


def check_columns(path: Path, schema: Any, columns: Sequence[str]) -> None:
    """Raises CorpusError unless each column is there once, and is text."""
    for name in columns:
        if schema.names.count(name) != 1:
            raise CorpusError(
                f"{shown(path)}: there is no column {name!r} in {schema.names!r:.200}; "
                f"the columns must be named {' and '.join(columns)}."
            )
        kind = str(schema.field(name).type)
        if "string" not in kind:
            raise CorpusError(f"{shown(path)}: the column {name!r} is {kind}, not text.")


def _library(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise CorpusError(
            f"{shown(path)}: Parquet needs a package that is not installed; "
            'pip install "kooler[formats]".'
        ) from None
    return parquet, (pyarrow.ArrowException, OSError)
