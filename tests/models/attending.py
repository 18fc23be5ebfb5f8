"""A small model with everything in it that is hard to reach."""

from typing import Any

import keras
import numpy as np
from keras import ops

from kooler.models import tap

WIDTH = 4
LENGTH = 3


class Attend(keras.layers.Layer):
    """Self-attention with a local variable, a tap, `super()` and a name with two underscores."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.query = keras.layers.Dense(WIDTH, name="query")
        self.key = keras.layers.Dense(WIDTH, name="key")
        self.__scale = 0.5

    def build(self, shape: Any) -> None:
        self.query.build(shape)
        self.key.build(shape)

    def call(self, x: Any) -> Any:
        assert super().call is not None
        scores = ops.matmul(self.query(x), ops.swapaxes(self.key(x), -1, -2)) * self.__scale
        weights = tap(ops.softmax(scores), "probabilities")
        return ops.matmul(weights, x)


class Block(keras.layers.Layer):
    """A layer in a layer."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.attend = Attend(name="attend")

    def build(self, shape: Any) -> None:
        self.attend.build(shape)

    def call(self, x: Any) -> Any:
        return x + self.attend(x)


class Doubled(keras.layers.Layer):
    """Times two."""

    def call(self, x: Any) -> Any:
        return 2.0 * x


def attending_model(**arguments: Any) -> keras.Model:
    """Two blocks, one of them in a model of its own, and a head; [LENGTH, WIDTH] → [1]."""
    inputs = keras.Input((LENGTH, WIDTH))
    inner = keras.Sequential([keras.Input((LENGTH, WIDTH)), Block(name="second")], name="inner")
    x = Doubled(name="doubled")(inner(Block(name="first")(inputs)))
    outputs = keras.layers.Dense(1, name="head")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, outputs, **arguments)
    for number, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape) * 0.5)
    return model


def examples(count: int = 5) -> np.ndarray:
    """Inputs of the model."""
    return np.random.default_rng(99).normal(size=(count, LENGTH, WIDTH)).astype("float32")


class ByHand:
    """The same in float64 with NumPy: every tensor by its name."""

    def __init__(self, model: keras.Model, x: np.ndarray, scores: Any = None) -> None:
        self.weights = {
            w.path: np.asarray(ops.convert_to_numpy(w), "float64") for w in model.weights
        }
        self.values: dict[str, np.ndarray] = {}
        h = self._block("first", x.astype("float64"), None)
        h = self._block("inner/second", h, scores) * 2.0
        self.values["doubled"] = h
        self.values["flat"] = h.reshape(len(x), -1)
        self.values["output"] = self.values["head"] = self._dense("head", self.values["flat"])

    def _dense(self, path: str, x: np.ndarray) -> np.ndarray:
        kernel, bias = (
            next(v for p, v in self.weights.items() if f"/{p}".endswith(f"/{path}/{name}"))
            for name in ("kernel", "bias")
        )
        self.values[path] = x @ kernel + bias
        return self.values[path]

    def _block(self, path: str, x: np.ndarray, scores: Any) -> np.ndarray:
        own = path.split("/")[-1]
        query, key = (self._dense(f"{own}/attend/{name}", x) for name in ("query", "key"))
        computed = query @ key.swapaxes(-1, -2) * 0.5
        self.values[f"{path}/attend.scores"] = computed if scores is None else scores(computed)
        weights = np.exp(self.values[f"{path}/attend.scores"])
        weights /= weights.sum(-1, keepdims=True)
        self.values[f"{path}/attend.weights"] = weights
        self.values[f"{path}/attend"] = weights @ x
        self.values[path] = x + self.values[f"{path}/attend"]
        return self.values[path]
