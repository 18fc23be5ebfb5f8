"""Which batches make up one pass over a source, from the first or from a later one.

A source that can be indexed is addressed by number: batch k of epoch e holds the samples

    order(e)[k * batch_size : (k + 1) * batch_size],

where `order(e)` is a permutation drawn from (seed, e), or no permutation.  So a pass may begin
anywhere, at no cost, and its batches do not depend on who computes them.  The last batch may be
smaller: every sample comes once.

A generator has no numbers.  A later beginning reads what lies before and drops it.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from kooler.data.sample_random import reading
from kooler.data.samples import ReadBatch, count, stack
from kooler.data.shuffle import opened
from kooler.data.workers import Workers


class Passes(Protocol):
    """What a source of either kind offers."""

    @property
    def samples(self) -> int | None:
        """How many samples, or batches, the source has; None if nobody knows."""

    @property
    def length(self) -> int | None:
        """How many batches a pass has, None if that is not known before its end."""

    def batches(self, epoch: int, start: int, *, shuffled: bool) -> Iterator[Any]:
        """The batches of an epoch from number `start` on."""

    def examples(self) -> list[Any]:
        """A few batches whose shapes show which of their axes vary; empty if none can be had."""

    def close(self) -> None:
        """Lets workers end."""


class IndexedPasses:
    """Passes over a source with `__len__` and `__getitem__`."""

    def __init__(
        self,
        source: Any,
        batch_size: int | None,
        shuffle: bool,
        seed: int,
        workers: int,
        processes: bool,
    ) -> None:
        self.samples = count(source)
        self.size = batch_size or 1
        self.shuffle = shuffle
        self.seed = seed
        self._read = ReadBatch(source, seed, stacked=batch_size is not None)
        self._workers = Workers(self._read, workers, processes) if workers else None

    @property
    def length(self) -> int:
        """How many batches a pass has."""
        return -(-self.samples // self.size)

    def batches(self, epoch: int, start: int, *, shuffled: bool) -> Iterator[Any]:
        """The batches of an epoch from number `start` on."""
        order = self._order(epoch) if shuffled and self.shuffle else range(self.samples)
        tasks = ((epoch, self._rows(order, index)) for index in range(start, self.length))
        if self._workers is not None:
            return self._workers.map(tasks)
        return (self._read(task) for task in tasks)

    def examples(self) -> list[Any]:
        """The first batch, the middle one and the last, as they lie in the source."""
        numbers = sorted({0, self.length // 2, self.length - 1})
        return [self._read((0, self._rows(range(self.samples), index))) for index in numbers]

    def close(self) -> None:
        """Lets workers end."""
        if self._workers is not None:
            self._workers.close()

    def _order(self, epoch: int) -> Any:
        return np.random.default_rng((self.seed, epoch)).permutation(self.samples)

    def _rows(self, order: Sequence[int], index: int) -> Sequence[int]:
        return order[index * self.size : min((index + 1) * self.size, self.samples)]


class GeneratedPasses:
    """Passes over what a function yields, called anew for each."""

    samples = None
    length = None

    def __init__(
        self, function: Callable[[], Iterable[Any]], batch_size: int | None, seed: int
    ) -> None:
        self.function = function
        self.batch_size = batch_size
        self.seed = seed

    def batches(self, epoch: int, start: int, *, shuffled: bool) -> Iterator[Any]:
        """The batches of an epoch from number `start` on."""
        return itertools.islice(self._batches(epoch), start, None)

    def examples(self) -> list[Any]:
        """None, since reading ahead would lose batches: the stream shows those it holds."""
        return []

    def close(self) -> None:
        """There are no workers."""

    def _batches(self, epoch: int) -> Iterator[Any]:
        samples = self._yielded(epoch)
        if self.batch_size is None:
            yield from samples
            return
        while group := list(itertools.islice(samples, self.batch_size)):
            yield stack(group)

    def _yielded(self, epoch: int) -> Iterator[Any]:
        made = reading((self.seed, epoch, 0), lambda: opened(self.function))
        for index in itertools.count():
            value = reading((self.seed, epoch, index), lambda: next(made, _END))
            if value is _END:
                return
            yield value


_END = object()
