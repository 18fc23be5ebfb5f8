"""Several replicas of a model that train in step: TensorFlow's `tf.distribute`.

Each replica evaluates its part of the batch, and Keras sums the gradients in the optimizer. Its
losses are means over the part, divided by the number of replicas R, so the sum is the mean of the
means: not the gradient of the whole batch if one part is larger, or has more unmasked positions,
than another. `of_all_replicas` mends that. With the weights n₁, n₂, … of the parts (see `batch.py`)
and the gradients gᵣ / R that arrive,

    g  =  Σᵣ nᵣ·gᵣ / Σᵣ nᵣ  =  Σᵣ (R·nᵣ / Σₛ nₛ) · gᵣ / R.

A replica may even get nothing, as one of two does with a last batch of one example.

Elsewhere there is one replica: JAX distributes arrays, not steps (`keras.distribution`), and sees
the whole batch.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kooler.core.batch import Batch, Rows
from kooler.core.differentiate import dense
from kooler.core.technique import Evaluation
from kooler.core.types import Tensor


def replica_count() -> int:
    """How many replicas of the model `tf.distribute` trains in step; 1 elsewhere."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    in_replica = tf.distribute.get_replica_context() is not None
    return tf.distribute.get_strategy().num_replicas_in_sync if in_replica else 1


def sum_over_replicas(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The sum of each tensor over the replicas, the same in each of them."""
    if not tensors or replica_count() == 1:
        return list(tensors)
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(tensors)))


def gather_over_replicas(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor of all replicas, joined along the first axis, the same in each of them."""
    if replica_count() == 1:
        return list(tensors)
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return [context.all_gather(tensor, axis=0) for tensor in tensors]


def read(variable: Any) -> Tensor:
    """The value of a variable on this replica; TensorFlow's variable itself is that of all."""
    if keras.backend.backend() != "tensorflow":
        return variable.value
    import tensorflow as tf

    return tf.identity(variable.value)


def assign(variable: Any, value: Tensor) -> None:
    """Assigns the same value on every replica; elsewhere `variable.assign(value)`."""
    if replica_count() == 1:
        variable.assign(value)
        return
    import tensorflow as tf

    value = tf.cast(value, variable.dtype)
    on_every_replica(variable, lambda own, new: own.assign(new), (value,))


def on_every_replica(
    variable: Any, change: Callable[..., Any], arguments: tuple[Tensor, ...]
) -> None:
    """On TensorFlow, calls `change(own, *arguments)` for each replica's own `tf.Variable`.

    Args:
        variable: A Keras variable.
        change: Writes to `own`; the arguments must be the same on every replica.
        arguments: Tensors.
    """
    if replica_count() == 1:
        change(variable.value, *arguments)
        return
    import tensorflow as tf

    def on_all(strategy: Any, *arguments: Any) -> None:
        strategy.extended.update(variable.value, change, args=arguments, group=False)

    tf.distribute.get_replica_context().merge_call(on_all, args=arguments)


def of_all_replicas(evaluation: Evaluation) -> Evaluation:
    """The evaluation of a part as a share in that of the whole batch: gradients to be summed.

    Raises:
        ValueError: The losses have different denominators, so no one weight is right.
    """
    if replica_count() == 1:
        return evaluation
    batch = evaluation.batch
    share = ops.ones((), "float32") if batch.summed else _share(batch.weight)
    gradients = [
        None if gradient is None else gradient * ops.cast(share, gradient.dtype)
        for gradient in dense(evaluation.gradients)
    ]
    return dataclasses.replace(evaluation, gradients=gradients, batch=_of_all(batch, share))


def _share(weight: Tensor) -> Tensor:
    (total,) = sum_over_replicas([weight])
    return replica_count() * weight / ops.where(total > 0, total, 1.0)


def _of_all(batch: Batch, share: Tensor) -> Batch:
    (examples,) = sum_over_replicas([ops.convert_to_tensor(batch.examples)])
    whole = dataclasses.replace(batch, examples=examples)
    if not batch.summed:
        whole = whole.weighing(sum_over_replicas([batch.weight])[0])
    rows = {}
    for table, (ids, gradients) in batch.rows.items():
        gradients = gradients * ops.cast(share, gradients.dtype)
        rows[table] = Rows(*gather_over_replicas([ids, gradients]))
    return whole.with_rows(rows)
