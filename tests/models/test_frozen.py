"""A frozen view gives gradients by its input and none by its weights, and leaves no trace."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.core import compat
from kooler.core.differentiate import differentiate
from kooler.models import Frozen
from tests.models.players import arrays

X = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")


def model(dropout: float = 0.0, **settings: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    between = [layers.BatchNormalization(), layers.Dropout(dropout, **settings)] if dropout else []
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="tanh"), *between, layers.Dense(1)]
    )


def by_input(function: Any) -> np.ndarray:
    x = ops.convert_to_tensor(X)
    return arrays(differentiate(lambda xs: (ops.sum(function(xs[0])), None), [x])[1])[0]


def test_the_gradient_by_the_input_is_that_of_the_weights_of_now() -> None:
    net = model()
    kernel, bias, out, _ = (w.astype("float64") for w in net.get_weights())
    slope = 1 - np.tanh(X @ kernel + bias) ** 2

    found = by_input(Frozen(net))

    np.testing.assert_allclose(found, (slope * out[:, 0]) @ kernel.T, rtol=1e-5, atol=1e-6)


def test_the_weights_get_no_gradient() -> None:
    net = model(dropout=0.5)
    inputs = keras.Input((4,))
    both = keras.Model(inputs, net(inputs) + 3 * Frozen(net)(inputs))
    both.compile(keras.optimizers.SGD(1.0), loss=lambda y, p: p)
    start = arrays(net.trainable_variables[-1:])[0]

    both.train_on_batch(X, X[:, :1])

    moved = start - ops.convert_to_numpy(net.trainable_variables[-1])
    np.testing.assert_allclose(moved, [1.0], rtol=1e-6)  # ∂ mean(p)/∂ bias, and not 4


def test_a_frozen_call_leaves_no_trace_and_the_next_draws_the_same() -> None:
    for settings in ({"seed": 1}, {}):  # without a seed PyTorch draws from another generator
        net = model(dropout=0.5, **settings)
        before = arrays(net.variables)

        first = Frozen(net)(X, training=True)
        after = arrays(net.variables)
        second = net(X, training=True)

        np.testing.assert_array_equal(ops.convert_to_numpy(first), ops.convert_to_numpy(second))
        assert all((a == b).all() for a, b in zip(before, after, strict=True))
        assert any((a != b).any() for a, b in zip(after, arrays(net.variables), strict=True))


def test_a_saved_model_with_both_shares_the_weights_again(tmp_path: Path) -> None:
    net = model()
    inputs = keras.Input((4,))
    both = keras.Model(inputs, [net(inputs), Frozen(net)(inputs)])
    both.save(tmp_path / "both.keras")

    loaded = keras.saving.load_model(tmp_path / "both.keras")
    for variable in loaded.trainable_variables:
        variable.assign(variable + 1.0)
    plain, frozen = loaded.predict(X, verbose=0)

    assert len(loaded.weights) == len(net.weights)
    np.testing.assert_array_equal(plain, frozen)


def test_half_precision_reads_whole_weights() -> None:
    net = model()
    net.layers[-1].bias.assign([1.0009765])  # no bfloat16
    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    seen = []

    class Reading(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def call(self, x: Any) -> Any:
            with compat.autocast(None):
                seen.append(self.net.layers[-1].bias.value)
            return x

    Frozen(Reading(), dtype=policy)(X)

    assert ops.convert_to_numpy(seen[0])[0] != 1.0


def test_only_models_and_layers_can_be_frozen() -> None:
    with pytest.raises(TypeError, match="Frozen needs a Keras model or layer, received 'd'"):
        Frozen("d")
