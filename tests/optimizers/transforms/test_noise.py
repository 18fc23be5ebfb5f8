"""Noise: its variance, beside optax, and that it is the same again."""

from typing import Any

import jax
import keras
import numpy as np
import optax
import pytest
from keras import ops

from kooler.optimizers import transforms
from tests.optimizers.conformance import array

SIZE = 40_000


def noise_of(transform: Any) -> np.ndarray:
    """What is added to zeros."""
    (noise,) = transform([ops.zeros(SIZE)], [keras.Variable(np.zeros(SIZE, "float32"))])
    return array(noise)


def test_the_variance_of_each_step() -> None:
    """The variance of a sample of 40,000 has a standard error of √(2/n) = 0.7 %."""
    transform = transforms.add_noise(0.3, 0.55, seed=1)

    for step in range(6):
        noise = noise_of(transform)

        np.testing.assert_allclose(noise.var(), 0.3 / (1 + step) ** 0.55, rtol=0.03)
        assert abs(noise.mean()) < 0.02


def test_optax_has_the_same_variance() -> None:
    ours, theirs = transforms.add_noise(0.3, 0.9, seed=1), optax.add_noise(0.3, 0.9, 1)
    zeros = np.zeros(SIZE, "float32")
    state, update = theirs.init(zeros), jax.jit(theirs.update)

    for _ in range(3):
        expected, state = update(zeros, state)
        np.testing.assert_allclose(noise_of(ours).var(), np.asarray(expected).var(), rtol=0.04)


def test_the_same_seed_gives_the_same_noise_and_each_step_another() -> None:
    one, other = (transforms.add_noise(1.0, seed=7) for _ in range(2))
    first, second = noise_of(one), noise_of(one)

    np.testing.assert_array_equal(first, noise_of(other))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03


def test_half_precision_stays() -> None:
    (noise,) = transforms.add_noise(1.0)(
        [ops.zeros(4, "float16")], [keras.Variable(np.zeros(4, "float16"), dtype="float16")]
    )

    assert array(noise).dtype == "float16"


def test_wrong_arguments_are_an_error() -> None:
    with pytest.raises(ValueError, match="`eta` must be a number above 0, received eta=0"):
        transforms.add_noise(0)
    with pytest.raises(ValueError, match="`gamma` must be a number above 0, received gamma=-1"):
        transforms.add_noise(1.0, -1)
