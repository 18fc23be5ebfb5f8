"""The search in both directions, on toy language models and on small real ones.

A toy hypothesis has a hash of what it wrote and of what it saw on the other side, so a cache that
does not follow its hypothesis, or a wrong partner, gives wrong scores.
"""

import itertools
from functools import cache

import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled
from kooler.seq2seq import generate, score
from kooler.seq2seq.continuations import POSSIBLE
from kooler.seq2seq.order import ORDERS, layout
from kooler.seq2seq.reserved_ids import EOS, L2R, PAD, R2L, RESERVED
from kooler.seq2seq.rules import Rules
from kooler.seq2seq.synchronous_search import synchronous_search
from tests.seq2seq.small_model import small_pair
from tests.seq2seq.test_search import (
    BATCH,
    STATES,
    VOCABULARY,
    next_state,
    score_of,
    tables_of,
)

SOURCES = [[6, 7, 8], [9, 9, 10, 13, 6, 7, 12], [], [11], [8, 6]]
LETTERS = range(RESERVED, VOCABULARY)


def mixed(own, other):
    """The hash of a hypothesis that has seen another; for integers and for tensors."""
    return (own * 5 + other * 3 + 1) % STATES


class Toy:
    """What the search asks of a model; its weights are a table [BATCH, states, 2, V]."""

    variables, compute_dtype = (), "float32"

    def __init__(self, each):
        self.each = each

    def encode(self, source):
        return ops.reshape(source, (BATCH, STATES, 2, VOCABULARY))

    def empty_caches(self, rows, slots):
        return ops.zeros((rows,), dtype="int32")

    def step_together(self, inputs, time, state, tables):
        tokens = ops.reshape(ops.cast(inputs, "int32"), (BATCH, 2, self.each))
        state = ops.reshape(state, (BATCH, 2, self.each))
        state = ops.where(ops.equal(tokens, PAD), 0, next_state(state, [tokens]))
        there = ops.flip(ops.not_equal(tokens, PAD), axis=1)
        state = ops.where(there, mixed(state, ops.flip(state, axis=1)), state)
        side = ops.convert_to_tensor(np.arange(2, dtype="int32")[None, :, None])
        rows = ops.convert_to_tensor(np.arange(BATCH, dtype="int32")[:, None, None])
        flat = ops.reshape(tables, (BATCH * STATES * 2, VOCABULARY))
        logits = ops.take(flat, (rows * STATES + state) * 2 + side, axis=0)
        return ops.reshape(logits, (BATCH, 2 * self.each, 1, VOCABULARY)), ops.reshape(state, (-1,))


