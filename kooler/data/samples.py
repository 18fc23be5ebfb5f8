"""How a batch is read from a source that can be indexed, and how samples become one batch.

What can be a source:

    source                                    sample number i
    an array, a memory map                    source[i]
    a tuple or dict of arrays, also nested    the same with their rows i
    an Arrow table                            its row i, a dict of columns
    anything with __getitems__ (HuggingFace)  source.__getitems__([i])[0]
    anything with __len__ and __getitem__     source[i]

A batch has the structure of a sample: tuples and dicts stay, and every other value becomes an array
with one axis more.  A list in a sample is an array.  Python's floats become float32, since nearly
every model computes in it; arrays keep their dtype.  What no array can be made of is refused.

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
    if not _is_columns(source):
        return len(source)
    lengths = [len(column) for column in _parts(source)]
    if len(set(lengths)) != 1:
        raise ValueError(
            "The arrays of a tuple or dict are columns of one table and must have one length, "
            f"received lengths {lengths}."
        )
    return lengths[0]


def check_source(source: Any, batch_size: int | None) -> None:
    """Refuses what has `__getitem__`, but for something else than samples or batches."""
    kind = type(source).__name__
    if hasattr(source, "iloc"):
        raise ValueError(
            f"A {kind} is indexed by its labels. Pass arrays instead: series.to_numpy(), or "
            "{name: frame[name].to_numpy() for name in frame}."
        )
    if isinstance(source, (str, bytes)):
        raise ValueError(f"A text is no source of samples, received source={source[:80]!r}.")
    if _is_nest(source) and not _is_columns(source):
        raise ValueError(
            "A tuple or a dict as source holds the columns of a table, each a NumPy array, "
            f"received {kind} of {sorted({type(part).__name__ for part in _parts(source)})}. Make "
            "them arrays by numpy.asarray, put samples that are no arrays into a list, or write a "
            "class with __len__ and __getitem__."
        )
    if batch_size is None and (_is_nest(source) or _is_table(source)):
        raise ValueError(
            f"The rows of a {kind} are samples, and nothing says how many make up a batch, "
            "received batch_size=None. Give it, as in Stream((x, y), batch_size=32)."
        )


def sample_at(source: Any, index: int) -> Any:
    """One sample."""
    if isinstance(source, Mapping):
        return {name: sample_at(part, index) for name, part in source.items()}
    if isinstance(source, tuple):
        return tuple(sample_at(part, index) for part in source)
    return source.slice(index, 1).to_pylist()[0] if _is_table(source) else source[index]


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
        if isinstance(source, list | range):  # nothing is computed there, so nothing drawn
            return [source[row] for row in rows]
        return [reading((self.seed, epoch, row), partial(source.__getitem__, row)) for row in rows]


def stack(samples: Sequence[Any]) -> Any:
    """One batch of several samples of the same structure."""
    first = samples[0]
    if _is_nest(first):
        _check_structure(samples)
    if isinstance(first, Mapping):
        return {name: stack([sample[name] for sample in samples]) for name in first}
    if isinstance(first, tuple):
        return tuple(stack(parts) for parts in zip(*samples, strict=True))
    if isinstance(first, (bool, int, float, str)):
        return as_array(samples)
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
    try:
        array = np.asarray(value)
    except ValueError:  # a list whose parts differ in shape
        array = np.empty((), object)
    if array.dtype.kind == "O":
        raise ValueError(
            "A part of a sample must be an array, a number, a text, or a list of one shape, "
            f"received a {type(value).__name__}: {repr(value)[:80]}. Inputs and targets of a "
            "sample go into a tuple, and what is missing needs a value."
        )
    return array if hasattr(value, "dtype") else _narrow(array)


def _narrow(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return array.astype("float32") if array.dtype == "float64" else array


def _check_structure(samples: Sequence[Any]) -> None:
    structures = sorted({_structure(sample) for sample in samples})
    if len(structures) > 1:
        raise ValueError(
            "The samples of a batch must have one structure, received "
            f"{' and '.join(structures[:4])}. Let each have the same names or places."
        )


def _structure(sample: Any) -> str:
    if isinstance(sample, Mapping):
        return f"a dict of {sorted(map(str, sample))}"
    return f"a tuple of {len(sample)}" if isinstance(sample, tuple) else type(sample).__name__


def _rows_of_columns(source: Any, rows: Sequence[int]) -> Any:
    if isinstance(source, Mapping):
        return {name: _rows_of_columns(part, rows) for name, part in source.items()}
    if isinstance(source, tuple):
        return tuple(_rows_of_columns(part, rows) for part in source)
    return _rows(source, rows)


def _rows(column: Any, rows: Sequence[int]) -> Any:
    if isinstance(rows, range):  # in order: a slice, which a memory map reads at once
        taken = np.array(column[rows.start : rows.stop])
    else:
        taken = np.asarray(column[np.asarray(rows)])
    return (
        stack(list(taken)) if taken.dtype.kind == "O" else taken
    )  # texts, or an array in each row


def _is_columns(source: Any) -> bool:
    parts = _parts(source)
    return bool(parts) and all(isinstance(part, np.ndarray) for part in parts)


def _parts(source: Any) -> list[Any]:
    """What the innermost tuples and dicts hold; of anything else, itself."""
    if not _is_nest(source):
        return [source]
    members = source.values() if isinstance(source, Mapping) else source
    return [part for member in members for part in _parts(member)]


def _is_nest(source: Any) -> bool:
    return isinstance(source, Mapping | tuple)


def _is_table(source: Any) -> bool:
    """An Arrow table: it is indexed by column, and has no `__getitems__`."""
    return all(hasattr(source, name) for name in ("take", "to_pydict", "num_rows"))
