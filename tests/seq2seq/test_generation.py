import gc
import itertools
import weakref

import numpy as np
import pytest
from keras import ops

from kooler.seq2seq import generate, score
from kooler.seq2seq.order import ORDERS
from kooler.seq2seq.reserved_ids import RESERVED
from kooler.seq2seq.scoring import candidate_scores
from tests.seq2seq.small_model import small_model

VOCABULARY = 14
SOURCES = [[6, 7, 8], [9, 9, 10, 13, 6, 7, 12], [], [11], [8, 6], [12, 13, 7, 7, 6]]


@pytest.fixture(scope="module")
def model():
    return small_model(VOCABULARY, layers=1)


def written(generation, row, place=0):
    ids = generation.ids[row, place]
    return ids[ids != 0].tolist()


@pytest.mark.parametrize("order", ORDERS)
def test_the_log_probability_of_what_is_written_is_its_score(model, order):
    found = generate(model, SOURCES, order=order, beam_size=3, n_best=3)
    for place in range(3):
        targets = [written(found, row, place) for row in range(len(SOURCES))]
        expected = score(model, SOURCES, targets, order=order)
        lengths = np.array([len(target) + 1 for target in targets])

        np.testing.assert_allclose(found.log_probs[:, place], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.scores[:, place], expected / lengths, rtol=1e-5, atol=1e-5)
    assert (np.diff(found.scores, axis=1) <= 0).all()
    assert (found.orders == order).all()


@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_a_wide_beam_finds_what_enumeration_finds(order):
    model, source = small_model(RESERVED + 2, layers=1, seed=1), [6, 7, 7]
    space = [list(t) for n in range(4) for t in itertools.product((6, 7), repeat=n)]
    normalised = score(model, [source] * 15, space, order=order) / [len(t) + 1 for t in space]
    found = generate(model, [source], order=order, beam_size=15, n_best=15, max_length=3)

    assert written(found, 0) == space[int(np.argmax(normalised))]
    np.testing.assert_allclose(found.scores[0], np.sort(normalised)[::-1], rtol=1e-5, atol=1e-5)


def test_a_source_is_treated_alike_alone_and_among_others(model):
    together = generate(model, SOURCES, order="mid", beam_size=3, n_best=2)
    backwards = generate(model, [*SOURCES[::-1], [13] * 20], order="mid", beam_size=3, n_best=2)
    for row, source in enumerate(SOURCES):
        alone = generate(model, [source], order="mid", beam_size=3, n_best=2)
        for place in range(2):
            assert written(together, row, place) == written(alone, 0, place)
            assert written(together, row, place) == written(backwards, 5 - row, place)
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            together.scores[row], backwards.scores[5 - row], rtol=1e-5, atol=1e-5
        )


def test_arrays_and_lists_and_more_padding_are_the_same_source(model):
    padded = np.zeros((len(SOURCES), 11), "int64")
    for row, source in enumerate(SOURCES):
        padded[row, : len(source)] = source
    from_array = generate(model, padded, order="mid", beam_size=3)
    from_lists = generate(model, SOURCES, order="mid", beam_size=3)

    np.testing.assert_array_equal(from_array.ids, from_lists.ids)
    np.testing.assert_allclose(from_array.scores, from_lists.scores, rtol=1e-5)


def test_best_ranks_the_candidates_of_all_orders_by_all_orders(model):
    found = generate(model, SOURCES, order="best", beam_size=3, n_best=3)
    proposals = {
        order: generate(model, SOURCES, order=order, beam_size=3, n_best=3) for order in ORDERS
    }
    for row, source in enumerate(SOURCES):
        candidates = {
            tuple(written(p, row, place)) for p in proposals.values() for place in range(3)
        }
        targets = [list(ids) for ids in candidates]
        batch = np.array([source + [0] * (8 - len(source))], "int32")
        scores = candidate_scores(model, batch, [list(candidates)], ORDERS, most=9)[0]
        joint = scores[:, : len(targets)].mean(axis=0)
        normalised = joint / [len(target) + 1 for target in targets]
        best = int(np.argmax(normalised))

        assert written(found, row) == targets[best]
        np.testing.assert_allclose(found.scores[row, 0], normalised[best], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.log_probs[row, 0], joint[best], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("preset", "order"), [("fast", "mid"), ("standard", "l2r")])
def test_a_preset_is_another_name_of_an_order(model, preset, order):
    named = generate(model, SOURCES, order=preset, beam_size=3, n_best=3)
    plain = generate(model, SOURCES, order=order, beam_size=3, n_best=3)

    np.testing.assert_array_equal(named.ids, plain.ids)
    np.testing.assert_array_equal(named.scores, plain.scores)


def test_limits_and_bans_hold(model):
    found = generate(
        model,
        SOURCES,
        order="mid",
        beam_size=3,
        n_best=3,
        min_length=3,
        max_length=4,
        banned_tokens=[6, 9],
    )
    for row, place in itertools.product(range(len(SOURCES)), range(3)):
        target = written(found, row, place)

        assert 3 <= len(target) <= 4
        assert not {6, 9} & set(target)