@cache
def searcher(rules):
    return synchronous_search(Toy((rules.beam_size + 1) // 2), rules)


def found_by(rules, tables):
    """For each sentence the list of (stream, log p, score, direction), best first."""
    limit = np.array(rules.max_length, "int32")
    parts = searcher(rules)(tables.reshape(BATCH, -1), limit)
    tokens, log_probs, scores, directions = (ops.convert_to_numpy(part) for part in parts)
    return [
        [
            (
                tuple(tokens[row, place][tokens[row, place] != PAD].tolist()),
                log_probs[row, place],
                scores[row, place],
                directions[row, place],
            )
            for place in np.flatnonzero(scores[row] > POSSIBLE)
        ]
        for row in range(BATCH)
    ]


def reference_search(table, rules):
    """The specification: two beams in step, lists and tuples, one sentence."""
    each, pools, done = (rules.beam_size + 1) // 2, ([], []), [False, False]
    beams = [[((), 0, 0.0, tag)] for tag in (L2R, R2L)]  # stream, hash, log p, what is read
    beams = [beam + [((), 0, -np.inf, beam[0][3])] * (each - 1) for beam in beams]  # same start
    while not all(done):
        states = [[next_state(state, [token]) for _, state, _, token in beam] for beam in beams]
        new = []
        for side, beam in enumerate(beams):
            ways = []
            for rank, (stream, _, log_prob, _) in enumerate(beam):
                state = states[side][rank]
                if rank < len(states[1 - side]):
                    state = mixed(state, states[1 - side][rank])
                for token in (EOS, *LETTERS):
                    if token == EOS or len(stream) < rules.max_length:
                        cost = float(table[state, side, token])
                        ways.append((log_prob + cost, stream, state, token))
            ways = sorted((way for way in ways if way[0] > -np.inf), key=lambda way: -way[0])
            if not done[side]:
                for log_prob, stream, _, token in ways[:each]:
                    if token == EOS:
                        pools[side].append(
                            (stream, log_prob, score_of(log_prob, len(stream), rules), side)
                        )
            ways = [way for way in ways if way[3] != EOS][:each]
            new.append(
                [((*s, token), state, log_prob, token) for log_prob, s, state, token in ways]
            )
        beams = new
        for side, beam in enumerate(beams):
            enough = rules.early_stopping and len(pools[side]) >= each
            if enough and rules.early_stopping == "best":
                kept = sorted(pools[side], key=lambda item: -item[2])[:each]
                best_open = max((item[2] for item in beams[side]), default=-np.inf)
                enough = max(item[1] for item in kept) >= best_open
            done[side] = done[side] or enough or not beam
    kept = [sorted(pool, key=lambda item: -item[2])[:each] for pool in pools]
    return sorted(kept[0] + kept[1], key=lambda item: -item[2])


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(Rules(beam_size=2, max_length=5), marks=pytest.mark.compiles),
        Rules(beam_size=4, max_length=6, length_penalty=0.6),
        pytest.param(Rules(beam_size=5, max_length=5), marks=pytest.mark.compiles),
        pytest.param(
            Rules(beam_size=4, max_length=5, early_stopping=False), marks=pytest.mark.compiles
        ),
        Rules(beam_size=4, max_length=5, early_stopping=True),
        pytest.param(Rules(beam_size=40, max_length=3), marks=pytest.mark.compiles),
    ],
    ids=["greedy", "four", "odd", "to the end", "first come", "wide"],
)
def test_the_compiled_search_is_the_plain_one(rules):
    directions = set()
    for seed in range(12):
        tables = tables_of(seed)
        for row, found in enumerate(found_by(rules, tables)):
            expected = reference_search(tables[row], rules)
            assert [item[0] for item in found] == [item[0] for item in expected], (seed, row)
            assert [item[3] for item in found] == [item[3] for item in expected]
            for mine, wanted in zip(found, expected, strict=True):
                np.testing.assert_allclose(mine[1:3], wanted[1:3], rtol=1e-5, atol=1e-5)
            directions.add(int(found[0][3]))

    assert directions == {0, 1}  # either side wins somewhere


@pytest.mark.compiles
def test_the_search_goes_on_until_both_sides_are_done():
    """The left side ends at once, badly; the right side needs three letters, and is far better."""
    table = np.full((STATES, 2, VOCABULARY), -1e9, "float32")
    a, b, c = LETTERS
    table[:, 0, [EOS, a, b, c]] = np.log([0.4, 0.3, 0.2, 0.1])
    table[:, 1, [EOS, a, b, c]] = np.log([0.01, 0.97, 0.01, 0.01])
    tokens, states = (L2R, R2L), (0, 0)
    for _ in range(4):
        left, right = (next_state(state, [t]) for state, t in zip(states, tokens, strict=True))
        states, tokens = (mixed(left, right), mixed(right, left)), (a, a)
    table[states[1], 1, [EOS, a, b, c]] = np.log([0.97, 0.01, 0.01, 0.01])
    tables = np.broadcast_to(table, (BATCH, *table.shape)).copy()

    first, second = found_by(Rules(beam_size=2, max_length=5), tables)[0]

    assert (first[0], first[3]) == ((a, a, a), 1)
    assert (second[0], second[3]) == ((), 0)
    np.testing.assert_allclose([first[2], second[2]], np.log([0.97, 0.4]), rtol=1e-5)


