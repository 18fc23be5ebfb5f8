"""The forward seam: tensors and masks on their way through a model."""

from kooler.layers.gradients import reverse_gradient, scale_gradient, stop_gradient
from kooler.layers.orthogonal import Orthogonal
from kooler.layers.parametrization import Parametrization
from kooler.layers.reparametrize import merge, reparametrize
from kooler.layers.simple_parametrizations import LowRank, Positive, Scale, Symmetric, UnitNorm
from kooler.layers.spectral_norm import SpectralNorm
from kooler.layers.weight_norm import WeightNorm

__all__ = [
    "LowRank",
    "Orthogonal",
    "Parametrization",
    "Positive",
    "Scale",
    "SpectralNorm",
    "Symmetric",
    "UnitNorm",
    "WeightNorm",
    "merge",
    "reparametrize",
    "reverse_gradient",
    "scale_gradient",
    "stop_gradient",
]
