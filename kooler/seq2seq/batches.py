"""Batches of padded ids: a function of the seed and the number of the update.

Pairs of similar lengths share a bucket, whose batches have one shape: `rows` pairs, sources padded
to `source` ids and targets to `target`, so that

    rows · (source + target) ≤ batch_tokens

A step is compiled once a shape, which takes seconds, so there are few.  The bucket for the longest
pairs is always there; others are added, each time the one that saves most padding, while it saves
at least `WORTH_A_SHAPE` of all ids.  A pair goes to the smallest bucket that holds it.

In every epoch each bucket is shuffled and dealt out evenly, to as few batches as will hold it, and
the batches of all buckets are shuffled: every pair comes exactly once.  Dealt evenly, the batches
of a bucket differ by one pair at most; where one is missing, the last row is all zeros, which the
model counts with weight 0.  Nothing is carried from batch to batch, so that any update can be
computed at once, and a training resumes exactly.
"""

from collections.abc import Iterator
from operator import index
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kooler.seq2seq.counted import counted
from kooler.seq2seq.spool import Ids, Spool

WORTH_A_SHAPE = 0.01
_SOURCE_STEP, _TARGET_STEP = 8, 4  # the lengths of a bucket are multiples of these, or the limit
_CANDIDATES = 16  # lengths tried for sources, and for targets, at most


class Shape(NamedTuple):
    """The shape of a batch: number of pairs, length of the sources, length of the targets."""

    rows: int
    source: int
    target: int


class Bucket(NamedTuple):
    """Pairs whose batches have one shape.

    Args:
        shape: The shape of each batch.
        pairs: int32; the numbers of the pairs in the spool, ascending.
        batches: To how many batches they are dealt.
    """

    shape: Shape
    pairs: Ids
    batches: int


class EvaluationBatch(NamedTuple):
    """Pairs to measure on, and where each belongs.

    Args:
        indices: int32 (rows); the pair's number in the spool, -1 for an empty row.
        source: int32 (rows, source length); 0 pads.
        target: int32 (rows, target length); 0 pads.
    """

    indices: Ids
    source: Ids
    target: Ids


class Batches:
    """The batches of a training by the number of the update, from 0, without end.

    Args:
        spool: The pairs.
        batch_tokens: Ids in a batch, padding counted, at most.
        seed: Decides the order, together with the number of the epoch.
        maximum_shapes: How many shapes there may be.

    Attributes:
        spool: The pairs.

    Raises:
        ValueError: If an argument is out of range, or a batch cannot hold the longest pair.

    Example:
        >>> batches = Batches(spool, batch_tokens=4096, seed=0)
        >>> batch = batches[0]
        >>> batch["source"].shape, batch["target"].shape
        ((93, 32), (93, 12))
        >>> print(batches.summary())
        512 updates an epoch, 5 shapes, 14 % padding
    """

    def __init__(
        self, spool: Spool, *, batch_tokens: int, seed: int, maximum_shapes: int = 8
    ) -> None:
        if seed < 0:
            raise ValueError(f"`seed` must be at least 0, received seed={seed}.")
        self.spool = spool
        self._seed = seed
        self._buckets = buckets(spool, batch_tokens, maximum_shapes)
        self._epoch = -1
        self._order: list[tuple[Shape, Ids]] = []

    def __getitem__(self, update: int) -> dict[str, Ids]:
        """The batch of an update: "source" and "target", int32 (rows, length), 0 pads."""
        shape, pairs = self._dealt(update)
        source, target = padded(self.spool, pairs, shape)
        return {"source": source, "target": target}

    def pairs(self, update: int) -> Ids:
        """The numbers of the pairs of an update, in the order of the batch's rows."""
        return self._dealt(update)[1]

    @property
    def updates_per_epoch(self) -> int:
        """Number of updates in which every pair comes once."""
        return sum(bucket.batches for bucket in self._buckets)

    @property
    def shapes(self) -> list[Shape]:
        """All shapes that a batch can have, the largest first."""
        return [bucket.shape for bucket in self._buckets]

    @property
    def padding(self) -> float:
        """The share of all ids that are padding."""
        sizes = [
            b.batches * b.shape.rows * (b.shape.source + b.shape.target) for b in self._buckets
        ]
        return 1 - self.spool.counts.tokens / sum(sizes)

    def summary(self) -> str:
        """Updates, shapes and padding on one line."""
        updates = counted(self.updates_per_epoch, "update")
        shapes = counted(len(self.shapes), "shape")
        return f"{updates} an epoch, {shapes}, {100 * self.padding:.0f} % padding"

    def _dealt(self, update: int) -> tuple[Shape, Ids]:
        if index(update) < 0:
            raise IndexError(f"updates count from 0, received update={update}")
        epoch, position = divmod(index(update), self.updates_per_epoch)
        self._deal(epoch)
        return self._order[position]

    def _deal(self, epoch: int) -> None:
        """Shuffles the pairs of each bucket, deals them out, and shuffles the batches."""
        if epoch == self._epoch:
            return
        random = np.random.default_rng([self._seed, epoch])
        dealt = [
            (bucket.shape, pairs)
            for bucket in self._buckets
            for pairs in np.array_split(random.permutation(bucket.pairs), bucket.batches)
        ]
        self._order = [dealt[i] for i in random.permutation(len(dealt))]
        self._epoch = epoch


