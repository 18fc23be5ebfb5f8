"""Local shuffling of what can only be read from front to back.

A buffer of `size` samples; each sample that arrives takes the place of a random one, which leaves.
So a sample moves forward by fewer than `size` places, and back by any number, geometrically rare.
Every sample leaves exactly once.  With `size=1` the order stays, with a size of all samples each
order is equally likely.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

Sample = TypeVar("Sample")


def shuffle_buffer(
    stream: Iterable[Sample] | Callable[[], Iterable[Sample]], size: int, *, seed: int = 0
) -> Iterator[Sample]:
    """The samples of a stream in an order that is random over distances up to about `size`.

    Args:
        stream: An iterable, or a function that makes one.
        size: How many samples are held.
        seed: Of the order.  In a `Stream`, `random_generator().integers(2**32)` is another one in
            each epoch.

    Returns:
        An iterator of the same samples.
    """
    if size < 1:
        raise ValueError(
            f"`size` must be how many samples are held, 1 or more, received size={size!r}."
        )
    return _shuffled(stream, size, np.random.default_rng(seed))


def opened(stream: Iterable[Sample] | Callable[[], Iterable[Sample]]) -> Iterator[Sample]:
    """An iterator of a stream; a function is called for it."""
    made = stream if isinstance(stream, Iterable) else stream()
    if not isinstance(made, Iterable):
        raise ValueError(
            "A function of samples must return what can be iterated, such as a generator, and it "
            f"returned a {type(made).__name__}. Does it `yield`?"
        )
    return iter(made)


def _shuffled(
    stream: Iterable[Sample] | Callable[[], Iterable[Sample]],
    size: int,
    random: np.random.Generator,
) -> Iterator[Sample]:
    samples = opened(stream)
    held = list(itertools.islice(samples, size))
    for sample in samples:
        place = int(random.integers(len(held)))
        held[place], leaving = sample, held[place]
        yield leaving
    random.shuffle(held)
    yield from held
