"""A penalty on the gradient by the embedding table: a derivative of a derivative."""

import keras
import numpy as np
import pytest

from kooler.steps import GradientPenalty
from tests.steps.small import (
    IDS,
    Weights,
    Y,
    check_step,
    gradient,
    model,
    numeric_gradient,
    squared_error,
    weights_of,
)
from tests.toys import TableDescent


def penalized(weights: Weights) -> float:
    return squared_error(weights) + 0.8 * float(np.sum(gradient(weights)[0] ** 2))


@pytest.mark.parametrize("scale", [None, pytest.param(2.0**8, marks=pytest.mark.slow)])
def test_it_descends_the_penalized_loss(scale: float | None) -> None:
    optimizer = keras.optimizers.SGD(0.5)
    if scale:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, scale)
    net = GradientPenalty("words", 0.8).inject(model(optimizer))

    check_step(net, lambda weights: numeric_gradient(penalized, weights))


def test_the_reported_loss_is_the_whole() -> None:
    net = GradientPenalty("words", 0.8).inject(model())
    before = weights_of(net)
    logs = net.train_on_batch(IDS, Y, return_dict=True)

    assert logs["loss"] == pytest.approx(penalized(before), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_crossentropies_are_twice_differentiable(loss: str) -> None:
    """∇L of softmax regression is xᵀ(p − y)/n; the penalty is checked by differences."""
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    labels = np.array([0, 1, 2, 3, 0, 1])
    net = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "softmax", use_bias=False, name="w")]
    )
    net.compile(keras.optimizers.SGD(0.5), loss=loss)
    GradientPenalty("w", 1.0).inject(net)

    def whole(weights: Weights) -> float:
        p = np.exp(x @ weights[0])
        p /= p.sum(axis=1, keepdims=True)
        own = x.T.astype("float64") @ (p - np.eye(4)[labels]) / 6
        return float(-np.mean(np.log(p[np.arange(6), labels])) + np.sum(own**2))

    before = weights_of(net)
    net.train_on_batch(x, labels if "sparse" in loss else np.eye(4)[labels])

    change = numeric_gradient(whole, before)[0]
    np.testing.assert_allclose(net.get_weights()[0], before[0] - 0.5 * change, atol=1e-6)


def test_gradients_by_rows_cannot_be_penalized() -> None:
    net = GradientPenalty("words").inject(model(TableDescent(keras.optimizers.SGD(0.1), 0.1)))

    with pytest.raises(RuntimeError, match="need a dense gradient for this embedding"):
        net.train_on_batch(IDS, Y)
