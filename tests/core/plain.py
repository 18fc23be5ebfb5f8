"""Trains a plain model, and prints its weights and what it reported; kooler is not imported.

python -m tests.core.plain
"""

import json
import sys
from typing import Any

import keras
import numpy as np


def plain_model() -> keras.Model:
    """All that a step of Keras's own carries along."""
    keras.utils.set_random_seed(8)
    layers = [
        keras.layers.Dense(4, activation="tanh", kernel_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3, seed=3),
        keras.layers.Dense(1),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(keras.optimizers.Adam(0.1), loss="mse", metrics=["mae"])
    return model


def trained(model: keras.Model) -> list[Any]:
    """Weights and history, to the last bit."""
    x = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
    y = np.sum(x, axis=1, keepdims=True)
    history = model.fit(x, y, batch_size=4, epochs=2, validation_data=(x, y), verbose=0).history
    return [[weight.tolist() for weight in model.get_weights()], history]


if __name__ == "__main__":
    found = trained(plain_model())
    assert not any(name.split(".")[0] == "kooler" for name in sys.modules)
    print(json.dumps(found))
