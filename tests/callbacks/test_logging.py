"""Keras's own callbacks write what kooler reports: into a table, and for TensorBoard."""

import csv
from pathlib import Path

import keras
import numpy as np
import pytest

from kooler.models import log
from kooler.optimizers import Telemetry


class Hidden(keras.layers.Dense):
    def call(self, x):
        hidden = super().call(x)
        log("hidden_size", keras.ops.mean(keras.ops.abs(hidden)))
        return hidden


def fitted(callback: keras.callbacks.Callback) -> dict[str, list[float]]:
    model = keras.Sequential([keras.Input((3,)), Hidden(4), keras.layers.Dense(1)])
    model.compile(Telemetry("adam", ["gradient_norm"]), loss="mse")
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    history = model.fit(x, x[:, :1], epochs=2, batch_size=8, callbacks=[callback], verbose=0)
    return history.history


@pytest.mark.slow
def test_the_numbers_are_in_tensorboards_files(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    history = fitted(keras.callbacks.TensorBoard(tmp_path, write_graph=False))

    (file,) = (tmp_path / "train").glob("events*")
    values = [v for event in EventFileLoader(str(file)).Load() for v in event.summary.value]
    for name in ("gradient_norm", "hidden_size", "loss"):
        found = [make_ndarray(v.tensor) for v in values if v.tag == f"epoch_{name}"]
        np.testing.assert_allclose(found, history[name], rtol=1e-6)


def test_the_numbers_are_in_a_table(tmp_path: Path) -> None:
    history = fitted(keras.callbacks.CSVLogger(tmp_path / "log.csv"))

    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("gradient_norm", "hidden_size", "loss"):
        assert [float(row[name]) for row in rows] == pytest.approx(history[name])
