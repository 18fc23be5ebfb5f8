"""Continues trainings that another process saved: all of them in one child process.

The parent saves, per row and step, a model in the middle of its training.  The child loads each,
trains to the end, and writes the final weights and optimizer state; the parent compares them with
the training that was never interrupted, bit for bit.

    python -m tests.optimizers.resume <directory>
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

import tests.toys  # noqa: F401  (the classes that the saved models name)

ROOT = Path(__file__).parents[2]
BATCH = 4
RANDOM = np.random.default_rng(9)
X = RANDOM.normal(size=(20, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")
STEPS = len(X) // BATCH


def small_model(optimizer: Any) -> keras.Model:
    """A model with BatchNorm, whose layers have the names that selectors in `cases.py` name.

    No dropout: Keras does not save the state of random numbers.
    """
    keras.utils.set_random_seed(11)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3, activation="tanh", name="v1"),
            keras.layers.BatchNormalization(name="v2"),
            keras.layers.Dense(1, name="v3"),
        ]
    )
    model.compile(optimizer, loss="mse")
    return model


def train(model: keras.Model, first: int, save: Callable[[int], None] | None = None) -> None:
    """The steps from `first` on, and what waits at the end."""
    import kooler

    for step in range(first, STEPS):
        if save is not None:
            save(step)
        rows = slice(step * BATCH, (step + 1) * BATCH)
        model.train_on_batch(X[rows], Y[rows])
    kooler.flush(model)


def snapshot(model: keras.Model) -> dict[str, np.ndarray]:
    """Everything that a training leaves."""
    variables = [*model.variables, *model.optimizer.variables]
    return {str(i): np.array(ops.convert_to_numpy(v)) for i, v in enumerate(variables)}


def train_and_save(name: str, optimizer: Any, directory: Path) -> dict[str, np.ndarray]:
    """Trains without interruption, saving before every step but the first."""
    model = small_model(optimizer)

    def save(step: int) -> None:
        if step > 0:
            model.save(directory / f"{name} @{step}.keras")

    train(model, 0, save)
    return snapshot(model)


def continue_in_child(directory: Path) -> dict[tuple[str, int], dict[str, np.ndarray]]:
    """What the child made of each saved model, by name and step."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.optimizers.resume", str(directory)]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    results = {}
    for path in sorted(directory.glob("*.npz")):
        name, step = path.stem.split(" @")
        results[name, int(step)] = dict(np.load(path))
    return results


def main(directory: str) -> None:
    """The child."""
    for path in sorted(Path(directory).glob("*.keras")):
        model = keras.models.load_model(path)
        train(model, int(path.stem.split(" @")[1]))
        np.savez(path.with_suffix(".npz"), **snapshot(model))


if __name__ == "__main__":
    main(sys.argv[1])
