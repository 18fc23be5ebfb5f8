"""The search is checked without a model: on random language models whose every sequence is known.

The toy's state is a hash of all tokens so far, so a state that does not follow its hypothesis gives
wrong scores; a table holds log p(token | hash) for each slot of a step.
"""

import itertools
from functools import cache

import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled
from kooler.seq2seq.continuations import IMPOSSIBLE, POSSIBLE
from kooler.seq2seq.order import ORDERS, START_TAGS, sentence_of, tokens_per_step
from kooler.seq2seq.reserved_ids import EOS, L2R, PAD, RESERVED
from kooler.seq2seq.rules import Rules, check_search
from kooler.seq2seq.search import search

STATES = 61
VOCABULARY = RESERVED + 3
LETTERS = range(RESERVED, VOCABULARY)
BATCH = 3


def tables_of(seed, sharpness=1.5):
    """Log-probabilities [BATCH, states, slots, V] over EOS and three letters."""
    generator = np.random.default_rng(seed)
    scores = sharpness * generator.standard_normal((BATCH, STATES, 2, VOCABULARY))
    scores[..., [token for token in range(RESERVED) if token != EOS]] = IMPOSSIBLE
    return (scores - np.log(np.exp(scores).sum(-1, keepdims=True))).astype("float32")


def next_state(state, tokens):
    """The hash after one more step; for integers and for tensors."""
    for token in tokens:
        state = (state * 7 + token + 3) % STATES
    return state


@cache
def searcher(order, rules):
    """A compiled search over toy tables, in one order."""
    per_step = tokens_per_step(order)

    def run(tables, banned, *noise):
        rows = ops.reshape(ops.arange(BATCH, dtype="int32"), (BATCH, 1))
        flat = ops.reshape(tables, (BATCH * STATES, 2, VOCABULARY))[:, :per_step]

        def step(state, inputs, time):
            tokens = [ops.cast(inputs[:, :, slot], "int32") for slot in range(per_step)]
            state = ops.reshape(state, (BATCH, rules.beam_size))
            state = ops.where(ops.equal(time, 0), state, next_state(state, tokens))
            found = ops.take(flat, rows * STATES + state, axis=0)  # [B, K, C, V]
            return found, ops.reshape(state, (-1,))

        start = ops.broadcast_to(
            ops.convert_to_tensor(np.array(START_TAGS[order], "int32")), (BATCH, per_step)
        )
        state = ops.zeros((BATCH * rules.beam_size,), dtype="int32")
        return tuple(search(step, state, start, rules, banned=banned, noise=(*noise, None)[0]))

    return compiled(run, [])


def found_by(order, rules, tables, banned=(), noise=()):
    """For each sentence the list of (tokens, log p, score), best first."""
    forbidden = np.zeros(VOCABULARY, "float32")
    forbidden[list(banned)] = 1
    pool = [ops.convert_to_numpy(p) for p in searcher(order, rules)(tables, forbidden, *noise)]
    tokens, log_probs, scores, _ = pool
    return [
        [
            (tuple(tokens[row, place][tokens[row, place] != PAD].tolist()), *values)
            for place, values in enumerate(zip(log_probs[row], scores[row], strict=True))
            if values[1] > POSSIBLE
        ]
        for row in range(BATCH)
    ]


def continuations(table, per_step, state, written, rules):
    """Every (tokens of the next step, log p, finished) after `written` tokens, in plain Python."""

    def allowed(slot):
        full, short = written + slot >= rules.max_length, written + slot < rules.min_length
        return [t for t in (EOS, *LETTERS) if not (full and t != EOS) and not (short and t == EOS)]

    for first in allowed(0):
        cost = float(table[state, 0, first])
        if first == EOS or per_step == 1:
            yield (() if first == EOS else (first,)), cost, first == EOS
            continue
        for second in allowed(1):
            both = cost + float(table[state, 1, second])
            yield ((first,) if second == EOS else (first, second)), both, second == EOS


def score_of(log_prob, length, rules):
    return log_prob / (length + 1) ** rules.length_penalty


