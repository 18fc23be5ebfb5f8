import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.differentiate import differentiate
from kooler.seq2seq import vocabulary_loss
from kooler.seq2seq.reserved_ids import EOS, L2R, PAD, RESERVED
from kooler.seq2seq.vocabulary_loss import cross_entropy_of_product, smoothed, vocabulary_sums

WRITTEN = [EOS, *range(RESERVED, 40)]
SMOOTHING = 0.1


@pytest.fixture
def in_parts(monkeypatch):
    """Logits of five slots at a time, so that 14 slots are three parts and the last is not full."""
    monkeypatch.setattr(vocabulary_loss, "SLOTS", 5)


def given():
    """Streams [2, 7, 6], a table [40, 6], targets, and what each slot's two losses count."""
    generator = np.random.default_rng(0)
    x, table = generator.standard_normal((2, 7, 6)), generator.standard_normal((40, 6))
    targets = generator.choice(WRITTEN, (2, 7)).astype("int32")
    targets[0, 2:5] = EOS
    x[0, 0] *= 40  # sure of itself: its logits need the maximum taken off
    counts = generator.uniform(0, 2, (2, 2, 7))
    counts[:, 1, 5:] = 0.0
    return x, table, targets, counts


def vocabulary_losses(x, table, targets):
    """The nll and the smoothed loss."""
    sums = vocabulary_sums(x, table, targets)
    return sums.nll, smoothed(sums.nll, sums.mean, SMOOTHING)


def by_hand(x, table, targets, counts):
    """The losses, and the gradients of their weighted sum, in float64."""
    logits = x @ table[WRITTEN].T
    peak = logits.max(-1, keepdims=True)
    total = (peak + np.log(np.exp(logits - peak).sum(-1, keepdims=True)))[..., 0]
    hot = (targets[..., None] == np.array(WRITTEN)).astype(float)
    chosen = (logits * hot).sum(-1)
    nll = total - chosen
    loss = nll + SMOOTHING * (chosen - logits.mean(-1))
    p = np.exp(logits - total[..., None])
    smoothed = p - (1 - SMOOTHING) * hot - SMOOTHING / len(WRITTEN)
    slope = counts[0][..., None] * (p - hot) + counts[1][..., None] * smoothed
    for_table = np.zeros_like(table)
    for_table[WRITTEN] = np.einsum("blv,bld->vd", slope, x)
    return nll, loss, slope @ table[WRITTEN], for_table


def by_product(x, table, targets, counts, dtype="float32"):
    def weighed(tensors):
        nll, loss = vocabulary_losses(*tensors, ops.convert_to_tensor(targets))
        one, other = (ops.convert_to_tensor(part.astype("float32")) for part in counts)
        return ops.sum(one * nll) + ops.sum(other * loss), (nll, loss)

    tensors = [ops.cast(ops.convert_to_tensor(part), dtype) for part in (x, table)]
    (_, losses), gradients = differentiate(weighed, tensors)
    return [read(part) for part in (*losses, *gradients)]


def read(tensor):
    return ops.convert_to_numpy(ops.cast(ops.convert_to_tensor(tensor), "float32"))


@pytest.mark.parametrize("slots", [5, 7, 14, 1024])
def test_losses_and_gradients_are_those_of_the_equation(slots, monkeypatch):
    monkeypatch.setattr(vocabulary_loss, "SLOTS", slots)

    for found, expected in zip(by_product(*given()), by_hand(*given()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("logits", "shape"), [(2**21, (1, 14)), (14 * 35, (1, 14)), (13 * 35, (2, 7)), (105, (5, 3))]
)
def test_parts_are_equally_long_and_have_few_logits(logits, shape, monkeypatch):
    monkeypatch.setattr(vocabulary_loss, "LOGITS", logits)  # 35 tokens can be written
    seen, cut = [], vocabulary_loss._cut

    def watched(rows, table):
        parts = cut(rows, table)
        seen.append(tuple(parts.shape[:2]))
        return parts

    monkeypatch.setattr(vocabulary_loss, "_cut", watched)
    by_product(*given())

    assert set(seen) == {shape}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="known elsewhere")
def test_the_number_of_slots_need_not_be_known(in_parts):
    import tensorflow as tf

    x, table, targets, _ = given()
    signature = [tf.TensorSpec((None, None, 6)), tf.TensorSpec((None, None), "int32")]

    @tf.function(input_signature=signature)
    def losses(x, targets):
        return vocabulary_losses(x, ops.convert_to_tensor(table, "float32"), targets)

    found = losses(x.astype("float32"), targets)
    np.testing.assert_allclose(found[1], by_hand(*given())[1], rtol=1e-5, atol=2e-5)


def test_half_precision_sums_in_float32(in_parts):
    x, table, *others = given()
    x[0, 0] /= 40
    as_read = [by_half(part) for part in (x, table)]
    found, expected = by_product(x, table, *others, "bfloat16"), by_hand(*as_read, *others)

    # logits below 16 are rounded to 2⁻⁵ at most
    np.testing.assert_allclose(found[0], expected[0], atol=0.04)
    for one, other in zip(found[2:], expected[2:], strict=True):
        assert np.linalg.norm(one - other) < 0.01 * np.linalg.norm(other)


def by_half(array):
    return read(ops.cast(ops.convert_to_tensor(array), "bfloat16")).astype("float64")


def test_a_reserved_target_is_finite_and_reserved_rows_of_the_table_do_not_count(in_parts):
    x, table, targets, counts = given()
    targets[1, 5:] = (PAD, L2R)
    clean = by_product(x, table, targets, counts)
    table[[PAD, *range(L2R, RESERVED)]] = 1e3
    found = by_product(x, table, targets, counts)

    assert np.isfinite(found[0]).all()
    for one, other in zip(found, clean, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not found[3][[PAD, *range(L2R, RESERVED)]].any()


def test_the_gradient_can_be_differentiated_again(in_parts):
    x, table, *_ = given()
    x[0, 0] /= 40
    flat, places = x.reshape(14, 6), np.arange(14)

    def steepness(x):
        """Of the sum of nll by x, squared."""
        logits = x @ table.T
        p = np.exp(logits - logits.max(-1, keepdims=True))
        slope = p / p.sum(-1, keepdims=True)
        slope[np.arange(14), places] -= 1
        return ((slope @ table) ** 2).sum()

    def inner(tensors):
        nll, _ = cross_entropy_of_product(
            tensors[0],
            ops.convert_to_tensor(table.astype("float32")),
            ops.convert_to_tensor(places.astype("int32")),
        )
        return ops.sum(nll), None

    def outer(tensors):
        _, (slope,) = differentiate(inner, tensors)
        return ops.sum(ops.square(slope)), None

    _, (found,) = differentiate(outer, [ops.convert_to_tensor(flat.astype("float32"))])
    step, expected = 1e-6, np.zeros_like(flat)
    for index in np.ndindex(flat.shape):
        moved = np.zeros_like(flat)
        moved[index] = step
        expected[index] = (steepness(flat + moved) - steepness(flat - moved)) / (2 * step)

    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-3, atol=1e-3)
