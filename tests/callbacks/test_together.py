"""All callbacks in pairs: each still does what it does alone, and nobody changes the training.

table   what a callback leaves behind: a score, a file, a line, a rate
"""

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kooler.callbacks import (
    AveragedWeights,
    Checkpoint,
    Evaluate,
    HyperParameter,
    Progress,
    SampleImages,
)
from kooler.data import Stream
from kooler.optimizers import EMA, Accumulate, WeightAverage
from kooler.optimizers.group import innermost

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = X[:, :1]
NAMES = ("averages", "evaluate", "rate", "checkpoint", "progress", "pictures")


def made(name: str, path: Path, lines: io.StringIO) -> Any:
    if name == "averages":
        return AveragedWeights()
    if name == "evaluate":
        return Evaluate(
            lambda model: model.evaluate(X, Y, verbose=0),
            monitor="own",
            every=1,
            restore_best=False,
        )
    if name == "rate":
        return HyperParameter("learning_rate", {0: 0.1})
    if name == "checkpoint":
        return Checkpoint(path, every=1)
    if name == "progress":
        return Progress(log_every=0.0, stream=lines)
    layers = [keras.layers.Dense(4, activation="tanh"), keras.layers.Reshape((2, 2, 1))]
    return SampleImages(keras.Sequential([keras.Input((2,)), *layers]), path, grid=(1, 1))


def left_behind(name: str, path: Path, lines: io.StringIO, model: Any, logs: Any) -> Any:
    """What shows that a callback did its work, as something that can be compared."""
    if name == "averages":
        return [logs[key] for key in sorted(logs) if key.startswith("val_")]
    if name == "evaluate":
        return logs["own"]
    if name == "rate":
        return float(innermost(model.optimizer).learning_rate)
    if name == "checkpoint":
        return sorted(file.name for file in path.glob("*.npz"))
    if name == "progress":
        return lines.getvalue().count("\n")
    return sorted(file.name for file in path.glob("*.png"))


def trained(names: Sequence[str], path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The weights, and what each of the callbacks left behind."""
    keras.utils.set_random_seed(2)
    lines = io.StringIO()
    layers = [keras.layers.Dropout(0.2), keras.layers.Dense(1)]  # it draws random numbers too
    model = keras.Sequential([keras.Input((3,)), *layers])
    rate = 9.0 if "rate" in names else 0.1  # which the callback puts right
    model.compile(Accumulate(WeightAverage(keras.optimizers.SGD(rate), EMA(0.5)), 2), "mse")
    callbacks = [made(name, path, lines) for name in names]
    history = model.fit(
        Stream((X, Y), batch_size=3),
        epochs=2,
        verbose=0,
        validation_data=(X, Y),
        callbacks=callbacks,
    ).history
    logs = {name: values[-1] for name, values in history.items()}
    left = {name: left_behind(name, path, lines, model, logs) for name in names}
    return list(model.get_weights()), left


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By name the weights after a training with this callback only, and what it left."""
    return {name: trained([name], tmp_path_factory.mktemp(name)) for name in NAMES}


PAIRS = [*itertools.combinations(NAMES, 2)]
REVERSED = [pytest.param(b, a, marks=pytest.mark.compiles) for a, b in PAIRS]


@pytest.mark.parametrize(("one", "other"), [*PAIRS, *REVERSED])
def test_a_pair(one: str, other: str, alone: dict[str, Any], tmp_path: Path) -> None:
    weights, left = trained([one, other], tmp_path)

    assert all((a == b).all() for a, b in zip(weights, alone["progress"][0], strict=True))
    assert left == {name: alone[name][1][name] for name in (one, other)}
