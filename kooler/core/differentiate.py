"""The gradient of a function by tensors: one signature on JAX, PyTorch and TensorFlow.

    (value, aux), gradients = differentiate(function, tensors)

`function` takes the list of tensors and returns a scalar and a nest of tensors (`aux`). Calls
nest: the gradient taken inside of a function that is being differentiated is itself
differentiable, as a gradient penalty needs it.

Some tensors exist only once the function runs, for instance the rows that an embedding looks up.
With `leaves=True` the function may pass such a tensor through `as_leaf(tensor)`, and its gradient
comes last.

The backends differ in one thing that callers see: where the value does not depend on a tensor, JAX
gives zeros, PyTorch and TensorFlow give None.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from kooler.core.types import Tensor

Function = Callable[[list[Tensor]], tuple[Tensor, Any]]
Result = tuple[tuple[Tensor, Any], list[Tensor | None]]
MakeLeaf = Callable[[Tensor], Tensor]


def differentiate(
    function: Function, tensors: Sequence[Tensor], *, leaves: bool = False, again: bool = False
) -> Result:
    """Evaluates a function and its gradient.

    Args:
        function: Takes the list of tensors, returns a scalar and a nest of tensors.
        tensors: Floating-point tensors.  On PyTorch a leaf that requires a gradient (a parameter)
            and on TensorFlow a `tf.Variable` is handed on as it is, so that code which holds
            the object itself is differentiated too; other tensors become leaves.
        leaves: Whether `function` may call `as_leaf`.  On JAX it is then traced twice, the first
            time for the shapes of the leaves only.
        again: Whether the gradients are to be differentiable where no other call of this function
            stands around, for instance inside of Keras's own step.  Only PyTorch must be told.

    Returns:
        The scalar and the nest; one gradient per tensor, and then one per leaf.

    Example:
        >>> differentiate(lambda xs: (ops.sum(xs[0] ** 2), None), [ops.ones(3)])[1]
        [array([2., 2., 2.])]
    """
    if keras.backend.backend() == "torch":
        return _by_torch(function, list(tensors), leaves, again)
    by_backend = _by_jax if keras.backend.backend() == "jax" else _by_tensorflow
    return by_backend(function, list(tensors), leaves)


def as_leaf(tensor: Tensor) -> Tensor:
    """Makes the running `differentiate(…, leaves=True)` take the gradient by this tensor as well.

    Args:
        tensor: Float; the gradient stops here and is reported, it does not go further back.

    Returns:
        The tensor to go on with, equal to `tensor`.

    Raises:
        RuntimeError: No such call runs, or another gradient is being taken inside of it.
    """
    make = _running.makers[-1] if _running.makers else None
    if make is None:
        raise RuntimeError(
            "A gradient by looked-up rows is asked for inside of another gradient (or outside of "
            "any). Techniques that differentiate inside of the loss, such as a gradient penalty, "
            "need a dense gradient for this embedding."
        )
    return make(tensor)


def dense(gradients: Sequence[Any]) -> list[Tensor | None]:
    """Gradients to compute with: TensorFlow's by a table are `IndexedSlices`, which have no `/`."""
    if keras.backend.backend() != "tensorflow":
        return list(gradients)
    import tensorflow as tf

    return [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]


def _by_jax(function: Function, tensors: list[Tensor], leaves: bool) -> Result:
    import jax
    import jax.numpy as jnp

    if not leaves:
        with _leaves_made_by(None):
            return jax.value_and_grad(function, has_aux=True)(tensors)
    shapes: list[Tensor] = []

    def see_shape(tensor: Tensor) -> Tensor:
        shapes.append(jax.ShapeDtypeStruct(tensor.shape, tensor.dtype))
        return tensor

    with _leaves_made_by(see_shape):
        jax.eval_shape(function, tensors)

    def with_leaves(arguments: list[list[Tensor]]) -> tuple[Tensor, Any]:
        zeros = iter(arguments[1])
        with _leaves_made_by(lambda tensor: jax.lax.stop_gradient(tensor) + next(zeros)):
            return function(arguments[0])

    zeros = [jnp.zeros(one.shape, one.dtype) for one in shapes]
    result, gradients = jax.value_and_grad(with_leaves, has_aux=True)([tensors, zeros])
    return result, [*gradients[0], *gradients[1]]


def _by_torch(function: Function, tensors: list[Tensor], leaves: bool, again: bool) -> Result:
    import torch

    def leaf(tensor: Tensor) -> Tensor:
        return tensor if tensor.requires_grad else tensor.detach().requires_grad_()

    late: list[Tensor] = []

    def late_leaf(tensor: Tensor) -> Tensor:
        late.append(tensor.detach().requires_grad_())
        return late[-1]

    with _leaves_made_by(late_leaf if leaves else None), torch.enable_grad():
        sources = [leaf(tensor) for tensor in tensors]
        value, aux = function(sources)
        sources = [*sources, *late]
        again = again or len(_running.makers) > 1
        gradients = torch.autograd.grad(value, sources, allow_unused=True, create_graph=again)
    return (value, aux), list(gradients)


def _by_tensorflow(function: Function, tensors: list[Tensor], leaves: bool) -> Result:
    import tensorflow as tf

    late: list[Tensor] = []

    def late_leaf(tensor: Tensor) -> Tensor:
        late.append(tf.stop_gradient(tensor))
        tape.watch(late[-1])
        return late[-1]

    with tf.GradientTape() as tape, _leaves_made_by(late_leaf if leaves else None):
        for tensor in tensors:
            if not isinstance(tensor, tf.Variable):
                tape.watch(tensor)
        value, aux = function(tensors)
    return (value, aux), tape.gradient(value, [*tensors, *late])


@contextmanager
def _leaves_made_by(make: MakeLeaf | None) -> Iterator[None]:
    _running.makers.append(make)
    try:
        yield
    finally:
        _running.makers.pop()


class _Running(threading.local):
    """The gradients that are being taken in this thread, outermost first."""

    def __init__(self) -> None:
        self.makers: list[MakeLeaf | None] = []


_running = _Running()