def reference_beam_search(table, order, rules):
    """The specification: the loop of the module's docstring, one sentence, lists and tuples."""
    per_step, beam_size = tokens_per_step(order), rules.beam_size
    beam, pool = [((), 0, 0.0)], []  # stream, state, log p
    while goes_on(beam, pool, rules):
        ways = []
        for stream, state, log_prob in beam:
            for tokens, cost, finished in continuations(table, per_step, state, len(stream), rules):
                ways.append((log_prob + cost, stream + tokens, state, tokens, finished))
        ways.sort(key=lambda way: -way[0])
        for log_prob, stream, _, _, finished in ways[:beam_size]:
            if finished:
                pool.append((stream, log_prob, score_of(log_prob, len(stream), rules)))
        beam = [
            (stream, next_state(state, tokens), log_prob)
            for log_prob, stream, state, tokens, finished in ways
            if not finished
        ][:beam_size]
    return sorted(pool, key=lambda item: -item[2])[:beam_size]


def goes_on(beam, pool, rules):
    """Whether another step is due: the rules of `early_stopping`."""
    if not beam or len(pool) < rules.beam_size or not rules.early_stopping:
        return bool(beam)
    kept = sorted(pool, key=lambda item: -item[2])[: rules.beam_size]
    most_probable = max(log_prob for _, log_prob, _ in kept)
    return rules.early_stopping == "best" and most_probable < max(item[2] for item in beam)


def all_sequences(table, order, rules):
    """Every complete stream with its log-probability."""
    per_step, found, waiting = tokens_per_step(order), [], [((), 0, 0.0)]
    while waiting:
        stream, state, log_prob = waiting.pop()
        for tokens, cost, finished in continuations(table, per_step, state, len(stream), rules):
            if finished:
                found.append((stream + tokens, log_prob + cost))
            else:
                waiting.append((stream + tokens, next_state(state, tokens), log_prob + cost))
    return found


def assert_same(found, expected):
    assert [tokens for tokens, *_ in found] == [tokens for tokens, *_ in expected]
    for mine, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine[1:], wanted[1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("order", "rules"),
    [
        ("l2r", Rules(beam_size=1, max_length=5)),
        ("l2r", Rules(beam_size=3, max_length=6, length_penalty=0.6)),
        ("r2l", Rules(beam_size=4, max_length=5, min_length=2, length_penalty=1.4)),
        ("l2r", Rules(beam_size=2, max_length=6, early_stopping=False)),
        ("l2r", Rules(beam_size=3, max_length=6, early_stopping=True)),
        ("mid", Rules(beam_size=1, max_length=5)),
        ("mid", Rules(beam_size=3, max_length=6, length_penalty=0.6)),
        ("mid", Rules(beam_size=4, max_length=5, min_length=2)),
        ("mid", Rules(beam_size=4, max_length=5, early_stopping=True)),
    ],
)
def test_the_compiled_search_is_the_plain_one(order, rules):
    for seed in range(12):
        tables = tables_of(seed)
        found = found_by(order, rules, tables)
        for row in range(BATCH):
            assert_same(found[row], reference_beam_search(tables[row], order, rules))


@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_a_beam_as_wide_as_the_space_finds_the_most_probable_sequence(order):
    rules = Rules(beam_size=40, max_length=3, length_penalty=1.0)
    for seed in range(3):
        tables = tables_of(seed)
        found = found_by(order, rules, tables)
        for row in range(BATCH):
            everything = all_sequences(tables[row], order, rules)
            best = max(everything, key=lambda item: score_of(item[1], len(item[0]), rules))
            assert len(found[row]) == len(everything) == 40
            assert found[row][0][0] == best[0]


def test_a_beam_that_goes_on_is_never_worse_than_one_that_stops_early():
    early = Rules(beam_size=2, max_length=6, early_stopping=True)
    patient = early._replace(early_stopping=False)
    better = 0
    for seed in range(30):
        tables = tables_of(seed)
        for stopped, went_on in zip(
            found_by("l2r", early, tables), found_by("l2r", patient, tables), strict=True
        ):
            assert went_on[0][2] >= stopped[0][2] - 1e-6
            better += went_on[0][2] > stopped[0][2] + 1e-6

    assert better > 0


