"""Gradients of an embedding by the rows it looked up, instead of by its whole table.

A batch looks up a few rows of a table of many. The gradient by the table is a table again, of
zeros mostly; the gradient by the looked-up rows is small, and says the same. While a loss is
computed, a hook stands around each chosen embedding's `call`, looks the rows up itself, and makes
each look-up a leaf of the running differentiation:

    rows = table[ids]  → the layer's output and, by the backward pass, ∂loss/∂rows

An embedding that is used several times in one step gives several look-ups; they are joined.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops

from kooler.core.batch import Rows
from kooler.core.differentiate import as_leaf
from kooler.core.hooks import hooked
from kooler.core.types import Tensor


class RowLookups:
    """The look-ups of some embeddings during one evaluation.

    Args:
        embeddings: Built layers with a trainable `embeddings` variable, called with integer ids.
    """

    def __init__(self, embeddings: Sequence[Any]) -> None:
        self._layers = list(embeddings)
        self._tables = {id(layer.embeddings) for layer in self._layers}
        self._seen: list[tuple[int, Tensor]] = []

    @property
    def any(self) -> bool:
        """Whether there is any embedding to watch."""
        return bool(self._layers)

    def cover(self, variable: Any) -> bool:
        """Whether the gradient by this variable is taken by rows."""
        return id(variable) in self._tables

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Meanwhile the embeddings look their rows up under our eyes."""
        self._seen = []
        with hooked({layer: self._lookup_of(layer) for layer in self._layers}):
            yield

    def ids(self) -> list[Tensor]:
        """The ids of each look-up, flat, in the order of the look-ups."""
        return [ids for _, ids in self._seen]

    def touched(
        self, ids: list[Tensor], gradients: Sequence[Any], loss_scale: Callable[[], Tensor]
    ) -> dict[int, Rows]:
        """The rows that each table gave, with the gradients of the unscaled loss."""
        parts: dict[int, list[tuple[Tensor, Tensor]]] = {}
        for (table, _), one_ids, gradient in zip(self._seen, ids, gradients, strict=True):
            if gradient is not None:
                parts.setdefault(table, []).append((one_ids, gradient))
        scale = loss_scale() if parts else None
        return {table: _joined(lookups, scale) for table, lookups in parts.items()}

    def _lookup_of(self, layer: Any) -> Callable[..., Tensor]:
        def lookup(call: Callable[..., Tensor], ids: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            ids = ops.cast(ids, "int32")
            flat = ops.reshape(ids, (-1,))
            rows = as_leaf(_look_up(layer.embeddings, flat))
            self._seen.append((id(layer.embeddings), flat))
            shape = (*ops.shape(ids), rows.shape[-1])
            return ops.cast(ops.reshape(rows, shape), layer.compute_dtype)

        return lookup


def _look_up(table: Any, ids: Tensor) -> Tensor:
    """Rows of a variable; on TensorFlow `ops.take` would read the whole table first."""
    if keras.backend.backend() != "tensorflow":
        return ops.take(table, ids, axis=0)
    import tensorflow as tf

    return tf.gather(table.value, ids)


def _joined(lookups: list[tuple[Tensor, Tensor]], scale: Tensor) -> Rows:
    ids = ops.concatenate([ids for ids, _ in lookups])
    gradients = ops.concatenate([gradient for _, gradient in lookups])
    return Rows(ids, gradients / ops.cast(scale, gradients.dtype))
