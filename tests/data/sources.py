"""Sources that a worker process finds by name; they know NumPy only, so that it starts quickly."""

import os
import signal
import time
from typing import Any

import numpy as np

from kooler.data import random_generator
from kooler.data.handover import Parcel


class Numbered:
    """Sample number i is ([i, i, i], [i]) in float32."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return np.full(3, index, "float32"), np.full(1, index, "float32")


class Noisy(Numbered):
    """Sample number i is i and a random number of its own."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return np.float32(index), random_generator().random()


class Augmented(Numbered):
    """Sample number i has 3 inputs with random numbers of its own, and their sum."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        inputs = np.random.default_rng(index).normal(size=3) + random_generator().normal(size=3)
        return inputs.astype("float32"), np.float32([inputs.sum()])


class Wide(Numbered):
    """A megabyte a sample."""

    def __getitem__(self, index: int) -> Any:
        return np.full(2**18, index, "float32")


class Failing(Numbered):
    """Raises a KeyError at one sample."""

    def __init__(self, length: int, at: int) -> None:
        super().__init__(length)
        self.at = at

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index == self.at:
            raise KeyError("no such sample")
        return super().__getitem__(index)


class Deadly(Numbered):
    """Kills the process that reads one sample, as a system does that is out of memory."""

    def __init__(self, length: int, at: int) -> None:
        super().__init__(length)
        self.at = at

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class Parent(Numbered):
    """Reads each sample in a process of its own."""

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        import subprocess
        import sys

        done = subprocess.run(
            [sys.executable, "-S", "-c", f"print({index})"], capture_output=True, check=True
        )
        return super().__getitem__(int(done.stdout))


class Stubborn(Exception):
    """An exception that pickle writes, but cannot read."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def square(number: int) -> int:
    return number * number


def slow_if_first(number: int) -> int:
    time.sleep(1.0 if number == 0 else 0.0)
    return number


def fails_at_three(number: int) -> int:
    if number == 3:
        raise KeyError("three")
    return number


def dies(number: int) -> int:
    os._exit(7)


def leaves(number: int) -> int:
    raise SystemExit(3)


def stubborn(number: int) -> int:
    raise Stubborn(number, 2)


def modules(number: int) -> set[str]:
    """Which of the heavy packages this process has loaded."""
    import sys

    return {"keras", "jax", "torch", "tensorflow"} & set(sys.modules)


def lost(item: int) -> Any:
    """What a worker hands over that is gone before it is fetched."""
    return Parcel(b"", [], f"/proc/self/fd/{10**6 + item}")
