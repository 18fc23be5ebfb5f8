"""A Seq2Seq small enough to enumerate, with random weights large enough to disagree."""

from typing import Any

import numpy as np

from kooler.seq2seq import Seq2Seq, SynchronousBidirectional
from kooler.seq2seq.recurrent import RecurrentSeq2Seq

SETTINGS = {"width": 16, "heads": 2, "feedforward": 24, "dropout": 0.0, "max_length": 6}


def small_model(
    vocabulary: int = 9, *, layers: int = 3, seed: int = 0, **arguments: Any
) -> Seq2Seq:
    """An untrained model of width 16 whose weights are drawn by NumPy: equal on every backend."""
    return _drawn(Seq2Seq(vocabulary, layers=layers, **(SETTINGS | arguments)), seed)


def small_pair(
    vocabulary: int = 9, *, layers: int = 3, seed: int = 0, **arguments: Any
) -> SynchronousBidirectional:
    """The same with two streams; without a gate its weights are those of `small_model`."""
    settings = SETTINGS | {"fusion_weight": 0.7} | arguments
    return _drawn(SynchronousBidirectional(vocabulary, layers=layers, **settings), seed)


def small_recurrent(
    vocabulary: int = 9, *, layers: int = 2, seed: int = 0, **arguments: Any
) -> RecurrentSeq2Seq:
    """The same with LSTMs."""
    settings = {name: value for name, value in SETTINGS.items() if name != "feedforward"}
    model = Seq2Seq(vocabulary, architecture="recurrent", layers=layers, **(settings | arguments))
    return _drawn(model, seed)


def _drawn(model: Any, seed: int) -> Any:
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        centre = 1.0 if variable.path.endswith("gamma") else 0.0
        scale = 0.6 if "embeddings" in variable.path else 0.35
        variable.assign(centre + scale * generator.standard_normal(variable.shape))
    return model
