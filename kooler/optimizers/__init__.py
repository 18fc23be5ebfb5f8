"""The update seam: gradients go in, new weights come out."""

from kooler.optimizers import transforms
from kooler.optimizers.gradient_transform import GradientTransform
from kooler.optimizers.inject import inject
from kooler.optimizers.layer_decay import layer_decay
from kooler.optimizers.learning_rate_multiplier import LearningRateMultiplier
from kooler.optimizers.wrapper import OptimizerWrapper

__all__ = [
    "GradientTransform",
    "LearningRateMultiplier",
    "OptimizerWrapper",
    "inject",
    "layer_decay",
    "transforms",
]