def test_samples_depend_on_the_seed_and_the_index_alone(model):
    settings = {"order": "mid", "beam_size": 4, "n_best": 4, "temperature": 1.0}
    first = generate(model, SOURCES, **settings)
    again = generate(model, SOURCES, **settings)
    shorter = generate(model, SOURCES[:5], **settings)  # of the same shape when padded
    other = generate(model, SOURCES, seed=1, **settings)

    np.testing.assert_array_equal(first.ids, again.ids)
    assert [written(shorter, 1, p) for p in range(4)] == [written(first, 1, p) for p in range(4)]
    assert (first.ids[:2] != other.ids[:2, :, : first.ids.shape[2]]).any()


def test_nothing_to_write_is_an_empty_result(model):
    found = generate(model, [], order="l2r")

    assert found.ids.shape[:2] == (0, 1)
    assert score(model, [], []).shape == (0,)


def test_an_empty_source_gets_a_target(model):
    assert np.isfinite(generate(model, [[]], order="mid", beam_size=3).scores).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": "up"}, "`order` must be one of l2r, r2l, mid, best, received order='up'"),
        ({"beam_size": 0}, "`beam_size` must be from 1 to 1000, received beam_size=0. 1 is greedy"),
        ({"beam_size": 100_000}, "from 1 to 1000, received beam_size=100000"),
        ({"n_best": 6}, "`n_best` must be from 1 to `beam_size`, received n_best=6, beam_size=5"),
        ({"min_length": 9}, "received min_length=9, max_length=6"),
        ({"max_length": 0}, "received min_length=0, max_length=0"),
        ({"max_length": 4096}, "`max_length` must be below the 4096 positions"),
        ({"length_penalty": -1}, "`length_penalty` must be from 0 to 10, .*length_penalty=-1.0"),
        ({"length_penalty": float("nan")}, "received length_penalty=nan"),
        ({"length_penalty": 1000}, "received length_penalty=1000.0"),
        ({"banned_tokens": [1]}, "`banned_tokens` must hold ids from 6 to 13, received 1"),
        ({"top_k": 3}, "Set temperature=1.0 to sample"),
        ({"temperature": 0.0}, "`temperature` must be above 0 and at most 100, received 0.0"),
        ({"temperature": float("inf")}, "at most 100, received inf"),
        ({"temperature": 1.0, "top_k": 0}, "`top_k` must be at least 1, received 0"),
        ({"temperature": 1.0, "top_p": 1.5}, "`top_p` must be above 0 and at most 1, received 1.5"),
    ],
)
def test_what_no_search_can_do_is_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(model, SOURCES, **arguments)


def test_ids_outside_the_vocabulary_are_refused(model):
    with pytest.raises(
        ValueError, match=r"`source` must hold ids from 6 to 13 .* received 14 in row 1"
    ):
        generate(model, [[6], [7, 14]])
    with pytest.raises(ValueError, match=r"`target` must hold ids .* received 1 in row 0"):
        score(model, [[6]], [[7, 1]])
    with pytest.raises(ValueError, match="must be equally many, received 2 sources and 1 targets"):
        score(model, [[6], [7]], [[7]])


def test_a_text_longer_than_the_positions_is_refused():
    model, long = small_model(VOCABULARY, layers=1), [6] * 4097
    with pytest.raises(ValueError, match=r"`source` must take at most 4096 places, .* Cut it"):
        generate(model, [long], order="l2r", beam_size=1)
    with pytest.raises(ValueError, match=r"`target` must take at most 4096 places"):
        score(model, [[6]], [long])


def test_a_model_that_has_written_can_be_freed():
    model = small_model(VOCABULARY, layers=1)
    generate(model, SOURCES[:1], order="l2r", beam_size=1)
    score(model, [[6]], [[7]])
    alive = weakref.ref(model)
    del model
    gc.collect()

    assert alive() is None


def test_an_order_that_was_not_learnt_is_refused():
    model = small_model(VOCABULARY, layers=1, orders=("l2r",))
    with pytest.raises(ValueError, match="`order` must be one of l2r, best, received order='mid'"):
        generate(model, SOURCES, order="mid")
    with pytest.raises(ValueError, match=r"received order=.fast.\. Of the presets, fast means mid"):
        generate(model, SOURCES, order="fast")
    with pytest.raises(ValueError, match="`order` must be one of l2r, received order='r2l'"):
        score(model, [[6]], [[7]], order="r2l")


def test_new_weights_are_used_at_once(model):
    before, old = score(model, SOURCES, SOURCES), ops.copy(model.sides.value)
    model.sides.assign(model.sides + 1.0)
    after = score(model, SOURCES, SOURCES)
    model.sides.assign(old)

    assert (abs(after - before) > 1e-3).all()
