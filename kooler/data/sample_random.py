"""Random numbers for one sample, the same whoever reads it: seeds by (seed, epoch, index).

A worker that draws from one random state makes a sample depend on all samples that it read before,
and so on the number of workers.  Here the state belongs to the sample: `random_generator()`, called
while a `Stream` reads sample number `index`, starts from

    numpy.random.default_rng((seed, epoch, index)).

Another epoch gives other numbers; another number of workers, a resumed run and a second machine
give the same ones.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np

Value = TypeVar("Value")
Key = tuple[int, int, int]

_reading = threading.local()


def random_generator() -> np.random.Generator:
    """The random numbers of the sample that is being read now.

    To be called within `__getitem__` of a source of a `Stream`, or within the generator that it
    reads.  A second call for the same sample goes on where the first stopped.

    Raises:
        RuntimeError: If no `Stream` is reading in this thread.
    """
    key = getattr(_reading, "key", None)
    if key is None:
        raise RuntimeError(
            "`random_generator()` was called while no Stream reads a sample. Call it in the "
            "`__getitem__` of a Stream's source, or within its generator; anywhere else use "
            "numpy.random.default_rng(seed)."
        )
    if _reading.generator is None:
        _reading.generator = np.random.default_rng(key)
    generator: np.random.Generator = _reading.generator
    return generator


def reading(key: Key, read: Callable[[], Value]) -> Value:
    """Calls `read()`, within which `random_generator` gives the random numbers of `key`."""
    outer = getattr(_reading, "key", None), getattr(_reading, "generator", None)
    _reading.key, _reading.generator = key, None
    try:
        return read()
    finally:
        _reading.key, _reading.generator = outer