def evaluation_batches(
    spool: Spool, *, batch_tokens: int, maximum_shapes: int = 4
) -> Iterator[EvaluationBatch]:
    """Every pair once, in a fixed order, with its number, so that what is measured can be put back.

    Args:
        spool: The pairs.
        batch_tokens: Ids in a batch, padding counted, at most.
        maximum_shapes: How many shapes there may be.

    Raises:
        ValueError: If a batch cannot hold the longest pair.

    Example:
        >>> losses = np.zeros(len(spool))
        >>> for indices, source, target in evaluation_batches(spool, batch_tokens=4096):
        ...     real = indices >= 0
        ...     losses[indices[real]] = measure(source, target)[real]
    """
    for bucket in buckets(spool, batch_tokens, maximum_shapes):
        for pairs in np.array_split(bucket.pairs, bucket.batches):
            indices = np.full(bucket.shape.rows, -1, np.int32)
            indices[: len(pairs)] = pairs
            yield EvaluationBatch(indices, *padded(spool, pairs, bucket.shape))


def padded(spool: Spool, pairs: Ids, shape: Shape) -> tuple[Ids, Ids]:
    """The sources and targets of some pairs, each with zeros behind it, in a batch of a shape."""
    rows = np.zeros((shape.rows, shape.source + shape.target), np.int32)
    columns = np.arange(shape.source + shape.target)
    is_source = columns < spool.source_lengths[pairs, None]
    is_target = columns - shape.source < spool.target_lengths[pairs, None]
    is_target &= columns >= shape.source
    rows[: len(pairs)][is_source | is_target] = spool.read(pairs)  # row by row, as they are read
    return np.ascontiguousarray(rows[:, : shape.source]), np.ascontiguousarray(
        rows[:, shape.source :]
    )


def buckets(spool: Spool, batch_tokens: int, maximum_shapes: int) -> list[Bucket]:
    """Sorts the pairs of a spool into buckets, the largest shape first.

    Raises:
        ValueError: If `maximum_shapes` is below 1, or a batch cannot hold the longest pair.
    """
    if maximum_shapes < 1:
        raise ValueError(
            f"`maximum_shapes` must be at least 1, received maximum_shapes={maximum_shapes}."
        )
    sizes = _sizes(spool, batch_tokens, maximum_shapes)
    chosen = np.zeros(len(spool), np.uint8)
    for number, (source, target) in enumerate(sizes):  # the last that fits is the smallest
        fits = (spool.source_lengths <= source) & (spool.target_lengths <= target)
        chosen[fits] = number
    members = [np.flatnonzero(chosen == number).astype(np.int32) for number in range(len(sizes))]
    return [
        _bucket(size, pairs, batch_tokens)
        for size, pairs in zip(sizes, members, strict=True)
        if len(pairs)
    ]


def _bucket(size: tuple[int, int], pairs: Ids, batch_tokens: int) -> Bucket:
    batches = -(-len(pairs) // (batch_tokens // sum(size)))
    return Bucket(Shape(-(-len(pairs) // batches), *size), pairs, batches)


def _sizes(spool: Spool, batch_tokens: int, maximum: int) -> list[tuple[int, int]]:
    """The lengths of source and target in each bucket, the largest first."""
    sources = _candidates(spool.source_lengths, _SOURCE_STEP, spool.source_length)
    targets = _candidates(spool.target_lengths, _TARGET_STEP, spool.target_length)
    sums = np.add.outer(sources, targets, dtype=np.int64)
    if batch_tokens < sums[-1, -1]:
        raise ValueError(
            f"`batch_tokens` must be at least {sums[-1, -1]}, which the longest "
            f"source and target take, received batch_tokens={batch_tokens}. Raise it, or lower "
            "`source_length` or `target_length`."
        )
    counts = _counts(spool, sources, targets)
    corners = list(np.ndindex(counts.shape))
    chosen = corners[-1:]
    ids = _ids(chosen, counts, sums, batch_tokens)
    while len(chosen) < maximum:
        options = [
            (_ids([*chosen, corner], counts, sums, batch_tokens), corner) for corner in corners
        ]
        fewest, corner = min(options)
        if fewest > (1 - WORTH_A_SHAPE) * ids:
            break
        chosen.append(corner)
        ids = fewest
    sizes = [(int(sources[i]), int(targets[j])) for i, j in chosen]
    return sorted(sizes, key=sum, reverse=True)


def _candidates(lengths: Ids, step: int, limit: int) -> Ids:
    rounded = np.unique(np.minimum(-(-lengths // step) * step, limit))
    spread = np.linspace(0, len(rounded) - 1, min(len(rounded), _CANDIDATES)).round()
    candidates: Ids = rounded[spread.astype(int)].astype(np.int32)
    return candidates


def _counts(spool: Spool, sources: Ids, targets: Ids) -> npt.NDArray[np.int64]:
    """int64 (sources, targets): how many pairs have which lengths, rounded up to candidates."""
    cells = np.searchsorted(sources, spool.source_lengths) * len(targets)
    cells += np.searchsorted(targets, spool.target_lengths)
    counts = np.bincount(cells, minlength=len(sources) * len(targets))
    return counts.astype(np.int64).reshape(len(sources), len(targets))


def _ids(
    corners: list[tuple[int, ...]],
    counts: npt.NDArray[np.int64],
    sums: npt.NDArray[np.int64],
    batch_tokens: int,
) -> int:
    """Ids in an epoch with these buckets, padding counted, if every batch were full.

    A bucket with a corner at (i, j) holds the pairs of `counts[: i + 1, : j + 1]` which no
    smaller bucket holds.
    """
    left = counts.copy()
    ids = 0
    for i, j in sorted(corners, key=lambda corner: int(sums[corner])):
        held = left[: i + 1, : j + 1]
        rows = batch_tokens // int(sums[i, j])
        ids += -(-int(held.sum()) // rows) * rows * int(sums[i, j])
        held[:] = 0
    return ids
