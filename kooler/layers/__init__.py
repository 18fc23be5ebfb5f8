"""The forward seam: tensors and masks on their way through a model."""

from kooler.layers.gradients import reverse_gradient, scale_gradient, stop_gradient

__all__ = ["reverse_gradient", "scale_gradient", "stop_gradient"]
