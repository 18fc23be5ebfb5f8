"""Accumulated gradients of rows: the means of whole gradients, at the price of the rows."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import kooler
from kooler.core.batch import Batch, Rows, applying
from kooler.optimizers import Accumulate, Lazy
from kooler.optimizers.row_window import RowWindow
from tests.conftest import BACKEND
from tests.optimizers.lazy_oracle import LazyOracle

ROWS, DIMENSION, LOOKED_UP = 19, 3, 4
ULPS = 1e-6  # 4 units in the last place of a weight between 2 and 4


def numbers(tensor: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def batches(number: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Ids with repetitions, the gradient of each look-up, and what the batch weighs."""
    random = np.random.default_rng(seed)
    ids = [(ROWS * random.random(LOOKED_UP) ** 2).astype("int32") for _ in range(number)]
    gradients = random.normal(size=(number, LOOKED_UP, DIMENSION)).astype("float32")
    return list(zip(ids, gradients, random.integers(1, 9, number).tolist(), strict=True))


def rows_of(ids: Any, gradients: Any) -> Rows:
    return Rows(ops.convert_to_tensor(ids), ops.convert_to_tensor(gradients))


def window() -> RowWindow:
    table = keras.Variable(np.zeros((ROWS, DIMENSION), "float32"), name="table")
    return RowWindow(keras.optimizers.SGD(), table, keras.Variable(table, name="mean"))


def filled(one: RowWindow, parts: Any, summed: bool = False) -> np.ndarray:
    """What a window hands on after some batches, as a whole table."""
    total = 0.0
    for ids, gradients, weight in parts:
        total += weight
        of_all = ops.convert_to_tensor(total, "float32")
        if summed:
            one.add(rows_of(ids, gradients), ops.ones(()), None)
        else:
            one.add(rows_of(ids, gradients), weight / of_all, of_all)
    ids, gradients = (numbers(part) for part in one.rows(ROWS, ops.convert_to_tensor(total)))
    whole = np.zeros((ROWS + len(ids), DIMENSION))
    np.add.at(whole, ids, gradients)
    return whole[:ROWS]


def whole_of(parts: Any, summed: bool = False) -> np.ndarray:
    """The same in float64."""
    weights = np.array([weight for *_, weight in parts])
    factors = np.ones(len(parts)) if summed else weights / weights.sum()
    whole = np.zeros((ROWS, DIMENSION))
    for (ids, gradients, _), factor in zip(parts, factors, strict=True):
        np.add.at(whole, ids, factor * gradients)
    return whole


@pytest.mark.parametrize(
    "summed",
    [False, pytest.param(True, marks=pytest.mark.compiles)],
    ids=["mean", "sum"],
)
def test_each_window_has_the_mean_of_whole_gradients(summed: bool) -> None:
    one = window()
    for seed in range(2):
        parts = batches(3, seed)
        found = filled(one, parts, summed)
        one.empty()

        np.testing.assert_allclose(found, whole_of(parts, summed), rtol=0, atol=1e-6)


def test_of_one_batch_it_is_the_gradient_bit_for_bit() -> None:
    ids, gradients = np.array([7, 2], "int32"), np.array([[0.1] * 3, [1e-20] * 3], "float32")

    found = filled(window(), [(ids, gradients, 3.0)])

    np.testing.assert_array_equal(found[[7, 2]], gradients)


def test_two_batches_by_hand() -> None:
    ones = np.ones((1, DIMENSION), "float32")
    first, second = (np.array([row], "int32") for row in (4, 5))

    found = filled(window(), [(first, 8 * ones, 1.0), (second, 8 * ones, 3.0)])

    assert found[4].tolist() == [2.0, 2.0, 2.0]
    assert found[5].tolist() == [6.0, 6.0, 6.0]
    assert np.count_nonzero(found) == 6


def test_a_whole_gradient_touches_the_rows_that_are_not_zero() -> None:
    one = window()
    gradient = np.zeros((ROWS, DIMENSION), "float32")
    gradient[[3, 11]] = 1.0

    one.add_whole(ops.convert_to_tensor(gradient), ops.ones(()), ops.ones(()))

    ids = numbers(one.rows(ROWS, ops.ones(())).ids)
    assert ids[ids < ROWS].tolist() == [3, 11]


