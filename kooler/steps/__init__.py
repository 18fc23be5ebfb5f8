"""The step seam: how often, and on what, the loss is evaluated in one training step."""

from kooler.steps.fast_gradient import FastGradient
from kooler.steps.gradient_penalty import GradientPenalty
from kooler.steps.heun import Heun
from kooler.steps.microbatch import Microbatch
from kooler.steps.projected_gradient import ProjectedGradient
from kooler.steps.sharpness_aware import SharpnessAware
from kooler.steps.virtual_adversarial import VirtualAdversarial

__all__ = [
    "FastGradient",
    "GradientPenalty",
    "Heun",
    "Microbatch",
    "ProjectedGradient",
    "SharpnessAware",
    "VirtualAdversarial",
]
