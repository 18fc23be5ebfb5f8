"""Conditional layer normalisation: its equation, and plain normalisation to begin with."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from kooler.core import compat
from kooler.layers import ConditionalLayerNormalization
from tests.layers.gradients import array, differences, gradient

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4, 5)).astype("float32")
CONDITION = RNG.normal(size=(3, 2)).astype("float32")


def randomised(hidden_dim: Any) -> Any:
    layer = ConditionalLayerNormalization(hidden_dim, hidden_activation="tanh")
    layer(X, CONDITION)
    layer.set_weights([RNG.normal(size=w.shape) for w in layer.weights])
    return layer


@pytest.mark.parametrize("hidden_dim", [None, 3])
def test_as_the_equation(hidden_dim: Any) -> None:
    layer = randomised(hidden_dim)
    found = array(layer(X, CONDITION))

    x, c = X.astype("float64"), CONDITION.astype("float64")[:, None]
    if hidden_dim:
        c = np.tanh(c @ array(layer.hidden.kernel))
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    scale = c @ array(layer.scale.kernel) + array(layer.scale.bias)
    shift = c @ array(layer.shift.kernel) + array(layer.shift.bias)
    np.testing.assert_allclose(found, normal * scale + shift, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hidden_dim", [None, 3])
def test_it_begins_as_plain_layer_normalisation(hidden_dim: Any) -> None:
    found = array(ConditionalLayerNormalization(hidden_dim)(X, CONDITION))

    np.testing.assert_allclose(found, array(layers.LayerNormalization()(X)), rtol=1e-6, atol=1e-6)


def test_before_training_no_condition_makes_a_difference_of_a_single_bit() -> None:
    layer = ConditionalLayerNormalization(3)

    np.testing.assert_array_equal(array(layer(X, CONDITION)), array(layer(X, -9 * CONDITION)))


def test_a_condition_for_each_step() -> None:
    layer = randomised(None)
    steps = np.repeat(CONDITION[:, None], 4, axis=1)

    np.testing.assert_allclose(
        array(layer(X, steps)), array(layer(X, CONDITION)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.compiles
def test_the_gradient_by_finite_differences() -> None:
    layer = randomised(3)

    for function, at in (
        (lambda x: layer(x, CONDITION[:1]), X[:1]),
        (lambda c: layer(X, c), CONDITION),
    ):
        np.testing.assert_allclose(gradient(function, at), differences(function, at), atol=1e-2)


def test_the_mask_goes_on() -> None:
    embedded = layers.Embedding(9, 5, mask_zero=True)(np.array([[1, 2, 0]]))
    outputs = ConditionalLayerNormalization()(embedded, CONDITION[:1])

    assert array(compat.mask_of(outputs)).tolist() == [[True, True, False]]


def test_trained_saved_and_loaded(tmp_path: Path) -> None:
    inputs = [keras.Input((None, 5)), keras.Input((2,))]
    model = keras.Model(inputs, ConditionalLayerNormalization(3)(*inputs))
    model.compile("adam", "mse")
    model.fit([X, CONDITION], X, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(array(loaded([X, CONDITION])), array(model([X, CONDITION])))


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="`hidden_dim` must be None or a positive integer"):
        ConditionalLayerNormalization(0)
    with pytest.raises(ValueError, match="`condition` must not have more axes than x"):
        ConditionalLayerNormalization()(X[:, 0], X)
