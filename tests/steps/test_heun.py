"""Heun's method."""

import keras
import numpy as np
import pytest

from kooler.steps import Heun
from tests.steps.small import IDS, RATE, Weights, Y, check_step, gradient, model, plus
from tests.toys import TableDescent


def expected(weights: Weights) -> Weights:
    here = gradient(weights)
    there = gradient(plus(weights, here, -RATE))
    return [(one + two) / 2 for one, two in zip(here, there, strict=True)]


def test_it_steps_by_the_mean_of_both_gradients() -> None:
    check_step(Heun().inject(model()), expected)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["schedule", "loss scale", "rows"])
def test_it_steps_so_with(way: str) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(RATE, 1, 0.5)
    optimizers = {
        "schedule": lambda: keras.optimizers.SGD(schedule),
        "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(RATE), 64.0),
        "rows": lambda: TableDescent(keras.optimizers.SGD(RATE), RATE),
    }

    check_step(Heun().inject(model(optimizers[way]())), expected)


def test_its_error_falls_with_the_square_of_the_step() -> None:
    """dw/dt = −2w from w = 1 for t = 1 gives exp(−2)."""

    def after(steps: int, heun: bool) -> float:
        net = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        net.compile(keras.optimizers.SGD(1 / steps), loss="mse")
        net.set_weights([np.array([[1.0]])])
        if heun:
            Heun().inject(net)
        net.fit(np.ones((steps, 1)), np.zeros((steps, 1)), batch_size=1, verbose=0)
        return abs(net.get_weights()[0].item() - np.exp(-2))

    assert after(20, heun=True) < 0.3 * after(10, heun=True)  # 1/4, not 1/2
    assert after(20, heun=True) < 0.1 * after(20, heun=False)


def test_an_optimizer_without_a_learning_rate_is_refused() -> None:
    optimizer = keras.optimizers.MultiOptimizer(lambda variable: keras.optimizers.SGD(0.1))
    net = Heun().inject(model(optimizer))

    with pytest.raises(ValueError, match="one learning rate for its trial step, and MultiOptimize"):
        net.train_on_batch(IDS, Y)
