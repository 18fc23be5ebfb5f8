"""The loss seam: what is minimised, and what is reported; and what goes on inside of a model."""

from kooler.models.attention_picture import plot_attention
from kooler.models.capture import Capture
from kooler.models.frozen import Frozen
from kooler.models.gan import GAN
from kooler.models.gradient_penalties import (
    DivergencePenalty,
    InputPenalty,
    LipschitzPenalty,
    R1Penalty,
)
from kooler.models.input_gradient import input_gradient
from kooler.models.logged_values import log
from kooler.models.loss_model import LossModel
from kooler.models.record import tap
from kooler.models.tensor_names import names

__all__ = [
    "GAN",
    "Capture",
    "DivergencePenalty",
    "Frozen",
    "InputPenalty",
    "LipschitzPenalty",
    "LossModel",
    "R1Penalty",
    "input_gradient",
    "log",
    "names",
    "plot_attention",
    "tap",
]
