"""The profile of the power-function average: what it weighs, whatever the period."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kooler.optimizers import PowerEMA
from kooler.optimizers.power_ema import gamma_of, sigma_of


def profile(law: PowerEMA, updates: int) -> tuple[np.ndarray, np.ndarray]:
    """What the average of t/T and that of (t/T)² have become after T updates."""
    times = np.arange(1, updates + 1)
    rates = _rates(law, times)
    first = second = 0.0
    for rate, time in zip(rates.tolist(), (times / updates).tolist(), strict=True):
        first += rate * (time - first)
        second += rate * (time**2 - second)
    return np.array(first), np.array(second)


def _rates(law: PowerEMA, times: np.ndarray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(law.rate(ops.convert_to_tensor(times, "int32"))))


@pytest.mark.parametrize("every", [1, 10, 100])
@pytest.mark.parametrize("sigma_rel", [0.05, 0.10, 0.25])
def test_the_profile_has_the_mean_and_the_width_that_were_asked(
    sigma_rel: float, every: int
) -> None:
    first, second = profile(PowerEMA(sigma_rel, every=every), 200_000)

    gamma = gamma_of(sigma_rel)
    assert first == pytest.approx((gamma + 1) / (gamma + 2), abs=1e-3)
    assert math.sqrt(second - first**2) == pytest.approx(sigma_rel, abs=1e-3)


@settings(max_examples=50)
@given(st.floats(0.01, 0.288))
def test_exponent_and_width_are_inverse(sigma_rel: float) -> None:
    assert sigma_of(gamma_of(sigma_rel)) == pytest.approx(sigma_rel, rel=1e-9)


def test_the_widest_is_the_plain_mean() -> None:
    assert sigma_of(0.0) == pytest.approx(1 / math.sqrt(12))


def test_known_exponents() -> None:
    """The two that the paper trains with (its section 3.1)."""
    assert gamma_of(0.05) == pytest.approx(16.97, abs=0.01)
    assert gamma_of(0.10) == pytest.approx(6.94, abs=0.01)


def test_the_first_look_is_a_copy() -> None:
    assert _rates(PowerEMA(0.1, every=4), np.array([1, 2, 3, 4])).tolist() == [1, 1, 1, 1]
    assert _rates(PowerEMA(0.1, every=4), np.array([5, 6, 7])).tolist() == [0, 0, 0]
