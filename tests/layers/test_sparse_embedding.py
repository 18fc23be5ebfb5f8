"""SparseEmbedding: keras.layers.Embedding with a promise."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.layers import SparseEmbedding

ROWS, DIMENSION = 11, 4
IDS = np.random.default_rng(0).integers(0, ROWS, (6, 5))


def numbers(tensor: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def model(make: Any, **arguments: Any) -> Any:
    keras.utils.set_random_seed(0)
    table = make(ROWS, DIMENSION, name="table", **arguments)
    layers = [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]  # heeds the mask
    net = keras.Sequential([keras.Input((5,), dtype="int32"), table, *layers])
    net.compile("adam", loss="mse")
    return net


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4)])
def test_rows_of_the_table_for_ids_of_any_rank(shape: tuple[int, ...]) -> None:
    layer = SparseEmbedding(ROWS, DIMENSION)
    ids = np.random.default_rng(1).integers(0, ROWS, shape)

    rows = numbers(layer(ids))

    np.testing.assert_array_equal(rows, numbers(layer.embeddings)[ids])


def test_ids_that_count_from_the_end() -> None:
    layer = SparseEmbedding(ROWS, DIMENSION)

    np.testing.assert_array_equal(
        numbers(layer(np.array([-1, -ROWS]))), numbers(layer(np.array([10, 0])))
    )


def test_ids_may_be_floats_and_rows_half_precision() -> None:
    plain = keras.layers.Embedding(ROWS, DIMENSION, dtype="mixed_float16")
    ours = SparseEmbedding(ROWS, DIMENSION, dtype="mixed_float16")

    assert ours(IDS.astype("float32")).dtype == plain(IDS).dtype


@pytest.mark.compiles
def test_trains_like_an_embedding() -> None:
    ours = model(SparseEmbedding, mask_zero=True)
    theirs = model(keras.layers.Embedding, mask_zero=True)
    for net in (ours, theirs):
        net.fit(IDS, np.ones((6, 1)), epochs=2, batch_size=3, shuffle=False, verbose=0)

    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_shared_between_inputs() -> None:
    table = SparseEmbedding(ROWS, DIMENSION)
    inputs = [keras.Input((5,), dtype="int32") for _ in range(2)]
    net = keras.Model(inputs, keras.layers.Add()([table(one) for one in inputs]))

    weights = numbers(table.embeddings)
    np.testing.assert_allclose(numbers(net([IDS, IDS[::-1]])), weights[IDS] + weights[IDS[::-1]])


@pytest.mark.parametrize("way", [(SparseEmbedding, keras.layers.Embedding)[::s] for s in (1, -1)])
def test_files_of_one_are_files_of_the_other(way: Any, tmp_path: Path) -> None:
    one, other = model(way[0]), model(way[1])
    one.layers[0].embeddings.assign(np.ones((ROWS, DIMENSION)))

    one.save_weights(tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")

    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saved_with_its_arguments(tmp_path: Path) -> None:
    net = model(SparseEmbedding, mask_zero=True)
    net.train_on_batch(IDS, np.ones((6, 1)))
    net.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")

    assert type(loaded.layers[0]) is SparseEmbedding
    assert loaded.layers[0].mask_zero
    np.testing.assert_array_equal(numbers(loaded(IDS)), numbers(net(IDS)))


@pytest.mark.parametrize(
    "argument",
    [
        {"embeddings_regularizer": "l2"},
        {"embeddings_constraint": "unit_norm"},
        {"lora_rank": 2},
    ],
)
def test_what_concerns_all_rows_is_an_error(argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cannot have .*, which concerns all rows"):
        SparseEmbedding(ROWS, DIMENSION, **argument)


def test_lora_cannot_come_later_either() -> None:
    with pytest.raises(ValueError, match="cannot have LoRA, which concerns all rows"):
        SparseEmbedding(ROWS, DIMENSION).enable_lora(2)
