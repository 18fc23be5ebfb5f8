"""The update seam: gradients go in, new weights come out."""

from kooler.optimizers.wrapper import OptimizerWrapper, inject

__all__ = ["OptimizerWrapper", "inject"]
