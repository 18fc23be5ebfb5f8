import keras
import numpy as np
import pytest
from keras import ops

from kooler.core import running_mean
from kooler.core.running_mean import take_in

SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4)]


def plain(mean, new, share):
    """The equation, as one writes it."""
    return ops.convert_to_numpy(mean + share * (new - mean))


PIECES = [1, 4, 2**17] if keras.backend.backend() == "torch" else [2**17]  # others have none


@pytest.fixture(params=PIECES, ids=str)
def piece(request, monkeypatch):
    monkeypatch.setattr(running_mean, "PIECE", request.param)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_mean_of_all_that_was_taken_in(piece, shape):
    random = np.random.default_rng(0)
    every, weights = random.normal(size=(9, *shape)).astype("float32"), random.random(9) + 0.1
    mean = keras.Variable(np.zeros(shape, "float32"))
    for new, weight, total in zip(every, weights, np.cumsum(weights), strict=True):
        take_in(mean, ops.convert_to_tensor(new), ops.cast(weight / total, "float32"))

    exact = np.average(every.astype("float64"), axis=0, weights=weights)
    np.testing.assert_allclose(ops.convert_to_numpy(mean), exact, rtol=1e-5, atol=1e-6)


def test_in_the_head():
    mean = keras.Variable([2.0, 4.0])
    take_in(mean, ops.convert_to_tensor([6.0, 0.0]), ops.convert_to_tensor(0.25))

    np.testing.assert_array_equal(ops.convert_to_numpy(mean), [3.0, 3.0])


def test_the_first_is_taken_as_it_is(piece):
    new = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    mean = keras.Variable(np.zeros((5, 3), "float32"))
    take_in(mean, ops.convert_to_tensor(new), ops.ones(()))

    np.testing.assert_array_equal(ops.convert_to_numpy(mean), new)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pieces_and_places_change_no_bit(piece, dtype):
    random = np.random.default_rng(0)
    old, new = (ops.cast(one, dtype) for one in random.normal(size=(2, 33, 7)))
    share, mean = ops.convert_to_tensor(0.3, dtype), keras.Variable(old, dtype=dtype)
    expected = old + share * (new - old)
    take_in(mean, new, share)

    np.testing.assert_array_equal(ops.convert_to_numpy(mean), ops.convert_to_numpy(expected))


def test_what_is_new_stays_as_it_was_and_may_be_a_view(piece):
    old, new = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    mean, tensor = keras.Variable(old), ops.convert_to_tensor(np.ascontiguousarray(new.T))
    share = ops.convert_to_tensor(np.float32(0.7))
    take_in(mean, ops.transpose(tensor), share)

    expected = plain(ops.convert_to_tensor(old), ops.convert_to_tensor(new), share)
    np.testing.assert_array_equal(ops.convert_to_numpy(mean), expected)
    np.testing.assert_array_equal(ops.convert_to_numpy(tensor), new.T)


def test_nothing_new_is_zero(piece):
    mean = keras.Variable(np.full((2, 3), 8.0, "float32"))
    take_in(mean, 0.0, ops.convert_to_tensor(0.25))

    np.testing.assert_array_equal(ops.convert_to_numpy(mean), np.full((2, 3), 6.0))


def test_a_mean_may_be_wider_than_what_is_new(piece):
    mean = keras.Variable(np.zeros(3, "float32"))
    new = ops.cast(ops.convert_to_tensor([1.0, 2.0, 3.0]), "bfloat16")
    take_in(mean, new, ops.convert_to_tensor(1e-3))

    np.testing.assert_allclose(ops.convert_to_numpy(mean), [1e-3, 2e-3, 3e-3], rtol=1e-6)
