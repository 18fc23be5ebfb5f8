"""Several sources as one, each taking its turn with a probability.

Sample k comes from source i with probability wᵢ / Σ w, where the sum is over the sources that still
have samples:  with uₖ the k-th number of `numpy.random.default_rng(seed).random()`, i is the first
one whose cumulated share exceeds uₖ.  Within a source the order stays.  So who gives sample k is a
function of the seed, the weights and the lengths, and not of what was read before.

If all sources can be indexed, so can their mixture: a `Stream` over it resumes at any position at
once, shuffles it, and reads it with workers.  In memory is then a byte a sample.

When the turn falls to a source that has run out, `until` decides:

    "all"      the others go on: every sample of every source comes exactly once
    "first"    that is the end: the shares hold throughout, and no sample comes twice
    "repeat"   it begins anew, until each has come to its end: every sample comes at least once
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kooler.data.samples import can_be_indexed, check_source, count, sample_at
from kooler.data.shuffle import opened

Random = np.random.Generator
Turns = npt.NDArray[Any]  # for each sample the source that gives it

UNTIL = ("all", "first", "repeat")
_BLOCK = 1024  # positions between two cumulated counts
_END = object()


def interleave(
    sources: Sequence[Any],
    weights: Sequence[float] | None = None,
    *,
    seed: int = 0,
    until: str = "all",
) -> Iterable[Any]:
    """The samples of several sources in one row, drawn by weight.

    Args:
        sources: Each what a `Stream` of samples takes, or another iterable.
        weights: How often each has its turn, in proportion; None: equally often.  With "all" and
            the lengths as weights, the shares hold to the end.
        seed: Of the draws.  In a `Stream`, `random_generator().integers(2**32)` within a generator
            gives other ones in each epoch.
        until: When it ends: "all", "first" or "repeat".

    Returns:
        `Interleaved`, a sequence, if all sources have `__len__` and `__getitem__`; otherwise an
        iterator.

    Example:
        >>> Stream(interleave([news, books], [0.7, 0.3]), batch_size=32, shuffle=True)
    """
    shares = [1.0] * len(sources) if weights is None else [*weights]
    _check(sources, shares, until)
    if all(map(can_be_indexed, sources)):
        return Interleaved(sources, shares, seed, until)
    return _interleaved(sources, shares, seed, until)


class Interleaved(Sequence[Any]):
    """The mixture of sources that can be indexed, which can be indexed too."""

    def __init__(
        self, sources: Sequence[Any], weights: Sequence[float], seed: int, until: str
    ) -> None:
        self._sources = list(sources)
        self._lengths = [count(source) for source in sources]
        if not all(self._lengths):
            raise ValueError(f"Each source must have samples, received lengths {self._lengths}.")
        self._turns = _turns(self._lengths, weights, np.random.default_rng(seed), until)
        self._before = _counts_before_blocks(self._turns, len(self._sources))

    def __len__(self) -> int:
        return len(self._turns)

    def __getitem__(self, index: Any) -> Any:
        source, number = self.place(index)
        return sample_at(self._sources[source], number)

    def place(self, index: int) -> tuple[int, int]:
        """Which source gives a sample, and the number that the sample has in it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        index %= len(self)
        source = int(self._turns[index])
        block = index // _BLOCK
        within = int(np.count_nonzero(self._turns[block * _BLOCK : index] == source))
        return source, (int(self._before[block, source]) + within) % self._lengths[source]


def _interleaved(
    sources: Sequence[Any], weights: Sequence[float], seed: int, until: str
) -> Iterator[Any]:
    random = np.random.default_rng(seed)
    streams = [_samples_of(source) for source in sources]
    weights, bounds, ended = list(weights), _bounds(weights), set()
    turn = random.random()
    while True:
        source = bisect_right(bounds, turn)
        sample = next(streams[source], _END)
        if sample is not _END:
            yield sample
            turn = random.random()
            continue
        ended.add(source)
        if until == "first" or len(ended) == len(streams):
            return
        if until == "repeat":
            streams[source] = _begun_anew(sources[source], source)
        else:  # the same turn falls to another
            weights[source] = 0.0
            bounds = _bounds(weights)


