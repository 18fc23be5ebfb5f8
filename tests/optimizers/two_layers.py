"""A model of two named layers, and three batches to train it with."""

from typing import Any

import keras
import numpy as np

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(24, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")


def compiled(optimizer: Any) -> keras.Model:
    """The model, the same each time."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, name="first"), keras.layers.Dense(1, name="last")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer, loss="mse")
    return model


def fit(model: keras.Model) -> keras.Model:
    """The model after an epoch."""
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    return model
