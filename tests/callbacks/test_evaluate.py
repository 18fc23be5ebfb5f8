"""Any measure, the best weights, and an early end."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import Evaluate, averaged_weights
from kooler.optimizers import EMA, Accumulate, WeightAverage
from tests.conftest import BACKEND

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")


def trained(optimizer: Any = None, callbacks: Any = (), epochs: int = 4) -> Any:
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dropout(0.1), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss="mse")
    model.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=[*callbacks])
    return model


def arrays(model: Any) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(one)) for one in model.weights]


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


class Scripted:
    """Says what is written down, and remembers the weights it saw."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)
        self.seen: list[list[np.ndarray]] = []

    def __call__(self, model: Any) -> float:
        self.seen.append(arrays(model))
        return self.values[len(self.seen) - 1]


@pytest.mark.parametrize(("mode", "best"), [("max", 1), ("min", 2)])
def test_the_best_weights_come_back(mode: str, best: int) -> None:
    measure = Scripted(0.3, 0.9, 0.1, 0.5)
    callback = Evaluate(measure, monitor="score", mode=mode)
    model = trained(callbacks=[callback])

    assert_same(arrays(model), measure.seen[best])
    assert (callback.best, callback.best_update) == (measure.values[best], 4 * (best + 1))
    assert model.history.history["score"] == measure.values


def test_every_so_many_updates_counted_through_accumulation() -> None:
    measure = Scripted(*range(9))
    callback = Evaluate(measure, monitor="score", every=3)
    trained(Accumulate(keras.optimizers.SGD(0.1), 2), [callback])  # 16 batches, 8 updates

    assert [record["update"] for record in callback.records] == [3, 6]


def test_training_is_the_same_with_and_without() -> None:
    def measure(model: Any) -> dict[str, float]:
        model.predict(X, verbose=0)
        return {"other": 1.0, "loss": model.evaluate(X[:4], Y[:4], verbose=0)}

    callback = Evaluate(measure, monitor="other", every=1, restore_best=False)
    plain, watched = trained(), trained(callbacks=[callback])

    assert_same(arrays(watched), arrays(plain))
    assert len(callback.records) == 16
    measured = keras.callbacks.History()
    own = Evaluate(lambda model: model.evaluate(X, Y, verbose=0), monitor="mine", every=3)
    assert (
        trained(callbacks=[own, measured]).history.history["loss"] == plain.history.history["loss"]
    )


@pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch's modules have a mode")
def test_training_goes_on_in_its_mode() -> None:
    class Mode(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            modes.append(self.model.training)

    modes: list[bool] = []
    own = Evaluate(lambda model: model.evaluate(X, Y, verbose=0), monitor="mine", every=1)
    trained(callbacks=[own, Mode()])

    assert modes == [True] * 16


def test_it_ends_when_nothing_gets_better() -> None:
    callback = Evaluate(Scripted(0.5, 0.9, 0.9, 0.2), monitor="score", patience=2)
    model = trained(callbacks=[callback], epochs=9)

    assert len(model.history.epoch) == 4
    assert callback.best == 0.9


def test_no_number_is_never_the_best() -> None:
    callback = Evaluate(Scripted(float("nan"), 0.1, float("nan"), 0.0), monitor="score")
    trained(callbacks=[callback])

    assert callback.best == 0.1


def test_the_averages_of_the_best_moment_come_back_too() -> None:
    def measure(model: Any) -> float:
        with averaged_weights(model):
            seen.append(arrays(model))
        return -len(seen)

    seen: list[list[np.ndarray]] = []
    model = trained(
        WeightAverage(keras.optimizers.SGD(0.1), EMA(0.5)), [Evaluate(measure, monitor="score")]
    )

    with averaged_weights(model):
        assert_same(arrays(model), seen[0])


def test_after_an_exception_the_best_can_be_asked_for() -> None:
    measure = Scripted(0.9)
    callback = Evaluate(measure, monitor="score")
    with pytest.raises(IndexError):
        trained(callbacks=[callback])
    callback.restore()

    assert_same(arrays(callback.model), measure.seen[0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "best"}, "`mode` must be one of max, min"),
        ({"every": 0}, "`every` must be a positive number of updates"),
    ],
)
def test_what_cannot_be_is_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Evaluate(len, monitor="score", **arguments)


def test_a_result_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="must be one of the results of `function`, f1"):
        trained(callbacks=[Evaluate(lambda model: {"f1": 1.0}, monitor="accuracy")])
