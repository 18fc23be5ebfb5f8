"""Attention: against its equation in float64, against Keras's layer, and alone = in a batch."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.layers import Attention
from tests.layers.gradients import array, differences, gradient

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 6)).astype("float32")
V = RNG.normal(size=(3, 7, 4)).astype("float32")
QUERY_MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 0]]) > 0
VALUE_MASK = np.array([[1] * 7, [0, 0, 1, 1, 1, 1, 0], [0] * 7]) > 0


def equation(layer: Any, x: Any, value: Any, visible: Any) -> Any:
    """softmax(Q Kᵀ / √d) V W + b, in loops over rows and heads."""
    weights = [array(w).astype("float64") for w in layer.get_weights()]
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = (weights[i : i + 2] for i in range(0, 8, 2))
    outputs = np.zeros((len(x), x.shape[1], wo.shape[-1])) + bo
    for row in range(len(x)):
        for head in range(wq.shape[1]):
            q = x[row] @ wq[:, head] + bq[head]
            k = value[row] @ wk[:, head] + bk[head]
            v = value[row] @ wv[:, head] + bv[head]
            p = np.exp(q @ k.T / np.sqrt(layer.key_dim)) * visible[row]
            outputs[row] += p / np.maximum(p.sum(-1, keepdims=True), 1e-30) @ v @ wo[head]
    return outputs


def attention(**arguments: Any) -> Any:
    layer = Attention(2, 3, bias_initializer="glorot_normal", **arguments)
    layer(X, V)
    return layer


def test_as_the_equation() -> None:
    layer = attention()
    found = array(layer(X, V, query_mask=QUERY_MASK, value_mask=VALUE_MASK))

    expected = equation(layer, X, V, VALUE_MASK[:, None])
    np.testing.assert_allclose(found, expected * QUERY_MASK[..., None], rtol=1e-5, atol=1e-6)


def test_in_ones_head() -> None:
    layer = Attention(1, 1, use_bias=False, kernel_initializer="zeros")
    _, scores = layer(X, use_causal_mask=True, return_attention_scores=True)

    np.testing.assert_allclose(array(scores)[0, 0, 2], [1 / 3, 1 / 3, 1 / 3, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_as_kerass_layer_with_its_weights(causal: bool) -> None:
    ours, theirs = Attention(2, 3), keras.layers.MultiHeadAttention(2, 3)
    ours(X, X), theirs(X, X)
    ours.set_weights(theirs.get_weights())
    arguments = {"use_causal_mask": causal, "return_attention_scores": True}
    visible = RNG.random((3, 5, 5)) > 0.4
    visible[:, :, 0] = True

    for found, expected in zip(
        ours(X, X, attention_mask=visible, **arguments),
        theirs(X, X, attention_mask=visible, **arguments),
        strict=True,
    ):
        np.testing.assert_allclose(array(found), array(expected), rtol=1e-5, atol=1e-6)


def test_a_query_that_sees_nothing_gets_the_bias_and_no_scores() -> None:
    layer = attention()
    outputs, scores = layer(X, V, value_mask=VALUE_MASK, return_attention_scores=True)

    assert not array(scores)[2].any()
    np.testing.assert_array_equal(
        array(outputs)[2], np.tile(layer.output_dense.get_weights()[1], (5, 1))
    )


def test_the_outputs_of_padding_are_zero_and_carry_the_mask() -> None:
    embedding = keras.layers.Embedding(9, 6, mask_zero=True)
    ids = np.array([[1, 2, 0, 0]])
    outputs = Attention(2, 3)(embedding(ids))

    assert not array(outputs)[0, 2:].any()
    assert array(keras.layers.GlobalAveragePooling1D()(outputs)).shape == (1, 6)
    assert array(outputs._keras_mask if hasattr(outputs, "_keras_mask") else ids > 0).tolist() == [
        [True, True, False, False]
    ]


@pytest.mark.parametrize("poison", [0.0, 1e3, np.nan])
def test_a_row_alone_gives_what_it_gives_in_a_padded_batch(poison: float) -> None:
    layer = Attention(2, 3)
    padded = np.concatenate([X[:1], np.full((1, 3, 6), poison, "float32")], axis=1)
    mask = np.arange(8)[None] < 5

    np.testing.assert_allclose(
        array(layer(padded, mask=mask))[:, :5] if np.isfinite(poison) else array(layer(X[:1])),
        array(layer(X[:1])),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("shape", ["[queries, keys]", "[batch, queries, keys]", "with heads"])
def test_every_shape_of_custom_mask(shape: str) -> None:
    layer = attention()
    visible = RNG.random((5, 7)) > 0.3
    mask = {
        "[queries, keys]": visible,
        "[batch, queries, keys]": np.tile(visible, (3, 1, 1)),
        "with heads": np.tile(visible, (3, 2, 1, 1)),
    }[shape]

    found = array(layer(X, V, attention_mask=mask))

    expected = equation(layer, X, V, np.tile(visible, (3, 1, 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_all_masks_together_are_their_and() -> None:
    layer = attention()
    custom = RNG.random((5, 7)) > 0.3
    _, scores = layer(
        X,
        V,
        V,
        value_mask=VALUE_MASK,
        key_mask=~VALUE_MASK | (np.arange(7) > 2),
        attention_mask=custom,
        use_causal_mask=True,
        return_attention_scores=True,
    )

    causal = np.arange(7) <= np.arange(5)[:, None]
    visible = custom & causal & (VALUE_MASK & (np.arange(7) > 2))[:, None]
    np.testing.assert_array_equal(array(scores)[:, 0] > 0, visible)


@pytest.mark.compiles
def test_the_gradient_by_finite_differences() -> None:
    layer = attention()

    def function(x: Any) -> Any:
        return layer(x, V[1:2], query_mask=QUERY_MASK[1:2, :3], value_mask=VALUE_MASK[1:2])

    x = X[1:2, :3]
    np.testing.assert_allclose(gradient(function, x), differences(function, x), atol=2e-3)


@pytest.mark.compiles
def test_trained_saved_and_loaded(tmp_path: Path) -> None:
    inputs = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(9, 6, mask_zero=True)(inputs)
    model = keras.Model(inputs, Attention(2, 3, value_dim=2, output_dim=4, dropout=0.1)(hidden))
    model.compile("adam", "mse")
    ids = np.array([[1, 2, 3, 0], [4, 5, 0, 0]])
    model.fit(ids, np.ones((2, 4, 4)), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(array(loaded(ids)), array(model(ids)))


def test_dropout_is_for_training_only() -> None:
    layer = Attention(2, 3, dropout=0.5)
    one, other, training = layer(X), layer(X), layer(X, training=True)

    np.testing.assert_array_equal(array(one), array(other))
    assert np.abs(array(one) - array(training)).max() > 0


def test_half_precision_has_no_overflow() -> None:
    layer = Attention(2, 3, dtype="float16", kernel_initializer="ones")
    outputs, scores = layer(ops.cast(X * 20, "float16"), return_attention_scores=True)

    assert np.isfinite(array(ops.cast(outputs, "float32"))).all()
    np.testing.assert_allclose(array(ops.cast(scores, "float32")).sum(-1), 1, atol=2e-3)


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="`num_heads` must be a positive integer, received 0"):
        Attention(0, 3)
    with pytest.raises(ValueError, match=r"`attention_mask` must have the shape \[queries, keys\]"):
        Attention(1, 3)(X, attention_mask=np.ones(5))
