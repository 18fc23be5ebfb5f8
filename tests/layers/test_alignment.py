"""Reversing and aligning: against loops, and what must come back when done twice."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kooler.layers import align_left, align_right, reverse_sequence, sequence_mask
from tests.layers.gradients import array, gradient

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
MASK = np.array([[0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]])


def test_reversing_as_a_loop() -> None:
    lengths = [3, 0, 4]
    expected = X.copy()
    for row, length in enumerate(lengths):
        expected[row, :length] = X[row, :length][::-1]

    np.testing.assert_array_equal(array(reverse_sequence(X, lengths)), expected)


@pytest.mark.parametrize("left", [True, False])
def test_aligning_as_a_loop(left: bool) -> None:
    expected = np.zeros_like(X)
    for row, inside in enumerate(MASK > 0):
        part = X[row, inside]
        expected[row, slice(len(part)) if left else slice(4 - len(part), 4)] = part

    found = (align_left if left else align_right)(X, MASK)

    np.testing.assert_array_equal(array(found), expected)


def test_in_ones_head() -> None:
    ids = np.array([[1, 2, 0, 0], [0, 3, 0, 4]])

    assert array(reverse_sequence(ids, [2, 4])).tolist() == [[2, 1, 0, 0], [4, 0, 3, 0]]
    assert array(align_left(ids, ids > 0)).tolist() == [[1, 2, 0, 0], [3, 4, 0, 0]]
    assert array(align_right(ids, ids > 0)).tolist() == [[0, 0, 1, 2], [0, 0, 3, 4]]


def test_a_mask_with_an_axis_of_size_one() -> None:
    np.testing.assert_array_equal(array(align_left(X, MASK[..., None])), array(align_left(X, MASK)))


def test_lists_are_tensors() -> None:
    assert array(reverse_sequence([[1, 2, 3]], [2])).tolist() == [[2, 1, 3]]
    assert array(align_right([[1, 2, 3]], [[1, 1, 0]])).tolist() == [[0, 1, 2]]


@settings(max_examples=15)
@given(st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_twice_reversed_is_the_same_bits(lengths: list[int]) -> None:
    twice = reverse_sequence(reverse_sequence(X, lengths), lengths)

    np.testing.assert_array_equal(array(twice), X)


def test_left_of_right_is_left() -> None:
    right = array(align_right(X, MASK))
    mask_of_right = array(ops.flip(sequence_mask(MASK.sum(axis=1), 4), axis=1))

    np.testing.assert_array_equal(
        array(align_left(right, mask_of_right)), array(align_left(X, MASK))
    )


def test_gradients_go_back_where_the_values_came_from() -> None:
    weights = np.cos(np.arange(X.size)).reshape(X.shape).astype("float32")

    found = gradient(lambda x: align_left(x, MASK), X)

    expected = np.zeros_like(X)
    for row, inside in enumerate(MASK > 0):
        expected[row, inside] = weights[row, : inside.sum()]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_in_a_functional_model_with_open_steps() -> None:
    x, mask = keras.Input((None, 2)), keras.Input((None,))
    outputs = [align_left(x, mask), reverse_sequence(x, ops.sum(mask, axis=1))]
    model = keras.Model([x, mask], outputs)

    found = model.predict([X, MASK.astype("float32")], verbose=0)

    np.testing.assert_array_equal(found[0], array(align_left(X, MASK)))
    np.testing.assert_array_equal(found[1], array(reverse_sequence(X, MASK.sum(axis=1))))


@pytest.mark.parametrize("shape", [(3,), (3, 5), (3, 4, 2)])
def test_a_mask_that_does_not_fit_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`mask` must have the shape \[batch, steps\], received"):
        align_left(X, np.ones(shape))
