"""Stopping, scaling and reversing gradients."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.differentiate import differentiate
from kooler.layers import reverse_gradient, scale_gradient, stop_gradient

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
WAYS = {
    "stop": (stop_gradient, 0.0),
    "scale": (lambda x: scale_gradient(x, 0.25), 0.25),
    "scale by an array": (lambda x: scale_gradient(x, np.array([0.5, 0.0, -2.0])), [0.5, 0, -2]),
    "reverse": (reverse_gradient, -1.0),
    "reverse a little": (lambda x: reverse_gradient(x, 0.3), -0.3),
    "scale by one": (lambda x: scale_gradient(x, 1.0), 1.0),
}


def gradient(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    def cubes(tensors: Any) -> Any:
        return ops.sum(function(tensors[0]) ** 3 + 0 * tensors[0]), None

    return ops.convert_to_numpy(differentiate(cubes, [ops.convert_to_tensor(x)])[1][0])


@pytest.mark.parametrize("way", list(WAYS))
def test_the_gradient_is_multiplied_and_the_value_is_not(way: str) -> None:
    function, factor = WAYS[way]

    np.testing.assert_array_equal(ops.convert_to_numpy(function(ops.convert_to_tensor(X))), X)
    expected = np.array(factor) * 3 * X.astype("float64") ** 2
    np.testing.assert_allclose(gradient(function, X), expected, rtol=1e-6)


def test_the_second_derivative_is_right_too() -> None:
    def penalty(tensors: Any) -> Any:
        def inside(parts: Any) -> Any:
            return ops.sum(scale_gradient(parts[0], 0.5) ** 3), None

        return ops.sum(differentiate(inside, tensors)[1][0]), None

    found = differentiate(penalty, [ops.convert_to_tensor(X)])[1][0]

    # ∂/∂x of 0.5·3·y², where y has the gradient 0.5
    np.testing.assert_allclose(ops.convert_to_numpy(found), 0.25 * 6 * X, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_stays(dtype: str) -> None:
    x = ops.cast(X, dtype)

    assert keras.backend.standardize_dtype(reverse_gradient(x, np.float64(0.3)).dtype) == dtype
    assert bool(ops.all(reverse_gradient(x) == x))


def test_in_a_functional_model_that_is_saved(tmp_path: Any) -> None:
    inputs = keras.Input((3,))
    features = keras.layers.Dense(2, name="features")(inputs)
    reversed_features = reverse_gradient(features, 0.5)
    model = keras.Model(inputs, keras.layers.Dense(1, name="domain")(reversed_features))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


def test_features_learn_the_opposite_of_what_the_head_learns() -> None:
    def trained(reverse: bool) -> list[np.ndarray]:
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3,))
        features = keras.layers.Dense(2, use_bias=False)(inputs)
        x = reverse_gradient(features) if reverse else features
        model = keras.Model(inputs, keras.layers.Dense(1, use_bias=False)(x))
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
        before = model.get_weights()
        model.train_on_batch(X, np.ones((4, 1)))
        return [new - old for new, old in zip(model.get_weights(), before, strict=True)]

    plain, backwards = trained(reverse=False), trained(reverse=True)

    np.testing.assert_allclose(backwards[0], -plain[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(backwards[1], plain[1])


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match="only for floating-point tensors, received one of type"):
        scale_gradient(ops.arange(3), 0.5)
