"""Weights have unique, stable names, and only what fits is assigned."""

import keras
import numpy as np
import pytest

from kooler.seq2seq.model import Seq2Seq
from kooler.seq2seq.train import seed_torch
from kooler.seq2seq.weights import arrays_of, assign, named_weights, training_state

SMALL = {"layers": 1, "width": 8, "heads": 2, "feedforward": 8}
BATCH = {
    "source": np.array([[6, 7, 8], [9, 6, 0]], "int32"),
    "target": np.array([[7, 8], [9, 0]], "int32"),
}


def test_names_are_places_and_the_same_for_every_model_of_a_process():
    first, second = Seq2Seq(10, **SMALL), Seq2Seq(10, **SMALL)

    names = list(named_weights(first))

    assert names == list(named_weights(second))
    assert len(names) == len(first.weights)
    assert {"embeddings", "encoder_0/self_projection/kernel", "decoder_0/source_query/bias"} <= set(
        names
    )


def test_two_weights_with_one_name_are_an_error():
    twins = [keras.layers.Dense(1, name="twin") for _ in range(2)]
    model = keras.Model()
    model.twins = twins
    for twin in twins:
        twin.build((None, 1))

    with pytest.raises(ValueError, match="two weights are named `twin/kernel`"):
        named_weights(model)


def test_the_state_of_a_training_comes_back_to_the_same_next_updates():
    model = Seq2Seq(10, **SMALL, dropout=0.5, order_sampling="one")
    model.compile(keras.optimizers.AdamW(0.01))
    model.train_on_batch(BATCH)
    saved = arrays_of(training_state(model))
    untouched = {name: array.copy() for name, array in saved.items()}
    there = trained_twice(model)

    assign(training_state(model), saved)
    again = trained_twice(model)

    assert_equal_arrays(there, again)
    assert_equal_arrays(saved, untouched)  # training must not reach into what was saved
    assert any(name.startswith("seeds/") for name in there)
    assert any(name.startswith("optimizer/") and there[name].any() for name in there)
    assert not np.array_equal(saved["model/embeddings"], there["model/embeddings"])


def test_what_does_not_fit_is_an_error_and_changes_nothing():
    model = Seq2Seq(10, **SMALL)
    weights = named_weights(model)
    arrays = {name: array + 1 for name, array in arrays_of(weights).items()}
    before = arrays_of(weights)

    missing = {name: array for name, array in arrays.items() if name != "sides"}
    with pytest.raises(ValueError, match=r"another model: 1 missing \(`sides`\), 0 unknown. Build"):
        assign(weights, missing)
    with pytest.raises(ValueError, match=r"0 missing, 4 unknown \(`a`, `b`, `c`, …\)"):
        assign(weights, {**arrays, **dict.fromkeys("dcba", np.zeros(1))})
    with pytest.raises(ValueError, match=r"`sides` must be float32 \(2, 8\), received float32 \(8"):
        assign(weights, {**arrays, "sides": arrays["sides"].T})
    with pytest.raises(ValueError, match=r"must be float32 \(2, 8\), received float64"):
        assign(weights, {**arrays, "sides": arrays["sides"].astype("float64")})
    assert_equal_arrays(arrays_of(weights), before)


def trained_twice(model):
    for update in (1, 2):
        seed_torch(0, update)
        model.train_on_batch(BATCH)
    return arrays_of(training_state(model))


def assert_equal_arrays(left, right):
    assert set(left) == set(right)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)
