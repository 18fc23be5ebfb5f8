"""The loop seam after a step: what is shown, measured and kept between steps."""

from kooler.callbacks.averaged_weights import AveragedWeights, averaged_weights
from kooler.callbacks.batch_statistics import update_batch_statistics

__all__ = ["AveragedWeights", "averaged_weights", "update_batch_statistics"]
