"""Assignments that happen only under a condition, inside of a compiled step, and on replicas.

`run_if(predicate, update, variables)` runs `update()`, which assigns to Keras variables, where a
boolean tensor holds. Each backend has its own way, and its own trap:

- JAX: `lax.cond` computes only the branch that is taken, but assignments inside of a branch would
  leak its tracers. So the branch runs in a scope of its own, and returns the new values.
- PyTorch: Python's `if`.
- TensorFlow: `tf.cond`; on several replicas outside of them, since a branch inside of one replica
  must not talk to the others.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kooler.core import compat
from kooler.core.types import Tensor


def run_if(predicate: Tensor, update: Callable[[], None], variables: Sequence[Any]) -> None:
    """Runs `update()` only where `predicate` holds.

    Args:
        predicate: Boolean scalar.
        update: Assigns to `variables`, and to no others.
        variables: All that it may change.

    Raises:
        RuntimeError: On JAX, `update` assigned to a variable that is not among `variables`.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        _by_jax(predicate, update, list(variables))
    elif backend == "torch":
        if bool(predicate):
            update()
    else:
        _by_tensorflow(predicate, update)


def replica_count() -> int:
    """How many replicas of the model `tf.distribute` trains in step; 1 elsewhere."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    in_replica = tf.distribute.get_replica_context() is not None
    return tf.distribute.get_strategy().num_replicas_in_sync if in_replica else 1


def sum_over_replicas(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The sum of each tensor over the replicas, the same in each of them."""
    if replica_count() == 1:
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


def _by_jax(predicate: Tensor, update: Callable[[], None], variables: list[Any]) -> None:
    import jax

    def taken(values: list[Tensor]) -> list[Tensor]:
        pairs = list(zip(variables, values, strict=True))
        with compat.inheriting_scope(pairs) as scope:
            before = dict(scope.state_mapping)
            update()
        _check_nothing_else_changed(before, scope.state_mapping, variables)
        return [scope.get_current_value(variable) for variable in variables]

    values = [variable.value for variable in variables]
    if isinstance(predicate, jax.core.Tracer):
        results = jax.lax.cond(predicate, taken, lambda values: values, values)
    else:  # outside of a compiled step, a condition would be compiled anew each time
        results = taken(values) if predicate else values
    for variable, result in zip(variables, results, strict=True):
        variable.assign(result)


def _check_nothing_else_changed(
    before: dict[int, Tensor], after: dict[int, Tensor], variables: Sequence[Any]
) -> None:
    known = {id(variable) for variable in variables}
    others = [key for key in after if key not in known and after[key] is not before.get(key)]
    if others:
        raise RuntimeError(
            f"Under a condition, {len(others)} variable(s) were assigned that were not announced "
            "in `variables`; on JAX their new values would be lost. Announce them."
        )


def _by_tensorflow(predicate: Tensor, update: Callable[[], None]) -> None:
    import tensorflow as tf

    in_replica = tf.distribute.get_replica_context() is not None
    if not (in_replica and tf.distribute.has_strategy()):
        run_once: Callable[[], Any] = update
        tf.cond(predicate, lambda: _nothing(run_once()), lambda: _nothing(None))
        return

    def outside(strategy: Any, predicate: Any) -> None:
        first = strategy.experimental_local_results(predicate)[0]
        run = strategy.extended.call_for_each_replica
        tf.cond(first, lambda: _nothing(run(update)), lambda: _nothing(None))

    tf.distribute.get_replica_context().merge_call(outside, args=(predicate,))


def _nothing(done: Any) -> int:
    """Both branches of a condition must return the same kind of thing."""
    return 0
