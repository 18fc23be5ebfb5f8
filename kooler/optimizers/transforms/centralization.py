"""Gradient centralisation: the gradient of each output unit loses its mean.

For a unit with the weights w₁ … wₙ, the mean of their gradients is taken off each:

    gᵢ ← gᵢ − (g₁ + … + gₙ)/n,

so the sum of the weights of a unit stays what it is (Yong et al. 2020,
https://arxiv.org/abs/2004.01461).  Biases, scales and embeddings are left alone: they have no sum.
"""

from typing import Any

from keras import ops

from kooler.core.types import Tensor
from kooler.optimizers.transforms.transform import Transform
from kooler.optimizers.transforms.units import EMBEDDINGS, Axes, PerUnit


def centralize() -> Transform:
    """Takes the mean off the gradient of each output unit."""
    return PerUnit("centralize", {}, _centered)


def _centered(gradient: Tensor, variable: Any, axes: Axes) -> Tensor:
    if not axes or getattr(variable, "name", "") == EMBEDDINGS:
        return gradient
    return gradient - ops.mean(gradient, axes, keepdims=True)
