"""What Keras's `MultiOptimizer` does (3.15), and `ParamGroups` does not: one test for each."""

import warnings
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import Group, LearningRateMultiplier, ParamGroups
from tests.optimizers.conformance import array

OPTIMIZERS = keras.optimizers


def weights(*names: str) -> list[Any]:
    return [keras.Variable([1.0], name=name) for name in names]


def test_a_pattern_that_matches_nothing_is_not_accepted() -> None:
    with pytest.raises(ValueError, match=r"'encodre' matches none of the 2 variables. The nearest"):
        ParamGroups([Group("encodre")], "sgd").build(weights("encoder", "head"))


def test_two_patterns_for_one_variable_are_named() -> None:
    with pytest.raises(ValueError, match=r"'enc' and 'coder' both match the variable 'encoder'"):
        ParamGroups([Group("enc"), Group("coder")], "sgd").build(weights("encoder", "head"))


def test_a_pattern_needs_no_numbered_prefix() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
    groups = ParamGroups([Group("head/kernel", frozen=True)], "sgd")
    groups.build(model.trainable_variables)

    assert "head/kernel" in model.trainable_variables[0].path


def test_the_global_norm_is_global() -> None:
    a, b = weights("a", "b")
    optimizer = ParamGroups([Group("a")], OPTIMIZERS.SGD(1.0, global_clipnorm=1.0))
    optimizer.apply([ops.array([3.0]), ops.array([4.0])], [a, b])

    np.testing.assert_allclose([array(a)[0], array(b)[0]], [0.4, 0.2], rtol=1e-5)


def test_a_group_without_gradients_is_the_same_on_every_backend() -> None:
    """None on PyTorch and TensorFlow, zeros on JAX: momentum and decay go on in both cases."""
    moved = []
    for missing in (None, ops.zeros(1)):
        a, b = weights("a", "b")
        default = OPTIMIZERS.SGD(0.5, momentum=0.5, weight_decay=0.5)
        optimizer = ParamGroups([Group("a")], default)
        optimizer.apply([ops.ones(1), ops.ones(1)], [a, b])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"No gradient was given for the variables \['a'\]")
            optimizer.apply([missing, ops.ones(1)], [a, b])
        moved.append(array(a).tolist())

    assert moved[0] == moved[1]
    assert moved[0] == [(0.75 - 0.5) * 0.75 - 0.25]


def test_a_missing_gradient_is_told() -> None:
    optimizer = ParamGroups([Group("a")], "sgd")

    with pytest.warns(UserWarning, match=r"for the variables \['a'\], so it is taken to be zero"):
        optimizer.apply([None, ops.ones(1)], weights("a", "b"))


def test_a_group_is_one_optimizer_however_many_variables_it_has() -> None:
    optimizer = ParamGroups([Group("a|b|c")], OPTIMIZERS.Adam(0.1))
    optimizer.build(weights("a", "b", "c", "d"))

    assert len(optimizer.group_optimizers) == 1


def test_there_is_a_learning_rate() -> None:
    optimizer = ParamGroups([Group("a")], OPTIMIZERS.SGD(0.5))
    optimizer.learning_rate = 0.25

    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == 0.25
    assert float(ops.convert_to_numpy(optimizer.group_optimizers[0].learning_rate)) == 0.25


def test_callbacks_of_keras_reach_every_group() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
    model.compile(ParamGroups([Group("kernel")], OPTIMIZERS.Adam(0.5)), loss="mse")
    before = model.get_weights()
    stop = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0, callbacks=[stop])

    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_groups_can_be_frozen_scaled_and_nested() -> None:
    inner = ParamGroups([Group("c", frozen=True)], OPTIMIZERS.SGD(1.0))
    groups = [Group("a", lr_multiplier=0.5), Group("b|c", optimizer=inner)]
    variables = weights("a", "b", "c", "d")
    optimizer = LearningRateMultiplier(ParamGroups(groups, OPTIMIZERS.SGD(1.0)), {"d": 0.25})
    optimizer.apply([ops.ones(1)] * 4, variables)

    assert [float(array(v)[0]) for v in variables] == [0.5, 0.0, 1.0, 0.75]
