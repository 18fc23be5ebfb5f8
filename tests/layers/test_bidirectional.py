"""Both directions of a padded row are those of the row alone, whatever is returned."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.core import compat
from kooler.layers import MaskedBidirectional
from tests.layers.gradients import array, differences, gradient

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5, 3)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]]) > 0
MADE = {
    "LSTM": lambda **a: layers.LSTM(2, **a),
    "GRU": lambda **a: layers.GRU(2, **a),
    "SimpleRNN": lambda **a: layers.SimpleRNN(2, **a),
    "stacked cells": lambda **a: layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], **a),
}
RETURNS = [(False, False), (False, True), (True, False), (True, True)]


def flat(outputs: Any) -> list[Any]:
    return [array(leaf) for leaf in keras.tree.flatten(outputs)]


def assert_as_alone(layer: Any, **arguments: Any) -> None:
    """The first three rows have three valid steps each: alone, they are one unpadded batch."""
    valid = MASK[:3]
    together = flat(layer(X, mask=MASK, **arguments))
    states = keras.tree.map_structure(lambda state: state[:3], arguments)
    for found, expected in zip(together, flat(layer(alone(X), **states)), strict=True):
        found = found[:3]
        found = found[valid].reshape(expected.shape) if found.ndim == 3 else found
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def alone(x: Any) -> Any:
    return x[:3][MASK[:3]].reshape(3, 3, -1)


def row_marks(cell: int, returns: int) -> list[Any]:
    """One kind of outputs for each cell daily; with compilation, one cell."""
    if (cell + returns) % 4 != 3:
        return [pytest.mark.slow]
    return [pytest.mark.compiles] if cell else []


@pytest.mark.parametrize(
    ("name", "sequences", "state"),
    [
        pytest.param(name, *returns, marks=row_marks(i, j))
        for i, name in enumerate(MADE)
        for j, returns in enumerate(RETURNS)
    ],
)
def test_as_the_row_alone(name: str, sequences: bool, state: bool) -> None:
    rnn = MADE[name](return_sequences=sequences, return_state=state)

    assert_as_alone(MaskedBidirectional(rnn))


@pytest.mark.parametrize("mode", ["sum", "mul", "ave", None])
def test_as_the_row_alone_in_every_merge_mode(mode: Any) -> None:
    assert_as_alone(
        MaskedBidirectional(layers.SimpleRNN(2, return_sequences=True), merge_mode=mode)
    )


@pytest.mark.compiles
def test_stacked_as_the_row_alone() -> None:
    first = MaskedBidirectional(layers.SimpleRNN(2, return_sequences=True))
    second = MaskedBidirectional(layers.SimpleRNN(2))
    together = array(second(first(X, mask=MASK), mask=MASK))

    np.testing.assert_allclose(together[:3], array(second(first(alone(X)))), rtol=1e-5, atol=1e-6)


def test_from_an_initial_state_as_the_row_alone() -> None:
    states = [RNG.normal(size=(4, 2)).astype("float32") for _ in range(4)]

    assert_as_alone(MaskedBidirectional(layers.LSTM(2)), initial_state=states)


@pytest.mark.parametrize(("sequences", "state"), [RETURNS[0], RETURNS[3]])
def test_without_padding_as_kerass_layer_with_its_weights(sequences: bool, state: bool) -> None:
    rnn = MADE["GRU"](return_sequences=sequences, return_state=state)
    ours, theirs = MaskedBidirectional(rnn), layers.Bidirectional(rnn)
    ours(X), theirs(X)
    ours.set_weights(theirs.get_weights())

    for found, expected in zip(flat(ours(X)), flat(theirs(X)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_the_articles_example_takes_no_state_behind_the_padding() -> None:
    """Only the last output: forwards after the last valid step, backwards at the first one."""
    layer = MaskedBidirectional(layers.LSTM(2))
    sequences = MaskedBidirectional(layers.LSTM(2, return_sequences=True))
    found = array(layer(X, mask=MASK))
    sequences(X)
    sequences.set_weights(layer.get_weights())
    steps = array(sequences(X, mask=MASK))

    np.testing.assert_allclose(found[0], [*steps[0, 2, :2], *steps[0, 0, 2:]], rtol=1e-6)


@pytest.mark.compiles
def test_keras_forgets_the_mask_beside_an_initial_state_and_we_do_not() -> None:
    states = [np.ones((1, 2), "float32")] * 4
    padded = np.concatenate([X[:1], np.zeros((1, 3, 3), "float32")], axis=1)

    def gap(layer: Any) -> float:
        masked = layers.Masking()(ops.convert_to_tensor(padded))
        together = array(layer(masked, initial_state=states))
        return float(np.abs(together - array(layer(X[:1], initial_state=states))).max())

    assert gap(layers.Bidirectional(layers.LSTM(2))) > 1e-3
    assert gap(MaskedBidirectional(layers.LSTM(2))) < 1e-6


def test_what_stands_in_the_padding_does_not_get_out() -> None:
    layer = MaskedBidirectional(layers.SimpleRNN(2, return_sequences=True))
    poisoned = np.where(MASK[..., None], X, np.float32(np.nan))

    found = array(layer(poisoned, mask=MASK))

    assert not found[~MASK].any()
    np.testing.assert_array_equal(found, array(layer(X, mask=MASK)))
    slope = gradient(lambda x: layer(x, mask=MASK), poisoned)
    assert np.isfinite(slope).all()
    assert not slope[~MASK].any()


@pytest.mark.compiles
def test_the_gradient_by_finite_differences() -> None:
    layer = MaskedBidirectional(layers.SimpleRNN(2))
    x = X[2:3, :3, :2]

    def function(x: Any) -> Any:
        return layer(x, mask=MASK[2:3, :3])

    np.testing.assert_allclose(gradient(function, x), differences(function, x), atol=2e-3)


def test_the_mask_goes_on() -> None:
    masked = layers.Masking()(ops.convert_to_tensor(X * MASK[..., None].astype("float32")))
    outputs = MaskedBidirectional(layers.SimpleRNN(2, return_sequences=True))(masked)
    last = MaskedBidirectional(layers.SimpleRNN(2))(masked)

    assert array(compat.mask_of(outputs)).tolist() == MASK.tolist()
    assert compat.mask_of(last) is None


@pytest.mark.compiles
def test_trained_saved_and_loaded(tmp_path: Path) -> None:
    inputs = keras.Input((4,), dtype="int32")
    hidden = layers.Embedding(9, 3, mask_zero=True)(inputs)
    model = keras.Model(inputs, MaskedBidirectional(layers.GRU(2), merge_mode="sum")(hidden))
    model.compile("adam", "mse")
    ids = np.array([[1, 2, 3, 0], [4, 0, 0, 0]])
    model.fit(ids, np.ones((2, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(array(loaded(ids)), array(model(ids)))
    for one in (model, loaded):
        one.fit(ids, np.ones((2, 2)), shuffle=False, verbose=0)
    np.testing.assert_allclose(array(loaded(ids)), array(model(ids)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (lambda: layers.Dense(2), "`layer` must be a recurrent layer"),
        (lambda: layers.LSTM(2, go_backwards=True), "must have go_backwards=False and stateful"),
        (lambda: layers.LSTM(2, stateful=True), "must have go_backwards=False and stateful"),
    ],
)
def test_a_layer_that_cannot_run_both_ways_is_an_error(layer: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        MaskedBidirectional(layer())


def test_an_unknown_merge_mode_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"`merge_mode` must be one of .* received 'mean'"):
        MaskedBidirectional(layers.LSTM(2), merge_mode="mean")
