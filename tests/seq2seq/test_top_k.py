import numpy as np
import pytest
from keras import ops

from kooler.seq2seq.top_k import BLOCK, top_k


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
