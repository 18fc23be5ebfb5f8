import itertools

import keras
import numpy as np
import pytest
from keras import ops

import kooler.seq2seq.model as model_module
from kooler.core.compiled import compiled
from kooler.seq2seq import Seq2Seq, generate, score
from kooler.seq2seq.order import ORDERS, SIDES, START_TAGS, layout, tokens_per_step
from kooler.seq2seq.reserved_ids import EOS, RESERVED
from kooler.seq2seq.scoring import candidate_scores
from kooler.seq2seq.transformer import Cache
from tests.seq2seq.small_model import small_model

SOURCE = np.array([[6, 7, 8, 6, 0, 0], [8, 8, 7, 6, 7, 6]], "int32")
TARGET = np.array([[7, 6, 8, 8, 7], [6, 8, 7, 0, 0]], "int32")


def decoder_of(model):
    """A compiled function (source, targets [N, T], order) → logits, written tokens, times."""

    def decode(source, target, order):
        streams = layout(target[None], order)
        logits, _ = model.decode(streams, model.encode(source))
        return logits[0], streams.targets[0], streams.time[0]

    function = compiled(decode, model.variables)

    def decoded(target, order, source=SOURCE[:1]):
        number = np.array([[ORDERS.index(order)]], "int32")
        return [ops.convert_to_numpy(part) for part in function(source, target, number)]

    return decoded


def leaks(decoded, order, length):
    """Pairs (changed token, slot) whose slot should not know the token but whose output moves."""
    generator = np.random.default_rng(length)
    target = np.zeros((9, 8), "int32")  # one shape for every length: one compilation
    target[:, :length] = generator.integers(RESERVED, 20, length)
    for token in range(length):
        target[token + 1, token] = (target[0, token] - RESERVED + 5) % 14 + RESERVED
    logits, written, time = decoded(target, order)
    time = time[0]
    found = []
    for token in range(length):
        place = np.flatnonzero(written[0] != written[token + 1])[0]  # the slot that predicts it
        moved = np.abs(logits[token + 1] - logits[0]).max(axis=-1) > 1e-6
        assert moved[time > time[place]].any()
        found += [(token, slot) for slot in np.flatnonzero(moved & (time <= time[place]))]
    return found


def test_no_output_depends_on_a_token_of_its_own_step_or_later():
    decoded = decoder_of(small_model(20))

    for order, length in itertools.product(ORDERS, (1, 2, 5, 8)):
        assert leaks(decoded, order, length) == [], (order, length)


def test_the_leak_test_catches_a_mask_that_shows_one_step_too_many(monkeypatch):
    def leaky(query_time, key_time):
        return ops.less_equal(key_time[..., None, :], query_time[..., :, None] + 1)

    monkeypatch.setattr(model_module, "visible", leaky)
    decoded = decoder_of(small_model(20))

    for order in ORDERS:
        assert leaks(decoded, order, 5), order


def test_the_probabilities_of_all_sequences_sum_to_one():
    model, longest = small_model(RESERVED + 2, layers=1), 4
    decoded, source = decoder_of(model), np.array([[6, 7, 7]], "int32")
    shorter = [
        list(tokens)
        for length in range(longest)
        for tokens in itertools.product((6, 7), repeat=length)
    ]
    targets = [[tuple(tokens) for tokens in shorter]]  # all orders in one compilation
    scores = candidate_scores(model, source, targets, ORDERS, most=len(shorter))[0]
    prefixes = np.array(list(itertools.product((6, 7), repeat=longest)), "int32")
    for index, order in enumerate(ORDERS):
        logits, written, _ = decoded(prefixes, order, source)
        chosen = np.take_along_axis(log_softmax(logits), written[..., None], -1)[:, :longest, 0]
        finished, longer = np.exp(scores[index]).sum(), np.exp(chosen.sum(axis=1)).sum()

        assert min(finished, longer) > 0.05
        np.testing.assert_allclose(finished + longer, 1.0, atol=2e-6, err_msg=order)


@pytest.mark.parametrize(("norm", "orders", "layers"), [("post", ORDERS, 1), ("pre", ("mid",), 2)])
def test_cached_steps_equal_the_full_computation(norm, orders, layers):
    model = small_model(12, norm=norm, copy_prior=True, layers=layers)
    target = np.array([[7, 9, 6, 11, 8, 8]], "int32")
    decoded = decoder_of(model)
    for order in orders:
        full, written, _ = decoded(target, order, SOURCE[1:])
        stream = np.concatenate([START_TAGS[order], written[0]]).astype("int32")

        np.testing.assert_allclose(
            stepwise(model, stream, order), full[0], rtol=1e-5, atol=1e-5, err_msg=order
        )


