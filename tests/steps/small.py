"""A model small enough to be written out in NumPy, for the oracles of this room.

out = tanh(mean over t of E[ids_t] · W) · v,        weights E [5, 2], W [2, 3], v [3, 1]
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

RANDOM = np.random.default_rng(7)
IDS = RANDOM.integers(0, 5, size=(12, 3)).astype("int32")
Y = RANDOM.normal(size=(12, 1)).astype("float32")
LABELS = (Y > 0).astype("float32")
RATE = 0.5

Weights = list[np.ndarray]


def model(optimizer: Any = None, loss: Any = "mse", activation: Any = None) -> keras.Model:
    """The model, compiled for plain gradient descent unless told otherwise."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layers.Embedding(5, 2, name="words", embeddings_initializer="normal"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3, activation="tanh", use_bias=False, name="hidden"),
            layers.Dense(1, activation=activation, use_bias=False, name="out"),
        ]
    )
    net.compile(optimizer or keras.optimizers.SGD(RATE), loss=loss, metrics=["mae"])
    return net


def rich(optimizer: Any = None) -> keras.Model:
    """All that a step must carry: BatchNorm, dropout, a regularizer, metrics."""
    keras.utils.set_random_seed(6)
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            layers.Embedding(5, 4, name="words"),
            layers.Flatten(),
            layers.Dense(5, activation="tanh", kernel_regularizer="l2"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.3, seed=3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    net.compile(optimizer or keras.optimizers.SGD(RATE), "binary_crossentropy", metrics=["mae"])
    return net


@functools.cache
def trained_plainly() -> tuple[keras.Model, dict[str, float]]:
    """The rich model after one plain step, and the logs of that step."""
    net = rich()
    return net, net.train_on_batch(IDS, LABELS, return_dict=True)


def weights_of(net: keras.Model) -> Weights:
    """Copies of all weights, in float64."""
    return [np.array(weight, "float64") for weight in net.get_weights()]


def outputs(weights: Weights, ids: np.ndarray = IDS) -> np.ndarray:
    """What the model computes: [examples, 1]."""
    table, hidden, out = weights
    return np.tanh(table[ids].mean(axis=1) @ hidden) @ out


def squared_error(weights: Weights, ids: np.ndarray = IDS, y: np.ndarray = Y) -> float:
    """The loss of the model."""
    return float(np.mean((outputs(weights, ids) - y) ** 2))


def gradient(weights: Weights, ids: np.ndarray = IDS, y: np.ndarray = Y) -> Weights:
    """The gradient of the squared error, by hand."""
    table, hidden, out = weights
    mean = table[ids].mean(axis=1)
    h = np.tanh(mean @ hidden)
    d_out = 2 * (h @ out - y) / len(y)
    d_h = d_out @ out.T * (1 - h**2)
    d_table = np.zeros_like(table)
    np.add.at(d_table, ids, (d_h @ hidden.T)[:, None] / ids.shape[1])
    return [d_table, mean.T @ d_h, h.T @ d_out]


def numeric_gradient(function: Callable[[Weights], float], weights: Weights) -> Weights:
    """The gradient of any function of the weights, by central differences in float64."""
    gradients = []
    for index, weight in enumerate(weights):
        found = np.zeros_like(weight)
        for place in np.ndindex(weight.shape):
            ends = []
            for change in (1e-5, -1e-5):
                shifted = [w.copy() for w in weights]
                shifted[index][place] += change
                ends.append(function(shifted))
            found[place] = (ends[0] - ends[1]) / 2e-5
        gradients.append(found)
    return gradients


def norm(tensors: Weights) -> float:
    """The length of several arrays as one vector."""
    return float(np.sqrt(sum(np.sum(t**2) for t in tensors)))


def plus(weights: Weights, distances: Weights, factor: float = 1.0) -> Weights:
    """The point at factor · distances from the weights."""
    return [w + factor * d for w, d in zip(weights, distances, strict=True)]


def on_table(distance: np.ndarray, weights: Weights) -> Weights:
    """A distance on the embedding table alone, as one for all weights."""
    return [distance, *(np.zeros_like(weight) for weight in weights[1:])]


def check_step(net: keras.Model, expected: Callable[[Weights], Weights], y: Any = Y) -> None:
    """One step of gradient descent must go along the expected gradient."""
    before = weights_of(net)
    net.train_on_batch(IDS, y)
    after = plus(before, expected(before), -RATE)
    for ours, theirs in zip(weights_of(net), after, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def check_same(one: Sequence[Any], other: Sequence[Any]) -> None:
    """Two lists of variables must have the same values, bit for bit."""
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs)
        )


def check_same_as_keras(one: Sequence[Any], other: Sequence[Any]) -> None:
    """As `check_same`, for a model of ours and one of Keras's own step.

    On TensorFlow, Keras's step subtracts the rows of a table one by one; a step with techniques
    sums those that are equal first, and so rounds apart.
    """
    if keras.backend.backend() != "tensorflow":
        check_same(one, other)
        return
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=2e-7)
