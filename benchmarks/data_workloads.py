"""The three sources of `data_throughput`; apart from it, so that a worker loads NumPy only."""

from typing import Any

import numpy as np


class Small:
    """A row of 32 numbers."""

    def __init__(self, scale: float) -> None:
        self.length = int(20_000 * scale)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return np.full(32, index, "float32"), np.full(1, index, "float32")


class Heavy(Small):
    """About a millisecond of pure Python."""

    def __init__(self, scale: float) -> None:
        super().__init__(scale / 10)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        inputs, target = super().__getitem__(index)
        return inputs + sum(number * number for number in range(20_000)) % 7, target


class Large(Small):
    """An image of 256 × 256 × 3."""

    def __init__(self, scale: float) -> None:
        super().__init__(scale / 20)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        _, target = super().__getitem__(index)
        return np.full((256, 256, 3), index, "float32"), target


WORKLOADS = {"small": Small, "heavy": Heavy, "large": Large}
