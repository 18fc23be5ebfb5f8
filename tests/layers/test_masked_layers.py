"""Pooling, convolution and normalisation: a padded row gives what the row alone gives."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.core import compat
from kooler.layers import (
    MaskedAveragePooling1D,
    MaskedConv1D,
    MaskedGlobalAveragePooling1D,
    MaskedGlobalMaxPooling1D,
    MaskedGroupNormalization,
    MaskedMaxPooling1D,
)
from tests.layers.gradients import array, differences, gradient

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 7, 4)).astype("float32")
LENGTHS = (7, 4, 3)
MASK = np.arange(7) < np.array(LENGTHS)[:, None]
MADE = {
    "mean": lambda: MaskedGlobalAveragePooling1D(),
    "max": lambda: MaskedGlobalMaxPooling1D(),
    "windows, mean": lambda: MaskedAveragePooling1D(2),
    "windows, max": lambda: MaskedMaxPooling1D(2),
    "overlapping windows": lambda: MaskedMaxPooling1D(3, 1),
    "begun windows, mean": lambda: MaskedAveragePooling1D(3, padding="same"),
    "begun windows, max": lambda: MaskedMaxPooling1D(3, 2, padding="same"),
    "convolution": lambda: MaskedConv1D(5, 3, padding="same"),
    "even kernel": lambda: MaskedConv1D(5, 4, padding="same"),
    "dilated": lambda: MaskedConv1D(5, 2, padding="same", dilation_rate=2),
    "causal": lambda: MaskedConv1D(5, 3, padding="causal", strides=2),
    "whole windows": lambda: MaskedConv1D(5, 2, strides=2),
    "sequence norm": lambda: MaskedGroupNormalization(),
    "group norm": lambda: MaskedGroupNormalization(2),
    "instance norm": lambda: MaskedGroupNormalization(-1),
}
PLAIN = {
    "mean": lambda: layers.GlobalAveragePooling1D(),
    "max": lambda: layers.GlobalMaxPooling1D(),
    "windows, mean": lambda: layers.AveragePooling1D(2),
    "windows, max": lambda: layers.MaxPooling1D(2),
    "convolution": lambda: layers.Conv1D(5, 3, padding="same"),
    "causal": lambda: layers.Conv1D(5, 3, padding="causal", strides=2),
    "sequence norm": lambda: layers.GroupNormalization(1),
    "group norm": lambda: layers.GroupNormalization(2),
}


@pytest.mark.parametrize("name", MADE)
def test_as_the_row_alone(name: str) -> None:
    layer = MADE[name]()
    together = array(layer(X, mask=MASK))

    for row, length in enumerate(LENGTHS):
        alone = array(layer(X[row : row + 1, :length]))
        found = together[row : row + 1]
        if found.ndim == 3:
            assert not found[:, alone.shape[1] :].any()
            found = found[:, : alone.shape[1]]
        np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_without_padding_as_kerass_layer(name: str) -> None:
    ours, theirs = MADE[name](), PLAIN[name]()
    ours(X), theirs(X)
    ours.set_weights(theirs.get_weights())

    np.testing.assert_allclose(array(ours(X)), array(theirs(X)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MADE)
def test_what_stands_in_the_padding_does_not_get_out(name: str) -> None:
    layer = MADE[name]()
    poisoned = np.where(MASK[..., None], X, np.float32(np.nan))

    np.testing.assert_array_equal(array(layer(poisoned, mask=MASK)), array(layer(X, mask=MASK)))


@pytest.mark.compiles
@pytest.mark.parametrize("name", ["begun windows, mean", "dilated", "group norm"])
def test_the_gradient_by_finite_differences(name: str) -> None:
    layer = MADE[name]()
    layer(X)

    def function(x: Any) -> Any:
        return layer(x, mask=MASK[1:2, :5])

    x = X[1:2, :5]
    np.testing.assert_allclose(gradient(function, x), differences(function, x), atol=1e-2)


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("windows, max", [3, 2, 1]),
        ("begun windows, mean", [3, 2, 1]),
        ("convolution", [7, 4, 3]),
        ("causal", [4, 2, 2]),
        ("whole windows", [3, 2, 1]),
        ("group norm", [7, 4, 3]),
    ],
)
def test_the_mask_afterwards(name: str, valid: list[int]) -> None:
    masked = layers.Masking()(ops.convert_to_tensor(X * MASK[..., None].astype("float32")))
    outputs = MADE[name]()(masked)

    assert array(compat.mask_of(outputs)).sum(axis=1).tolist() == valid


@pytest.mark.parametrize("name", ["mean", "max", "begun windows, mean", "group norm"])
def test_a_row_without_data_gives_zeros(name: str) -> None:
    """Keras's GlobalAveragePooling1D gives NaN."""
    found = array(MADE[name]()(X, mask=np.zeros((3, 7))))

    assert not found.any()
    assert np.isnan(array(layers.GlobalAveragePooling1D()(X, mask=np.zeros((3, 7), bool)))).all()


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_a_long_mean_in_half_precision() -> None:
    """Keras's GlobalAveragePooling1D with a mask overflows to infinity."""
    x = ops.cast(np.full((1, 4000, 1), 30.0), "float16")
    mask = np.ones((1, 4000), bool)
    ours = MaskedGlobalAveragePooling1D(dtype="float16")(x, mask=mask)
    theirs = layers.GlobalAveragePooling1D(dtype="float16")(x, mask=mask)

    assert float(array(ops.cast(ours, "float32"))[0, 0]) == 30.0
    assert not np.isfinite(array(ops.cast(theirs, "float32"))).any()


def test_kerass_batch_normalisation_counts_valid_steps_only() -> None:
    layer = layers.BatchNormalization(momentum=0.0)
    layer(X, mask=MASK, training=True)

    np.testing.assert_allclose(array(layer.moving_mean), X[MASK].mean(axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.compiles
def test_trained_saved_and_loaded(tmp_path: Path) -> None:
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    for name in ("convolution", "begun windows, max", "group norm", "windows, mean", "mean"):
        x = MADE[name]()(x) if name != "group norm" else MaskedGroupNormalization(-1)(x)
    model = keras.Model(inputs, x)
    model.compile("adam", "mse")
    ids = np.array([[1, 2, 3, 4, 5, 0, 0, 0], [4, 5, 6, 7, 8, 1, 2, 0]])
    model.fit(ids, np.ones((2, 5)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(array(loaded(ids)), array(model(ids)))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: MaskedMaxPooling1D(2, padding="causal"), '`padding` must be "valid" or "same"'),
        (lambda: MaskedConv1D(1, 2, 2, padding="same"), '`padding` must be "valid" or "causal"'),
        (
            lambda: MaskedConv1D(1, 2, data_format="channels_first"),
            '`data_format` must be "channels_last"',
        ),
        (lambda: MaskedGroupNormalization(3)(X), "`groups` must be -1 or divide the width"),
    ],
)
def test_wrong_arguments_are_errors(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()
