"""Assignments that happen only under a condition, inside of a compiled step.

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
from kooler.core.replicas import assign as assign
from kooler.core.replicas import replica_count as replica_count
from kooler.core.replicas import sum_over_replicas as sum_over_replicas
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
