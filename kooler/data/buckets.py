"""Batches of samples of similar length, padded.

With `boundaries` b₁ < … < bₖ a sample of length n goes to the first bucket with n ≤ bⱼ, or to a
last one, which is open.  A bucket that is full becomes a batch, padded to bⱼ, so that a model is
compiled for few shapes; the open one is padded to its longest sample.  What remains in the buckets
at the end comes as smaller batches: every sample exactly once.

A batch has `batch_size` samples, or as many as `tokens` holds at the length of the bucket:
max(1, tokens // bⱼ).  `waste` is the share of padding in what came out so far.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kooler.data.samples import as_array, stack
from kooler.data.shuffle import opened


def bucket_by_length(
    stream: Iterable[Any] | Callable[[], Iterable[Any]],
    boundaries: Sequence[int],
    *,
    length: Callable[[Any], int] | None = None,
    batch_size: int = 32,
    tokens: int | None = None,
    padding: float = 0,
) -> "Buckets":
    """Batches of samples of similar length.

    Arrays of a sample whose first axis has the length of the sample are padded at their end; those
    with another first axis, or none, must have one shape in all samples.

    Args:
        stream: An iterable of samples, or a function that makes one.
        boundaries: The greatest length of each bucket, ascending.
        length: The length of a sample; by default the longest first axis in it.
        batch_size: Samples of a batch.
        tokens: If given, a batch has as many samples as this many tokens hold, padding included.
        padding: What is appended.

    Returns:
        An iterator of batches, with `waste`.
    """
    boundaries = list(boundaries)
    if not boundaries or boundaries != sorted(set(boundaries)) or boundaries[0] < 1:
        raise ValueError(
            f"`boundaries` must be ascending lengths, received boundaries={boundaries!r}."
        )
    for name, value in ("batch_size", batch_size), ("tokens", tokens):
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be 1 or more, received {name}={value!r}.")
    return Buckets(stream, boundaries, length or sample_length, batch_size, tokens, padding)


class Buckets(Iterator[Any]):
    """The batches of `bucket_by_length`, and how much of them is padding."""

    def __init__(
        self,
        stream: Iterable[Any] | Callable[[], Iterable[Any]],
        boundaries: list[int],
        length: Callable[[Any], int],
        batch_size: int,
        tokens: int | None,
        padding: float,
    ) -> None:
        self.boundaries = boundaries
        self._length = length
        self._size = batch_size
        self._tokens = tokens
        self._padding = padding
        self._batches = self._filled(stream)
        self._real = 0
        self._places = 0

    def __next__(self) -> Any:
        return next(self._batches)

    @property
    def waste(self) -> float:
        """The share of padding in the batches so far, between 0 and 1."""
        return 1 - self._real / self._places if self._places else 0.0

    def _filled(self, stream: Any) -> Iterator[Any]:
        buckets: list[list[tuple[int, Any]]] = [[] for _ in range(len(self.boundaries) + 1)]
        for sample in opened(stream):
            entry = self._length(sample), sample
            number = bisect_left(self.boundaries, entry[0])
            if self._is_full(number, buckets[number], entry):
                yield self._padded(number, buckets[number])
                buckets[number] = []
            buckets[number].append(entry)
        for number, bucket in enumerate(buckets):
            if bucket:
                yield self._padded(number, bucket)

    def _is_full(self, number: int, bucket: list[tuple[int, Any]], entry: tuple[int, Any]) -> bool:
        """Whether one more sample is too much for a bucket."""
        capacity = self._size
        if self._tokens is not None:
            capacity = max(1, self._tokens // self._target(number, [*bucket, entry]))
        return len(bucket) >= capacity

    def _target(self, number: int, bucket: list[tuple[int, Any]]) -> int:
        if number < len(self.boundaries):
            return self.boundaries[number]
        return max(length for length, _ in bucket)

    def _padded(self, number: int, bucket: list[tuple[int, Any]]) -> Any:
        target = self._target(number, bucket)
        self._real += sum(length for length, _ in bucket)
        self._places += target * len(bucket)
        return stack([_pad(sample, length, target, self._padding) for length, sample in bucket])


def sample_length(sample: Any) -> int:
    """The longest first axis in a sample."""
    if isinstance(sample, Mapping):
        return max(map(sample_length, sample.values()))
    if isinstance(sample, tuple):
        return max(map(sample_length, sample))
    shape = np.shape(sample)
    return shape[0] if shape else 0


def _pad(sample: Any, length: int, target: int, padding: float) -> Any:
    if isinstance(sample, Mapping):
        return {name: _pad(part, length, target, padding) for name, part in sample.items()}
    if isinstance(sample, tuple):
        return tuple(_pad(part, length, target, padding) for part in sample)
    array = as_array(sample)
    if not array.ndim or len(array) != length:
        return array
    widths = [(0, target - length), *[(0, 0)] * (array.ndim - 1)]
    return np.pad(array, widths, constant_values=padding)
