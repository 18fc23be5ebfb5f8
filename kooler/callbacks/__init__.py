"""The loop seam after a step: what is shown, measured and kept between steps."""

from kooler.callbacks.averaged_weights import AveragedWeights, averaged_weights
from kooler.callbacks.batch_statistics import update_batch_statistics
from kooler.callbacks.checkpoint import Checkpoint
from kooler.callbacks.evaluate import Evaluate
from kooler.callbacks.hyper_parameter import HyperParameter
from kooler.callbacks.progress import Progress
from kooler.callbacks.sample_images import SampleImages

__all__ = [
    "AveragedWeights",
    "Checkpoint",
    "Evaluate",
    "HyperParameter",
    "Progress",
    "SampleImages",
    "averaged_weights",
    "update_batch_statistics",
]
