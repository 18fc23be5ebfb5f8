"""All callbacks in pairs: each still does what it does alone, and nobody changes the training."""

import io
import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kooler.callbacks import AveragedWeights, Checkpoint, Evaluate, HyperParameter, Progress
from kooler.optimizers import EMA, Accumulate, WeightAverage

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X[:, :1]
CALLBACKS = {
    "averages": lambda path: AveragedWeights(),
    "evaluate": lambda path: Evaluate(
        lambda model: model.evaluate(X, Y, verbose=0), monitor="own", every=1, restore_best=False
    ),
    "rate": lambda path: HyperParameter("learning_rate", {0: 0.1}),
    "checkpoint": lambda path: Checkpoint(path, every=1),
    "progress": lambda path: Progress(log_every=0.0, stream=io.StringIO()),
}


def weights_after(callbacks: list[Any]) -> list[np.ndarray]:
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(Accumulate(WeightAverage(keras.optimizers.SGD(0.1), EMA(0.5)), 2), "mse")
    model.fit(
        X, Y, batch_size=3, verbose=0, shuffle=False, validation_data=(X, Y), callbacks=callbacks
    )
    return list(model.get_weights())


@pytest.fixture(scope="module")
def alone() -> list[np.ndarray]:
    return weights_after([])


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(CALLBACKS, 2)])
def test_a_pair(one: str, other: str, alone: list[np.ndarray], tmp_path: Path) -> None:
    found = weights_after([CALLBACKS[one](tmp_path), CALLBACKS[other](tmp_path)])

    assert all((a == b).all() for a, b in zip(found, alone, strict=True))
