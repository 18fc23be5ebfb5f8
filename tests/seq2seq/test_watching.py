"""A watched search finds what the unwatched one finds, and its halves grow by a step's tokens."""

import numpy as np
import pytest

from kooler.seq2seq.continuations import IMPOSSIBLE
from kooler.seq2seq.generation import hypotheses
from kooler.seq2seq.order import ORDERS, tokens_per_step
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.watching import Halves, _halves, watch, watch_both
from tests.seq2seq.small_model import small_model, small_pair

SOURCE = np.array([[6, 7, 8, 0]], "int32")
RULES = Rules(beam_size=3, max_length=6)


@pytest.fixture(scope="module")
def model():
    return small_model(14, layers=1)


@pytest.mark.compiles
@pytest.mark.parametrize("order", ORDERS)
def test_the_last_moment_is_what_the_search_finds(model, order):
    (expected,) = hypotheses(model, SOURCE, order, RULES)

    *_, last = watch(model, SOURCE, order, RULES)

    assert [found.ids for found in last.finished] == [found.ids for found in expected]
    assert {found.order for found in last.finished} == {order}
    np.testing.assert_allclose(
        [found.log_prob for found in last.finished],
        [found.log_prob for found in expected],
        rtol=1e-5,
    )


@pytest.mark.compiles
@pytest.mark.parametrize("order", ORDERS)
def test_every_step_extends_a_hypothesis_of_the_step_before(model, order):
    before = {((), ())}
    for number, moment in enumerate(watch(model, SOURCE, order, RULES), start=1):
        extended = {
            (left[: len(left) - (order != "r2l")], right[order != "l2r" :])
            for left, right, _ in moment.open
        }

        assert moment.step == number
        assert extended <= before
        assert all(
            len(o.left) + len(o.right) == number * tokens_per_step(order) for o in moment.open
        )
        assert [o.log_prob for o in moment.open] == sorted(
            (o.log_prob for o in moment.open), reverse=True
        )
        before = {(left, right) for left, right, _ in moment.open}


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_a_limit_is_the_search_that_was_compiled_for_it(model, order):
    short = RULES._replace(max_length=3)
    (expected,) = hypotheses(model, SOURCE, order, short)

    (limited,) = hypotheses(model, SOURCE, order, RULES, limit=3)
    *_, watched = watch(model, SOURCE, order, RULES, limit=3)

    assert [found.ids for found in limited] == [found.ids for found in expected]
    assert [found.ids for found in watched.finished] == [found.ids for found in expected]
    assert max(len(found.ids) for found in limited) <= 3


@pytest.mark.compiles
def test_a_limit_pads_the_candidates_of_best_to_one_shape_and_changes_nothing(model):
    (expected,) = hypotheses(model, SOURCE, "best", RULES)

    (limited,) = hypotheses(model, SOURCE, "best", RULES, limit=6)

    assert [found.ids for found in limited] == [found.ids for found in expected]
    np.testing.assert_allclose(
        [found.score for found in limited], [found.score for found in expected], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("order", "left", "right"),
    [("l2r", (1, 2, 3, 4), ()), ("r2l", (), (4, 3, 2, 1)), ("mid", (1, 3), (4, 2))],
)
def test_the_halves_of_a_stream_read_from_left_to_right(order, left, right):
    assert _halves(np.array([1, 2, 3, 4]), IMPOSSIBLE, order) == Halves(left, right, IMPOSSIBLE)


@pytest.mark.compiles
@pytest.mark.parametrize("beam_size", [2, 3])
def test_both_sides_are_watched_at_once(beam_size):
    model, rules = small_pair(14, layers=1), Rules(beam_size, max_length=6)
    (expected,) = hypotheses(model, SOURCE, "best", rules)

    *before, last = watch_both(model, SOURCE, rules)

    found = sorted([f for side in last for f in side.finished], key=lambda f: -f.score)
    assert [(f.ids, f.order) for f in found] == [(f.ids, f.order) for f in expected]
    np.testing.assert_allclose([f.score for f in found], [f.score for f in expected], rtol=1e-5)
    for number, (left, right) in enumerate(before, start=1):
        assert (left.order, right.order, left.step, right.step) == ("l2r", "r2l", number, number)
        assert all(len(o.left) == number and not o.right for o in left.open)
        assert all(len(o.right) == number and not o.left for o in right.open)
