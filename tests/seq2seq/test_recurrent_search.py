"""The search of the recurrent network: alone, in pairs, and over all pairs as the series has it."""

import itertools

import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled
from kooler.seq2seq import generate, score, stretches
from kooler.seq2seq.order import ORDERS, layout
from kooler.seq2seq.recurrent import mean_of
from kooler.seq2seq.reserved_ids import EOS, PAD, RESERVED
from tests.seq2seq.small_model import small_pair, small_recurrent

LETTERS = (6, 7)
SOURCE = [6, 7, 7]
LIMIT = 3


def test_the_mean_is_of_probabilities_and_of_those_who_are_there():
    p = np.array([[0.5, 0.5], [0.1, 0.9], [0.3, 0.7]])
    logits = ops.convert_to_tensor(np.log(p)[None, None].astype("float32"))  # one row, 3 partners
    found = [
        np.exp(ops.convert_to_numpy(mean_of(logits, ops.convert_to_tensor(np.array([there])))))
        for there in ([True, True, False], [False, False, True], [False, False, False])
    ]

    np.testing.assert_allclose(found[0][0, 0], [0.3, 0.7], rtol=1e-6)
    np.testing.assert_allclose(found[1][0, 0], [0.3, 0.7], rtol=1e-6)
    np.testing.assert_allclose(found[2][0, 0], [0.3, 0.7], rtol=1e-6)  # 0.9 / 3, 2.1 / 3


class Pairs:
    """p of the next token of one stream beside another, each time from the whole network."""

    def __init__(self, model):
        def decode(source, target):
            order = np.array([[ORDERS.index("l2r"), ORDERS.index("r2l")]], "int32")
            streams = layout(target, ops.convert_to_tensor(order))
            logits, _ = model.decode_together(streams, model.encode(source))
            return ops.softmax(logits[0], axis=-1)

        self.function = compiled(decode, model.variables)
        self.known = {}

    def __call__(self, left, right, side):
        if (left, right) not in self.known:
            target = np.zeros((1, 2, LIMIT), "int32")
            target[0, 0, : len(left)] = left
            target[0, 1, : len(right)] = right[::-1]
            source = np.array([[*SOURCE, 0, 0, 0, 0, 0]], "int32")
            self.known[left, right] = ops.convert_to_numpy(self.function(source, target))
        return self.known[left, right][side, len(left)].astype("float64")


def brute_force(pairs, each):
    """The search over all pairs with lists: streams, and log p of each, best first."""
    beams, pools, done = [[((), 0.0)], [((), 0.0)]], ([], []), [False, False]
    for time in range(LIMIT + 1):
        new = []
        for side, other in ((0, 1), (1, 0)):
            ways = []
            for stream, log_prob in beams[side]:
                partners = [partner for partner, _ in beams[other]]
                beside = [(stream, p) if side == 0 else (p, stream) for p in partners]
                p = np.mean([pairs(*both, side) for both in beside], axis=0)
                ways += [
                    (log_prob + np.log(p[token]), stream, token)
                    for token in ((EOS, *LETTERS) if time < LIMIT else (EOS,))
                ]
            ways.sort(key=lambda way: -way[0])
            if not done[side]:
                pools[side].extend((s, lp) for lp, s, token in ways[:each] if token == EOS)
            new.append([((*s, t), lp) for lp, s, t in ways if t != EOS][:each])
        beams = new
        for side in (0, 1):
            kept = sorted(pools[side], key=cost)[:each]
            best_open = max((log_prob for _, log_prob in beams[side]), default=-np.inf)
            enough = len(kept) == each and max(log_prob for _, log_prob in kept) >= best_open
            done[side] = done[side] or enough or not beams[side]
        if all(done):
            break
    kept = [
        (stream[::-1] if side else stream, log_prob)
        for side in (0, 1)
        for stream, log_prob in sorted(pools[side], key=cost)[:each]
    ]
    return sorted(kept, key=cost)


def cost(item):
    stream, log_prob = item
    return -log_prob / (len(stream) + 1)


