"""Masked sums: against loops over the valid entries, in every shape of mask, in half precision."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kooler.layers import masked_max, masked_mean, masked_softmax, sequence_mask
from tests.layers.gradients import array, differences, gradient

X = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
MASK = np.array([[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
FUNCTIONS = {"mean": masked_mean, "max": masked_max, "softmax": masked_softmax}


def loop(name: str, x: Any, valid: Any) -> Any:
    """One row at a time, over axis 1, in float64."""
    result = np.zeros(x.shape if name == "softmax" else (len(x), *x.shape[2:]))
    for row, inside in enumerate(valid.astype(bool)):
        values = x[row].astype("float64")
        if not inside.any():
            continue
        chosen = values[inside]
        if name == "softmax":
            result[row, inside] = np.exp(chosen) / np.exp(chosen).sum(axis=0)
        else:
            result[row] = chosen.mean(axis=0) if name == "mean" else chosen.max(axis=0)
    return result


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_a_loop_over_the_valid_steps(name: str) -> None:
    found = array(FUNCTIONS[name](X, MASK, axis=1))

    np.testing.assert_allclose(found, loop(name, X, MASK), rtol=1e-6, atol=1e-7)


def test_in_ones_head() -> None:
    x = np.array([[1.0, 3.0, 99.0]], "float32")
    mask = np.array([[1, 1, 0]])

    assert array(masked_mean(x, mask)).tolist() == [2.0]
    assert array(masked_max(x, mask)).tolist() == [3.0]
    assert array(masked_softmax(np.zeros_like(x), mask)).tolist() == [[0.5, 0.5, 0.0]]
    assert array(masked_max(-x, mask)).tolist() == [-1.0]


def test_the_mask_of_lengths() -> None:
    expected = [[True, True, False], [False, False, False], [True, True, True]]

    assert array(sequence_mask([2, 0, 3])).tolist() == expected
    assert array(sequence_mask(np.array([2, 0, 3]), 3)).tolist() == expected
    assert array(sequence_mask([[1], [0]], 2)).tolist() == [[[True, False]], [[False, False]]]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_mask_is_the_plain_operation(name: str) -> None:
    plain = {"mean": ops.mean, "max": ops.max, "softmax": ops.softmax}[name]

    np.testing.assert_allclose(
        array(FUNCTIONS[name](X, None, axis=1)), array(plain(X, axis=1)), rtol=1e-6
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", ["[batch, steps, 1]", "floats", "as x", "[steps]", "[1, steps]"])
def test_every_shape_of_mask_that_broadcasts(name: str, shape: str) -> None:
    same = np.array([1, 0, 1, 1])
    mask, as_rows = {
        "[batch, steps, 1]": (MASK[..., None], MASK),
        "floats": (MASK.astype("float32"), MASK),
        "as x": (np.repeat(MASK[..., None], 2, -1) > 0, MASK),
        "[steps]": (same, np.tile(same, (3, 1))),
        "[1, steps]": (same[None], np.tile(same, (3, 1))),
    }[shape]

    found = array(FUNCTIONS[name](X, mask, axis=1))

    np.testing.assert_array_equal(found, array(FUNCTIONS[name](X, as_rows, axis=1)))


def test_the_mask_of_keys_belongs_to_the_last_axis_of_scores() -> None:
    scores = np.zeros((3, 2, 5, 4), "float32")  # [batch, heads, queries, keys]

    found = array(masked_softmax(scores, MASK))

    np.testing.assert_allclose(found.sum(-1), np.tile([[[1.0]], [[1.0]], [[0.0]]], (1, 2, 5)))
    np.testing.assert_array_equal(found[0, 1, 2] > 0, MASK[0] > 0)


def test_several_axes_at_once() -> None:
    mask = MASK[:, :, None] * np.array([1, 0])

    found = array(masked_mean(X, mask, axis=(1, 2)))

    np.testing.assert_allclose(found, loop("mean", X[..., 0], MASK), rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_what_stands_in_the_padding_does_not_get_out(name: str, poison: float) -> None:
    poisoned = np.where(MASK[..., None] > 0, X, np.float32(poison)).astype("float32")
    function = FUNCTIONS[name]

    found = array(function(poisoned, MASK, axis=1))

    np.testing.assert_array_equal(found, array(function(X, MASK, axis=1)))
    slope = gradient(lambda x: function(x, MASK, axis=1), poisoned)
    assert np.isfinite(slope).all()
    assert not slope[MASK == 0].any()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_by_finite_differences(name: str) -> None:
    def function(x: Any) -> Any:
        return FUNCTIONS[name](x, MASK, axis=1)

    np.testing.assert_allclose(gradient(function, X), differences(function, X), atol=2e-4)


@pytest.mark.compiles
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_neither_overflows_nor_forgets(dtype: str) -> None:
    x = ops.cast(np.full((1, 4000), 30.0), dtype)  # the sum, 120000, is no float16
    mask = np.ones((1, 4000))
    mean, greatest = masked_mean(x, mask), masked_max(-x, mask)
    softmax = masked_softmax(x, mask)

    assert {keras.backend.standardize_dtype(y.dtype) for y in (mean, greatest, softmax)} == {dtype}
    assert float(array(ops.cast(mean, "float32"))[0]) == 30.0
    assert float(array(ops.cast(greatest, "float32"))[0]) == -30.0
    np.testing.assert_allclose(array(ops.cast(softmax, "float32")), 1 / 4000, rtol=4e-3)


def test_integers_have_a_mean_and_a_maximum() -> None:
    x = np.array([[-5, -3, 7]])
    mask = np.array([[1, 1, 0]])

    assert array(masked_mean(x, mask)).tolist() == [-4.0]
    assert array(masked_max(x, mask)).tolist() == [-3]


def test_in_a_functional_model_with_open_steps() -> None:
    x, lengths = keras.Input((None, 2)), keras.Input((), dtype="int32")
    mask = sequence_mask(lengths, 4)
    model = keras.Model([x, lengths], [f(x, mask, axis=1) for f in FUNCTIONS.values()])

    found = model.predict([X, np.array([3, 0, 4])], verbose=0)

    rows = np.arange(4) < np.array([3, 0, 4])[:, None]
    for name, values in zip(FUNCTIONS, found, strict=True):
        np.testing.assert_allclose(values, loop(name, X, rows), rtol=1e-6, atol=1e-7)


@pytest.mark.compiles
@settings(max_examples=15)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 3))
def test_more_padding_changes_nothing(lengths: list[int], more: int) -> None:
    rng = np.random.default_rng(len(lengths))
    x = rng.normal(size=(len(lengths), 5 + more)).astype("float32")
    mask = array(sequence_mask(lengths, 5 + more))

    for function in (masked_mean, masked_max):
        np.testing.assert_allclose(
            array(function(x, mask)), array(function(x[:, :5], mask[:, :5])), rtol=1e-6
        )


@pytest.mark.parametrize(
    ("mask", "axis"),
    [(np.ones((3, 5)), 1), (np.ones((2, 3, 4, 2)), 1), (np.ones((3, 4)), 2), (np.ones((3, 4)), 0)],
)
def test_a_mask_that_does_not_fit_is_an_error(mask: Any, axis: int) -> None:
    with pytest.raises(ValueError, match=r"`mask` must have the shape \[steps\], \[batch, steps\]"):
        masked_mean(X, mask, axis=axis)


def test_an_axis_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"`axis` must lie in \[-3, 3\), received axis=3"):
        masked_max(X, MASK, axis=3)


def test_symbolic_lengths_need_a_number_of_steps() -> None:
    with pytest.raises(ValueError, match="`max_length` must be given for symbolic lengths"):
        sequence_mask(keras.Input((), dtype="int32"))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX compiles for fixed shapes")
def test_compiled_lengths_need_a_number_of_steps() -> None:
    import jax

    with pytest.raises(ValueError, match="`max_length` must be given inside of a compiled"):
        jax.jit(sequence_mask)(np.array([1, 2]))