@pytest.mark.compiles
def test_without_a_look_at_each_other_a_wide_beam_finds_the_best_of_both():
    model = small_pair(RESERVED + 2, layers=1, seed=1, fusion_weight=0.0)
    source, space = (
        [6, 7, 7],
        [list(t) for n in range(4) for t in itertools.product((6, 7), repeat=n)],
    )
    each = [
        score(model, [source] * 15, space, order=order) / [len(t) + 1 for t in space]
        for order in model.orders
    ]
    found = generate(model, [source], order="best", beam_size=30, n_best=30, max_length=3)
    best = int(np.argmax(np.maximum(*each)))

    assert found.ids[0, 0][found.ids[0, 0] != PAD].tolist() == space[best]
    assert found.orders[0, 0] == model.orders[int(each[1][best] > each[0][best])]
    np.testing.assert_allclose(
        found.scores[0], np.sort(np.concatenate(each))[::-1], rtol=1e-5, atol=1e-5
    )


@pytest.mark.compiles
def test_greedy_pairs_are_those_of_the_full_computation():
    """Beam 2 is one hypothesis each way, so the partner never changes."""
    model, limit = small_pair(12, layers=2, max_length=5), 5

    def decode(source, target):
        order = np.array([[ORDERS.index("l2r"), ORDERS.index("r2l")]], "int32")
        streams = layout(target, ops.convert_to_tensor(order))
        logits, _ = model.decode_together(streams, model.encode(source))
        return ops.log_softmax(logits[0], axis=-1)

    function = compiled(decode, model.variables)
    found = generate(model, [[6, 7, 8]], order="best", beam_size=2, n_best=2)
    streams, ends = ([], []), {}
    for time in range(limit + 1):
        rows = np.zeros((1, 2, limit), "int32")
        rows[0, 0, :time], rows[0, 1, :time] = streams[0], streams[1][::-1]
        log_probs = ops.convert_to_numpy(function(np.array([[6, 7, 8, 0, 0, 0, 0, 0]]), rows))
        for side, stream in enumerate(streams):
            step = log_probs[side, time]
            if side not in ends and (step.argmax() == EOS or time == limit):
                slots = np.arange(time + 1)
                total = log_probs[side, slots, [*stream, EOS]].sum()
                ends[side] = list(stream), total / (time + 1)
            stream.append(int(np.where(np.arange(12) == EOS, -np.inf, step).argmax()))
            del stream[limit:]
    expected = sorted(ends.items(), key=lambda item: -item[1][1])
    for place, (side, (stream, value)) in enumerate(expected):
        written = found.ids[0, place][found.ids[0, place] != PAD].tolist()
        assert written == (stream[::-1] if side else stream)
        assert found.orders[0, place] == ("l2r", "r2l")[side]
        np.testing.assert_allclose(found.scores[0, place], value, rtol=1e-5, atol=1e-5)


@pytest.mark.compiles
def test_a_source_is_treated_alike_alone_and_among_others():
    model = small_pair(14, layers=1)
    together = generate(model, SOURCES, order="best", beam_size=4, n_best=3)
    for row, source in enumerate(SOURCES[:2]):
        alone = generate(model, [source], order="best", beam_size=4, n_best=3)

        np.testing.assert_array_equal(together.orders[row], alone.orders[0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], rtol=1e-5, atol=1e-5)
        for place in range(3):
            mine, other = together.ids[row, place], alone.ids[0, place]
            assert mine[mine != PAD].tolist() == other[other != PAD].tolist()


@pytest.mark.compiles
def test_samples_depend_on_the_seed_and_an_odd_beam_is_rounded_up():
    model = small_pair(14, layers=1)
    settings = {"order": "best", "beam_size": 3, "n_best": 3, "temperature": 1.0}
    first, again = (generate(model, SOURCES, **settings) for _ in range(2))
    other = generate(model, SOURCES, seed=1, **settings)

    np.testing.assert_array_equal(first.ids, again.ids)
    assert first.ids.shape != other.ids.shape or (first.ids != other.ids).any()
    assert np.isfinite(first.scores).all()


@pytest.mark.compiles
def test_one_direction_alone_is_written_too():
    model = small_pair(14, layers=1)
    found = generate(model, SOURCES, order="r2l", beam_size=2)
    targets = [row[row != PAD].tolist() for row in found.ids[:, 0]]

    np.testing.assert_allclose(
        found.log_probs[:, 0], score(model, SOURCES, targets, order="r2l"), rtol=1e-5, atol=1e-5
    )
    with pytest.raises(ValueError, match="must be one of l2r, r2l, best, received order='mid'"):
        generate(model, SOURCES, order="mid")
