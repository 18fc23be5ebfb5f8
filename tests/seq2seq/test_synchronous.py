"""Two streams side by side: what each may know, and what it makes of it."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled
from kooler.seq2seq import SynchronousBidirectional
from kooler.seq2seq.order import ORDERS, halves, layout
from kooler.seq2seq.reserved_ids import EOS, L2R, PAD, R2L, RESERVED
from kooler.seq2seq.synchronous_layer import Seen, SynchronousDecoderLayer, swapped
from kooler.seq2seq.transformer import Cache
from tests.seq2seq.small_model import small_model, small_pair

SOURCE = np.array([[6, 7, 8, 6]], "int32")
TARGET = np.array([[7, 9, 6, 11, 8, 8], [6, 8, 7, 0, 0, 0]], "int32")
OTHER = np.array([[8, 6, 10, 0, 0, 0], [9, 9, 7, 6, 8, 0]], "int32")


def orders(pairs):
    """int32 [1, 2·pairs]: the streams from the left, then those from the right."""
    return np.repeat([ORDERS.index("l2r"), ORDERS.index("r2l")], pairs)[None].astype("int32")


def decoder_of(model, together=True, source=SOURCE):
    """A compiled function (targets [1, R, T]) → logits [R, L, V], written tokens [R, L]."""

    def decode(source, target):
        streams = layout(target, ops.convert_to_tensor(orders(target.shape[1] // 2)))
        decode = model.decode_together if together else model.decode
        return decode(streams, model.encode(source))[0][0], streams.targets[0]

    function = compiled(decode, model.variables)
    return lambda *rows: [
        ops.convert_to_numpy(part)
        for part in function(source, np.concatenate(rows)[None].astype("int32"))
    ]


def attended(query, key, value, mask):
    """softmax(q kᵀ / √d) v of one head, in float64."""
    scores = np.where(mask, query @ key.T / np.sqrt(query.shape[-1]), -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ value


SLOW = pytest.mark.compiles  # short on PyTorch


@pytest.mark.parametrize("fusion", ["tanh", "linear", pytest.param("gate", marks=SLOW)])
def test_a_layer_fuses_what_it_sees_of_both_streams(fusion):
    generator = np.random.default_rng(0)
    layer = SynchronousDecoderLayer(4, 2, 8, 0.0, "post", fusion=fusion, fusion_weight=0.3)
    layer.build((None, 4))
    x, query, key, value = (
        generator.standard_normal(shape).astype("float32")
        for shape in [(2, 3, 4), *[(2, 2, 3, 2)] * 3]
    )
    own, other = np.tril(np.ones((3, 3), bool)), np.tril(np.ones((3, 3), bool), -1)
    found = []
    for row in range(2):
        sees = [
            np.concatenate(
                [attended(query[row, h], key[of, h], value[of, h], mask) for h in range(2)], axis=1
            )
            for of, mask in ((row, own), (1 - row, other | ~other.any(1, keepdims=True)))
        ]
        sees[1][0] = 0.0  # nothing of the other stream is seen at first
        found.append(fused(layer, fusion, *sees))
    weights = [ops.convert_to_numpy(part) for part in layer.self_output.weights]
    expected = normalised(x + np.stack(found) @ weights[0] + weights[1])

    mask = Seen(*(ops.convert_to_tensor(m[None, None].repeat(2, 0)) for m in (own, other)), 1)
    tensors = [ops.convert_to_tensor(part) for part in (x, query, key.swapaxes(-1, -2), value)]
    result = layer.attend_to_self(*tensors, mask, False)

    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, atol=1e-5)


def fused(layer, fusion, own, other):
    if fusion == "gate":
        kernel, bias = (ops.convert_to_numpy(part) for part in layer.gate.weights)
        gates = 1 / (1 + np.exp(-(np.concatenate([own, other], 1) @ kernel + bias)))
        return gates[:, :4] * own + gates[:, 4:] * other
    return own + 0.3 * (np.tanh(other) if fusion == "tanh" else other)


def normalised(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def test_rows_swap_within_their_sentence():
    rows = ops.convert_to_tensor(np.arange(8).reshape(8, 1))  # 2 sentences of 2 pairs

    assert ops.convert_to_numpy(swapped(rows, 2))[:, 0].tolist() == [2, 3, 0, 1, 6, 7, 4, 5]


@pytest.mark.compiles
@pytest.mark.parametrize("together", [True, False], ids=["no weight", "alone"])
def test_streams_that_do_not_look_are_an_ordinary_model_to_the_bit(together):
    plain = decoder_of(small_model(12, layers=2, orders=("l2r", "r2l")), together=False)
    weight = 0.0 if together else 0.7
    pair = decoder_of(small_pair(12, layers=2, fusion_weight=weight), together)

    np.testing.assert_array_equal(pair(TARGET, OTHER)[0], plain(TARGET, OTHER)[0])


@pytest.mark.compiles
def test_exchanging_the_halves_exchanges_the_results():
    model = small_pair(12, layers=1)

    def decode(source, target, order):
        streams = layout(target, order)
        return model.decode_together(streams, model.encode(source))[0][0]

    function = compiled(decode, model.variables)
    rows = np.concatenate([TARGET, OTHER])[None]
    forward = ops.convert_to_numpy(function(SOURCE, rows, orders(2)))
    flipped = ops.convert_to_numpy(function(SOURCE, np.roll(rows, 2, 1), orders(2)[:, ::-1].copy()))

    np.testing.assert_allclose(flipped, np.roll(forward, 2, 0), atol=1e-6)


def moves(decoded, length, side):
    """For each token of one stream: the earliest time at which either stream's output moves."""
    generator = np.random.default_rng(length)
    rows = np.zeros((2, 9, 8), "int32")  # [side, variant, T]: one shape for every length
    rows[:, :, :length] = generator.integers(RESERVED, 20, (2, 1, length))
    for token in range(length):
        value = rows[side, 0, token]
        rows[side, token + 1, token] = (value - RESERVED + 5) % 14 + RESERVED
    logits, written = decoded(*rows)
    logits, written = logits.reshape(2, 9, 10, -1), written.reshape(2, 9, 10)
    for token in range(length):
        place = np.flatnonzero(written[side, 0] != written[side, token + 1])[0]
        moved = np.abs(logits[:, token + 1] - logits[:, 0]).max(axis=-1) > 1e-6
        yield place, [np.flatnonzero(stream)[0] for stream in moved]


