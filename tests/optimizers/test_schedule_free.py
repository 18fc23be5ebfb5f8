"""Keras's schedule-free optimizer: its average to look at, and in all wrappers as it is alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import averaged_weights
from kooler.optimizers import (
    EMA,
    Accumulate,
    GradientTransform,
    Group,
    Lookahead,
    ParamGroups,
    ScheduleFreeAverage,
    Telemetry,
    WeightAverage,
)
from tests.conftest import BACKEND
from tests.optimizers.conformance import array, fresh_variables, gradients
from tests.toys import Nothing

X = np.random.default_rng(3).normal(size=(8, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")


def schedule_free(rate: float = 0.1, **arguments: Any) -> Any:
    return keras.optimizers.ScheduleFreeAdamW(rate, **arguments)


BETA = 0.9


def averages(start: list[Any], stream: list[Any], rate: float) -> list[np.ndarray]:
    """The average x after all steps, in float64, from the equations of the paper.

    But on PyTorch and TensorFlow, Keras 3.15 reads z after it has been written, where it wants the
    old one to get at the old x; so x is wrong by that difference.
    """
    x, z = ([np.array(w, "float64") for w in start] for _ in range(2))
    squares = [np.zeros_like(w) for w in x]
    for t, arrays in enumerate(stream, 1):
        for i, gradient in enumerate(arrays):
            squares[i] += 0.001 * (np.square(gradient, dtype="float64") - squares[i])
            corrected = np.sqrt(squares[i] / (1 - 0.999**t))
            move = rate * gradient / (corrected + 1e-8)
            z[i] = z[i] - move
            x[i] = x[i] + (BACKEND != "jax") * (1 - BETA) / BETA * move
            x[i] = x[i] + (z[i] - x[i]) / t
    return x


def applied(optimizer: Any, steps: int) -> list[Any]:
    variables = fresh_variables()
    for arrays in gradients(steps=steps):
        optimizer.apply([ops.convert_to_tensor(g) for g in arrays], variables)
    return variables


def test_it_is_the_average_of_the_paper() -> None:
    optimizer = ScheduleFreeAverage(schedule_free(beta_1=BETA))
    expected = averages([array(v) for v in fresh_variables()], list(gradients(steps=4)), rate=0.1)
    variables = applied(optimizer, steps=4)
    pairs = optimizer.alternatives()["average"]

    assert [id(v) for v, _ in pairs] == [id(v) for v in variables]
    for (_, ours), wanted in zip(pairs, expected, strict=True):
        np.testing.assert_allclose(array(ours), wanted, rtol=2e-5, atol=2e-6)


def test_the_mean_of_one_two_and_three() -> None:
    weight = keras.Variable([0.0])
    optimizer = ScheduleFreeAverage(schedule_free(0.1))
    seen = []
    for _ in range(3):  # the fast point is at -0.1, -0.2, -0.3
        optimizer.apply([ops.ones(1)], [weight])
        seen.append(array(optimizer.alternatives()["average"][0][1]).item())

    means = [-0.1, -0.15, -0.2]
    with_the_mistake_of_keras = [-0.1, -1.3 / 9, -1.7 / 9]
    assert seen == pytest.approx(means if BACKEND == "jax" else with_the_mistake_of_keras, abs=1e-6)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "nothing": Nothing,
    "average": ScheduleFreeAverage,
    "accumulate": lambda inner: Accumulate(inner, 1),
    "lookahead": lambda inner: Lookahead(inner, 2, 1.0),
    "transform": lambda inner: GradientTransform(inner, lambda gradients, variables: gradients),
    "weight average": lambda inner: WeightAverage(inner, EMA(0.9)),
    "groups": lambda inner: ParamGroups([Group(".*")], inner),
    "telemetry": lambda inner: Telemetry(inner, ["gradient_norm"]),
}


DAILY = ("nothing", "accumulate", "lookahead")


@pytest.mark.parametrize(
    "name",
    [n if n in DAILY else pytest.param(n, marks=pytest.mark.compiles) for n in WRAPPERS],
)
def test_inside_of_a_wrapper_it_trains_as_alone_bit_for_bit(name: str) -> None:
    ours, plain = applied(WRAPPERS[name](schedule_free()), 3), applied(schedule_free(), 3)

    for one, other in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(array(one), array(other))


def test_a_window_is_one_step_of_it() -> None:
    optimizer = ScheduleFreeAverage(Accumulate(schedule_free(), 2))
    variables, (one, two) = fresh_variables(), gradients(steps=2)
    for arrays in (one, two):
        optimizer.apply([ops.convert_to_tensor(g) for g in arrays], variables)
    start = [array(v) for v in fresh_variables()]
    means = [(a + b) / 2 for a, b in zip(one, two, strict=True)]

    pairs = optimizer.alternatives()["average"]
    for (_, ours), wanted in zip(pairs, averages(start, [means], 0.1), strict=True):
        np.testing.assert_allclose(array(ours), wanted, rtol=2e-5, atol=2e-6)


def small_model(optimizer: Any) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(optimizer, loss="mse")
    return model


@pytest.mark.parametrize(
    "name",
    ["accumulate", *(pytest.param(n, marks=pytest.mark.slow) for n in ("average", "groups"))],
)
def test_p_the_first_step_is_a_small_one_from_the_weights_of_the_model(name: str) -> None:
    """On TensorFlow, Keras's optimizer alone forgets the weights: all are ±0.001 afterwards."""
    optimizer = schedule_free(1e-3)
    wrapped = Accumulate(optimizer, 2) if name == "accumulate" else WRAPPERS[name](optimizer)
    model = small_model(wrapped)
    model.fit(X, Y, batch_size=4, verbose=0)

    np.testing.assert_allclose(model.get_weights()[0], 1.0, atol=3e-3)


def test_p_a_model_is_evaluated_and_saved_at_the_average(tmp_path: Path) -> None:
    """Keras evaluates, predicts and saves at y, between the average and the fast point."""
    model = small_model(ScheduleFreeAverage(schedule_free()))
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    point = model.get_weights()
    with averaged_weights(model):
        average = model.get_weights()
        model.save(tmp_path / "average.keras")
    saved = keras.models.load_model(tmp_path / "average.keras")

    fast = [array(z) for z in model.optimizer.inner_optimizer.variables[2::2]]
    for x, y, z in zip(average, point, fast, strict=True):
        assert not np.array_equal(x, y)
        np.testing.assert_allclose(y, 0.1 * z + 0.9 * x, atol=1e-6)
    for one, other in zip(saved.get_weights(), average, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(model.get_weights(), point, strict=True):
        np.testing.assert_array_equal(one, other)


def test_before_the_first_update_it_is_the_weights() -> None:
    optimizer = ScheduleFreeAverage(schedule_free())
    assert optimizer.alternatives() == {"average": []}
    optimizer.build(fresh_variables())

    assert optimizer.alternatives() == {"average": []}


def test_what_has_no_such_average_is_told() -> None:
    with pytest.raises(ValueError, match="needs a ScheduleFreeAdamW inside, received Adam"):
        ScheduleFreeAverage(keras.optimizers.Adam())
    with pytest.raises(ValueError, match="With beta_1=0, ScheduleFreeAdamW keeps its fast weights"):
        ScheduleFreeAverage(Accumulate(schedule_free(beta_1=0.0), 2))
