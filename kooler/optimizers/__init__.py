"""The update seam: gradients go in, new weights come out."""

from kooler.optimizers.inject import inject
from kooler.optimizers.wrapper import OptimizerWrapper

__all__ = ["OptimizerWrapper", "inject"]