@pytest.mark.parametrize(("stops", "found"), [(True, False), ("best", True), (False, True)])
def test_what_the_model_is_sure_of_is_not_lost_to_what_ends_sooner(stops, found):
    word = [LETTERS[0], LETTERS[1], LETTERS[2], LETTERS[1], LETTERS[0]]
    table = np.full((STATES, 2, VOCABULARY), -12.0, "float32")
    table[:, 0, EOS] = -9.0  # anything else may end at once
    state = 0
    for token in word:
        table[state, 0, token], table[state, 0, EOS] = -0.001, -9.0
        state = next_state(state, [token])
    table[state, 0, EOS] = -0.001
    tables = np.broadcast_to(table, (BATCH, *table.shape)).copy()

    best = found_by("l2r", Rules(beam_size=3, max_length=6, early_stopping=stops), tables)[0][0]

    assert (list(best[0]) == word) == found


def test_an_unknown_end_is_refused():
    with pytest.raises(
        ValueError, match="`early_stopping` must be 'best', True or False, received"
    ):
        check_search(Rules(early_stopping="soon"), "l2r", 1, ORDERS)


def test_a_finished_hypothesis_pays_for_nothing_afterwards():
    """Finished beams that keep adding log p of what follows EOS lose to longer, worse sequences."""
    table = np.full((STATES, 2, VOCABULARY), IMPOSSIBLE, "float32")
    a, b, c = LETTERS
    rows = {
        0: {a: 0.6, b: 0.4},
        next_state(0, [a]): {EOS: 1.0},  # "a" then the end: p = 0.6
        next_state(0, [b]): {c: 1.0},
        next_state(next_state(0, [b]), [c]): {EOS: 1.0},  # "b c" then the end: p = 0.4
    }
    for state, tokens in rows.items():
        for token, probability in tokens.items():
            table[state, 0, token] = np.log(probability)
    tables = np.broadcast_to(table, (BATCH, *table.shape)).copy()
    for beam_size in (1, 2):
        rules = Rules(beam_size=beam_size, max_length=6, length_penalty=0.0)
        best = found_by("l2r", rules, tables)[0][0]

        assert best[0] == (a,)
        np.testing.assert_allclose(best[1], np.log(0.6), rtol=1e-5)


def test_a_scripted_step_spells_its_word():
    word = [RESERVED, RESERVED + 2, RESERVED + 1, RESERVED + 1]
    for order in ORDERS:
        per_step = tokens_per_step(order)
        stream = word if order == "l2r" else word[::-1]
        stream = [word[0], word[3], word[1], word[2]] if order == "mid" else stream
        table = np.full((STATES, 2, VOCABULARY), -9.0, "float32")
        state = 0
        for first in range(0, 4, per_step):
            tokens = stream[first : first + per_step]
            for slot, token in enumerate(tokens):
                table[state, slot, token] = -0.01
            state = next_state(state, tokens)
        table[state, :, EOS] = -0.01
        tables = np.broadcast_to(table, (BATCH, *table.shape)).copy()
        rules = Rules(beam_size=3, max_length=6, early_stopping=False)
        best = found_by(order, rules, tables)[0][0]

        assert sentence_of(np.array(best[0]), order).tolist() == word, order


def test_banned_tokens_are_not_written():
    rules, banned = Rules(beam_size=3, max_length=6, length_penalty=0.6), LETTERS[1]
    tables = tables_of(5)
    for order in ("l2r", "mid"):
        usual = found_by(order, rules, tables)
        found = found_by(order, rules, tables, banned=[banned])

        assert any(banned in tokens for row in usual for tokens, *_ in row)
        assert all(banned not in tokens for row in found for tokens, *_ in row)


