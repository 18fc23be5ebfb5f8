"""BatchNorm's statistics from data, once more."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import update_batch_statistics

RANDOM = np.random.default_rng(8)
X = (3 + 2 * RANDOM.normal(size=(50, 3))).astype("float32")


def net(*more: Any) -> keras.Model:
    norm = keras.layers.BatchNormalization(name="norm")
    return keras.Sequential([keras.Input((3,)), norm, *more])


def statistics(model: Any) -> list[np.ndarray]:
    norm = model.get_layer("norm")
    moving = (norm.moving_mean, norm.moving_variance)
    return [np.array(ops.convert_to_numpy(variable)) for variable in moving]


@pytest.mark.parametrize("batch_size", [50, 16])
def test_they_are_those_of_all_examples_however_these_are_batched(batch_size: int) -> None:
    model = net()
    update_batch_statistics(model, (X, X), batch_size=batch_size)

    mean, variance = statistics(model)
    np.testing.assert_allclose(mean, X.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, X.var(0), rtol=1e-5)


def test_by_hand() -> None:
    model = net()
    update_batch_statistics(model, np.array([[0, 1, 2], [4, 1, 0]], "float32"), batch_size=1)

    mean, variance = statistics(model)
    assert mean.tolist() == [2, 1, 1]
    assert variance.tolist() == [4, 0, 1]


def test_everything_else_stays() -> None:
    model = net(keras.layers.Dense(2), keras.layers.Dropout(0.5))
    seed = model.layers[-1].seed_generator.state
    before = [np.array(ops.convert_to_numpy(v)) for v in (*model.trainable_variables, seed)]
    update_batch_statistics(model, X)
    after = [np.array(ops.convert_to_numpy(v)) for v in (*model.trainable_variables, seed)]

    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.get_layer("norm").momentum == 0.99


def test_a_frozen_layer_and_a_model_without_any_are_left_alone() -> None:
    model = net()
    model.get_layer("norm").trainable = False
    update_batch_statistics(model, X)
    update_batch_statistics(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), X)

    assert [one.tolist() for one in statistics(model)] == [[0, 0, 0], [1, 1, 1]]


def test_an_exception_leaves_the_statistics() -> None:
    def broken() -> Any:
        yield (X[:25],)
        yield (X[25:],)
        raise KeyError

    model = net()
    with pytest.raises(KeyError):
        update_batch_statistics(model, broken())

    assert [one.tolist() for one in statistics(model)] == [[0, 0, 0], [1, 1, 1]]
    assert model.get_layer("norm").momentum == 0.99


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match=r"needs a built Keras model, received 3"):
        update_batch_statistics(3, X)
    with pytest.raises(ValueError, match="Call the model on a batch first"):
        update_batch_statistics(keras.Sequential([keras.layers.BatchNormalization()]), X)
