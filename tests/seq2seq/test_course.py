import numpy as np
import pytest
from keras import ops

from kooler.seq2seq import stretches as module
from kooler.seq2seq.course import Course
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.search import search
from kooler.seq2seq.stretches import _sizes, starting, step_of
from tests.seq2seq.small_model import small_model

SOURCE = np.array([[6, 7, 8, 0], [9, 6, 0, 0]], "int32")
RULES = Rules(beam_size=3, max_length=9, min_length=2, early_stopping=False)


@pytest.fixture
def short_stretches(monkeypatch):
    """Room for 2 steps at first, so that small models need several stretches."""
    monkeypatch.setattr(module, "FIRST_STEPS", 2)


@pytest.fixture
def model():
    return small_model(14, layers=1)


def searched_at_once(model, order, rules, banned=None):
    """The same search in one loop, with all the room from the beginning."""
    steps = _sizes(module.steps_of(rules.max_length, module.tokens_per_step(order)))[-1]
    step = step_of(model, model.encode(SOURCE), order)
    state, tags = starting(model, len(SOURCE), order, rules, steps)
    banned = None if banned is None else ops.convert_to_tensor(banned)
    pool = search(step, state, tags, rules, banned=banned)
    return [ops.convert_to_numpy(part) for part in pool[:3]]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_stretches_find_what_one_loop_finds(model, short_stretches, order):
    course = Course(model, order, RULES, SOURCE)
    course.run()

    assert len(course._stretches.sizes) > 1
    assert not course.more
    assert_same(course.pool(), searched_at_once(model, order, RULES))


@pytest.fixture
def rows(model, monkeypatch):
    """How many rows of a sentence each step has that is traced, where few rows are many."""
    monkeypatch.setattr(module, "MANY_ROWS", 1)
    step_of_relatives, counts = model.step_of_relatives, []

    def watched(inputs, *given):
        counts.append(inputs.shape[1])
        return step_of_relatives(inputs, *given)

    monkeypatch.setattr(model, "step_of_relatives", watched)
    return counts


@pytest.mark.compiles
@pytest.mark.parametrize("order", ["l2r", "mid"])
@pytest.mark.parametrize("banned", [None, 7])
def test_many_rows_take_their_first_step_as_one(model, rows, order, banned):
    forbidden = None if banned is None else np.eye(14, dtype="float32")[banned]
    course = Course(model, order, RULES, SOURCE, banned=forbidden)
    course.run()

    assert rows[0] == 1
    assert set(rows[1:]) == {RULES.beam_size}
    assert_same(course.pool(), searched_at_once(model, order, RULES, forbidden))
    assert banned is None or not (course.pool()[0] == banned).any()


@pytest.mark.compiles
def test_samples_begin_apart(model, rows):
    noise = np.random.default_rng(0).random((10, 2, 3, 1), dtype="float32")
    course = Course(model, "l2r", RULES._replace(temperature=1.0), SOURCE, noise=noise)
    course.run()

    assert set(rows) == {RULES.beam_size}


@pytest.mark.compiles
def test_it_may_stop_after_any_step_and_be_prepared(model, short_stretches):
    course = Course(model, "l2r", RULES, SOURCE)
    course.prepare()
    seen = []
    while course.more:
        course.run(until=course.steps + 1)
        seen.append(course.steps)

    assert seen == list(range(2, seen[-1] + 1))
    assert seen[-1] > 4  # more than the first two stretches
    assert_same(course.pool(), searched_at_once(model, "l2r", RULES))


@pytest.mark.compiles
def test_a_search_that_ends_early_needs_no_more_room(model):
    course = Course(model, "l2r", RULES._replace(max_length=40, min_length=0), SOURCE, limit=3)
    course.run()

    assert course._stretches.sizes == [16, 41]
    assert not course._stretches._later
    assert course.steps == 4  # three tokens, and the end
    assert course.pool()[0].shape == (2, 3, 16)


def test_the_room_doubles_and_ends_with_all_steps():
    assert [_sizes(steps) for steps in (1, 16, 31, 32, 81, 129)] == [
        [1],
        [16],
        [31],
        [16, 32],
        [16, 32, 81],
        [16, 32, 64, 129],
    ]