def stepwise(model, stream, order):
    """Logits [slots, V] of a stream, one cached step after the other."""
    per_step, slots, found = tokens_per_step(order), 8, []

    def step(source, inputs, time, keys, values):
        caches = [Cache(keys[layer], values[layer]) for layer in range(len(model.decoder))]
        logits, caches = model.step(inputs, time, SIDES[order], caches, model.encode(source))
        return (
            logits[0, 0],
            ops.stack([c.keys for c in caches]),
            ops.stack([c.values for c in caches]),
        )

    function = compiled(step, model.variables)
    values = np.zeros((len(model.decoder), 1, 2, slots, 8), "float32")
    keys = values.swapaxes(-1, -2)
    for time in range(slots // per_step):
        inputs = stream[None, None, time * per_step : (time + 1) * per_step]
        logits, keys, values = function(SOURCE[1:], inputs, np.int32(time), keys, values)
        found.append(ops.convert_to_numpy(logits))
    return np.concatenate(found)


def log_softmax(logits):
    logits = logits.astype("float64")
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture(scope="module")
def smoothed():
    """One compiled model, its decoder, and what it reports of the batch: compiled once for all."""
    model = small_model(12, layers=1, label_smoothing=0.2)
    model.compile("sgd")
    decoded, scores = decoder_of(model), {}
    for row, order in itertools.product(range(2), ORDERS):
        length = np.count_nonzero(TARGET[row])
        logits, written, _ = decoded(TARGET[row : row + 1], order, SOURCE[row : row + 1])
        scores[row, order] = log_softmax(logits[0, : length + 1]), written[0, : length + 1]
    logs = model.test_on_batch({"source": SOURCE, "target": TARGET}, return_dict=True)
    return model, scores, logs


def test_the_loss_is_label_smoothed_cross_entropy_by_token(smoothed):
    _, scores, logs = smoothed
    total, count = 0.0, 0
    for log_probs, written in scores.values():
        allowed = log_probs[:, [EOS, *range(RESERVED, 12)]]
        right = log_probs[np.arange(len(written)), written]
        total -= (0.8 * right + 0.2 * allowed.mean(-1)).sum()
        count += len(written)

    np.testing.assert_allclose(logs["loss"], total / count, rtol=1e-5)


def test_the_metrics_are_the_scores_of_each_order(smoothed):
    _, scores, logs = smoothed

    for order in ORDERS:
        rows = [scores[row, order] for row in range(2)]
        total = sum(found[np.arange(len(written)), written].sum() for found, written in rows)
        np.testing.assert_allclose(logs[f"nll_{order}"], -total / (5 + 1 + 3 + 1), rtol=1e-5)


def test_padding_changes_nothing(smoothed):
    model, _, logs = smoothed
    model.reset_metrics()
    wide = {
        "source": np.pad(SOURCE, ((0, 2), (0, 3))),  # two rows without a pair, three columns more
        "target": np.pad(TARGET, ((0, 2), (0, 2))),
    }
    padded = model.test_on_batch(wide, return_dict=True)

    for name, value in logs.items():
        np.testing.assert_allclose(padded[name], value, rtol=1e-5, err_msg=name)


def test_the_copy_prior_is_added_to_every_slot():
    model = small_model(12, copy_prior=True, layers=1)
    with_prior, _, _ = decoder_of(model)(TARGET[:1], "l2r")
    model.copy_prior = False
    without, _, _ = decoder_of(model)(TARGET[:1], "l2r")
    scale, shift = (ops.convert_to_numpy(v) for v in (model.prior_scale, model.prior_shift))
    contains = np.isin(np.arange(12), [0, 6, 7, 8])  # padding too: it is never written
    ids = [EOS, *range(RESERVED, 12)]
    expected = (without[0] + scale * contains + shift) / 2

    np.testing.assert_allclose(with_prior[0][:, ids], expected[:, ids], rtol=1e-5, atol=1e-5)


@pytest.mark.compiles
@pytest.mark.parametrize("sampling", ["all", "one"])
def test_r_drop_costs_nothing_without_dropout_and_something_with(sampling):
    losses = {}
    for dropout, r_drop in ((0.0, 0.0), (0.0, 5.0), (0.3, 5.0)):
        model = small_model(12, layers=1, dropout=dropout, r_drop=r_drop, order_sampling=sampling)
        model.compile("sgd")
        inputs = {"source": SOURCE.repeat(8, 0), "target": TARGET.repeat(8, 0)}
        parts = model(
            {name: ops.convert_to_tensor(ids) for name, ids in inputs.items()}, training=True
        )
        losses[dropout, r_drop] = ops.convert_to_numpy(model.compute_loss(y_pred=parts))
        assert parts["nll"].shape[0] == (32 if r_drop else 16)

    if sampling == "all":
        np.testing.assert_allclose(losses[0.0, 5.0], losses[0.0, 0.0], rtol=1e-6)
    assert losses[0.3, 5.0] > losses[0.0, 5.0] + 0.1


@pytest.mark.compiles
def test_gradients_do_not_pile_up_between_steps():
    """Two weights with one path: PyTorch would then forget to clear the gradient of one of them."""
    batch = {"source": SOURCE, "target": TARGET}
    model = small_model(12, layers=1)
    model.compile(keras.optimizers.SGD(0.1))
    model.train_on_batch(batch)
    fresh = small_model(12, layers=1)
    fresh.compile(keras.optimizers.SGD(0.1))
    for mine, other in zip(fresh.variables, model.variables, strict=True):
        mine.assign(ops.copy(other.value))
    model.train_on_batch(batch)
    fresh.train_on_batch(batch)

    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths)
    for mine, other in zip(fresh.trainable_variables, model.trainable_variables, strict=True):
        expected, found = ops.convert_to_numpy(mine), ops.convert_to_numpy(other)
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=other.path)