@pytest.mark.parametrize("order", ["l2r", "mid"])
def test_samples_follow_the_distribution(order):
    rules = Rules(beam_size=64, max_length=2, temperature=1.0)
    tables = np.repeat(tables_of(1)[:1], BATCH, axis=0)
    generator = np.random.default_rng(0)
    counts = {}
    for _ in range(20):
        noise = generator.random((3, BATCH, 64, tokens_per_step(order)), dtype="float32")
        for row in found_by(order, rules, tables, noise=[noise]):
            for tokens, log_prob, _ in row:
                counts.setdefault(tokens, [0, log_prob])[0] += 1
    exact = dict(all_sequences(tables[0], order, rules))
    drawn = sum(count for count, _ in counts.values())

    assert drawn == 20 * BATCH * 64
    for tokens, (count, log_prob) in counts.items():
        np.testing.assert_allclose(log_prob, exact[tokens], rtol=1e-4, atol=1e-5)
        expected, spread = np.exp(exact[tokens]), np.sqrt(np.exp(exact[tokens]) / drawn)
        if len(tokens) < 2:  # at the limit the rest of the probability is on a forced end
            assert abs(count / drawn - expected) < 5 * spread, (tokens, count / drawn, expected)


def test_sampling_among_the_most_probable_token_alone_is_greedy():
    greedy = found_by("l2r", Rules(beam_size=1, max_length=5), tables_of(3))
    noise = np.random.default_rng(0).random((6, BATCH, 4, 1), dtype="float32")
    for truncation in ({"top_k": 1}, {"top_p": 1e-6}):
        rules = Rules(beam_size=4, max_length=5, temperature=2.0, **truncation)
        for row, wanted in zip(
            found_by("l2r", rules, tables_of(3), noise=[noise]), greedy, strict=True
        ):
            assert {tokens for tokens, *_ in row} == {wanted[0][0]}


def test_a_nucleus_holds_the_smallest_set_that_reaches_the_probability():
    probabilities = {LETTERS[0]: 0.5, LETTERS[1]: 0.3, LETTERS[2]: 0.15, EOS: 0.05}
    table = np.full((STATES, 2, VOCABULARY), IMPOSSIBLE, "float32")
    for token, probability in probabilities.items():
        table[:, 0, token] = np.log(probability)
    tables = np.broadcast_to(table, (BATCH, *table.shape)).copy()
    noise = np.random.default_rng(0).random((2, BATCH, 64, 1), dtype="float32")
    rules = Rules(beam_size=64, max_length=1, temperature=1.0, top_p=0.7)
    found = found_by("l2r", rules, tables, noise=[noise])
    letters = [tokens[0] for row in found for tokens, *_ in row]

    assert set(letters) == {LETTERS[0], LETTERS[1]}  # 0.5 < 0.7 <= 0.5 + 0.3
    assert 0.5 < letters.count(LETTERS[0]) / len(letters) < 0.75  # 0.5 / 0.8 = 0.625


def test_a_done_sentence_is_frozen_while_others_go_on():
    rules = Rules(beam_size=3, max_length=6, length_penalty=0.6)
    tables = tables_of(9)
    alone = [
        found_by("l2r", rules, np.repeat(tables[row : row + 1], BATCH, 0))[0] for row in range(3)
    ]
    together = found_by("l2r", rules, tables)
    lengths = {max(len(tokens) for tokens, *_ in row) for row in together}

    assert len(lengths) > 1  # the sentences end at different steps
    for row in range(BATCH):
        assert_same(together[row], alone[row])


def test_start_tags_are_what_the_first_step_reads():
    seen = []

    def step(state, inputs, time):
        seen.append(ops.shape(inputs))
        return ops.zeros((1, 2, 1, VOCABULARY)), state

    start = ops.full((1, 1), L2R, dtype="int32")
    banned = ops.zeros((VOCABULARY,))
    pool = search(step, ops.zeros((2,)), start, Rules(beam_size=2, max_length=1), banned=banned)

    assert seen[0] == (1, 2, 1)
    assert tuple(pool.tokens.shape) == (1, 2, 2)


def test_every_pair_of_letters_is_reached_in_two_steps():
    rules = Rules(beam_size=40, max_length=3)
    found = {tokens for tokens, *_ in found_by("mid", rules, tables_of(0))[0]}

    assert set(itertools.product(LETTERS, repeat=2)) <= found
