"""Values that move with the number of updates."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import HyperParameter
from kooler.optimizers import Accumulate, Lookahead

X = np.ones((12, 1), "float32")
Y = np.zeros((12, 1), "float32")


class Scale(keras.layers.Layer):
    """Adds `rate` times one weight to the loss, so each SGD step moves it by lr · rate."""

    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        self.rate = rate

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(), initializer="zeros", name="w")
        self.factor = self.add_weight(shape=(), initializer="ones", trainable=False, name="factor")

    def call(self, x: Any) -> Any:
        self.add_loss(self.rate * self.factor * self.w)
        return x


def trained(target: Any, schedule: Any, optimizer: Any = None, **arguments: Any) -> Any:
    layer = Scale()
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer or keras.optimizers.SGD(1.0))
    callback = HyperParameter(target(layer) if callable(target) else target, schedule)
    model.fit(X, batch_size=2, verbose=0, shuffle=False, callbacks=[callback], **arguments)
    return model, layer


def moved(layer: Any) -> float:
    return -float(ops.convert_to_numpy(layer.w))


POINTS = {0: 0.0, 4: 1.0}  # before updates 0 … 5: 0, ¼, ½, ¾, 1, 1


@pytest.mark.parametrize(
    "target",
    ["learning_rate", lambda layer: layer.factor, lambda layer: (layer, "rate")],
    ids=["learning rate", "variable", "attribute"],
)
def test_each_update_has_the_value_of_its_number(target: Any) -> None:
    _, layer = trained(target, POINTS)

    assert moved(layer) == 3.5


def test_a_constant_is_the_training_without_it() -> None:
    _, layer = trained("learning_rate", {0: 1.0})

    assert moved(layer) == 6.0


def test_a_second_fit_sets_it_again() -> None:
    layer, callback = Scale(), HyperParameter("learning_rate", {0: 1.0})
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.SGD(1.0))
    for _ in range(2):
        model.optimizer.learning_rate = 9.0
        model.fit(X, batch_size=2, verbose=0, callbacks=[callback])

    assert moved(layer) == 12.0


def test_it_counts_updates_not_batches_and_sees_through_wrappers() -> None:
    optimizer = Accumulate(Lookahead(keras.optimizers.SGD(1.0), 100), 2)
    model, layer = trained("learning_rate", POINTS, optimizer)

    assert moved(layer) == 0.75  # three updates: 0 + ¼ + ½
    assert model.history.history["learning_rate"] == [0.5]


def test_keras_accumulation_counts_too() -> None:
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)

    assert moved(trained("learning_rate", POINTS, optimizer)[1]) == 0.75


def test_a_function_and_a_keras_schedule() -> None:
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.5])

    assert moved(trained("learning_rate", lambda update: update)[1]) == 15.0
    assert moved(trained("learning_rate", decay)[1]) == 4.0  # 1, 1, ½ four times


@pytest.mark.parametrize(
    ("target", "schedule", "error", "words"),
    [
        ("decay", {0: 1.0}, TypeError, "`target` must be 'learning_rate', a variable, or"),
        (("rate",), {0: 1.0}, TypeError, "received target="),
        ((Scale(), "speed"), {0: 1.0}, ValueError, "Scale has no attribute 'speed'"),
        ("learning_rate", 0.1, TypeError, "`schedule` must be points"),
        ("learning_rate", {}, ValueError, "has no point"),
    ],
)
def test_what_cannot_be_is_refused(target: Any, schedule: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        HyperParameter(target, schedule)


def test_a_schedule_in_the_optimizer_is_refused_before_training() -> None:
    rate = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    with pytest.raises(ValueError, match="has a schedule of its own"):
        trained("learning_rate", POINTS, keras.optimizers.SGD(rate))


def test_a_variable_of_nobody_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="never see it change"):
        trained(keras.Variable(1.0, name="alone"), POINTS)