@pytest.mark.compiles
@pytest.mark.parametrize("seed", range(4))
def test_the_mean_over_all_pairs_is_that_of_brute_force(seed):
    model = small_recurrent(RESERVED + 2, layers=1, seed=seed, leaky=True, max_length=LIMIT)
    # a small beam, whose hypotheses change partners all the time
    found = generate(model, [SOURCE], order="best", beam_size=4, n_best=4, partners="all")
    expected = brute_force(Pairs(model), each=2)

    rows = [tuple(row[row != PAD].tolist()) for row in found.ids[0, : len(expected)]]
    assert rows == [stream for stream, _ in expected]
    np.testing.assert_allclose(
        found.log_probs[0, : len(expected)], [lp for _, lp in expected], atol=1e-5
    )


@pytest.mark.compiles
def test_pairs_of_equal_rank_are_something_else():
    model = small_recurrent(RESERVED + 2, layers=1, leaky=True, max_length=LIMIT)
    options = {"order": "best", "beam_size": 4, "n_best": 2}

    rank = generate(model, [SOURCE], **options)
    every = generate(model, [SOURCE], partners="all", **options)

    assert abs(rank.log_probs - every.log_probs).max() > 1e-3
    greedy = [
        generate(model, [SOURCE], order="best", beam_size=2, n_best=2, partners=partners)
        for partners in ("rank", "all")
    ]  # one hypothesis each way has one partner
    np.testing.assert_allclose(greedy[0].log_probs, greedy[1].log_probs, atol=1e-5)


@pytest.mark.compiles
def test_a_wide_beam_finds_the_best_of_an_honest_model():
    model = small_recurrent(RESERVED + 2, layers=1, seed=1)
    space = [list(t) for n in range(4) for t in itertools.product(LETTERS, repeat=n)]
    for order in model.orders:
        scores = score(model, [SOURCE] * 15, space, order=order) / [len(t) + 1 for t in space]
        found = generate(
            model, [SOURCE], order=order, beam_size=30, n_best=15, max_length=3,
            early_stopping=False,
        )  # fmt: skip

        np.testing.assert_allclose(found.scores[0], np.sort(scores)[::-1], rtol=1e-5, atol=1e-5)
    best = generate(model, [SOURCE], order="best", beam_size=4, max_length=3)
    assert set(best.orders[0]) <= {"l2r", "r2l"}


@pytest.mark.compiles
def test_a_source_is_treated_alike_alone_and_among_others():
    model = small_recurrent(14, layers=1, leaky=True)
    sources = [[6, 7, 8], [9, 9, 10, 13, 6, 7, 12], [], [11]]
    together = generate(model, sources, beam_size=4, n_best=3, partners="all")
    for row, source in enumerate(sources[:2]):
        alone = generate(model, [source], beam_size=4, n_best=3, partners="all")

        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-5, atol=1e-5)
        for place in range(3):
            mine, other = together.ids[row, place], alone.ids[0, place]
            assert mine[mine != PAD].tolist() == other[other != PAD].tolist()


@pytest.mark.compiles
@pytest.mark.parametrize("leaky", [False, True], ids=["honest", "leaky"])
def test_a_state_grows_with_its_search(leaky, monkeypatch):
    monkeypatch.setattr(stretches, "FIRST_STEPS", 2)
    model = small_recurrent(14, layers=1, leaky=leaky, max_length=9)

    found = generate(model, [SOURCE], order="r2l", beam_size=3, n_best=3, min_length=7)

    targets = [row[row != PAD].tolist() for row in found.ids[0]]
    log_probs = score(model, [SOURCE] * 3, targets, order="r2l")
    np.testing.assert_allclose(found.log_probs[0], log_probs, atol=1e-5)
    assert min(map(len, targets)) >= 7


@pytest.mark.parametrize(
    ("make", "order"),
    [(small_pair, "best"), (small_recurrent, "best"), (small_recurrent, "l2r")],
    ids=["two streams", "honest", "one direction"],
)
def test_all_pairs_are_refused_where_there_are_none(make, order):
    with pytest.raises(ValueError, match="`partners='all'` needs order='best' and a model with"):
        generate(make(12, layers=1), [SOURCE], order=order, partners="all")


def test_unknown_partners_are_refused():
    with pytest.raises(ValueError, match="`partners` must be one of rank, all, received partners="):
        generate(small_recurrent(12, layers=1), [SOURCE], partners="best")
