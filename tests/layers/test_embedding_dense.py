"""One table for the embedding and the logits: its gradient has both parts, and it is saved once."""

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.layers import EmbeddingDense, clone
from tests.layers.gradients import array, gradient

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
IDS = np.array([[1, 2, 3, 0], [4, 5, 0, 0]])


def tied(**arguments: Any) -> Any:
    inputs = keras.Input((None,), dtype="int32")
    embedding = layers.Embedding(7, 5, mask_zero=True, name="embedding")
    hidden = layers.Dense(5, "tanh", name="hidden")(embedding(inputs))
    model = keras.Model(inputs, EmbeddingDense(embedding, name="logits", **arguments)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss)
    return model


def test_logits_by_the_transposed_table() -> None:
    embedding = layers.Embedding(7, 5)
    layer = EmbeddingDense(embedding, activation="tanh", bias_initializer="glorot_normal")
    found = array(layer(X))

    table = array(embedding.embeddings).astype("float64")
    np.testing.assert_allclose(found, np.tanh(X @ table.T + array(layer.bias)), rtol=1e-5)


def test_in_ones_head() -> None:
    embedding = layers.Embedding(2, 2)
    embedding.build()
    embedding.set_weights([np.array([[1.0, 0.0], [0.0, 2.0]])])

    assert array(EmbeddingDense(embedding, use_bias=False)(np.array([[3.0, 4.0]]))).tolist() == [
        [3.0, 8.0]
    ]


def test_there_is_one_table() -> None:
    model = tied()

    assert [tuple(w.shape) for w in model.weights] == [(7, 5), (5, 5), (5,), (7,)]


def test_the_table_gets_the_gradient_of_both_uses() -> None:
    model = tied(use_bias=False)
    embedding, hidden = model.get_layer("embedding"), model.get_layer("hidden")
    table = array(embedding.embeddings)
    ids = IDS[:, :2]

    def twice(one: Any) -> Any:
        return ops.matmul(hidden(ops.take(one, ids, axis=0)), ops.transpose(one))

    def stateless(one: Any) -> Any:
        values = [one if w is embedding.embeddings else w.value for w in model.trainable_variables]
        return model.stateless_call(values, [], ops.convert_to_tensor(ids))[0]

    np.testing.assert_allclose(
        gradient(stateless, table), gradient(twice, table), rtol=1e-5, atol=1e-6
    )


def test_saved_once_and_still_one_table_after_loading(tmp_path: Path) -> None:
    model = tied()
    model.fit(IDS, IDS, verbose=0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(IDS, IDS, shuffle=False, verbose=0)

    assert len(loaded.weights) == 4
    assert loaded.get_layer("logits").embedding is loaded.get_layer("embedding")
    np.testing.assert_allclose(array(loaded(IDS)), array(model(IDS)), rtol=1e-5, atol=1e-6)
    shapes: list[Any] = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visititems(lambda name, item: shapes.append(getattr(item, "shape", None)))
    assert shapes.count((7, 5)) == 1


def test_a_clone_has_one_table_where_keras_makes_two() -> None:
    model = tied()
    copy = clone(model)
    before = array(model(IDS))
    copy.fit(IDS, IDS, verbose=0)

    assert len(keras.models.clone_model(model).weights) == 5
    assert len(copy.weights) == 4
    assert np.abs(array(copy(IDS)) - before).max() > 0
    np.testing.assert_array_equal(array(model(IDS)), before)


def test_a_clone_gives_the_same_bits() -> None:
    model = tied()

    np.testing.assert_array_equal(array(clone(model)(IDS)), array(model(IDS)))


def test_it_follows_a_low_rank_adaptation() -> None:
    embedding = layers.Embedding(7, 5)
    layer = EmbeddingDense(embedding, use_bias=False)
    before = array(layer(X))
    embedding.enable_lora(2)
    embedding.lora_embeddings_b.assign(np.ones((2, 5)))

    assert np.abs(array(layer(X)) - before).max() > 1e-4


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="`embedding` must be an embedding layer"):
        EmbeddingDense(layers.Dense(2))
    with pytest.raises(
        ValueError, match="The inputs must be as wide as the embedding, 3, received"
    ):
        EmbeddingDense(layers.Embedding(7, 3))(X)


def test_a_quantized_table_is_an_error() -> None:
    embedding = layers.Embedding(7, 5)
    layer = EmbeddingDense(embedding)
    layer(X)
    embedding.quantize("int8")

    with pytest.raises(ValueError, match="`embedding` is quantized"):
        layer(X)
