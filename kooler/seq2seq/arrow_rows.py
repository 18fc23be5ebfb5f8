"""The rows of a HuggingFace dataset that `save_to_disk` wrote, a thousand in memory at a time.

    news/state.json, news/dataset_info.json      what tells the folder from others
    news/data-00000-of-00002.arrow, …            the rows: streams of Arrow record batches

A `DatasetDict` is a folder of such folders, one for each split.  Only pyarrow is needed to read
them (`pip install "kooler[formats]"`), not the package `datasets`, and nothing in them is run.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kooler.seq2seq.corpus_errors import CorpusError, shown
from kooler.seq2seq.parquet_rows import ROWS, check_columns

STATE, SPLITS = "state.json", "dataset_dict.json"


def dataset_files(folder: Path) -> list[Path] | None:
    """The files with the rows of a saved dataset; None for any other folder.

    Raises:
        CorpusError: If it is a folder of splits.
    """
    if (folder / SPLITS).is_file():
        splits = sorted(path.name for path in folder.iterdir() if (path / STATE).is_file())
        raise CorpusError(
            f"{shown(folder)}: this is a dataset of several splits, {', '.join(splits)}; "
            f"name one of them, such as {folder / splits[0] if splits else folder / 'train'}."
        )
    return sorted(folder.glob("*.arrow")) if (folder / STATE).is_file() else None


def arrow_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of an Arrow stream with their numbers from 1, as dictionaries of some columns.

    Raises:
        CorpusError: If it is no Arrow stream, is damaged, or has no such columns of text; also if
            pyarrow is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise CorpusError(
            f"{shown(path)}: Arrow needs a package that is not installed; "
            'pip install "kooler[formats]".'
        ) from None
    number = 0
    try:
        with pyarrow.OSFile(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
            check_columns(path, stream.schema, columns)
            for batch in stream:
                for start in range(0, batch.num_rows, ROWS):
                    for row in batch.select(list(columns)).slice(start, ROWS).to_pylist():
                        number += 1
                        yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise CorpusError(
            f"{shown(path)}:{number + 1}: the Arrow data cannot be read here: {first}."
        ) from None
