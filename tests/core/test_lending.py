"""Lending values to a model: what comes back is what went."""

from typing import Any

import keras
import numpy as np
import pytest

from kooler.core.lending import Loan, lent, returning


def model_and_pairs(value: float = 7.0) -> tuple[Any, list[tuple[Any, Any]]]:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    return model, [(v, keras.ops.full(v.shape, value)) for v in model.weights]


def weights(model: Any) -> list[list[float]]:
    return [np.array(one).ravel().tolist() for one in model.get_weights()]


def test_the_block_has_the_lent_values_and_then_the_own_are_back() -> None:
    model, pairs = model_and_pairs()
    own = weights(model)

    with lent(model, pairs):
        assert weights(model) == [[7.0, 7.0], [7.0]]
    assert weights(model) == own


def test_after_an_exception_too() -> None:
    model, pairs = model_and_pairs()
    own = weights(model)
    with pytest.raises(KeyError), lent(model, pairs):
        raise KeyError

    assert weights(model) == own


def test_a_variable_can_be_lent_and_stays_as_it_is() -> None:
    model, _ = model_and_pairs()
    slot = keras.Variable([[3.0], [4.0]])
    with lent(model, [(model.weights[0], slot)]):
        model.evaluate(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
        inside = weights(model)[0]
        model.weights[0].assign([[9.0], [9.0]])

    assert inside == [3.0, 4.0]
    assert np.array(keras.ops.convert_to_numpy(slot)).ravel().tolist() == [3.0, 4.0]


def test_loans_nest_and_the_outer_takes_the_inner_along() -> None:
    model, pairs = model_and_pairs()
    own = weights(model)
    outer = Loan(model, pairs)
    inner = Loan(model, [(v, v * 0 + 8.0) for v in model.weights])
    assert weights(model) == [[8.0, 8.0], [8.0]]
    outer.give_back()
    inner.give_back()  # nothing is left to do

    assert weights(model) == own


def test_returning_gives_back_what_was_lent_within() -> None:
    model, pairs = model_and_pairs()
    own = weights(model)
    with lent(model, [(v, v * 0 + 5.0) for v in model.weights]):
        with pytest.raises(KeyError), returning(model):
            Loan(model, pairs)
            raise KeyError
        assert weights(model) == [[5.0, 5.0], [5.0]]  # lent outside: still out

    assert weights(model) == own


def test_lower_precision_comes_back_bit_for_bit() -> None:
    dense = keras.layers.Dense(3, dtype="bfloat16")
    model = keras.Sequential([keras.Input((2,)), dense])
    own = keras.ops.convert_to_numpy(keras.ops.cast(dense.kernel, "float32"))
    for _ in range(3):
        with lent(model, [(dense.kernel, keras.ops.full((2, 3), 1 / 3, "float32"))]):
            inside = keras.ops.convert_to_numpy(keras.ops.cast(dense.kernel, "float32"))

    np.testing.assert_allclose(inside, 1 / 3, rtol=2**-8)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(keras.ops.cast(dense.kernel, "float32")), own
    )
