"""Lazy optimizers in NumPy, float64: every row for itself, every step one after the other."""

from typing import Any

import numpy as np


class LazyOracle:
    """A table and its slots, row by row; without a gradient a row does what `untouched` says.

    Args:
        table: [rows, dimension]. kind: "sgd", "momentum", "nesterov", "adam" or "adagrad".
        untouched: "freeze", "decay", or "dense": what the dense optimizer does.
        rate: The learning rate, or a function of the number of steps taken. decay: Decoupled.
        epsilon: Of Adam and Adagrad.
    """

    def __init__(
        self,
        table: np.ndarray,
        kind: str,
        untouched: str,
        rate: Any = 0.01,
        decay: float = 0.0,
        epsilon: float = 1e-7,
    ) -> None:
        self.table = table.astype("float64")
        self.kind, self.untouched, self.rate, self.decay = kind, untouched, rate, decay
        self.epsilon = epsilon
        start = 0.1 if kind == "adagrad" else 0.0
        self.m = np.full(table.shape, start)
        self.v = np.zeros(table.shape)
        self.steps = 0

    def apply(self, ids: Any, gradients: np.ndarray) -> None:
        """A step; equal ids add up."""
        self.steps += 1
        whole = np.zeros_like(self.table)
        np.add.at(whole, np.asarray(ids, int), gradients.astype("float64"))
        for row in range(len(self.table)):
            touched = row in set(np.asarray(ids).tolist())
            before = self.table[row].copy()
            if touched or self.untouched != "freeze":
                self._step(row, whole[row])
            if not touched and self.untouched == "decay":
                self.table[row] = before

    def _step(self, row: int, g: np.ndarray) -> None:
        rate = self.rate(self.steps - 1) if callable(self.rate) else self.rate
        self.table[row] *= 1 - rate * self.decay
        if self.kind == "sgd":
            self.table[row] -= rate * g
        elif self.kind == "adagrad":
            self.m[row] += g * g
            self.table[row] -= rate * g / np.sqrt(self.m[row] + self.epsilon)
        elif self.kind == "adam":
            self.m[row] = 0.9 * self.m[row] + 0.1 * g
            self.v[row] = 0.999 * self.v[row] + 0.001 * g * g
            corrected = rate * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
            root = np.sqrt(self.v[row]) + self.epsilon
            self.table[row] -= corrected * self.m[row] / np.where(root > 0, root, 1.0)
        else:
            self.m[row] = 0.9 * self.m[row] - rate * g
            ahead = 0.9 * self.m[row] - rate * g if self.kind == "nesterov" else self.m[row]
            self.table[row] += ahead
