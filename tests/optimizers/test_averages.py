"""The laws of averaging, as functions of the number of the update."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import EMA, SWA, PowerEMA
from kooler.optimizers.averages import Average


def rates(law: Average, updates: int) -> list[float]:
    """r(1), r(2), … as the law computes them in a step."""
    return [float(law.rate(ops.convert_to_tensor(t, "int32"))) for t in range(1, updates + 1)]


def test_a_constant_decay() -> None:
    assert rates(EMA(0.75), 3) == [0.25, 0.25, 0.25]


def test_a_decay_near_one_is_not_rounded_away() -> None:
    np.testing.assert_allclose(rates(EMA(1 - 1e-7), 1), 1e-7, rtol=1e-6)


def test_the_warmup_is_the_law_of_timm_and_ema_pytorch() -> None:
    """timm: step ← max(0, step − 1); decay = 1 − (1 + step/γ)^−power with γ = 1, power = 2/3.

    Clipped to the constant decay, 0 at step 1; ema-pytorch computes the same.
    """

    def decay(step: int) -> float:
        step = max(0, step - 1)
        return min(0.99, 1 - (1 + step / 1.0) ** -(2 / 3)) if step > 0 else 0.0

    ours = 1 - np.array(rates(EMA(0.99, warmup=True), 1000))

    np.testing.assert_allclose(ours, [decay(t) for t in range(1, 1001)], atol=5e-7)
    assert ours[0] == 0.0
    assert ours[-1] == pytest.approx(0.99)


@pytest.mark.parametrize("every", [1, 10])
def test_a_half_life_halves_whatever_the_period(every: int) -> None:
    kept = np.prod(1 - np.array(rates(EMA(half_life=50, every=every), 50), "float64"))

    assert kept == pytest.approx(0.5, rel=1e-5)


def test_between_two_looks_nothing_moves() -> None:
    assert rates(EMA(0.5, every=2), 4) == [0.0, 0.75, 0.0, 0.75]


def test_swa_follows_and_then_takes_the_mean() -> None:
    expected = [1, 1, 1, 1, 1, 0, 0, 1 / 2, 0, 0, 1 / 3]

    np.testing.assert_allclose(rates(SWA(start=2, every=3), 11), expected, rtol=1e-7)


def test_swa_of_every_update_is_the_running_mean() -> None:
    np.testing.assert_allclose(rates(SWA(), 5), [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], rtol=1e-7)


@pytest.mark.parametrize(
    "law", [EMA(0.9, warmup=True), EMA(half_life=3, every=2), SWA(start=1), PowerEMA(0.1, every=5)]
)
def test_the_config_makes_the_same_law(law: Average) -> None:
    config = keras.saving.serialize_keras_object(law)
    copy = keras.saving.deserialize_keras_object(config)

    assert repr(copy) == repr(law)
    assert rates(copy, 6) == rates(law, 6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMA(), "needs either `decay` or `half_life`, received decay=None, half_life=None"),
        (lambda: EMA(0.9, half_life=3), "received decay=0.9, half_life=3"),
        (lambda: EMA(1.0), r"at least 0 and below 1, received decay=1.0"),
        (lambda: EMA(-0.1), r"at least 0 and below 1, received decay=-0.1"),
        (lambda: EMA("0.9"), r"at least 0 and below 1, received decay='0.9'"),
        (lambda: EMA(float("nan")), r"at least 0 and below 1, received decay=nan"),
        (lambda: EMA(half_life=0), r"positive number of updates, received half_life=0"),
        (lambda: EMA(0.9, every=0), r"`every` must be a positive number .* every=0. Use every=1"),
        (lambda: SWA(every=2.5), r"`every` must be a positive number .* every=2.5"),
        (lambda: SWA(every=True), r"`every` must be a positive number .* every=True"),
        (lambda: SWA(start=-1), r"an integer of at least 0, received start=-1"),
        (lambda: PowerEMA(0.3), r"above 0 and below 0.288, .* received sigma_rel=0.3"),
        (lambda: PowerEMA(0), r"received sigma_rel=0"),
        (lambda: PowerEMA(None), r"received sigma_rel=None"),
        (lambda: PowerEMA(0.1, every=-1), r"`every` must be a positive number"),
    ],
)
def test_wrong_arguments_are_told(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
