"""Copying from where the model looks: the mixture, and the model around it."""

import keras
import numpy as np
import pytest
from keras import ops

from kooler.seq2seq import Seq2Seq, generate, score
from kooler.seq2seq.order import ORDERS, layout
from kooler.seq2seq.pointer import LEAST, Pointer, by_token
from kooler.seq2seq.reserved_ids import EOS, PAD, RESERVED
from kooler.seq2seq.settings import Settings
from kooler.seq2seq.vocabulary_loss import vocabulary_sums
from tests.seq2seq.small_model import small_model, small_pair

SOURCE = np.array([[7, 8, 7, 9, 11], [10, 6, 0, 0, 0]], "int32")
TARGET = np.array([[9, 7, 7], [6, 0, 0]], "int32")


def drawn(seed=0, rows=2, slots=3, heads=2, width=4, vocabulary=12):
    """Scores, a stream, attention and a gate of random numbers."""
    random = np.random.default_rng(seed)
    scores = random.standard_normal((2, rows, slots, vocabulary))
    x = random.standard_normal((2, rows, slots, width))
    attention = random.dirichlet(np.ones(5), (2, heads, rows * slots))
    pointer = Pointer()
    pointer.build(width)
    pointer.kernel.assign(random.standard_normal(width))
    pointer.bias.assign(random.standard_normal())
    return pointer, scores, x, attention


def expected(pointer, scores, x, attention):
    """The equation in float64, a loop over the places of the source."""
    kernel, bias = (ops.convert_to_numpy(v).astype("float64") for v in pointer.variables)
    gate = 1 / (1 + np.exp(-(x @ kernel + bias)))[..., None]
    share = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    looks = attention.mean(1).reshape(*scores.shape[:3], -1)
    copied = np.zeros_like(scores)
    for sentence, ids in enumerate(SOURCE):
        for place, token in enumerate(ids):
            copied[sentence, ..., token] += looks[sentence, ..., place]
    return np.log(gate * share + (1 - gate) * copied + LEAST)


def test_the_mixture():
    pointer, *given = drawn()

    found = pointer.call(*(part.astype("float32") for part in given), SOURCE)

    np.testing.assert_allclose(
        ops.convert_to_numpy(found), expected(pointer, *given), rtol=0, atol=2e-6
    )


def test_a_gate_that_is_open_copies_and_one_that_is_closed_does_not():
    pointer, scores, x, attention = drawn(rows=1, slots=1)
    given = [part.astype("float32") for part in (scores, 0 * x, attention)]

    pointer.bias.assign(-100.0)
    copied = np.exp(ops.convert_to_numpy(pointer.call(*given, SOURCE)))
    pointer.bias.assign(100.0)
    written = ops.convert_to_numpy(pointer.call(*given, SOURCE))

    looks = attention.mean(1)[0, 0]
    np.testing.assert_allclose(copied[0, 0, 0, 7], looks[0] + looks[2], rtol=1e-6)
    np.testing.assert_allclose(copied[0, 0, 0, 6], 0, atol=1e-9)
    np.testing.assert_allclose(written, ops.convert_to_numpy(ops.log_softmax(scores)), atol=1e-5)


def test_equal_tokens_are_added_up():
    looks = np.array([[[0.1, 0.2, 0.3, 0.4]], [[0.5, 0.25, 0.25, 0.0]]], "float32")

    summed = by_token(ops.convert_to_tensor(looks), np.array([[2, 1, 2, 0], [1, 1, 1, 0]]), 3)

    np.testing.assert_allclose(
        ops.convert_to_numpy(summed), [[[0.4, 0.2, 0.4]], [[0, 1, 0]]], rtol=1e-6
    )


def test_probabilities_of_a_model_add_up_to_one():
    model = small_model(12, pointer=True, norm="pre")
    order = np.array([[ORDERS.index(order) for order in model.orders]], "int32")
    streams = layout(ops.convert_to_tensor(TARGET[:, None, :]), ops.convert_to_tensor(order))

    logits = ops.convert_to_numpy(model.decode(streams, model.encode(SOURCE))[0])

    np.testing.assert_allclose(np.exp(logits).sum(-1), 1, rtol=1e-5)
    reserved = [i for i in range(RESERVED) if i != EOS]
    assert (logits[..., reserved] < -1e8).all()