# In an optimizer.


def model_of(optimizer: Any, loss: str = "mse") -> Any:
    keras.utils.set_random_seed(8)
    layers = [keras.layers.Embedding(ROWS, DIMENSION, name="words")]
    layers += [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    model.compile(optimizer, loss=loss)
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.compiles
@pytest.mark.parametrize("untouched", ["freeze", "decay"])
def test_a_lazy_optimizer_steps_once_a_window(untouched: str) -> None:
    lazy = Lazy(keras.optimizers.Adam(0.01), "words", untouched=untouched)
    optimizer = model_of(Accumulate(lazy, 3)).optimizer
    table = optimizer.tables[0]
    oracle = LazyOracle(numbers(table), "adam", untouched)

    for seed in range(3):
        parts = batches(3, seed)
        for ids, gradients, weight in parts:
            rows = {id(table): rows_of(ids, gradients)}
            with applying(Batch(examples=weight, rows=rows)):
                optimizer.apply([], [])
        weights = np.array([weight for *_, weight in parts])
        shares = np.repeat(weights / weights.sum(), LOOKED_UP)[:, None]
        every = [np.concatenate([part[k] for part in parts]) for k in (0, 1)]
        oracle.apply(every[0], shares * every[1])

    assert int(numbers(optimizer.iterations)) == 3
    np.testing.assert_allclose(numbers(table), oracle.table, rtol=0, atol=ULPS)


RANDOM = np.random.default_rng(4)
LENGTHS = [2, 7, 3, 2, 7, 2, 2]  # a window of 7 and 2 has more rows than two batches of 2
IDS = [RANDOM.integers(0, ROWS, (4, length)).astype("int32") for length in LENGTHS]
Y = RANDOM.normal(size=(len(LENGTHS), 4, 1)).astype("float32")


def train(model: Any, start: int = 0, end: int = len(LENGTHS), length: int = 7) -> Any:
    for ids, y in list(zip(IDS, Y, strict=True))[start:end]:
        model.train_on_batch(ids[:, :length], y)
    return model


@pytest.mark.compiles
@pytest.mark.parametrize("steps", [2, lambda update: 1 + update], ids=["2", "growing"])
def test_batches_of_all_lengths_train_as_with_whole_gradients(steps: Any) -> None:
    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    lazy = Lazy(inner, "words", untouched="catch_up")
    ours = train(model_of(Accumulate(lazy, steps)))
    theirs = train(model_of(Accumulate(keras.optimizers.SGD(0.1, momentum=0.9), steps)))
    for model in (ours, theirs):
        kooler.flush(model)

    assert list(lazy.paths.values()) == ["rows"]
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=ULPS)


@pytest.mark.compiles
def test_a_run_goes_on_within_a_window_to_the_same_bits(tmp_path: Path) -> None:
    def fresh() -> Any:
        return model_of(Accumulate(Lazy(keras.optimizers.Adam(0.01), "words"), 3))

    # of one length: TensorFlow rounds otherwise where it compiled for all lengths
    whole = train(fresh(), length=2)
    train(fresh(), end=4, length=2).save(tmp_path / "model.keras")
    resumed = train(keras.models.load_model(tmp_path / "model.keras"), start=4, length=2)

    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    pairs = zip(whole.optimizer.variables, resumed.optimizer.variables, strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(numbers(one), numbers(other))


def test_rows_of_an_unknown_model_are_an_error() -> None:
    table = keras.Variable(np.zeros((ROWS, DIMENSION), "float32"), name="words")
    optimizer = Accumulate(Lazy("adam", "words"), 2)
    optimizer.build([table])
    ids, gradients, weight = batches(1)[0]

    with (
        applying(Batch(examples=weight, rows={id(table): rows_of(ids, gradients)})),
        pytest.raises(ValueError, match=r"was built before it knew its model\. Compile the model"),
    ):
        optimizer.apply([], [])


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch hands on as many rows as there are")
def test_longer_lists_than_expected_are_handed_on_whole() -> None:
    one = window()
    ids, gradients, _ = batches(1)[0]
    one.add(rows_of(ids, gradients), ops.ones(()), ops.ones(()))

    assert one.size(2) == 2 * LOOKED_UP
    assert one.size(100) == ROWS
    assert one.size(lambda update: 1) == ROWS