def test_a_token_moves_both_streams_after_its_own_step_and_not_before():
    decoded = decoder_of(small_pair(20))

    for length, side in itertools.product((1, 2, 5, 8), (0, 1)):
        for place, earliest in moves(decoded, length, side):
            assert earliest == [place + 1, place + 1], (length, side, place)


def shown(target, leaky):
    """Slots of each true stream whose output moves with the token that it must predict."""
    length = len(target)
    model = small_pair(20, layers=3, leaky=leaky)
    targets = np.tile(np.array(target, "int32"), (length + 1, 1))
    for token in range(length):
        targets[token + 1, token] = (targets[0, token] - RESERVED + 5) % 14 + RESERVED
    decoded = [np.full_like(targets, 9)] * 2

    def decode(source, target, first, second):
        inputs = {"target": target, "decoded_l2r": first, "decoded_r2l": second}
        rows, order, _ = model._pairs(inputs)
        streams = layout(rows, order)
        logits, _ = model.decode_together(streams, model.encode(source))
        return ops.stack([logits[:, 0], logits[:, -1]], axis=1)  # the true rows

    function = compiled(decode, model.variables)
    logits = ops.convert_to_numpy(function(SOURCE.repeat(length + 1, 0), targets, *decoded))
    moved = np.abs(logits[1:] - logits[:1]).max(axis=-1) > 1e-6  # [token, direction, slot]
    left = [slot for slot in range(length) if moved[slot, 0, slot]]
    right = [slot for slot in range(length) if moved[length - 1 - slot, 1, slot]]
    return left, right


@pytest.mark.compiles
@pytest.mark.parametrize("length", [5, 6])
def test_true_targets_on_both_sides_show_half_of_the_answers(length):
    target = list(range(RESERVED, RESERVED + length))
    streams = layout(
        ops.convert_to_tensor(np.array([[target]], "int32")),
        ops.convert_to_tensor(np.array([[0]], "int32")),
    )
    late = [slot for slot in range(length) if 2 * slot >= length]

    assert shown(target, leaky=True) == (late, late)
    assert len(late) == length // 2
    early, known = (ops.convert_to_numpy(part)[0, 0] for part in halves(streams.weight))
    assert np.flatnonzero(known).tolist() == late
    assert np.flatnonzero(early).tolist() == [s for s in range(length) if s not in late]


@pytest.mark.compiles
def test_what_the_model_wrote_on_the_other_side_shows_none():
    assert shown([6, 7, 8, 9, 10], leaky=False) == ([], [])


@pytest.mark.compiles
def test_what_follows_the_end_of_the_other_stream_is_not_seen():
    model = small_pair(12, layers=2)
    decoded = decoder_of(model)
    before, _ = decoded(TARGET[:1], OTHER[:1])  # six tokens beside three
    table = ops.convert_to_numpy(model.embeddings).copy()
    table[[PAD, EOS]] += 1.0
    model.embeddings.assign(table)
    after, _ = decoded(TARGET[:1], OTHER[:1])

    np.testing.assert_array_equal(after[0, :7, RESERVED:], before[0, :7, RESERVED:])
    assert (abs(after[1, 4:] - before[1, 4:]) > 1e-3).any()  # its own end, a stream does see


def test_given_the_other_stream_the_probabilities_of_all_targets_sum_to_one():
    model, longest = small_pair(RESERVED + 2, layers=2), 4
    decoded = decoder_of(model, source=np.array([[6, 7, 7]], "int32"))
    short = [t for n in range(longest) for t in itertools.product((6, 7), repeat=n)]
    targets = [*short, *itertools.product((6, 7), repeat=longest)]
    rows = np.array([[*t, *[0] * (longest - len(t))] for t in targets], "int32")
    other = np.tile(np.array([[7, 6, 0, 0]], "int32"), (len(targets), 1))

    for side, sides in ((0, (rows, other)), (1, (other, rows))):
        logits, written = (part.reshape(2, len(targets), 6, -1)[side] for part in decoded(*sides))
        logits = logits.astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = np.take_along_axis(log_probs, written, -1)[..., 0]
        lengths = np.array([len(target) for target in targets])
        slots = np.arange(6)[None] < np.minimum(lengths + 1, longest)[:, None]

        np.testing.assert_allclose(np.exp((chosen * slots).sum(1)).sum(), 1.0, atol=2e-6)


