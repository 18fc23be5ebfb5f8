"""Centralisation: over the right axes, beside optax, which has the other layout."""

import keras
import numpy as np
import optax
from keras import ops

from kooler.optimizers import GradientTransform, transforms
from tests.optimizers.conformance import array

RANDOM = np.random.default_rng(5)


def gradient_of(shape: tuple[int, ...], name: str) -> tuple[np.ndarray, np.ndarray]:
    """A gradient and what becomes of it."""
    gradient = RANDOM.normal(size=shape).astype("float32")
    variable = keras.Variable(np.ones(shape, "float32"), name=name)
    (new,) = transforms.centralize()([ops.convert_to_tensor(gradient)], [variable])
    return gradient, array(new)


def test_each_output_unit_loses_its_mean() -> None:
    gradient, new = gradient_of((3, 3, 2, 4), "kernel")

    expected = gradient.copy()
    for unit in range(4):
        expected[..., unit] -= gradient[..., unit].mean(dtype="float64")
    np.testing.assert_allclose(new, expected, atol=1e-6)


def test_a_case_for_the_head() -> None:
    variable = keras.Variable(np.ones((2, 2), "float32"), name="kernel")

    (new,) = transforms.centralize()([ops.array([[1.0, 5.0], [3.0, 5.0]])], [variable])

    assert array(new).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_optax_agrees_in_its_own_layout() -> None:
    gradient, new = gradient_of((3, 3, 2, 4), "kernel")
    turned = np.moveaxis(gradient, -1, 0)  # optax takes the first axis for the units

    expected, _ = optax.centralize().update([turned], optax.centralize().init([turned]))

    np.testing.assert_allclose(new, np.moveaxis(np.asarray(expected[0]), 0, -1), atol=1e-6)


def test_biases_and_embeddings_are_left_alone() -> None:
    for shape, name in [((4,), "bias"), ((2, 4), "bias"), ((7, 3), "embeddings")]:
        gradient, new = gradient_of(shape, name)

        np.testing.assert_array_equal(new, gradient)


def test_the_layers_are_known_after_compile() -> None:
    layer = keras.layers.Conv2DTranspose(4, 3, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((8, 8, 2)), layer])
    model.compile(GradientTransform(keras.optimizers.SGD(1.0), transforms.centralize()), "mse")
    gradient = RANDOM.normal(size=layer.kernel.shape).astype("float32")
    model.optimizer.apply([ops.convert_to_tensor(gradient)], [layer.kernel])

    np.testing.assert_allclose(array(layer.kernel).sum((0, 1, 3)), 0, atol=1e-5)
    assert abs(array(layer.kernel).sum((0, 1, 2))).max() > 0.1
