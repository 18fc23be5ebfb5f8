"""From settings to a compiled model: one function for the network, one for its optimizer."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import keras

from kooler.optimizers import EMA, WeightAverage
from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.schedule import WarmupSchedule
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.synchronous import SynchronousBidirectional

# the settings that are arguments of the network under the same name
NETWORK = (
    *("size", "layers", "width", "heads", "feedforward", "norm"),
    *("dropout", "label_smoothing", "copy_prior", "pointer", "neighbours", "r_drop"),
    "input_replacement",
)
ONE_STREAM = ("orders", "order_sampling")
RECURRENT = (*ONE_STREAM, "architecture", "leaky")
TWO_STREAMS = ("fusion", "fusion_weight", "leaky", "loss_on")


def build_model(settings: Settings, vocabulary_size: int) -> Seq2Seq:
    """Builds the network of some settings.

    The first weights, and the seeds of dropout, depend on `settings.seed` and on nothing else.

    Args:
        settings: How to build it.
        vocabulary_size: Number of token ids of sources and targets, the reserved ones included.
    """
    with _precision(settings.precision), _seeded(settings.seed):
        if settings.architecture == "synchronous":
            return SynchronousBidirectional(vocabulary_size, **_settings_of(settings, TWO_STREAMS))
        names = RECURRENT if settings.architecture == "recurrent" else ONE_STREAM
        return Seq2Seq(vocabulary_size, **_settings_of(settings, names))


def _settings_of(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    chosen = {name: getattr(settings, name) for name in (*NETWORK, *names)}
    return {**chosen, "max_length": settings.target_length}


def build_optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """Builds the optimizer of some settings: AdamW, which without weight decay is Adam.

    Beside it, a synchronous model has an average of its weights, which writes its other streams.
    """
    optimizer = keras.optimizers.AdamW(
        WarmupSchedule(
            settings.learning_rate, settings.warmup, settings.schedule, settings.updates
        ),
        weight_decay=settings.weight_decay,
        beta_1=settings.beta1,
        beta_2=settings.beta2,
        epsilon=1e-8,
        global_clipnorm=settings.clipnorm or None,
    )
    if settings.architecture == "synchronous" and not settings.leaky:
        return WeightAverage(optimizer, EMA(0.999, warmup=True))
    return optimizer


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Layers that are made inside compute in this precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Keras draws the seeds that it is not given from Python's generator, which others use too."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
