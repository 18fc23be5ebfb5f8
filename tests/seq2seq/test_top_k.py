import numpy as np
import pytest
from keras import ops

from kooler.seq2seq.top_k import BLOCK, most_probable, top_k


def largest(numbers, k):
    """The specification: a stable sort, so that of equal numbers the first comes first."""
    index = np.argsort(-numbers, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(numbers, index, axis=-1), index


@pytest.mark.parametrize("size", [3, 4 * 5 * BLOCK - 1, 20 * BLOCK, 20 * BLOCK + 1, 1999])
def test_it_is_a_sort(size):
    numbers = np.random.default_rng(0).standard_normal((2, 7, size)).astype("float32")
    k = min(5, size)
    values, index = largest(numbers, k)
    found, places = top_k(ops.convert_to_tensor(numbers), k)

    np.testing.assert_array_equal(ops.convert_to_numpy(found), values)
    np.testing.assert_array_equal(ops.convert_to_numpy(places), index)
    assert ops.convert_to_numpy(places).dtype == "int32"


def test_the_largest_may_all_lie_in_one_block_or_in_the_rest():
    numbers = np.zeros((2, 20 * BLOCK + 9), "float32")
    numbers[0, 7 * BLOCK + 3 : 7 * BLOCK + 7] = [4, 1, 3, 2]
    numbers[1, -4:] = [1, 4, 2, 3]
    found, places = map(ops.convert_to_numpy, top_k(ops.convert_to_tensor(numbers), 4))

    np.testing.assert_array_equal(found, [[4, 3, 2, 1]] * 2)
    np.testing.assert_array_equal(places[0], 7 * BLOCK + np.array([3, 5, 6, 4]))
    np.testing.assert_array_equal(places[1], 20 * BLOCK + 5 + np.array([1, 3, 2, 0]))


def test_of_equal_numbers_the_values_are_right_and_no_place_comes_twice():
    numbers = np.random.default_rng(1).integers(0, 3, (50, 21 * BLOCK)).astype("float32")
    found, places = map(ops.convert_to_numpy, top_k(ops.convert_to_tensor(numbers), 5))

    np.testing.assert_array_equal(found, largest(numbers, 5)[0])
    np.testing.assert_array_equal(np.take_along_axis(numbers, places, axis=-1), found)
    assert all(len(set(row)) == 5 for row in places.tolist())


@pytest.mark.parametrize("size", [7, 20 * BLOCK, 20 * BLOCK + 1])
def test_the_most_probable_are_those_of_a_softmax(size):
    logits = 4 * np.random.default_rng(2).standard_normal((2, 3, size)).astype("float32") - 30
    logits[0, 0, 1] = -1e9  # what must not be written
    added = np.zeros(size, "float32")
    added[::3] = -5.0
    wide = logits.astype("float64")
    top = wide.max(-1, keepdims=True)
    total = top + np.log(np.exp(wide - top).sum(-1, keepdims=True))
    expected, index = largest(wide - total + added, 4)

    found = most_probable(ops.convert_to_tensor(logits), 4, ops.convert_to_tensor(added))
    best, tokens, log_total = map(ops.convert_to_numpy, found)

    np.testing.assert_array_equal(tokens, index)
    np.testing.assert_allclose(best, expected, atol=2e-5)  # differences of numbers around 30
    np.testing.assert_allclose(log_total, total, atol=2e-5)


def test_equally_probable_tokens_share_what_there_is():
    best, tokens, _ = most_probable(ops.zeros((1, 4 * 2 * BLOCK)), 2)

    np.testing.assert_allclose(ops.convert_to_numpy(best), -np.log(512.0), rtol=1e-6)
    assert len(set(ops.convert_to_numpy(tokens)[0].tolist())) == 2
