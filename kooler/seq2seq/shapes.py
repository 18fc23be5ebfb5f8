"""What `generate` and `score` share: rows of ids in few fixed shapes, functions compiled once a
model.

Sources are sorted by length and run in batches whose lengths are rounded up, whose last one is
filled with rows of padding: each shape is compiled once, and there are few of them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kooler.core import compat
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.reserved_ids import PAD, RESERVED

LENGTH_BUCKET = 8  # lengths are rounded up to a multiple of it


def cached(model: Seq2Seq, key: Any, make: Callable[[], Any]) -> Callable[..., Any]:
    """Compiled functions live as long as their model."""
    # in the model itself, for they hold it: a table of models would keep every one alive
    functions: dict[Any, Callable[..., Any]] = model.__dict__.setdefault("_compiled_functions", {})
    if key not in functions:
        functions[key] = make()
    return functions[key]


def in_its_precision(model: Seq2Seq, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with the model's weights read in the precision that the model computes in."""

    def run(*arrays: Any) -> Any:
        with compat.autocast(model.compute_dtype):
            return function(*arrays)

    return run


def source_batches(
    rows: list[list[int]], batch_size: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Batches of similar length, padded to few shapes; rows of padding fill the last one."""
    by_length = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    for first in range(0, len(rows), batch_size):
        indices = by_length[first : first + batch_size]
        count = min(batch_size, 1 << (len(indices) - 1).bit_length())
        length = rounded(max(len(rows[index]) for index in indices))
        batch = np.full((count, length), PAD, "int32")
        for row, index in enumerate(indices):
            batch[row, : len(rows[index])] = rows[index]
        yield indices, batch


def rounded(length: int) -> int:
    """`length`, at least 1, rounded up to a multiple of `LENGTH_BUCKET`."""
    return max(-(-length // LENGTH_BUCKET), 1) * LENGTH_BUCKET


def id_lists(ids: Any, vocabulary_size: int, name: str = "source") -> list[list[int]]:
    """Rows of ids without padding; an id outside the vocabulary is an error."""
    rows = [[int(token) for token in row if token != PAD] for row in ids]
    for index, row in enumerate(rows):
        for token in row:
            if not RESERVED <= token < vocabulary_size:
                raise ValueError(
                    f"`{name}` must hold ids from {RESERVED} to {vocabulary_size - 1} (0 pads), "
                    f"received {token} in row {index}."
                )
    return rows
