import numpy as np
import pytest

from kooler.seq2seq import compaction, generation, stretches
from kooler.seq2seq.compaction import Finished, compacted, kept_rows, most_done
from kooler.seq2seq.course import Course
from kooler.seq2seq.rules import Rules
from tests.seq2seq.small_model import small_model


def test_open_rows_go_on_first_and_done_ones_fill_the_rest():
    done = np.ones(16, "bool")
    done[[3, 9, 14]] = False

    assert kept_rows(done).tolist() == [3, 9, 14, 0]
    assert kept_rows(done).dtype == "int32"


def test_a_batch_shrinks_when_a_quarter_is_open():
    done = np.arange(16) >= 5

    assert kept_rows(done) is None  # five are open
    assert most_done(16) == 11
    done[4] = True
    assert kept_rows(done).tolist() == [0, 1, 2, 3]
    assert most_done(8) == 8
    assert kept_rows(np.arange(8) >= 1) is None  # two rows are not worth a shape


def test_rows_are_taken_of_whatever_a_sentence_has():
    scalar = np.array(7, "int32")
    each = np.arange(4)
    places = np.arange(24).reshape(12, 2)  # three places a sentence

    found = compacted([scalar, each, places], np.array([2, 0], "int32"), 4)

    assert int(found[0]) == 7
    np.testing.assert_array_equal(found[1], [2, 0])
    np.testing.assert_array_equal(found[2], places[[6, 7, 8, 0, 1, 2]])


def test_pools_of_sentences_left_behind_are_kept():
    finished = Finished(4)
    tokens = np.arange(8).reshape(4, 1, 2)
    scores = np.arange(4.0).reshape(4, 1)
    finished.keep([tokens, scores], np.array([1, 3]))
    finished.keep([tokens[:2] + 10, scores[:2] + 10], np.array([1]))

    longer = np.array([[[90, 91, 92]]])
    found, found_scores = finished.merged([longer, np.array([[9.0]])])

    assert found[:, 0].tolist() == [[0, 1, 0], [10, 11, 0], [4, 5, 0], [90, 91, 92]]
    assert found_scores[:, 0].tolist() == [0, 10, 2, 9]


def test_a_batch_that_never_shrinks_has_the_pool_at_hand():
    pool = [np.arange(8).reshape(4, 1, 2), np.arange(4.0).reshape(4, 1)]

    assert Finished(4).merged(pool) is pool


@pytest.fixture
def small(monkeypatch):
    """Batches go down to one sentence, and room begins with two steps."""
    monkeypatch.setattr(compaction, "SMALLEST", 1)
    monkeypatch.setattr(stretches, "FIRST_STEPS", 2)


def sources(count):
    ids = np.random.default_rng(4).integers(6, 14, (count, 6))
    return np.where(np.arange(6) < np.arange(count)[:, None] % 6 + 1, ids, 0).astype("int32")


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("order", "beam_size"), [("l2r", 3), ("mid", 2), ("l2r", 1)], ids=["beam", "pairs", "greedy"]
)
def test_a_search_that_shrinks_finds_what_it_finds_whole(small, order, beam_size):
    model = small_model(14, layers=2, seed=1)  # most sentences end early
    rules = Rules(beam_size=beam_size, max_length=9)
    whole = Course(model, order, rules, sources(16))
    whole.run()
    shrinking = Course(model, order, rules, sources(16))
    shrinking.finish()

    assert len(shrinking._finished.rows) < 16
    assert shrinking.steps == whole.steps
    for one, other in zip(shrinking.pool(), whole.pool(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("batches", "options", "compact"),
    [
        (2, {}, False),
        (generation.MANY, {}, True),
        (2, {"compact": True}, True),
        (generation.MANY, {"compact": False}, False),
        (generation.MANY, {"temperature": 1.0}, False),
    ],
    ids=["few", "many", "asked for", "refused", "samples"],
)
def test_many_batches_shrink_and_few_do_not(monkeypatch, batches, options, compact):
    asked = []

    def hypotheses(model, batch, *_, **given):
        asked.append(given["compact"])
        return [[]] * len(batch)

    monkeypatch.setattr(generation, "hypotheses", hypotheses)
    generation.generate(small_model(14), sources(2 * batches), batch_size=2, **options)

    assert asked == [compact] * batches


def test_samples_cannot_shrink():
    with pytest.raises(ValueError, match="`compact` must be False with a `temperature`"):
        generation.generate(small_model(14), sources(2), temperature=1.0, compact=True)
