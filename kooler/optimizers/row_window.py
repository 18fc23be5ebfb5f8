"""The mean gradient of a window of batches, of those rows of a table that the batches touched.

Each batch i of a window has a gradient gᵢ of some rows, and weighs nᵢ. A row that batch i does not
touch has a gradient of zero in it, and its mean shrinks with N ← N + nᵢ:

    touched:    ḡ ← (N_last / N) · ḡ + (nᵢ / N) · gᵢ        N_last ← N
    not:        nothing now; what it missed is the factor N_last / N, when somebody asks

So a batch costs as much as the rows that it touches, and not what the window has touched so far.
Which rows those are stands in a list, in the order in which they came; each row notes the number of
the window that put it there, so the list is emptied by counting on. Nothing is cleared, and nothing
but the rows of the batch is read or written.

The list may grow to the length of the table, while JAX and TensorFlow compile for a fixed length.
`size` is what it should not exceed: the rows of the largest batch seen, times the batches of a
window. Where batches differ in size it may exceed that; then all of it is handed on.
"""

from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.batch import Rows
from kooler.core.conditional import assign
from kooler.core.table import chosen, distinct, read, write
from kooler.core.types import Tensor

MANY = 16
"""Batches of a window, where nobody can tell."""


class RowWindow:
    """The rows of one table that the window has touched so far.

    Args:
        wrapper: The optimizer whose state it is.
        table: Variable [length, dimension].
        mean: Its slot, for ḡ.
    """

    def __init__(self, wrapper: Any, table: Any, mean: Any) -> None:
        self.table, self.mean, self.length = table, mean, table.shape[0]
        path = table.path.replace("/", "_")

        def state(name: str, *shape: int, start: str = "zeros", dtype: str = "int32") -> Any:
            return wrapper.add_variable(shape, start, dtype, name=f"{path}_{name}")

        self.touched = state("touched", self.length)  # the list
        self.count = state("count")  # how long it is
        self.number = state("number", start="ones")  # of this window
        self.window = state("window", self.length)  # that put a row into the list
        self.last = state("last", self.length, dtype="float32")  # N_last
        with compat.untracked():
            self._largest = 0

    def add(self, rows: Rows, share: Tensor, total: Tensor | None) -> None:
        """Takes the rows of a batch into the mean.

        Args:
            rows: What it looked up, with repetitions.
            share: Scalar, nᵢ / N.
            total: Scalar, N; or None where gradients add up, and nothing shrinks.
        """
        ids, gradients = distinct(rows, self.table)
        self._largest = max(self._largest, ids.shape[0] or 0)
        window, number = read(self.window, ids), ops.convert_to_tensor(self.number)
        known = ops.equal(window, number)
        old = ops.where(ops.expand_dims(known, -1), self._mean_of(ids, total), 0.0)
        self._list(chosen(ids, ops.logical_not(known), self.length))
        write(self.mean, ids, old + ops.cast(share, old.dtype) * ops.cast(gradients, old.dtype))
        # XLA writes in place what nothing reads afterwards: let each note wait for what was read.
        write(self.window, ids, ops.where(known, window, number))
        if total is not None:
            held = read(self.last, ids)
            write(self.last, ids, ops.where(ops.equal(held, held), total, 0.0))

    def add_whole(self, gradient: Tensor, share: Tensor, total: Tensor | None) -> None:
        """The same with the gradient of the whole table; rows of zeros were not touched."""
        touched = ops.any(ops.not_equal(gradient, 0), axis=1)
        ids = chosen(ops.arange(self.length, dtype="int32"), touched, self.length)
        self.add(Rows(ids, _rows_of(gradient, ids)), share, total)

    def size(self, steps: Any) -> int:
        """How many rows a window of `steps` batches should not exceed."""
        batches = steps if isinstance(steps, int) else MANY
        return min(self.length, self._largest * batches or self.length)

    def rows(self, size: int, total: Tensor) -> Rows:
        """Each touched row once, with its mean when all weigh `total`.

        On JAX and TensorFlow padded to `size`, or cut off there.
        """
        if keras.backend.backend() == "torch":
            size = int(self.count)
        place = ops.arange(size, dtype="int32")
        ids = ops.where(place < self.count, read(self.touched, place), self.length + place)
        inside = ops.expand_dims(ids < self.length, -1)
        gradients = ops.where(inside, self._mean_of(ids, total), 0.0)
        return Rows(ids, ops.cast(gradients, self.table.dtype))

    def empty(self) -> None:
        """Begins the next window."""
        assign(self.count, ops.zeros((), "int32"))
        assign(self.number, self.number + 1)

    def _mean_of(self, ids: Tensor, total: Tensor | None) -> Tensor:
        mean, last = read(self.mean, ids), read(self.last, ids)
        if total is None:
            return mean
        shrunk = ops.where(last > 0, last / ops.where(total > 0, total, 1.0), 1.0)
        return mean * ops.cast(ops.expand_dims(shrunk, -1), mean.dtype)

    def _list(self, new: Tensor) -> None:
        """Appends rows; those beyond the end of the table are none."""
        inside = new < self.length
        place = ops.arange(ops.shape(new)[0], dtype="int32")
        write(self.touched, ops.where(inside, self.count + place, self.length + place), new)
        assign(self.count, self.count + ops.sum(ops.cast(inside, "int32")))


def _rows_of(gradient: Tensor, ids: Tensor) -> Tensor:
    return ops.take(gradient, ops.minimum(ids, gradient.shape[0] - 1), axis=0)
