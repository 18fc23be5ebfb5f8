import pytest

from kooler.seq2seq.leak_meter import LeakMeter, leak_meter


def test_two_honest_directions_need_more_than_one():
    meter = leak_meter({"nll_l2r": 2.0, "nll_r2l": 2.5, "nll_open": 2.25})

    assert meter == LeakMeter(2.0, 2.5, 2.25)
    assert meter.together == 4.5
    assert not meter.leaks
    assert meter.sentence() == (
        "leak meter: l2r 2.00 + r2l 2.50 = 4.50, one direction 2.25 nats a token: no leak"
    )


def test_a_sum_below_one_direction_is_a_leak():
    meter = leak_meter({"nll_l2r": 0.5, "nll_r2l": 0.4, "nll_open": 1.0})

    assert meter.leaks
    assert meter.sentence().endswith("WARNING, the model reads its answers off the other side")


def test_an_honest_model_that_is_sure_of_everything_is_no_leak():
    """Read from LSTMs without any way between the directions, after 1,000 updates."""
    meter = leak_meter({"nll_l2r": 0.000739, "nll_r2l": 0.011501, "nll_open": 0.012244})

    assert not meter.leaks
    assert meter.sentence().endswith("one direction 0.01 nats a token: too little to tell a leak")


@pytest.mark.parametrize(("one", "leaks"), [(0.8, False), (1.0, True)])
def test_a_model_of_one_direction_is_the_better_measure(one, leaks):
    losses = {"nll_l2r": 0.5, "nll_r2l": 0.4, "nll_open": 3.0}

    assert leak_meter(losses, one).leaks == leaks
