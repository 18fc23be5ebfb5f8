"""How a batch is read from a source that can be indexed, and how samples become one batch.

What can be a source:

    source                                    sample number i
    an array, a memory map                    source[i]
    a tuple or dict of arrays                 the same tuple or dict of their rows i
    an Arrow table                            its row i, a dict of columns
    anything with __getitems__ (HuggingFace)  source.__getitems__([i])[0]
    anything with __len__ and __getitem__     source[i]

A batch has the structure of a sample: tuples and dicts stay, and every other value becomes an array
with one axis more.  A list in a sample is an array.  Python's floats become float32, since nearly
every model computes in it; arrays keep their dtype.

Nothing here knows Keras: this runs in worker processes.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from kooler.data.sample_random import reading


def can_be_indexed(source: Any) -> bool:
    """Whether a source has numbered samples."""
    return hasattr(source, "__len__") and hasattr(source, "__getitem__")


def count(source: Any) -> int:
    """How many samples, or batches, a source has."""
    if not isinstance(source, Mapping | tuple) or not _is_columns(source):
        return len(source)
    columns = list(source.values() if isinstance(source, Mapping) else source)
    lengths = [len(column) for column in columns]
    if len(set(lengths)) != 1:
        raise ValueError(
            "The arrays of a tuple or dict are columns of one table and must have one length, "
            f"received lengths {lengths}."
        )
    return lengths[0]


def check_source(source: Any) -> None:
    """Refuses what has `__getitem__`, but for something else than samples."""
    if hasattr(source, "iloc"):
        raise ValueError(
            f"A {type(source).__name__} is indexed by column. Pass a dict of arrays instead: "
            "{name: frame[name].to_numpy() for name in frame}."
        )
    if isinstance(source, (str, bytes)):
        raise ValueError(f"A text is no source of samples, received source={source[:80]!r}.")
    if isinstance(source, Mapping | tuple) and not _is_columns(source):
        raise ValueError(
            "A tuple or a dict as source holds the columns of a table, each an array, received "
            f"{_kinds(source)}. Samples that are not in arrays go into a list."
        )


class ReadBatch:
    """Reads the samples of one batch and stacks them; what a worker process is sent once.

    Args:
        source: Indexable.
        seed: Of the random numbers of a sample.
        stacked: Whether the source has samples, to be stacked; otherwise it has batches.
    """

    def __init__(self, source: Any, seed: int, stacked: bool) -> None:
        self.source = source
        self.seed = seed
        self.stacked = stacked

    def __call__(self, task: tuple[int, Sequence[int]]) -> Any:
        """The batch of the samples with given numbers, in an epoch."""
        epoch, rows = task
        if not self.stacked:
            index = int(rows[0])
            return reading((self.seed, epoch, index), lambda: self.source[index])
        if _is_columns(self.source):
            return _rows_of_columns(self.source, rows)
        if _is_table(self.source):
            columns = self.source.take(list(map(int, rows))).to_pydict()
            return {name: stack(column) for name, column in columns.items()}
        return stack(self._samples(epoch, list(map(int, rows))))

    def _samples(self, epoch: int, rows: list[int]) -> Sequence[Any]:
        source = self.source
        if hasattr(source, "__getitems__"):
            several = reading((self.seed, epoch, rows[0]), lambda: source.__getitems__(rows))
            return list(several)
        if _is_array_like(source):
            return [source[row] for row in rows]
        return [reading((self.seed, epoch, row), partial(source.__getitem__, row)) for row in rows]


def stack(samples: Sequence[Any]) -> Any:
    """One batch of several samples of the same structure."""
    first = samples[0]
    if isinstance(first, Mapping):
        return {name: stack([sample[name] for sample in samples]) for name in first}
    if isinstance(first, tuple):
        return tuple(stack(parts) for parts in zip(*samples, strict=True))
    if isinstance(first, (bool, int, float, str)):
        return _narrow(np.asarray(samples))
    arrays = [as_array(sample) for sample in samples]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(
            "The samples of a batch must have one shape, received "
            f"{sorted({array.shape for array in arrays})[:4]}. Pad them when they are read, or "
            "let `bucket_by_length` put together and pad what has similar lengths."
        )
    return np.stack(arrays)


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """A part of a sample as an array; one of Python's own numbers is narrowed."""
    if hasattr(value, "dtype"):
        return np.asarray(value)
    return _narrow(np.asarray(value))


def _narrow(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype("float32") if array.dtype == "float64" else array


def _rows_of_columns(source: Any, rows: Sequence[int]) -> Any:
    if isinstance(source, Mapping):
        return {name: _rows(column, rows) for name, column in source.items()}
    if isinstance(source, tuple):
        return tuple(_rows(column, rows) for column in source)
    return _rows(source, rows)


def _rows(column: Any, rows: Sequence[int]) -> np.ndarray[Any, Any]:
    if isinstance(rows, range):  # in order: a slice, which a memory map reads at once
        return np.array(column[rows.start : rows.stop])
    return np.asarray(column[np.asarray(rows)])


def _is_columns(source: Any) -> bool:
    if isinstance(source, Mapping):
        return bool(source) and all(map(_is_array, source.values()))
    if isinstance(source, tuple):
        return bool(source) and all(map(_is_array, source))
    return _is_array(source)


def _is_array(source: Any) -> bool:
    return isinstance(source, np.ndarray)


def _is_array_like(source: Any) -> bool:
    return hasattr(source, "dtype") or isinstance(source, list | range)


def _is_table(source: Any) -> bool:
    """An Arrow table: it is indexed by column, and has no `__getitems__`."""
    return all(hasattr(source, name) for name in ("take", "to_pydict", "num_rows"))


def _kinds(source: Any) -> str:
    values = source.values() if isinstance(source, Mapping) else source
    return f"{type(source).__name__} of {sorted({type(value).__name__ for value in values})}"
