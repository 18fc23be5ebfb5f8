"""Several steps of an adversary within a ball."""

import numpy as np
import pytest

from kooler.steps import FastGradient, ProjectedGradient
from tests.steps.small import (
    IDS,
    Weights,
    Y,
    check_step,
    gradient,
    model,
    on_table,
    plus,
    weights_of,
)


def adversary(weights: Weights, epsilon: float, step_size: float, iterations: int) -> np.ndarray:
    distance = np.zeros_like(weights[0])
    for _ in range(iterations):
        uphill = gradient(plus(weights, on_table(distance, weights)))[0]
        distance = distance + step_size * uphill / np.linalg.norm(uphill)
        if np.linalg.norm(distance) > epsilon:
            distance *= epsilon / np.linalg.norm(distance)
    return distance


@pytest.mark.parametrize(
    ("epsilon", "step_size", "iterations"),
    [(0.5, 0.3, 3), pytest.param(10.0, 0.4, 2, marks=pytest.mark.slow)],
)
def test_it_trains_where_the_adversary_ends(
    epsilon: float, step_size: float, iterations: int
) -> None:
    technique = ProjectedGradient("words", epsilon, step_size=step_size, iterations=iterations)

    def expected(weights: Weights) -> Weights:
        distance = adversary(weights, epsilon, step_size, iterations)
        return gradient(plus(weights, on_table(distance, weights)))

    check_step(technique.inject(model()), expected)


def test_one_whole_step_is_the_fast_gradient() -> None:
    one = ProjectedGradient("words", 0.5, step_size=0.5, iterations=1).inject(model())
    fast = FastGradient("words", 0.5).inject(model())
    for net in (one, fast):
        net.train_on_batch(IDS, Y)

    for ours, theirs in zip(weights_of(one), weights_of(fast), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="`step_size` of ProjectedGradient must be a finite numb"):
        ProjectedGradient("words", step_size=0.0)
    with pytest.raises(ValueError, match="`iterations` of ProjectedGradient must be a whole numb"):
        ProjectedGradient("words", iterations=0)
