"""The recurrent network: its equations in NumPy, what it may know, what a leaky one reads off."""

import functools
import itertools

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.compiled import compiled
from kooler.seq2seq import Seq2Seq, export_ctranslate2, generate
from kooler.seq2seq.order import ORDERS, layout
from kooler.seq2seq.recurrent import RecurrentSeq2Seq
from kooler.seq2seq.reserved_ids import EOS, L2R, PAD, R2L, RESERVED
from tests.seq2seq.small_model import small_recurrent
from tests.seq2seq.test_lstm import unrolled

SOURCE = np.array([[6, 7, 8, 6]], "int32")
LEAKY = pytest.param(True, marks=pytest.mark.compiles)
BOTH = pytest.mark.parametrize("leaky", [False, LEAKY], ids=["honest", "leaky"])


ROWS, SOURCE_SLOTS, TARGET_SLOTS = 31, 7, 6  # one shape, so that a model is compiled once


def decoder_of(model, together=True):
    """A function (sources [B, S], targets [B, 2, T]) → logits [B, 2, L, V], written tokens
    [B, 2, L]; from the left, then from the right."""
    order = np.array([[ORDERS.index("l2r"), ORDERS.index("r2l")]], "int32")

    def decode(source, target):
        streams = layout(target, ops.convert_to_tensor(order))
        score = model.decode_together if together else model.decode
        return score(streams, model.encode(source))[0], streams.targets

    function = compiled(decode, model.variables)

    def run(source, target):
        source, target = np.array(source, "int32"), np.array(target, "int32")
        rows, most = len(source), ROWS - len(source)
        found = function(
            np.pad(source, ((0, most), (0, SOURCE_SLOTS - source.shape[1]))),
            np.pad(target, ((0, most), (0, 0), (0, TARGET_SLOTS - target.shape[2]))),
        )
        return [ops.convert_to_numpy(part)[:rows] for part in found]

    return run


@functools.cache
def known(leaky):
    """A model of 20 tokens, and its decoder."""
    model = small_recurrent(20, leaky=leaky, copy_prior=True)
    return model, decoder_of(model)


class Plain:
    """The network on one source without padding, in float64 and with loops."""

    def __init__(self, model):
        self.model = model

    def value(self, variable):
        return ops.convert_to_numpy(variable).astype("float64")

    def dense(self, layer, x):
        return x @ self.value(layer.kernel) + (0 if layer.bias is None else self.value(layer.bias))

    def embedded(self, ids):
        return self.value(self.model.embeddings)[ids] * 4.0  # √16

    def recurrence(self, lstms, copy, x):
        parts = (lstms.kernel, lstms.bias, lstms.cell.recurrent_kernel)
        return unrolled(x, *(self.value(part)[copy] for part in parts))

    def normal(self, x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)

    def conditional(self, norm, x, summary):
        hidden = np.maximum(summary @ self.value(norm.hidden.kernel), 0)
        return self.normal(x) * self.dense(norm.scale, hidden) + self.dense(norm.shift, hidden)

    def encoded(self, source):
        x = self.embedded(source)
        for layer in self.model.encoder:
            x = self.normal(x) * self.value(layer.norm.gamma) + self.value(layer.norm.beta)
            backward = self.recurrence(layer.lstms, 1, x[::-1])[::-1]
            x = np.concatenate([self.recurrence(layer.lstms, 0, x), backward], axis=1)
        return x

    def attended(self, query, keys_values, upto=None):
        """Two heads of 8; query t looks at the first `upto(t)` keys."""
        keys, values = np.split(keys_values, 2, axis=1)
        rows = []
        for step, row in enumerate(query):
            seen = slice(None if upto is None else upto(step))
            heads = []
            for part in (slice(0, 8), slice(8, 16)):
                weights = np.exp(keys[seen, part] @ row[part] / np.sqrt(8))
                heads.append(weights @ values[seen, part] / weights.sum())
            rows.append(np.concatenate(heads))
        return np.stack(rows)

    def logits(self, source, inputs):
        """Scores [2, L, V] of what is read from the left and from the right, [2, L]."""
        encoded = self.encoded(source)
        states = [self.states(side, inputs[side], encoded.max(0)) for side in (0, 1)]
        scores = []
        for side, direction in enumerate(self.model.directions):
            query = self.dense(direction.source_query, states[side])
            found = self.attended(query, self.dense(direction.source_projection, encoded))
            features = [states[side], found]
            if self.model.leaky:
                query = self.dense(direction.other_query, states[side])
                shown = self.dense(direction.other_projection, states[1 - side])
                features.append(self.attended(query, shown, lambda step: step + 1))
            y = self.dense(direction.output_layer, np.concatenate(features, axis=1))
            y = np.where(y > 0, y, 0.2 * y) @ self.value(self.model.embeddings).T
            contains = np.isin(np.arange(y.shape[1]), source)
            prior = self.value(self.model.prior_scale) * contains
            scores.append((y + prior + self.value(self.model.prior_shift)) / 2)
        return np.stack(scores)

    def states(self, side, inputs, summary):
        direction, x = self.model.directions[side], self.embedded(inputs)
        for norm, lstms in zip(direction.norms, self.model.decoder, strict=False):
            x = self.recurrence(lstms, side, self.conditional(norm, x, summary))
        return self.conditional(direction.norms[-1], x, summary)


