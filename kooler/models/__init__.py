"""The loss seam: what is minimised, and what is reported; and what goes on inside of a model."""

from kooler.models.attention_picture import plot_attention
from kooler.models.capture import Capture
from kooler.models.logged_values import log
from kooler.models.loss_model import LossModel
from kooler.models.probe import tap
from kooler.models.tensor_names import names

__all__ = ["Capture", "LossModel", "log", "names", "plot_attention", "tap"]
