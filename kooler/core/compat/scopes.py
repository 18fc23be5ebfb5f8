"""Where the value of a variable is: in a step without state, in a trainer on JAX, in a buffer."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.stateless_scope import get_stateless_scope

from kooler.core.types import Tensor


def scope_value(variable: Any) -> Tensor:
    """The value of a variable in the innermost of all open stateless scopes that knows it.

    Relies on: `StatelessScope.original_scope`, by which nested scopes are chained; Keras itself
    looks only into the innermost, and on JAX the others hold the only true values.
    """
    value = _value_in_scopes(variable)
    return variable.value if value is None else value


def visible_value(variable: Any) -> Tensor | None:
    """The same, but None on JAX within a step that hides the variable from the optimizer.

    Relies on: `get_stateless_scope`; Keras's own JAX step hands only trainable weights on.
    """
    if keras.backend.backend() != "jax" or not _in_step():
        return variable.value
    return _value_in_scopes(variable)


def _in_step() -> bool:
    """Whether any scope around us is that of a step, and not only of a condition outside of one."""
    scope = get_stateless_scope()
    while scope is not None and isinstance(scope, _Inheriting):
        scope = scope.original_scope
    return scope is not None


def _value_in_scopes(variable: Any) -> Tensor | None:
    scope = get_stateless_scope()
    while scope is not None:
        value = scope.get_current_value(variable)
        if value is not None:
            return value
        scope = scope.original_scope
    return None


def inheriting_scope(pairs: Sequence[tuple[Any, Tensor]]) -> keras.StatelessScope:
    """A stateless scope that also knows what the scopes around it know.

    Relies on: `StatelessScope.original_scope` and `state_mapping`.
    """
    inherited: list[dict[int, Tensor]] = []
    scope = get_stateless_scope()
    while scope is not None:
        inherited.append(scope.state_mapping)
        scope = scope.original_scope
    inner = _Inheriting(list(pairs))
    own = inner.state_mapping
    inner.state_mapping = {}
    for mapping in [*reversed(inherited), own]:
        inner.state_mapping.update(mapping)
    return inner


class _Inheriting(keras.StatelessScope):
    """A scope of our own."""


def running_values(model: Any, variables: Sequence[Any]) -> list[np.ndarray]:
    """What variables hold now, also within `fit` on JAX, whose trainer then holds their values.

    Unlike `jax_state_sync` it moves nothing; it does wait for the step that computes them.

    Relies on: `_jax_state`, lists of values by the names of the trainer's lists of variables, and
    `_jax_state_synced`.
    """
    held: dict[int, Any] = {}
    if not getattr(model, "_jax_state_synced", True):
        for name, values in (getattr(model, "_jax_state", None) or {}).items():
            owner = model.optimizer if name == "optimizer_variables" else model
            own = owner.variables if owner is not model else getattr(model, name)
            held.update(zip(map(id, own), values or (), strict=False))
    return [np.array(keras.ops.convert_to_numpy(held.get(id(v), v))) for v in variables]


def separate_buffers(variables: Iterable[Any]) -> None:
    """Gives each variable a buffer of its own on JAX, where `a.assign(b)` makes two share one.

    Keras donates its buffers to the compiled step, and one buffer cannot be donated twice.

    Relies on: `Variable._value`.
    """
    if keras.backend.backend() != "jax":
        return
    import jax.numpy as jnp

    seen: set[int] = set()
    for variable in variables:
        if id(variable._value) in seen:
            variable._value = jnp.array(variable._value, copy=True)
        seen.add(id(variable._value))


@contextlib.contextmanager
def kept_values(model: Any) -> Iterator[None]:
    """If an exception leaves variables of a model without a value on JAX, they get one.

    The one that they had before, or where that was donated to a step, the one after the last step
    that ended.

    Relies on: `Variable._value`, which Keras's JAX trainer sets to None while it runs, and
    `_jax_state`, where it keeps the values meanwhile.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    variables = [*model.variables, *model.metrics_variables, *optimizer]
    before = [variable._value for variable in variables]
    try:
        yield
    finally:
        pairs = list(zip(variables, before, strict=True))
        if any(now._value is None and old is not None for now, old in pairs):
            _restore(model, pairs)


def _restore(model: Any, pairs: list[tuple[Any, Any]]) -> None:
    for variable, value in pairs:
        if variable._value is None and value is not None and not value.is_deleted():
            variable._value = value
    running = keras.tree.flatten(getattr(model, "_jax_state", None) or {})
    missing = any(variable._value is None for variable, _ in pairs)
    if missing and not any(value.is_deleted() for value in running):
        model.jax_state_sync()
    model._jax_state, model._jax_state_synced = None, True