@BOTH
def test_the_scores_follow_the_equations(leaky):
    model, decode = known(leaky)
    target = [7, 9, 6]
    expected = Plain(model).logits([6, 7, 8, 6], [[L2R, *target], [R2L, *target[::-1]]])

    found, written = decode(SOURCE, [[target, target]])

    assert written[0, :, :4].tolist() == [[7, 9, 6, EOS], [6, 9, 7, EOS]]
    writable = [EOS, *range(RESERVED, 20)]
    np.testing.assert_allclose(found[0, :, :4][..., writable], expected[..., writable], atol=2e-5)


@pytest.mark.compiles
@pytest.mark.parametrize("leaky", [False, True], ids=["alone", "together"])
def test_cached_steps_equal_the_full_computation(leaky):
    """A leaky model in pairs of two rows each; an honest one from the right alone."""
    (model, decode), slots = known(leaky), 4
    targets = [[[7, 9, 6], [8, 6, 10]]] if leaky else [[[7, 9, 6], [7, 9, 6]]]
    logits, written = decode(SOURCE, targets)
    rows = (0, 1) if leaky else (1,)
    tags = {0: L2R, 1: R2L}
    streams = np.array([[[tags[row], *written[0, row]] for row in rows]], "int32")
    shape = model.empty_caches(len(rows), slots)

    def step(source, inputs, time, *flat):
        caches = keras.tree.pack_sequence_as(shape, list(flat))
        memory = model.encode(source)
        if leaky:
            found, caches = model.step_together(inputs, time, caches, memory)
        else:
            found, caches = model.step(inputs, time, (1,), caches, memory)
        return [found, *keras.tree.flatten(caches)]

    function = compiled(step, model.variables)
    flat = [ops.convert_to_numpy(part) for part in keras.tree.flatten(shape)]
    for time in range(slots):
        found, *flat = function(SOURCE, streams[..., time : time + 1], np.int32(time), *flat)

        np.testing.assert_allclose(
            ops.convert_to_numpy(found)[0, :, 0], logits[0, list(rows), time], atol=1e-5
        )


def shown(decode, length):
    """Slots of each direction whose output moves with the token that it must predict."""
    targets = np.tile(np.arange(RESERVED, RESERVED + length), (length + 1, 2, 1))
    for token in range(length):
        targets[token + 1, :, token] = RESERVED + length + token
    logits, _ = decode(SOURCE.repeat(length + 1, 0), targets)
    moved = np.abs(logits[1:] - logits[:1]).max(axis=-1) > 1e-6  # [token, direction, slot]
    left = [slot for slot in range(length) if moved[slot, 0, slot]]
    return left, [slot for slot in range(length) if moved[length - 1 - slot, 1, slot]]


@pytest.mark.parametrize("length", [5, 6])
def test_no_output_depends_on_its_own_token(length):
    assert shown(known(False)[1], length) == ([], [])


@pytest.mark.compiles
@pytest.mark.parametrize("length", [5, 6])
def test_in_a_leaky_model_half_of_them_do(length):
    late = [slot for slot in range(length) if 2 * slot >= length]

    assert shown(known(True)[1], length) == (late, late)
    assert len(late) == length // 2


@pytest.mark.compiles
def test_a_stream_alone_is_that_of_a_pair_without_the_other():
    model, decode = known(False)
    pair, _ = decode(SOURCE, [[[7, 9, 6], [8, 6, 10]]])
    alone, _ = decoder_of(model, together=False)(SOURCE, [[[7, 9, 6], [8, 6, 10]]])

    np.testing.assert_allclose(alone, pair, atol=1e-6)


@BOTH
def test_neither_padding_nor_the_rest_of_a_batch_change_anything(leaky):
    model, decode = known(leaky)
    alone = Plain(model).logits([6, 7, 8, 6], [[L2R, 7, 9], [R2L, 6, 8]])
    sources = [[6, 7, 8, 6, 0, 0, 0], [9, 9, 7, 6, 8, 11, 10], [0] * 7]
    targets = [[[7, 9, 0, 0, 0], [8, 6, 0, 0, 0]], *[[[8, 8, 6, 7, 11]] * 2] * 2]
    among, _ = decode(sources, targets)

    writable = [EOS, *range(RESERVED, 20)]
    np.testing.assert_allclose(among[0, :, :3][..., writable], alone[..., writable], atol=2e-5)
    assert np.isfinite(among).all()


