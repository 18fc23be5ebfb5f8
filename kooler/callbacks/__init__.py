"""The loop seam after a step: what is shown, measured and kept between steps."""

from kooler.callbacks.averaged_weights import AveragedWeights, averaged_weights
from kooler.callbacks.batch_statistics import update_batch_statistics
from kooler.callbacks.sample_images import SampleImages

__all__ = ["AveragedWeights", "SampleImages", "averaged_weights", "update_batch_statistics"]