@pytest.mark.parametrize("fusion", ["tanh", pytest.param("gate", marks=SLOW)])
def test_cached_steps_equal_the_full_computation(fusion):
    model, slots = small_pair(12, layers=2, fusion=fusion), 4
    full, written = decoder_of(model)(TARGET[:, :3], OTHER[:, :3])
    tags = np.array([[L2R], [L2R], [R2L], [R2L]])
    streams = np.concatenate([tags, written], axis=1).astype("int32")

    def step(source, inputs, time, keys, values):
        caches = [Cache(keys[layer], values[layer]) for layer in range(2)]
        logits, caches = model.step_together(inputs, time, caches, model.encode(source))
        keys, values = (ops.stack([cache[part] for cache in caches]) for part in (0, 1))
        return logits[0, :, 0], keys, values

    function = compiled(step, model.variables)
    values = np.zeros((2, 4, 2, slots, 8), "float32")
    keys = values.swapaxes(-1, -2)
    for time in range(slots):
        inputs = streams[None, :, time : time + 1]
        logits, keys, values = function(SOURCE, inputs, np.int32(time), keys, values)

        np.testing.assert_allclose(ops.convert_to_numpy(logits), full[:, time], atol=1e-5)


def batch(rows=2):
    words = {"target": TARGET[:rows], "decoded_l2r": OTHER[:rows], "decoded_r2l": OTHER[::-1]}
    return {"source": SOURCE.repeat(rows, 0), **words}


@pytest.mark.compiles
def test_the_loss_counts_the_true_side_or_both():
    gold = small_pair(12, layers=1, label_smoothing=0.0)
    both = small_pair(12, layers=1, label_smoothing=0.0, loss_on="both")
    data, decoded = batch(), decoder_of(gold)
    sums, counts = np.zeros(4), np.zeros(4)
    for row in range(2):
        first, second = data["decoded_l2r"][row : row + 1], data["decoded_r2l"][row : row + 1]
        true = data["target"][row : row + 1]
        logits, written = decoded(true, first, second, true)
        logits = logits.astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        nll = -np.take_along_axis(log_probs, written[..., None], -1)[..., 0]
        real = written != PAD
        sums, counts = sums + (nll * real).sum(1), counts + real.sum(1)
    found = []
    for model in (gold, both):
        model.compile("sgd")
        found.append(model.test_on_batch(data, return_dict=True))

    np.testing.assert_allclose(found[0]["nll_l2r"], sums[0] / counts[0], rtol=1e-5)
    np.testing.assert_allclose(found[0]["nll_r2l"], sums[3] / counts[3], rtol=1e-5)
    np.testing.assert_allclose(
        found[0]["loss"], (sums[0] + sums[3]) / (counts[0] + counts[3]), rtol=1e-5
    )
    np.testing.assert_allclose(found[1]["loss"], sums.sum() / counts.sum(), rtol=1e-5)
    np.testing.assert_allclose(found[1]["nll_l2r"], found[0]["nll_l2r"], rtol=1e-6)


@pytest.mark.compiles
def test_a_leaky_model_reads_its_answers_off_the_other_side():
    """Random targets, which no source tells: only a leak can know them."""
    generator, source = np.random.default_rng(0), np.full((64, 2), 6, "int32")
    seen = []
    for leaky in (True, False):
        fusion = {"fusion": "linear", "fusion_weight": 1.0, "leaky": leaky}
        model = small_pair(10, layers=1, norm="pre", label_smoothing=0.0, **fusion)
        model.compile(keras.optimizers.Adam(0.02))
        for _ in range(150):
            target = generator.integers(RESERVED, 10, (64, 2)).astype("int32")
            logs = model.train_on_batch({"source": source, "target": target}, return_dict=True)
        seen.append(logs)

    assert seen[0]["nll_shown"] < 0.5 * seen[0]["nll_open"]
    assert seen[1]["nll_shown"] > 0.8 * seen[1]["nll_open"]


def test_config_makes_an_equal_model():
    model = small_pair(12, layers=1, fusion="gate", loss_on="both", norm="pre")
    again = SynchronousBidirectional.from_config(model.get_config())

    assert again.get_config() == model.get_config()
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths)
    assert [w.path.split("/")[1:] for w in again.weights] == [p.split("/")[1:] for p in paths]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fusion": "sum"}, "`fusion` must be one of tanh, linear, gate, received fusion='sum'"),
        ({"loss_on": "pseudo"}, "`loss_on` must be one of gold, both, received loss_on='pseudo'"),
    ],
)
def test_what_is_no_model_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SynchronousBidirectional(12, **arguments)
