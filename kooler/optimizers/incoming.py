"""The gradients that arrive at a wrapper: which of them it is to see.

Not those that are missing, and not those that are no gradients: Keras's float8 layers pass the new
value of some variables off as their gradient (`overwrite_with_gradient`).
"""

import warnings
from collections.abc import Sequence
from typing import Any

from keras import ops

from kooler.core import conditional
from kooler.core.batch import Batch
from kooler.core.types import Tensor


def given(
    gradients: Sequence[Any], variables: Sequence[Any], batch: Batch | None, zeros: bool = False
) -> tuple[list[Tensor], list[Any]]:
    """The pairs that have a gradient; those without are told, unless it was taken by rows.

    Args:
        gradients: One per variable, or None. variables: The variables.
        batch: Knows which gradients were taken by rows.
        zeros: Whether a missing gradient becomes zeros, as JAX has them, and the pair stays.
    """
    by_rows = batch.rows if batch is not None else {}
    pairs = list(zip(gradients, variables, strict=True))
    missing = [v.path for g, v in pairs if g is None and id(v) not in by_rows]
    kept = [(g, v) for g, v in pairs if g is not None]
    if not kept and not by_rows:
        raise ValueError(
            f"No gradient was given for any of the variables {missing}. "
            "Check that the loss depends on the model's outputs."
        )
    if missing:
        so = "it is taken to be zero" if zeros else "they are not trained"
        warnings.warn(
            f"No gradient was given for the variables {missing}, so {so}. "
            "Set `trainable = False` if that is meant.",
            stacklevel=4,
        )
    if zeros:
        pairs = [(ops.zeros(v.shape, v.dtype) if g is None else g, v) for g, v in pairs]
        kept = [(g, v) for g, v in pairs if id(v) not in by_rows]
    return [g for g, _ in kept], [v for _, v in kept]


def trained(variables: Sequence[Any]) -> list[Any]:
    """Those variables whose gradients are gradients."""
    return [v for v in variables if not getattr(v, "overwrite_with_gradient", False)]


def without_overwrites(
    gradients: list[Tensor], variables: list[Any]
) -> tuple[list[Tensor], list[Any]]:
    """Writes the gradients that are new values (Keras's float8 scales) at once."""
    kept = []
    for gradient, variable in zip(gradients, variables, strict=True):
        if getattr(variable, "overwrite_with_gradient", False):
            conditional.assign(variable, gradient)
        else:
            kept.append((gradient, variable))
    return [g for g, _ in kept], [v for _, v in kept]
