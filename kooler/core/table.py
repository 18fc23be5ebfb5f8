"""Rows of a table: read and written in time that depends on their number, not on the table's.

An embedding of a million rows is touched in a few thousand places by a batch. Whatever reads,
computes or writes the whole table costs hundreds of times as much as what the batch is about. So:

    distinct(rows, table)          each touched row once, its gradients summed
    chosen(ids, wanted, length)    some of them
    read(variable, ids)            rows of the table, or of a slot that is shaped like it
    write(variable, ids, values)   puts them back, in place

JAX and TensorFlow compile a step for fixed shapes, and how many rows of a batch are distinct
depends on its content. There `distinct` returns as many entries as there were look-ups: those left
over have ids beyond the end of the table and gradients of zero. What `read` gives for them has no
meaning; `write` drops them. So the code in between need not know.

What makes it cheap differs. JAX writes into the buffer that the step was given (Keras donates it),
as long as nothing else uses the old table. TensorFlow has operations on the variable itself, while
`ops.take` and any arithmetic would first read all of it. PyTorch is eager.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.batch import Rows
from kooler.core.replicas import on_every_replica
from kooler.core.types import Tensor


def distinct(rows: Rows, table: Any) -> Rows:
    """Each touched row once, in ascending order, with the sum of its gradients.

    Args:
        rows: What a batch looked up, with repetitions.
        table: The variable that the rows belong to.

    Returns:
        ids int32 [m], gradients [m, dimension]; on JAX and TensorFlow m is the number of look-ups,
        and what is left over stands at the end: ids ≥ the length of the table, gradients 0.

    Example:
        >>> distinct(Rows([7, 2, 7], gradients), table).ids      # a table of 9 rows
        array([2, 7])                                            # PyTorch
        array([2, 7, 11])                                        # JAX, TensorFlow
    """
    if keras.backend.backend() == "torch":
        return _distinct_by_torch(rows)
    count = ops.shape(rows.ids)[0]
    ids, order = _sorted(rows.ids, table.shape[0])
    is_new = ops.concatenate([ops.ones_like(ids[:1]), ops.cast(ids[1:] != ids[:-1], ids.dtype)])
    place = ops.cumsum(is_new) - 1  # [count]: of each look-up among the distinct rows
    beyond = table.shape[0] + ops.arange(count, dtype=ids.dtype)
    in_order = keras.backend.backend() == "jax"  # TensorFlow would not let us state the number
    gradients = ops.take(rows.gradients, order, axis=0)
    return Rows(
        ops.scatter_update(beyond, ops.expand_dims(place, -1), ids),
        ops.segment_sum(gradients, place, num_segments=count, sorted=in_order),
    )


def chosen(ids: Tensor, wanted: Tensor, length: int) -> Tensor:
    """Those rows that are wanted, in the order in which they stand.

    Args:
        ids: int32 [m]. wanted: Boolean [m].
        length: Of the table; ids beyond its end are never wanted.

    Returns:
        int32 [k]; on JAX and TensorFlow [m], and what is left over stands at the end: ids ≥ length.
    """
    wanted = ops.logical_and(wanted, ids < length)
    if keras.backend.backend() == "torch":
        return ids[wanted]
    place = ops.arange(ops.shape(ids)[0], dtype="int32")
    first = ops.argsort(ops.where(wanted, place, place + ops.shape(ids)[0]))
    found = place < ops.sum(ops.cast(wanted, "int32"))
    return ops.where(found, ops.take(ids, first, axis=0), length + place)


def read(variable: Any, ids: Tensor) -> Tensor:
    """Rows of a variable.

    Args:
        variable: [rows, …]: a table, or a slot with one entry per row.
        ids: int [m].

    Returns:
        [m, …]
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(variable.value, tf.minimum(ids, variable.shape[0] - 1))
    if keras.backend.backend() == "torch":
        return variable.value.detach().index_select(0, ids)
    import jax.numpy as jnp

    return jnp.take(variable.value, ids, axis=0, mode="clip")


def write(variable: Any, ids: Tensor, values: Tensor) -> None:
    """Puts rows into a variable; what lies beyond its end is dropped.

    Args:
        variable: [rows, …]: a table, or a slot with one entry per row.
        ids: int [m], ascending and without repetitions: those of `distinct`.
        values: [m, …]
    """
    values = ops.cast(values, variable.dtype)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        _write_by_tensorflow(variable, ids, values)
    elif backend == "torch":
        variable.value.data.index_copy_(0, ids.long(), values)
    else:
        ascending = {"indices_are_sorted": True, "unique_indices": True}
        variable.assign(variable.value.at[ids].set(values, mode="drop", **ascending))


def _distinct_by_torch(rows: Rows) -> Rows:
    import torch

    ids, place = torch.unique(rows.ids, return_inverse=True)
    sums = rows.gradients.new_zeros(len(ids), *rows.gradients.shape[1:])
    return Rows(ids, sums.index_add_(0, place, rows.gradients))


def _sorted(ids: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """In ascending order, and where each stood; equal ones in the order in which they came.

    XLA sorts single numbers five times as fast as pairs. An id and its place make one of 32 bits,
    where rows times look-ups are not too many. TensorFlow's own sort is equally fast for both.
    """
    count = ids.shape[0]
    if keras.backend.backend() != "jax" or (length + 1) * count > 2**32:
        order = ops.argsort(ids)
        return ops.take(ids, order, axis=0), order
    ids_or_end = ops.minimum(ops.cast(ids, "uint32"), length)  # what is no row must not become one
    both = ops.sort(ids_or_end * count + ops.arange(count, dtype="uint32"))
    return ops.cast(both // count, ids.dtype), ops.cast(both % count, ids.dtype)


def _write_by_tensorflow(variable: Any, ids: Tensor, values: Tensor) -> None:
    """Without XLA an id beyond the end is an error: there the last row is written once more.

    Where all are beyond, the last row of the table is, as it was.
    """
    import tensorflow as tf

    found = tf.reduce_sum(tf.cast(ids < variable.shape[0], "int32"))
    inside = tf.minimum(tf.range(tf.shape(ids)[0]), tf.maximum(found - 1, 0))
    ids = tf.minimum(tf.gather(ids, inside), variable.shape[0] - 1)
    values = tf.where(found > 0, tf.gather(values, inside), tf.gather(variable.value, ids))
    rows = tf.IndexedSlices(values, ids)
    on_every_replica(
        variable,
        lambda own, ids, values: own.scatter_update(tf.IndexedSlices(values, ids)),
        (rows.indices, rows.values),
    )
