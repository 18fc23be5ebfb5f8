"""The power-function average: its length grows with the training, and is chosen by its width.

The average after update T weighs the weights of update τ ≤ T by a power of τ,

    a_γ(T) = ∫₀ᵀ p(τ) θ(τ) dτ,      p(τ) = (γ + 1)·τ^γ / T^(γ+1),

so it never remembers the beginning (p(0) = 0 for γ > 0), and its width is always the same share of
the training so far.  That share, the standard deviation of p over T, is what one chooses:

    σ_rel = √( (γ + 1) / ((γ + 2)²·(γ + 3)) ).

Turned round, γ is the root above −1 of γ³ + 7γ² + (16 − σ⁻²)·γ + (12 − σ⁻²).  With δ updates
between two looks at the weights, the recursion that gives this profile is

    a ← a + (1 − (1 − δ/t)^(γ+1))·(θ − a)      at t = δ, 2δ, …

Leaving δ out, as one may who copies the formula for δ = 1, gives another profile for every other δ.

Karras et al. 2023, "Analyzing and Improving the Training Dynamics of Diffusion Models", section 3,
https://arxiv.org/abs/2312.02696.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.core.types import Tensor
from kooler.optimizers.averages import Average, is_multiple, is_number, positive_integer

WIDEST = 1 / math.sqrt(12)  # γ = 0: the plain mean of all weights


@keras.saving.register_keras_serializable("kooler")
class PowerEMA(Average):
    """A power-function average.

    From snapshots of two such averages, `synthesize` makes that of any other width afterwards.

    Args:
        sigma_rel: The width of the average as a share of the training, above 0 and below 0.288;
            0.05 and 0.10 are usual.
        every: Updates between two looks at the weights; the profile is the same for each.

    Example:
        >>> WeightAverage("adam", {"narrow": PowerEMA(0.05), "wide": PowerEMA(0.10)})
    """

    def __init__(self, sigma_rel: float, *, every: int = 1) -> None:
        self.sigma_rel = sigma_rel
        self.every = positive_integer("every", every)
        self.gamma = gamma_of(sigma_rel)

    def rate(self, update: Tensor) -> Tensor:
        """1 − (1 − every/t)^(γ+1) at every `every`-th update; before the first, 1."""
        share = self.every / ops.cast(ops.maximum(update, self.every), "float32")
        rate = -ops.expm1((self.gamma + 1) * ops.log1p(-share))
        rate = ops.where(is_multiple(update, self.every), rate, 0.0)
        return ops.where(update <= self.every, 1.0, rate)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"sigma_rel": self.sigma_rel, "every": self.every}


def gamma_of(sigma_rel: float) -> float:
    """The exponent γ of a width.

    Args:
        sigma_rel: The width, above 0 and below 1/√12.

    Raises:
        ValueError: There is no such average.
    """
    if not is_number(sigma_rel) or not 0 < sigma_rel < WIDEST:
        raise ValueError(
            "`sigma_rel` must be a number above 0 and below 0.288, which is the plain mean, "
            f"received sigma_rel={sigma_rel!r}. Usual are 0.05 to 0.15."
        )
    inverse = float(sigma_rel) ** -2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(roots.real.max())


def sigma_of(gamma: float) -> float:
    """The width of the average with exponent γ."""
    return math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3)))
