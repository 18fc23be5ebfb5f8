"""Minimum Bayes risk among candidates: the equation, and what `generate` makes of it."""

import itertools

import numpy as np
import pytest

from kooler.seq2seq import generate, score
from kooler.seq2seq.consensus import by_consensus, shares
from tests.seq2seq.small_model import small_model

SOURCES = [[6, 7, 8], [9, 9, 10, 13, 6, 7, 12], [], [11], [8, 6], [12, 13, 7, 7, 6]]


@pytest.fixture(scope="module")
def model():
    return small_model(14, layers=1)


def overlap(one, other):
    """How many of the first find an equal in the second that no other has taken."""
    left = list(other)
    return sum(1 for part in one if part in left and not left.remove(part))


def expected_order(candidates, weights):
    """The equation, with lists and loops."""
    parts = [[*ids, *((ids[i], ids[i + 1]) for i in range(len(ids) - 1))] for ids in candidates]
    values = []
    for y in parts:
        value = 0.0
        for c, weight in zip(parts, weights, strict=True):
            total = len(y) + len(c)
            value += weight * (2 * overlap(y, c) / total if total else 1.0)
        values.append(value)
    return values


@pytest.mark.parametrize("seed", range(5))
def test_candidates_come_by_their_expected_likeness(seed):
    random = np.random.default_rng(seed)
    candidates = [random.integers(6, 10, random.integers(0, 7)).tolist() for _ in range(9)]
    weights = random.random(9)
    values = expected_order(candidates, weights)

    found = by_consensus(candidates, weights)

    assert sorted(found) == list(range(9))
    ordered = [values[place] for place in found]
    assert all(one >= other - 1e-12 for one, other in itertools.pairwise(ordered))


def test_the_middle_one_wins_and_a_heavy_one_wins_nevertheless():
    candidates = [[6, 7], [7, 8, 9, 10], [7, 8, 9], [8, 9, 11]]

    assert by_consensus(candidates, np.full(4, 0.25))[0] == 2
    assert by_consensus(candidates, np.array([0.97, 0.01, 0.01, 0.01]))[0] == 0


def test_pairs_of_neighbours_count():
    candidates = [[6, 7, 8, 9], [9, 8, 7, 6], [6, 7, 8, 10]]
    # by tokens alone the first two are equal
    assert by_consensus(candidates, np.full(3, 1 / 3))[0] == 0


def test_of_equals_the_first_stays_first():
    assert by_consensus([[6], [7], [8]], np.full(3, 1 / 3)) == [0, 1, 2]


def test_a_candidate_counts_as_its_score_says_and_a_sample_like_any_other():
    np.testing.assert_allclose(
        shares([-1.0, -2.0, -900.0], sampled=False), [1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0.0]
    )
    np.testing.assert_allclose(shares([-1.0, -2.0, -900.0], sampled=True), [1 / 3] * 3)


@pytest.mark.parametrize("order", ["best", "l2r", "mid"])
def test_what_is_found_is_the_same_and_comes_by_consensus(model, order):
    options = {"order": order, "beam_size": 4, "n_best": 4}
    plain = generate(model, SOURCES, **options)
    agreed = generate(model, SOURCES, **options, rank_by="consensus")

    def rows(generation, row):
        return [
            (tuple(ids[ids != 0]), score, log_prob, name)
            for ids, score, log_prob, name in zip(*(part[row] for part in generation), strict=True)
        ]

    moved = 0
    for row in range(len(SOURCES)):
        before, after = rows(plain, row), rows(agreed, row)
        moved += before != after
        if order == "best":  # these were cut: more candidates than four
            continue
        assert sorted(before) == sorted(after)
        weights = shares([entry[1] for entry in before], sampled=False)
        found = by_consensus([entry[0] for entry in before], weights)
        assert after == [before[place] for place in found]
    assert moved


def test_best_asks_for_the_consensus_of_what_all_orders_propose(model):
    orders = ("l2r", "r2l", "mid")
    alone = [generate(model, SOURCES, order=order, beam_size=1) for order in orders]
    agreed = generate(model, SOURCES, order="best", beam_size=1, rank_by="consensus")

    for row, source in enumerate(SOURCES):
        proposed = list({tuple(one.ids[row, 0][one.ids[row, 0] != 0]) for one in alone})
        sources, targets = [source] * len(proposed), [list(ids) for ids in proposed]
        log_probs = np.mean([score(model, sources, targets, order=one) for one in orders], axis=0)
        scores = log_probs / [len(ids) + 1 for ids in proposed]
        by_score = np.argsort(-scores, kind="stable")
        ranked = [proposed[place] for place in by_score]
        first = by_consensus(ranked, shares(scores[by_score], sampled=False))[0]
        assert tuple(agreed.ids[row, 0][agreed.ids[row, 0] != 0]) == ranked[first]


def test_samples_count_equally(model):
    options = {"order": "l2r", "beam_size": 6, "n_best": 6, "temperature": 1.0, "seed": 3}
    plain = generate(model, SOURCES, **options)
    agreed = generate(model, SOURCES, **options, rank_by="consensus")

    for row in range(len(SOURCES)):
        samples = [tuple(ids[ids != 0]) for ids in plain.ids[row]]
        found = by_consensus(samples, np.full(6, 1 / 6))
        assert [tuple(ids[ids != 0]) for ids in agreed.ids[row]] == [samples[i] for i in found]


def test_an_unknown_ranking_is_refused(model):
    with pytest.raises(ValueError, match="`rank_by` must be one of score, consensus, received"):
        generate(model, SOURCES, rank_by="votes")
