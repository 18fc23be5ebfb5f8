"""Gradients that are not finite: replaced, or the step skipped, counted, and in the end refused."""

from typing import Any

import keras
import numpy as np
import optax
import pytest
from keras import ops

from kooler.optimizers import GradientTransform, transforms
from tests.conftest import BACKEND
from tests.optimizers.conformance import array

GOOD, BAD, INFINITE = [1.0, 2.0], [1.0, np.nan], [np.inf, 1.0]


def small_model(optimizer: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="dense")])
    model.compile(optimizer, loss="mse")
    return model


def test_nans_become_zeros_and_optax_agrees() -> None:
    gradient = np.array([np.nan, np.inf, -np.inf, 2.0], "float32")
    variable = keras.Variable(np.zeros(4, "float32"))

    (ours,) = transforms.zero_nans()([ops.convert_to_tensor(gradient)], [variable])
    theirs, _ = optax.zero_nans().update([gradient], optax.zero_nans().init([gradient]))

    assert array(ours).tolist() == [0.0, np.inf, -np.inf, 2.0]
    np.testing.assert_array_equal(array(ours), np.asarray(theirs[0]))


def test_a_skipped_step_changes_nothing_but_the_count() -> None:
    inner = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.1)
    optimizer = GradientTransform(inner, transforms.skip_nonfinite(), transforms.add_noise(0.1))
    weight = keras.Variable([1.0, 2.0], name="weight")
    optimizer.apply([ops.array(GOOD)], [weight])
    before = [array(v) for v in [weight, *inner.variables]]
    for wrong in (BAD, INFINITE):
        optimizer.apply([ops.array(wrong)], [weight])

    assert int(array(optimizer.iterations)) == 1
    assert int(array(optimizer.report()["skipped_steps"])) == 2
    for variable, wanted in zip([weight, *inner.variables], before, strict=True):
        np.testing.assert_array_equal(array(variable), wanted)
    optimizer.apply([ops.array(GOOD)], [weight])
    assert int(array(optimizer.iterations)) == 2


def test_it_is_reported_in_the_logs() -> None:
    model = small_model(GradientTransform("sgd", transforms.skip_nonfinite(max_consecutive=None)))
    x, y = np.ones((6, 2), "float32"), np.ones((6, 1), "float32")
    y[2] = np.nan

    history = model.fit(x, y, batch_size=2, shuffle=False, verbose=0).history

    assert history["skipped_steps"] == [1]
    assert all(np.isfinite(weights).all() for weights in model.get_weights())
    assert int(array(model.optimizer.iterations)) == 2


def test_too_many_in_a_row_are_an_error() -> None:
    model = small_model(GradientTransform("sgd", transforms.skip_nonfinite(3)))
    before = model.get_weights()
    x, y = np.ones((8, 2), "float32"), np.full((8, 1), np.nan, "float32")

    with pytest.raises(FloatingPointError, match=r"not finite \(max_consecutive=3\), so nothing"):
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    for weights, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, wanted)


def test_a_good_step_between_breaks_the_row() -> None:
    model = small_model(GradientTransform("sgd", transforms.skip_nonfinite(2)))
    y = np.ones((10, 1), "float32")
    y[[0, 4, 8]] = np.nan

    history = model.fit(np.ones((10, 2), "float32"), y, batch_size=2, shuffle=False, verbose=0)

    assert history.history["skipped_steps"] == [3]


@pytest.mark.skipif(BACKEND != "torch", reason="compiled steps cannot raise")
def test_on_torch_the_error_comes_at_once() -> None:
    optimizer = GradientTransform("sgd", transforms.skip_nonfinite(2))
    weight = [keras.Variable([1.0, 2.0])]
    optimizer.apply([ops.array(BAD)], weight)

    with pytest.raises(FloatingPointError, match="The gradients of 2 steps in a row were not"):
        optimizer.apply([ops.array(BAD)], weight)


def test_outside_of_an_optimizer_it_gives_zeros() -> None:
    variables = [keras.Variable([1.0, 2.0]), keras.Variable([1.0, 2.0])]
    skip = transforms.skip_nonfinite(None)

    found = skip([ops.array(GOOD), ops.array(BAD)], variables)
    kept = skip([ops.array(GOOD), None], variables)

    assert [array(g).tolist() for g in found] == [[0.0, 0.0], [0.0, 0.0]]
    assert array(kept[0]).tolist() == GOOD
    assert kept[1] is None


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "5", True], ids=str)
def test_the_limit_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="`max_consecutive` must be a whole number ≥ 1, or None"):
        transforms.skip_nonfinite(wrong)
