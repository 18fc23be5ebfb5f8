"""Random models for property tests: a chain of blocks, made in three ways."""

from typing import Any

import keras
from hypothesis import strategies as st

from tests.toys import serializable

BLOCKS = {
    "dense": lambda: keras.layers.Dense(4, activation="tanh"),
    "regularized": lambda: keras.layers.Dense(4, kernel_regularizer="l2"),
    "norm": keras.layers.BatchNormalization,
    "layer norm": keras.layers.LayerNormalization,
    "nested": lambda: keras.Sequential([keras.layers.Dense(4), keras.layers.ReLU()]),
    "activity": lambda: keras.layers.ActivityRegularization(0.01),
    "constrained": lambda: keras.layers.Dense(4, kernel_constraint="unit_norm"),
    "convolution": lambda: keras.Sequential(
        [
            keras.layers.Reshape((4, 1)),
            keras.layers.Conv1D(2, 3, padding="same"),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    ),
}


@serializable
class Chain(keras.Model):
    """A subclassed model made of named blocks."""

    def __init__(self, blocks: list[str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.blocks = list(blocks)
        self.chain = [BLOCKS[name]() for name in blocks]
        self.head = keras.layers.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        for block in self.chain:
            # On JAX no call surrounds this one in `fit`, so a norm must be told that it trains.
            knows = isinstance(block, keras.layers.BatchNormalization | keras.Sequential)
            x = block(x, training=training) if knows else block(x)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "blocks": self.blocks}


def build(kind: str, blocks: list[str], residual: bool) -> keras.Model:
    """A model from 4 numbers to one; `residual` adds the input of each block, if functional."""
    if kind == "subclassed":
        return Chain(blocks)
    layers = [BLOCKS[name]() for name in blocks]
    if kind == "sequential":
        return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    inputs = x = keras.Input((4,))
    for layer in layers:
        x = keras.layers.Add()([x, layer(x)]) if residual else layer(x)
    return keras.Model(inputs, keras.layers.Dense(1)(x))


ARCHITECTURES = {
    "kind": st.sampled_from(["sequential", "functional", "subclassed"]),
    "blocks": st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=4),
    "residual": st.booleans(),
}
"""What `build` takes."""
