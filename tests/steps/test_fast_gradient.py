"""The fast gradient method on an embedding table."""

import keras
import numpy as np
import pytest

from kooler.steps import FastGradient
from tests.steps.small import (
    IDS,
    LABELS,
    Weights,
    Y,
    check_step,
    gradient,
    model,
    on_table,
    plus,
    rich,
    squared_error,
    trained_plainly,
    weights_of,
)
from tests.toys import TableDescent

EPSILON = 0.7


def expected(weights: Weights) -> Weights:
    here = gradient(weights)[0]
    return gradient(plus(weights, on_table(EPSILON * here / np.linalg.norm(here), weights)))


def test_it_trains_at_the_perturbed_table_only() -> None:
    check_step(FastGradient("words", EPSILON).inject(model()), expected)


def test_the_table_is_restored_bit_for_bit() -> None:
    net = FastGradient("words", 3.0).inject(model(keras.optimizers.SGD(0.0)))
    before = weights_of(net)
    logs = net.train_on_batch(IDS, Y, return_dict=True)

    assert logs["loss"] == pytest.approx(squared_error(before), rel=1e-5)  # of the clean one
    for ours, theirs in zip(weights_of(net), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_all_evaluations_draw_the_same_masks() -> None:
    """With a perturbation too small to matter, dropout must not make a difference."""
    net = FastGradient("words", 1e-6).inject(rich())
    net.train_on_batch(IDS, LABELS)

    for ours, theirs in zip(weights_of(net), weights_of(trained_plainly()[0]), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_with_gradients_by_rows() -> None:
    """A wrapper that takes the gradient of the table by rows must be given those of the end."""
    net = model(TableDescent(keras.optimizers.SGD(0.5), rate=0.5))

    check_step(FastGradient("words", EPSILON).inject(net), expected)


def test_a_selector_that_matches_nothing_is_refused_at_the_door() -> None:
    with pytest.raises(ValueError, match="'wrods' matches none of the 3 variables"):
        FastGradient("wrods").inject(model())


def test_before_the_model_is_built_the_step_says_it() -> None:
    net = keras.Sequential([keras.layers.Dense(1)])
    net.compile("sgd", "mse")
    FastGradient("kernels").inject(net)

    with pytest.raises(ValueError, match="'kernels' matches none of the 2 variables"):
        net.train_on_batch(np.ones((2, 1)), np.ones((2, 1)))
