"""Random architectures attach, train, save, load and go on."""

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kooler.core.attach import attachment_of
from tests.toys import Identity, Trail, Window, serializable

X = np.random.default_rng(3).normal(size=(10, 4)).astype("float32")
Y = np.sum(X, axis=1, keepdims=True)
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
            x = block(x)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "blocks": self.blocks}


def build(kind: str, blocks: list[str], residual: bool) -> keras.Model:
    if kind == "subclassed":
        return Chain(blocks)
    layers = [BLOCKS[name]() for name in blocks]
    if kind == "sequential":
        return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1)])
    inputs = x = keras.Input((4,))
    for layer in layers:
        x = keras.layers.Add()([x, layer(x)]) if residual else layer(x)
    return keras.Model(inputs, keras.layers.Dense(1)(x))


@pytest.mark.slow
@settings(max_examples=20)
@given(
    kind=st.sampled_from(["sequential", "functional", "subclassed"]),
    blocks=st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=4),
    residual=st.booleans(),
    technique=st.booleans(),
)
def test_random_architectures(
    kind: str, blocks: list[str], residual: bool, technique: bool
) -> None:
    model = build(kind, blocks, residual)
    model.compile(Trail(Window(keras.optimizers.SGD(0.01), 2)), loss="mse")
    if technique:
        Identity().inject(model)
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    with tempfile.TemporaryDirectory() as directory:
        model.save(Path(directory) / "model.keras")
        loaded = keras.models.load_model(Path(directory) / "model.keras")
    for one in (model, loaded):
        one.fit(X, Y, batch_size=4, shuffle=False, verbose=0)

    assert [type(one) for one in attachment_of(loaded).wrappers] == [Trail, Window]
    for ours, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
