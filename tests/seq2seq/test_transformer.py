import numpy as np
import pytest
from keras import ops

from kooler.seq2seq.transformer import DecoderLayer, attend, sinusoids


def test_attention_is_softmax_of_scaled_products():
    generator = np.random.default_rng(0)
    query, key, value = (generator.standard_normal((2, 3, n, 4)) for n in (5, 7, 7))
    mask = generator.random((2, 1, 5, 7)) < 0.6
    mask[..., 0] = True
    scores = np.where(mask, query @ key.swapaxes(-1, -2) / 2.0, -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)

    given = (query, key.swapaxes(-1, -2), value)
    tensors = (ops.convert_to_tensor(array.astype("float32")) for array in given)
    attended, found = attend(*tensors, ops.convert_to_tensor(mask))

    np.testing.assert_allclose(ops.convert_to_numpy(found), weights, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(attended), weights @ value, atol=2e-6)


def test_a_row_that_may_look_nowhere_stays_finite():
    ones = ops.ones((1, 1, 2, 2))
    attended, _ = attend(ones, ones, ones, ops.zeros((1, 1, 2, 2), dtype="bool"))

    assert np.isfinite(ops.convert_to_numpy(attended)).all()


def test_dropout_drops_what_each_part_adds_and_only_in_training():
    layer = DecoderLayer(4, 2, 8, 0.9999999, "pre")
    layer.build((None, 4))
    x = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((2, 3, 4)).astype("float32"))
    source = layer.source(x, ops.ones((2, 1, 1, 3), dtype="bool"))
    mask = ops.ones((2, 1, 3, 3), dtype="bool")

    dropped, _ = layer.call(x, mask, source, training=True)
    whole, _ = layer.call(x, mask, source, training=False)

    np.testing.assert_array_equal(ops.convert_to_numpy(dropped), ops.convert_to_numpy(x))
    assert (abs(ops.convert_to_numpy(whole - x)) > 1e-4).all()


def test_the_position_table_has_sines_then_cosines():
    table = sinusoids(3, 4)

    np.testing.assert_allclose(table[0], [0, 0, 1, 1], atol=1e-7)
    np.testing.assert_allclose(
        table[2], [np.sin(2), np.sin(2e-4), np.cos(2), np.cos(2e-4)], atol=1e-6
    )


@pytest.mark.parametrize("width", [5, 2])
def test_the_position_table_fits_any_width(width):
    assert sinusoids(7, width).shape == (7, width)
