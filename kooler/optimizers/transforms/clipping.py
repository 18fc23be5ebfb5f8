"""Clipping: gradients that are too large become smaller, the others stay as they are, bit for bit.

    by value            gᵢ ← min(max(gᵢ, −c), c)
    by norm             g ← g · c / max(‖g‖₂, c)                    each gradient alone
    by L1 norm          g ← g · c / max(‖g‖₁, c)                    each gradient alone
    by global norm      the norm of all gradients together (Pascanu et al. 2012,
                        https://arxiv.org/abs/1211.5063)
    adaptively          per output unit, against the norm of its weights (Brock et al. 2021,
                        https://arxiv.org/abs/2102.06171):  with n = max(‖w‖, 10⁻³),
                        g ← g · ρn / max(‖g‖, ρn)

Norms are taken in float32 at least.  A gradient that is not finite stays so: put `skip_nonfinite`
or `zero_nans` before.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.optimizers.transforms.transform import Transform, each, positive
from kooler.optimizers.transforms.units import Axes, PerUnit

SMALLEST_WEIGHT_NORM = 1e-3


def clip_by_value(value: float) -> Transform:
    """Clips every entry of every gradient to −value … value."""
    value = positive("value", value)
    return Transform("clip_by_value", {"value": value}, each(lambda g: ops.clip(g, -value, value)))


def clip_by_norm(norm: float) -> Transform:
    """Scales each gradient whose Euclidean norm exceeds `norm` down to it."""
    norm = positive("norm", norm)
    return Transform(
        "clip_by_norm",
        {"norm": norm},
        each(lambda g: _scaled(g, norm, ops.sqrt(ops.sum(_squares(g))))),
    )


def clip_by_l1_norm(norm: float) -> Transform:
    """Scales each gradient whose sum of absolute values exceeds `norm` down to it."""
    norm = positive("norm", norm)
    return Transform(
        "clip_by_l1_norm",
        {"norm": norm},
        each(lambda g: _scaled(g, norm, ops.sum(ops.abs(_precise(g))))),
    )


def clip_by_global_norm(norm: float) -> Transform:
    """Scales all gradients by one factor, so that their common norm is at most `norm`."""
    norm = positive("norm", norm)

    def clip(gradients: Sequence[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        if not gradients:
            return []
        total = ops.sqrt(ops.sum(ops.stack([ops.sum(_squares(g)) for g in gradients])))
        return [_scaled(gradient, norm, total) for gradient in gradients]

    return Transform("clip_by_global_norm", {"norm": norm}, clip)


def adaptive_clip(ratio: float = 0.01) -> Transform:
    """Keeps the gradient of each output unit below `ratio` times the norm of its weights."""
    ratio = positive("ratio", ratio)

    def clip(gradient: Tensor, variable: Any, axes: Axes) -> Tensor:
        along = axes or None  # what has no units, such as a bias, is one unit
        weight_norm = ops.sqrt(ops.sum(_squares(variable), along, keepdims=True))
        gradient_norm = ops.sqrt(ops.sum(_squares(gradient), along, keepdims=True))
        limit = ratio * ops.maximum(weight_norm, SMALLEST_WEIGHT_NORM)
        return _scaled(gradient, limit, gradient_norm)

    return PerUnit("adaptive_clip", {"ratio": ratio}, clip)


def _scaled(gradient: Tensor, limit: Any, norm: Tensor) -> Tensor:
    factor = limit / ops.maximum(norm, limit)  # exactly 1 below the limit
    return gradient * ops.cast(factor, gradient.dtype)


def _squares(tensor: Any) -> Tensor:
    return ops.square(_precise(tensor))


def _precise(tensor: Any) -> Tensor:
    wide = keras.backend.standardize_dtype(tensor.dtype) == "float64"
    return ops.convert_to_tensor(tensor) if wide else ops.cast(tensor, "float32")
