"""A gradient by the backend, and the same by finite differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kooler.core.differentiate import differentiate


def array(tensor: Any) -> Any:
    """A tensor in NumPy, whatever hangs on it."""
    return np.asarray(ops.convert_to_numpy(tensor))


def gradient(function: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of Σ function(x) · weights, with fixed unequal weights."""

    def weighted(tensors: Any) -> Any:
        y = function(tensors[0])
        return ops.sum(y * ops.convert_to_tensor(_weights(y.shape))), None

    return array(differentiate(weighted, [ops.convert_to_tensor(x)])[1][0])


def differences(function: Callable[[Any], Any], x: Any, step: float = 1e-2) -> Any:
    """The same by central differences."""

    def value(at: Any) -> float:
        y = array(function(ops.convert_to_tensor(at)))
        return float(np.sum(y.astype("float64") * _weights(y.shape)))

    slopes = np.zeros(x.size)
    for i in range(x.size):
        shift = np.zeros(x.size)
        shift[i] = step
        shift = shift.reshape(x.shape)
        up, down = ((x + sign * shift).astype(x.dtype) for sign in (1, -1))
        slopes[i] = (value(up) - value(down)) / (2 * step)
    return slopes.reshape(x.shape)


def _weights(shape: Any) -> Any:
    return np.cos(np.arange(np.prod(tuple(shape)))).reshape(tuple(shape)).astype("float32")
