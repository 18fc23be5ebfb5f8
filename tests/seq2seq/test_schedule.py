"""The schedule against its three formulas."""

import math

import keras
import numpy as np
import pytest

from kooler.seq2seq.schedule import WarmupSchedule


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        ("inverse_sqrt", lambda t: math.sqrt(4 / t)),
        ("cosine", lambda t: (1 + math.cos(math.pi * (t - 4) / 16)) / 2),
        ("constant", lambda t: 1.0),
    ],
)
def test_rates_are_those_of_the_formula(schedule, formula):
    rate = WarmupSchedule(0.5, 4, schedule, 20)

    rates = [float(rate(np.int32(step))) for step in range(20)]

    expected = [0.5 * (t / 4 if t <= 4 else formula(t)) for t in range(1, 21)]
    np.testing.assert_allclose(rates, expected, atol=1e-7)


@pytest.mark.parametrize("schedule", ["inverse_sqrt", "cosine", "constant"])
def test_without_a_warm_up_the_first_rate_is_the_highest(schedule):
    assert float(WarmupSchedule(0.5, 0, schedule, 1000)(0)) == pytest.approx(0.5, rel=1e-5)


def test_after_the_end_a_cosine_stays_at_zero():
    assert float(WarmupSchedule(0.5, 4, "cosine", 20)(30)) == pytest.approx(0.0, abs=1e-7)


def test_it_comes_back_from_its_config():
    schedule = WarmupSchedule(0.5, 4, "cosine", 20)

    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))

    assert isinstance(again, WarmupSchedule)
    assert again.get_config() == schedule.get_config()