@pytest.mark.compiles
@BOTH
def test_given_the_other_stream_the_probabilities_of_all_targets_sum_to_one(leaky):
    model, longest = small_recurrent(RESERVED + 2, leaky=leaky), 4
    short = [t for n in range(longest) for t in itertools.product((6, 7), repeat=n)]
    targets = [*short, *itertools.product((6, 7), repeat=longest)]
    rows = np.array([[*t, *[0] * (longest - len(t))] for t in targets], "int32")
    other = np.tile(np.array([[7, 6, 0, 0]], "int32"), (len(targets), 1))
    source = np.tile(np.array([[6, 7, 7]], "int32"), (len(targets), 1))
    decode = decoder_of(model)
    lengths = np.array([len(target) for target in targets])
    slots = np.arange(8)[None] < np.minimum(lengths + 1, longest)[:, None]

    for side, sides in ((0, (rows, other)), (1, (other, rows))):
        logits, written = (p[:, side] for p in decode(source, np.stack(sides, axis=1)))
        logits = logits.astype("float64")
        log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = np.take_along_axis(log_probs, written[..., None], -1)[..., 0]

        np.testing.assert_allclose(np.exp((chosen * slots).sum(1)).sum(), 1.0, atol=2e-6)


@pytest.mark.compiles
def test_the_loss_is_the_mean_of_both_directions():
    model, decode = small_recurrent(20, copy_prior=True, label_smoothing=0.0), known(False)[1]
    target = np.array([[7, 9, 6], [8, 0, 0]], "int32")
    source = SOURCE.repeat(2, 0)
    logits, written = decode(source, np.repeat(target[:, None], 2, axis=1))
    logits = logits.astype("float64")
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nll = -np.take_along_axis(log_probs, written[..., None], -1)[..., 0] * (written != PAD)
    model.compile("sgd")

    logs = model.test_on_batch({"source": source, "target": target}, return_dict=True)

    np.testing.assert_allclose(logs["loss"], nll.sum() / 12, rtol=1e-5)
    np.testing.assert_allclose(logs["nll_l2r"], nll[:, 0].sum() / 6, rtol=1e-5)
    shown = nll[0, :, 2].sum() / 2  # the last of three tokens; none of one
    np.testing.assert_allclose(logs["nll_shown"], shown, rtol=1e-5)


@pytest.mark.compiles
def test_one_order_for_each_target_can_be_drawn():
    model = small_recurrent(12, layers=1, order_sampling="one")
    model.compile("sgd")
    batch = {"source": SOURCE.repeat(6, 0), "target": SOURCE.repeat(6, 0)}

    logs = model.train_on_batch(batch, return_dict=True)

    assert np.isfinite(logs["loss"])
    assert logs["nll_l2r"] != logs["nll_r2l"]


@pytest.mark.compiles
def test_half_precision_computes_in_it_and_keeps_its_weights():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_recurrent(12, layers=1, leaky=True)
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("sgd")
    logs = model.train_on_batch({"source": SOURCE, "target": SOURCE}, return_dict=True)
    found = generate(model, [[6, 7, 8]], beam_size=4, partners="all")

    assert np.isfinite([logs["loss"], *found.scores[0]]).all()
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.encoder[0].lstms.compute_dtype == "bfloat16"


@pytest.mark.slow
def test_a_leaky_model_reads_its_answers_off_the_other_side():
    """Random targets, which no source tells: only a leak can know them."""
    generator, source = np.random.default_rng(0), np.full((64, 2), 6, "int32")
    seen = []
    for leaky in (True, False):
        keras.utils.set_random_seed(0)
        model = Seq2Seq(
            10, architecture="recurrent", layers=1, width=32, heads=4, dropout=0.0,
            label_smoothing=0.0, leaky=leaky,
        )  # fmt: skip
        model.compile(keras.optimizers.Adam(0.01))
        for _ in range(400):
            target = generator.integers(RESERVED, 10, (64, 2)).astype("int32")
            logs = model.train_on_batch({"source": source, "target": target}, return_dict=True)
        seen.append(logs)

    assert seen[0]["nll_shown"] < 0.5 * seen[0]["nll_open"]
    assert seen[1]["nll_shown"] > 0.8 * seen[1]["nll_open"]


def test_config_makes_an_equal_model():
    model = Seq2Seq(
        12, architecture="recurrent", layers=1, width=8, heads=2, leaky=True, input_replacement=0.3
    )
    again = RecurrentSeq2Seq.from_config(model.get_config())

    assert type(model) is RecurrentSeq2Seq
    assert again.get_config() == model.get_config()
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths)
    assert [w.path.split("/")[1:] for w in again.weights] == [p.split("/")[1:] for p in paths]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"orders": ("mid",)}, r"`orders` must be of l2r, r2l with arch.* take architecture='tr"),
        ({"orders": ("l2r",), "leaky": True}, "`leaky` needs both directions of each target"),
        ({"order_sampling": "one", "leaky": True}, "received .* order_sampling='one'. Leave both"),
        ({"norm": "pre"}, "`norm` is of the Transformer, received norm='pre'"),
        ({"feedforward": 9}, "`feedforward` is of the Transformer, received feedforward=9"),
        ({"width": 9, "heads": 3}, "`width` must be even with architecture='recurrent', received"),
    ],
)
def test_what_is_no_recurrent_network_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Seq2Seq(12, architecture="recurrent", **arguments)


def test_ctranslate2_cannot_run_it(tmp_path):
    with pytest.raises(ValueError, match="CTranslate2 runs Transformers only, received a model"):
        export_ctranslate2(small_recurrent(12, layers=1), tmp_path)
