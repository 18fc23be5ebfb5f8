"""Gradients of an embedding by the rows it looked up, instead of by its whole table.

A batch looks up a few rows of a table of many. The gradient by the table is a table again, of
zeros mostly; the gradient by the looked-up rows is small, and says the same. While a loss is
computed, a hook stands around each chosen embedding's `call`, looks the rows up itself, and makes
each look-up a leaf of the running differentiation:

    rows = table[ids]  → the layer's output and, by the backward pass, ∂loss/∂rows

An embedding that is used several times in one step gives several look-ups; they are joined.

This is the whole gradient only if the loss depends on the table through these look-ups alone. A
table that is also the matrix of a softmax, or that is regularized, has a gradient in every row. So
the table itself stands guard: it is differentiated by, too, and must turn out not to matter. That
costs nothing, since PyTorch and TensorFlow then have no gradient to compute, and on JAX no
backward pass gets as far as `_guarded`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.batch import Rows
from kooler.core.differentiate import as_leaf
from kooler.core.hooks import hooked
from kooler.core.types import Tensor

LookUp = Callable[[Any, Tensor], Tensor]
"""Takes a table and ids [n], returns what the rows are worth [n, dimension]."""


class RowLookups:
    """The look-ups of some embeddings during one evaluation.

    Args:
        embeddings: Pairs of a built embedding layer and what reads rows of its table: `look_up`, or
            the same method of a wrapper.
        variables: Those that gradients are asked for; tables that are not among them are left out.

    Raises:
        ValueError: A layer does more than look up rows of one variable.
    """

    def __init__(
        self, embeddings: Sequence[tuple[Any, LookUp]], variables: Sequence[Any] = ()
    ) -> None:
        asked = {id(variable) for variable in variables}
        self._look_ups: dict[Any, LookUp] = {}
        for layer, look_up in embeddings:
            if id(_table_of(layer)) in asked:
                self._look_ups[layer] = look_up
        tables = {id(layer.embeddings): layer.embeddings for layer in self._look_ups}
        self.tables = list(tables.values())
        self._seen: list[tuple[int, Tensor]] = []

    @property
    def any(self) -> bool:
        """Whether there is any embedding to watch."""
        return bool(self._look_ups)

    def cover(self, variable: Any) -> bool:
        """Whether the gradient by this variable is taken by rows."""
        return any(variable is table for table in self.tables)

    def guards(self, values: Sequence[Tensor]) -> list[Tensor]:
        """By what to differentiate so that it shows whether the tables are used elsewhere.

        Args:
            values: The values of the tables, in the order of `tables`.
        """
        if keras.backend.backend() == "jax":
            return [ops.zeros((), value.dtype) for value in values]
        return list(values)

    def guarded(
        self, values: Sequence[Tensor], guards: Sequence[Tensor]
    ) -> list[tuple[Any, Tensor]]:
        """Pairs of a table and the value to use for it inside of the differentiated function."""
        if keras.backend.backend() != "jax":
            return list(zip(self.tables, guards, strict=True))
        triples = zip(self.tables, values, guards, strict=True)
        return [(table, _guarded(table.path, value, guard)) for table, value, guard in triples]

    def check(self, gradients: Sequence[Any]) -> None:
        """Hears the gradients by the guards: there must be none (JAX has raised before)."""
        if keras.backend.backend() == "jax":
            return
        for table, gradient in zip(self.tables, gradients, strict=True):
            if gradient is not None:
                raise ValueError(_used_elsewhere(table.path))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Meanwhile the embeddings look their rows up under our eyes."""
        self._seen = []
        with hooked({layer: self._hook_of(layer) for layer in self._look_ups}):
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

    def _hook_of(self, layer: Any) -> Callable[..., Tensor]:
        def stand_in(call: Callable[..., Tensor], ids: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if any(args) or any(kwargs.values()):  # `reverse=True` of a ReversibleEmbedding
                raise ValueError(_used_elsewhere(layer.embeddings.path))
            flat = _from_zero(ops.reshape(ops.cast(ids, "int32"), (-1,)), layer.embeddings)
            with _reading():
                rows = self._look_ups[layer](layer.embeddings, flat)
            rows = as_leaf(rows)
            self._seen.append((id(layer.embeddings), flat))
            shape = (*ops.shape(ids), rows.shape[-1])
            return ops.cast(ops.reshape(rows, shape), layer.compute_dtype)

        return stand_in


def look_up(table: Any, ids: Tensor) -> Tensor:
    """Rows of a table as they are; on TensorFlow `ops.take` would read the whole table first.

    Args:
        table: Variable [rows, dimension].
        ids: int [n].

    Returns:
        [n, dimension]
    """
    if keras.backend.backend() != "tensorflow":
        return ops.take(table, ids, axis=0)
    import tensorflow as tf

    return tf.gather(table.value, ids)


def _table_of(layer: Any) -> Any:
    table = layer.embeddings
    only_looks_up = type(layer).call in _LOOK_UPS or getattr(layer, "only_looks_up", False)
    if not isinstance(table, keras.Variable) or not only_looks_up:
        raise ValueError(
            f"The layer {layer.name!r} ({type(layer).__name__}) does more than look up rows of one "
            "variable (LoRA, quantization, or a `call` of its own), so its gradient cannot be "
            "taken by rows. Use a plain Embedding, or set `only_looks_up = True` in a class whose "
            "`call` gives the rows as they are."
        )
    if table.regularizer is not None or table.constraint is not None:
        raise ValueError(
            f"The table {table.path!r} has a regularizer or a constraint, which concerns all of "
            "its rows in every step, so its gradient cannot be taken by rows. Remove it (weight "
            "decay of touched rows is the optimizer's), or use a dense optimizer."
        )
    return table


def _from_zero(ids: Tensor, table: Any) -> Tensor:
    """Ids that count from the end, as Keras allows them, count from the start."""
    return ops.where(ids < 0, ids + table.shape[0], ids)


def _reading() -> AbstractContextManager[Any]:
    """Around a look-up: it is no part of what is differentiated, and sees all variables."""
    if keras.backend.backend() == "jax":
        return compat.inheriting_scope([])
    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()
    return nullcontext()


def _guarded(path: str, table: Tensor, guard: Tensor) -> Tensor:
    """The table; but on JAX a gradient that flows back to it, and so by the guard, is an error."""
    import jax

    def complain(_: None, gradient: Tensor) -> Any:
        raise ValueError(_used_elsewhere(path))

    same = jax.custom_vjp(lambda table, guard: table)
    same.defvjp(lambda table, guard: (table, None), complain)
    return same(table, guard)


def _joined(lookups: list[tuple[Tensor, Tensor]], scale: Tensor) -> Rows:
    ids = ops.concatenate([ids for ids, _ in lookups])
    gradients = ops.concatenate([gradient for _, gradient in lookups])
    return Rows(ids, gradients / ops.cast(scale, gradients.dtype))


def _used_elsewhere(path: str) -> str:
    return (
        f"The table {path!r} is also used outside of the look-ups of its layer (as the matrix of a "
        "softmax, in a penalty, or looked up by hand), so its gradient is not confined to the rows "
        "that were looked up. Give that use a variable of its own, or train this table densely."
    )


_LOOK_UPS = (keras.layers.Embedding.call, keras.layers.ReversibleEmbedding.call)
