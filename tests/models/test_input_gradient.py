"""The gradient of a model by its input, once and twice."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.core.differentiate import differentiate
from kooler.models import input_gradient
from tests.models.players import arrays

X = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")


def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="tanh"), layers.Dense(1)]
    )


def test_it_is_the_derivative() -> None:
    net = model()
    kernel, bias, out, _ = (w.astype("float64") for w in net.get_weights())
    slope = 1 - np.tanh(X @ kernel + bias) ** 2

    found = ops.convert_to_numpy(input_gradient(net, X))

    np.testing.assert_allclose(found, (slope * out[:, 0]) @ kernel.T, rtol=1e-5, atol=1e-6)


def test_of_a_square_it_is_twice_the_input() -> None:
    square = layers.Lambda(lambda x: x * x)

    assert ops.convert_to_numpy(input_gradient(square, np.float32([[3.0]]))).tolist() == [[6.0]]


def test_it_can_be_differentiated_by_the_input_again() -> None:
    cube = layers.Lambda(lambda x: x**3)

    def penalty(xs: list[Any]) -> Any:
        return ops.sum(input_gradient(cube, xs[0])), None

    (found,) = arrays(differentiate(penalty, [ops.convert_to_tensor([2.0, 3.0])])[1])

    np.testing.assert_allclose(found, [12.0, 18.0], rtol=1e-6)


@pytest.mark.parametrize("symbolic", [False, True])
def test_a_penalty_trains_through_plain_fit(symbolic: bool) -> None:
    dense = layers.Dense(1, use_bias=False)

    class Penalised(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = dense

        def call(self, x: Any) -> Any:
            return input_gradient(self.dense, x)

    dense.build((None, 4))
    inputs = keras.Input((4,))
    net = keras.Model(inputs, input_gradient(dense, inputs)) if symbolic else Penalised()
    net.compile(keras.optimizers.SGD(0.25), loss=lambda y, g: ops.sum(ops.square(g), axis=-1))
    start = dense.get_weights()[0]

    net.fit(X, X, batch_size=6, verbose=0)  # ‖w‖² falls along 2w

    np.testing.assert_allclose(dense.get_weights()[0], start / 2, rtol=1e-6)


def test_statistics_and_seeds_stay() -> None:
    keras.utils.set_random_seed(3)
    between = [layers.Dropout(0.5, seed=2), layers.BatchNormalization()]
    net = keras.Sequential([keras.Input((4,)), *between, layers.Dense(3, activation="tanh")])
    before = arrays(net.variables)

    class Training(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def call(self, x: Any) -> Any:
            return input_gradient(self.net, x)

    found = ops.convert_to_numpy(Training()(X, training=True))

    assert all((a == b).all() for a, b in zip(before, arrays(net.variables), strict=True))
    assert 0 < (found == 0).mean() < 1  # dropout was on


def test_a_model_of_ones_own_passes_on_whether_it_trains() -> None:
    class Penalised(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.net = keras.Sequential(
                [keras.Input((4,)), layers.Dropout(0.5), layers.Dense(1, use_bias=False)]
            )

        def call(self, x: Any, training: bool | None = None) -> Any:
            return input_gradient(self.net, x, training=training)

    net = Penalised()
    net.compile(
        keras.optimizers.SGD(0.0),
        loss=lambda y, g: ops.mean(ops.cast(ops.equal(g, 0.0), "float32") + 0.0 * g),
    )
    zeros = [net.train_on_batch(X, X), net.test_on_batch(X, X)]

    assert zeros[0] > 0  # dropout was on
    assert zeros[1] == 0


def test_what_has_no_gradient_is_refused() -> None:
    with pytest.raises(TypeError, match=r"an input of a floating-point type, received .*int32"):
        input_gradient(model(), np.zeros((1, 4), "int32"))
    with pytest.raises(TypeError, match="`input_gradient` needs a Keras model or layer"):
        input_gradient(np.tanh, X)
