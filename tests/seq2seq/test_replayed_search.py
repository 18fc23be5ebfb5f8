"""On PyTorch a search whose steps are replayed is, to the bit, the search that is not."""

import keras
import numpy as np
import pytest

from kooler.core.replay import recorded_at_once
from kooler.seq2seq import stretches as module
from kooler.seq2seq.course import Course
from kooler.seq2seq.generation import generate
from kooler.seq2seq.rules import Rules
from tests.seq2seq.small_model import small_model, small_pair, small_recurrent

pytestmark = [
    pytest.mark.skipif(
        keras.backend.backend() != "torch", reason="JAX and TensorFlow compile, nothing is replayed"
    ),
    pytest.mark.filterwarnings("error::UserWarning"),  # a step that cannot be recorded warns
]

SOURCES = [[6, 7, 8], [9, 6], [7], [10, 11, 6, 8]]
PLAIN = {"order": "l2r", "beam_size": 3}
CASES = {
    "best": (small_model, {}, {"order": "best", "beam_size": 3}),
    "both ends, one": (small_model, {}, {"order": "mid", "beam_size": 1}),
    "banned": (small_model, {}, {**PLAIN, "banned_tokens": [7, 8]}),
    "shortlist": (small_model, {}, {**PLAIN, "shortlist": [6, 8, 9, 12]}),
    "samples": (small_model, {}, {"order": "mid", "beam_size": 3, "temperature": 1.0}),
    "every sentence its time": (small_model, {}, {**PLAIN, "batch_size": 4, "compact": True}),
    "pre-norm": (small_model, {"norm": "pre"}, PLAIN),
    "bfloat16": (small_model, {"dtype": "mixed_bfloat16"}, PLAIN),
    "pointer": (small_model, {"pointer": True, "neighbours": True}, PLAIN),
    "prior": (small_model, {"copy_prior": True}, PLAIN),
    "two streams": (small_pair, {"fusion": "gate"}, {"order": "best", "beam_size": 4}),
    "LSTMs": (small_recurrent, {"copy_prior": True}, {"order": "best", "beam_size": 3}),
    "LSTMs that meet": (small_recurrent, {"leaky": True}, {"order": "best", "beam_size": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_finds_the_same_to_the_bit(case):
    make, settings, options = CASES[case]
    model = make(14, layers=1, **settings)
    expected = generate(model, SOURCES, n_best=options["beam_size"], **options)
    model = make(14, layers=1, **settings)
    for _ in range(2):  # recorded, and replayed
        with recorded_at_once():
            found = generate(model, SOURCES, n_best=options["beam_size"], **options)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_new_weights_count():
    model, other = small_model(14, layers=1), small_model(14, layers=1, seed=1)
    with recorded_at_once():
        generate(model, SOURCES, **PLAIN)
    model.set_weights(other.get_weights())

    found, expected = generate(model, SOURCES, **PLAIN), generate(other, SOURCES, **PLAIN)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_a_search_that_is_prepared_records_no_more(monkeypatch):
    monkeypatch.setattr(module, "FIRST_STEPS", 2)
    model, source = small_model(14, layers=1), np.array([[6, 7, 8, 0]], "int32")
    rules = Rules(beam_size=3, max_length=9, min_length=9)
    with recorded_at_once():
        Course(model, "l2r", rules, source).prepare()
    monkeypatch.setattr(module, "advanced", None)  # which a recording would call
    course = Course(model, "l2r", rules, source)
    course.run()

    assert course.steps == 10


def test_a_search_of_one_step_is_prepared():
    """Also where the first step is taken by one place of a sentence, and nothing is left."""
    model, sources = small_model(14, layers=1), np.full((16, 4), 7, "int32")
    with recorded_at_once():
        course = Course(model, "mid", Rules(beam_size=2, max_length=1), sources)
        course.prepare()

    assert course.steps == 1
