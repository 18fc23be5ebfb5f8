"""Sharpness-aware minimisation against the paper's equation."""

import keras
import numpy as np
import pytest

from kooler.steps import SharpnessAware
from tests.steps.small import (
    IDS,
    LABELS,
    Weights,
    Y,
    check_same,
    check_step,
    gradient,
    model,
    norm,
    plus,
    rich,
    squared_error,
    trained_plainly,
    weights_of,
)

RHO = 0.3


def expected(weights: Weights) -> Weights:
    here = gradient(weights)
    return gradient(plus(weights, here, RHO / norm(here)))


def test_it_descends_by_the_gradient_of_the_worst_point() -> None:
    check_step(SharpnessAware(RHO).inject(model()), expected)


@pytest.mark.slow
def test_with_loss_scaling() -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), 2.0**10)

    check_step(SharpnessAware(RHO).inject(model(optimizer)), expected)


def test_one_weight_in_the_head() -> None:
    """L = w²: the gradient 2w has length 2|w|, so the worst point is w + ρ, and ĝ = 2(w + ρ)."""
    net = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    net.compile(keras.optimizers.SGD(0.25), loss="mse")
    net.set_weights([np.array([[1.0]])])
    SharpnessAware(rho=1.0).inject(net).train_on_batch(np.ones((1, 1)), np.zeros((1, 1)))

    assert net.get_weights()[0].item() == pytest.approx(1.0 - 0.25 * 2 * 2.0, abs=1e-6)


def test_state_and_logs_are_those_of_the_first_evaluation() -> None:
    net = SharpnessAware(5.0).inject(rich())
    logs = net.train_on_batch(IDS, LABELS, return_dict=True)
    plain, plain_logs = trained_plainly()

    assert logs == plain_logs
    check_same(net.non_trainable_variables, plain.non_trainable_variables)


def test_the_weights_themselves_are_not_touched() -> None:
    net = SharpnessAware(1.0).inject(model(keras.optimizers.SGD(0.0)))
    before = weights_of(net)
    logs = net.train_on_batch(IDS, Y, return_dict=True)

    assert logs["loss"] == pytest.approx(squared_error(before), rel=1e-5)
    for ours, theirs in zip(weights_of(net), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("rho", [-0.1, float("nan"), float("inf"), "0.1", True])
def test_a_wrong_distance_is_refused(rho: object) -> None:
    with pytest.raises(ValueError, match=r"`rho` of SharpnessAware must be a finite number, 0 or"):
        SharpnessAware(rho)  # type: ignore[arg-type]