def _samples_of(source: Any) -> Iterator[Any]:
    if not can_be_indexed(source):
        return opened(source)
    return (sample_at(source, number) for number in range(count(source)))


def _begun_anew(source: Any, number: int) -> Iterator[Any]:
    stream = _samples_of(source)
    for first in stream:
        return itertools.chain([first], stream)
    raise ValueError(f"Source {number} has no samples, so it cannot be repeated.")


def _bounds(weights: Sequence[float]) -> list[float]:
    """Where the shares of the sources end, between 0 and 1; that of the last one is open."""
    shares = np.cumsum(weights) / np.sum(weights)
    shares[np.flatnonzero(weights)[-1] :] = np.inf
    bounds: list[float] = shares.tolist()
    return bounds


def _turns(lengths: Sequence[int], weights: Sequence[float], random: Random, until: str) -> Turns:
    if until == "all":
        return _turns_to_all(lengths, weights, random)
    return _turns_to_an_end(lengths, weights, random, until)


def _turns_to_all(lengths: Sequence[int], weights: Sequence[float], random: Random) -> Turns:
    """The turns when each sample comes once; at most one round a source."""
    draws = random.random(sum(lengths))
    turns = np.empty(len(draws), _kind(lengths))
    left, weights, start = list(lengths), list(weights), 0
    while start < len(turns):
        turns[start:] = np.searchsorted(_bounds(weights), draws[start:], side="right")
        ends = [_end(turns[start:], source, number) for source, number in enumerate(left)]
        end = min(ends)
        counts = np.bincount(turns[start : start + end], minlength=len(left))
        left = [number - int(taken) for number, taken in zip(left, counts, strict=True)]
        weights[ends.index(end)] = 0.0
        start += end
    return turns


def _turns_to_an_end(
    lengths: Sequence[int], weights: Sequence[float], random: Random, until: str
) -> Turns:
    """The turns until the first source, or each, is asked for more than it has."""
    turns = np.empty(0, _kind(lengths))
    choose = min if until == "first" else max
    while True:
        drawn = np.searchsorted(_bounds(weights), random.random(sum(lengths)), side="right")
        turns = np.concatenate([turns, drawn.astype(turns.dtype)])
        end = choose(_end(turns, source, number) for source, number in enumerate(lengths))
        if end < len(turns):
            return turns[:end]


def _end(turns: Turns, source: int, number: int) -> int:
    """The position of the turn of a source that finds `number` samples taken; else the length."""
    places = np.flatnonzero(turns == source)
    return int(places[number]) if len(places) > number else len(turns)


def _kind(lengths: Sequence[int]) -> Any:
    return np.uint8 if len(lengths) <= 256 else np.uint32


def _counts_before_blocks(turns: Turns, sources: int) -> npt.NDArray[np.int64]:
    """[blocks, sources]: how many turns each source had before a block."""
    starts = np.arange(0, len(turns), _BLOCK)
    counts = [np.add.reduceat(turns == source, starts, dtype=np.int64) for source in range(sources)]
    within = np.stack(counts, axis=1)
    return np.cumsum(within, axis=0) - within


def _check(sources: Sequence[Any], weights: Sequence[float], until: str) -> None:
    if not sources:
        raise ValueError("`sources` must name at least one source, received none.")
    good = len(weights) == len(sources) and all(0 < weight < math.inf for weight in weights)
    if not good:
        raise ValueError(
            f"`weights` must be a positive number for each of the {len(sources)} sources, received "
            f"weights={list(weights)!r}. Leave out a source that is never to come."
        )
    if until not in UNTIL:
        raise ValueError(f"`until` must be one of {', '.join(UNTIL)}, received until={until!r}.")
    for source in sources:
        check_source(source, batch_size=1)
        if until == "repeat" and isinstance(source, Iterator):
            raise ValueError(
                f"A {type(source).__name__} can be run through only once, and not be repeated. "
                "Pass the function that makes it, without calling it."
            )