@pytest.mark.parametrize(("neighbours", "layers"), [(False, 2), (True, 1)])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.compiles
def test_a_search_finds_what_scoring_says(order, neighbours, layers):
    model = small_model(12, pointer=True, neighbours=neighbours, layers=layers)

    found = generate(model, SOURCE, order=order, beam_size=3, max_length=4)

    ids = [row[row != PAD].tolist() for row in found.ids[:, 0]]
    np.testing.assert_allclose(
        found.log_probs[:, 0], score(model, SOURCE, ids, order=order), rtol=1e-4
    )


@pytest.mark.compiles
def test_two_streams_may_have_one():
    model = small_pair(12, pointer=True, layers=1)

    found = generate(model, SOURCE, order="best", beam_size=2, max_length=4)

    assert np.isfinite(found.scores[:, 0]).all()


def test_an_empty_source_has_nothing_to_copy():
    model = small_model(12, pointer=True, layers=1)

    losses = model.call({"source": np.zeros((1, 2), "int32"), "target": TARGET[:1]})

    assert np.isfinite(ops.convert_to_numpy(losses["loss"])).all()


@pytest.mark.compiles
def test_copying_is_learned_soon():
    random = np.random.default_rng(0)
    source = random.permuted(np.tile(np.arange(6, 40), (64, 1)), axis=1)[:, :8].astype("int32")
    losses = {}
    for pointer in (True, False):
        keras.utils.set_random_seed(0)
        model = small_model(40, layers=1, orders=("l2r",), pointer=pointer, label_smoothing=0.0)
        model.compile(keras.optimizers.Adam(1e-2))
        data = {"source": source, "target": source[:, :4]}
        history = model.fit(data, batch_size=16, epochs=10, verbose=0)
        losses[pointer] = history.history["loss"][-1]

    assert losses[True] < losses[False] - 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"copy_prior": True}, "takes the place of `copy_prior`"),
        ({"architecture": "recurrent"}, "needs the attention of a Transformer"),
    ],
)
def test_what_does_not_go_together(given, message):
    with pytest.raises(ValueError, match=message):
        Settings(pointer=True, **given)
    with pytest.raises(ValueError, match=message):
        Seq2Seq(12, pointer=True, **given)


def test_a_pointer_needs_one_vocabulary():
    with pytest.raises(ValueError, match="`pointer` needs one vocabulary for source and target"):
        small_model(12, pointer=True, target_vocabulary_size=9)


def test_the_losses_are_those_of_the_mixture():
    """Without all scores; tokens of the source twice, reserved ids in it, targets in and out."""
    random = np.random.default_rng(0)
    table, x = random.standard_normal((12, 4)), random.standard_normal((2, 2, 3, 4))
    attention = random.dirichlet(np.ones(5), (2, 3, 6))
    targets = np.array([[[7, 7, EOS], [9, 6, 8]], [[10, 6, EOS], [11, 7, PAD]]], "int32")
    pointer = drawn()[0]
    written = [EOS, *range(RESERVED, 12)]
    scores = np.full((2, 2, 3, 12), -1e9)
    scores[..., written] = x @ table[written].T
    log_p = expected(pointer, scores, x, attention)
    chosen = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]

    tensors = [ops.convert_to_tensor(part.astype("float32")) for part in (x, attention, table)]
    ids = [ops.convert_to_tensor(part) for part in (SOURCE, targets)]
    plain = vocabulary_sums(tensors[0], tensors[2], ids[1])
    sums = pointer.sums(plain, *tensors[:2], *ids, tensors[2])

    nll, mean = (ops.convert_to_numpy(part) for part in (sums.nll, sums.mean))
    counts = targets != PAD
    np.testing.assert_allclose(nll[counts], -chosen[counts], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean, log_p[..., written].mean(-1), rtol=1e-5)


@pytest.mark.parametrize("neighbours", [False, True])
def test_an_update_is_that_of_the_log_probabilities(neighbours):
    """The losses without all scores, and their gradients, beside those of `decode`."""
    made = [
        small_model(12, pointer=True, neighbours=neighbours, layers=1, label_smoothing=0.2)
        for _ in range(2)
    ]
    before = [ops.convert_to_numpy(weight) for weight in made[0].trainable_variables]

    def in_full(hidden, memory, targets, twice):
        return made[1]._token_losses(made[1]._scored(hidden, memory)[0], targets)

    made[1]._slot_losses = in_full
    losses = []
    for model in made:
        model.compile(keras.optimizers.SGD(0.5))
        losses.append(model.train_on_batch({"source": SOURCE, "target": TARGET})[0])

    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for old, *pair in zip(before, *(model.trainable_variables for model in made), strict=True):
        one, other = (ops.convert_to_numpy(weight) for weight in pair)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=pair[0].path)
        assert np.abs(other - old).max() > 1e-6, pair[0].path