@pytest.mark.compiles
def test_one_order_at_a_time_draws_each_of_them():
    model = small_model(12, layers=1, order_sampling="one")
    model.compile("sgd")
    batch = {"source": SOURCE.repeat(32, 0), "target": TARGET.repeat(32, 0)}
    drawn = ops.convert_to_numpy(model._orders(64, training=True))
    model.train_on_batch(batch)
    counts = {name: int(tracker.count) for name, tracker in model.trackers.items()}

    assert drawn.shape == (64, 1)
    assert set(drawn.ravel().tolist()) == {0, 1, 2}
    assert sum(counts.values()) == 64 * 5 and 0 not in counts.values()
    assert tuple(model._orders(64, training=False).shape) == (1, 3)


@pytest.mark.compiles
def test_two_vocabularies_have_two_tables():
    model = small_model(30, layers=1, target_vocabulary_size=12)
    model.compile("sgd")
    logs = model.train_on_batch({"source": SOURCE + 15, "target": TARGET}, return_dict=True)

    assert tuple(model.source_embeddings.shape) == (30, 16)
    assert tuple(model.embeddings.shape) == (12, 16)
    assert np.isfinite(logs["loss"])


def test_a_model_learns_to_copy_in_every_order():
    model = small_model(12, layers=1, norm="pre", label_smoothing=0.0)
    model.compile(keras.optimizers.Adam(0.01))
    batch = {"source": SOURCE, "target": TARGET}
    for _ in range(200):
        model.train_on_batch(batch)
    model.reset_metrics()
    logs = model.test_on_batch(batch, return_dict=True)

    for order in ORDERS:
        assert logs[f"nll_{order}"] < 0.1, logs


def test_config_makes_an_equal_model_and_weights_travel_by_file(tmp_path):
    model = small_model(12, layers=1, norm="pre", copy_prior=True, orders=("mid", "l2r"))
    again = Seq2Seq.from_config(model.get_config())
    model.save_weights(tmp_path / "model.weights.h5")
    again.load_weights(tmp_path / "model.weights.h5")

    assert again.get_config() == model.get_config()
    for mine, other in zip(again.weights, model.weights, strict=True):
        assert mine.path.split("/")[1:] == other.path.split("/")[1:]
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (mine, other)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "huge"}, "`size` must be one of tiny, small, base, received size='huge'"),
        ({"r_drop": -1.0}, "`r_drop` must be at least 0, received r_drop=-1.0"),
        ({"orders": ()}, "`orders` must name each order at most once and at least one"),
        ({"orders": ("l2r", "l2r")}, "`orders` must name each order at most once"),
        ({"orders": ("left",)}, "`order` must be one of l2r, r2l, mid, received order='left'"),
        ({"architecture": "mlp"}, "`architecture` must be one of transformer, recurrent, received"),
        ({"norm": "none"}, "`norm` must be one of post, pre"),
        ({"order_sampling": "two"}, "`order_sampling` must be one of all, one"),
        ({"width": 10, "heads": 4}, "`heads` must divide `width`, received heads=4, width=10"),
        ({"copy_prior": True, "target_vocabulary_size": 9}, "`copy_prior` needs one vocabulary"),
        ({"source_vocabulary_size": 6}, "must be more than the 6 reserved ids, received 6"),
    ],
)
def test_a_setting_that_makes_no_model_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Seq2Seq(**({"source_vocabulary_size": 20} | arguments))


@pytest.mark.compiles
def test_quantisation_is_refused_and_leaves_the_model_as_it_was():
    model = small_model(layers=1)
    with pytest.raises(ValueError, match=r"`quantize` is not for Seq2Seq.*export_ctranslate2"):
        model.quantize("int8")

    assert {str(variable.dtype) for variable in model.weights} == {"float32"}


def test_half_precision_trains_writes_and_scores():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_model(12, layers=1)
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.01))
    logs = model.train_on_batch({"source": SOURCE, "target": TARGET}, return_dict=True)
    found = generate(model, SOURCE, order="mid", beam_size=2, max_length=4)
    targets = [row[row != 0].tolist() for row in found.ids[:, 0]]
    exact = score(model, SOURCE, targets, order="mid")

    assert model.compute_dtype == "bfloat16"
    assert model.embeddings.dtype == "float32"
    assert np.isfinite(logs["loss"])
    np.testing.assert_allclose(found.log_probs[:, 0], exact, rtol=0.05, atol=0.05)
