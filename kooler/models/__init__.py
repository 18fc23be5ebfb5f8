"""The loss seam: what is minimised, and what is reported; and what goes on inside of a model."""

from kooler.models.attention_picture import plot_attention
from kooler.models.capture import Capture
from kooler.models.probe import tap
from kooler.models.tensor_names import names

__all__ = ["Capture", "names", "plot_attention", "tap"]
