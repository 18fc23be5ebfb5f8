"""Gradient transforms: each makes a function of `(gradients, variables)` that gives gradients."""

from kooler.optimizers.transforms.centralization import centralize
from kooler.optimizers.transforms.clipping import (
    adaptive_clip,
    clip_by_global_norm,
    clip_by_l1_norm,
    clip_by_norm,
    clip_by_value,
)
from kooler.optimizers.transforms.noise import add_noise
from kooler.optimizers.transforms.nonfinite import skip_nonfinite, zero_nans
from kooler.optimizers.transforms.selection import only

__all__ = [
    "adaptive_clip",
    "add_noise",
    "centralize",
    "clip_by_global_norm",
    "clip_by_l1_norm",
    "clip_by_norm",
    "clip_by_value",
    "only",
    "skip_nonfinite",
    "zero_nans",
]
