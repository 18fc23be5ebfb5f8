"""A function of arrays that reads a model's variables, compiled as the backend allows.

`keras.Model` compiles its own train, test and predict functions; search and scoring are functions
of their own and need the same: compiled once per shape, and reading the *current* value of every
weight.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras


def compiled(
    function: Callable[..., Any], variables: Sequence[keras.Variable]
) -> Callable[..., Any]:
    """Compiles a function of arrays that reads, and does not write, `variables`.

    Args:
        function: Takes arrays, returns a nest of tensors; traced once per shape of its arguments
            on JAX and TensorFlow, run eagerly and without gradients on PyTorch.
        variables: Every Keras variable that `function` reads.

    Returns:
        A callable with the arguments of `function`.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return _compiled_by_jax(function, list(variables))
    if backend == "tensorflow":
        return _compiled_by_tensorflow(function)
    return _eager_without_gradients(function)


def _compiled_by_jax(
    function: Callable[..., Any], variables: list[keras.Variable]
) -> Callable[..., Any]:
    """JAX sees only arguments: a weight that is closed over would be baked in as a constant."""
    import jax

    def stateless(values: list[Any], *arrays: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arrays)

    jitted = jax.jit(stateless)
    return lambda *arrays: jitted([variable.value for variable in variables], *arrays)


def _compiled_by_tensorflow(function: Callable[..., Any]) -> Callable[..., Any]:
    """TensorFlow captures variables by reference; XLA fuses the many small steps of a search."""
    import tensorflow as tf

    traced = tf.function(function, jit_compile=True, autograph=False)
    return lambda *arrays: traced(*(tf.convert_to_tensor(array) for array in arrays))


def _eager_without_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """PyTorch runs operator by operator; without gradients it keeps no history of the steps."""
    import torch

    def run(*arrays: Any) -> Any:
        with torch.no_grad():
            return function(*(keras.ops.convert_to_tensor(array) for array in arrays))

    return run
