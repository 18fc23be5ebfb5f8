"""What Keras 3.15.1's own averages get wrong, one test each: ours must not.

Every test names the defect.  `use_ema` and `SwapEMAWeights` are Keras's counterparts of
`WeightAverage` and `AveragedWeights`.
"""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import AveragedWeights, averaged_weights
from kooler.optimizers import EMA, WeightAverage
from tests.optimizers.conformance import applier
from tests.toys import Window

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")
SGD = keras.optimizers.SGD


def net(optimizer: Any, **arguments: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    dense = keras.layers.Dense(1, **arguments)
    model = keras.Sequential([keras.Input((3,)), dense, keras.layers.BatchNormalization()])
    model.compile(optimizer, loss="mse")
    return model


def fit(model: Any, **arguments: Any) -> Any:
    return model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, **arguments)


def arrays(model: Any) -> list[np.ndarray]:
    return [np.array(one) for one in model.get_weights()]


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("order", ["average outside", "average inside"])
def test_accumulation_does_not_shorten_the_average(order: str) -> None:
    """Keras moves its average at each micro-step, so its decay becomes m^N."""
    variable = keras.Variable([1.0])
    if order == "average outside":
        optimizer: Any = WeightAverage(Window(SGD(1.0), 4), EMA(0.9))
        average = optimizer
    else:
        average = WeightAverage(SGD(1.0), EMA(0.9))
        optimizer = Window(average, 4)
    optimizer.build([variable])
    apply = applier(optimizer, [variable])
    for _ in range(8 * 4):
        apply([np.array([0.1], "float32")], 1.0)
    (slot,) = average.average_slots["average"]

    lag = 0.9 * (1 - 0.9**8)  # of the average behind a weight that moves by −0.1 an update
    assert float(ops.convert_to_numpy(slot)[0]) == pytest.approx(0.2 + lag, abs=1e-6)


def test_equal_to_keras_without_accumulation() -> None:
    """Keras starts at the weights θ₁ after the first update, we at θ₀.

    So ours − theirs = dᵗ·(θ₀ − θ₁): after 8 updates theirs is .6695 and ours .7126.
    """
    theirs = SGD(1.0, use_ema=True, ema_momentum=0.9)
    ours = WeightAverage(SGD(1.0), EMA(0.9))
    a, b = keras.Variable([1.0]), keras.Variable([1.0])
    for _ in range(8):
        theirs.apply([ops.ones(1) * 0.1], [a])
        ours.apply([ops.ones(1) * 0.1], [b])
    keras_average = float(ops.convert_to_numpy(theirs._model_variables_moving_average[0])[0])
    (slot,) = ours.average_slots["average"]

    assert keras_average == pytest.approx(0.6695, abs=1e-4)
    assert float(ops.convert_to_numpy(slot)[0]) == pytest.approx(
        keras_average + 0.9**8 * 0.1, abs=1e-6
    )


def test_batch_normalisation_is_averaged_too() -> None:
    """Keras averages trainable weights only."""
    model = net(WeightAverage(SGD(0.1), EMA(0.9)))
    fit(model)
    moving = arrays(model)[-2:]
    with averaged_weights(model):
        inside = arrays(model)[-2:]

    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(moving, inside, strict=True))


def test_predict_leaves_the_weights_of_the_training() -> None:
    """`SwapEMAWeights.on_predict_end` tests the wrong condition, and the average stays."""
    model = net(WeightAverage(SGD(0.1), EMA(0.9)))
    fit(model)
    before = arrays(model)
    averaged = model.predict(X, verbose=0, callbacks=[AveragedWeights()])

    assert_same(arrays(model), before)
    with averaged_weights(model):
        np.testing.assert_allclose(model.predict(X, verbose=0), averaged, rtol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "bfloat16"])
def test_a_hundred_evaluations_do_not_move_the_weights(policy: str) -> None:
    """TensorFlow swaps by a += b; b = a − b; a −= b, which drifts at each evaluation."""
    variable = keras.Variable(np.random.default_rng(1).normal(size=64), dtype=policy)
    layer = keras.layers.Dense(1, dtype=policy)
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(WeightAverage(SGD(0.1), EMA(0.9)), loss="mse")
    fit(model)
    before = np.array(ops.convert_to_numpy(ops.cast(layer.kernel, "float32")))
    for _ in range(100):
        with averaged_weights(model):
            pass

    assert variable.dtype == policy
    np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(layer.kernel, "float32")), before)


def test_validation_does_not_change_the_training() -> None:
    with_, without = (net(WeightAverage(SGD(0.1), EMA(0.9))) for _ in range(2))
    fit(with_, epochs=3, validation_data=(X, Y), callbacks=[AveragedWeights()])
    fit(without, epochs=3)

    assert_same(arrays(with_), arrays(without))


def test_a_second_fit_goes_on() -> None:
    """Keras overwrites the weights at the end of `fit`, and on JAX the second one crashes.

    Two variables then share a buffer, and a compiled step cannot be given it twice.
    """
    twice, once = (net(WeightAverage(SGD(0.1), EMA(0.9))) for _ in range(2))
    for _ in range(2):
        fit(twice, validation_data=(X, Y), callbacks=[AveragedWeights()])
    fit(once, epochs=2)

    assert_same(arrays(twice), arrays(once))


def test_the_average_is_taken_after_constraints() -> None:
    """Keras takes it before, so its average breaks the constraint."""
    model = net(WeightAverage(SGD(0.5), EMA(0.5)), kernel_constraint=keras.constraints.MaxNorm(0.1))
    fit(model, epochs=5)
    with averaged_weights(model):
        norm = np.linalg.norm(arrays(model)[0])

    assert norm <= 0.1 + 1e-6 + 0.5**20  # what is left of the start


def test_low_precision_moves_the_average() -> None:
    """In bfloat16 0.999 rounds to 1, and Keras's average never moves."""
    variable = keras.Variable(np.zeros(2), dtype="bfloat16")
    optimizer = WeightAverage(SGD(1.0), EMA(0.999))
    for _ in range(20):
        optimizer.apply([-ops.ones(2, "bfloat16")], [variable])
    (slot,) = optimizer.average_slots["average"]

    expected = sum(0.001 * 0.999 ** (20 - step) * step for step in range(1, 21))
    np.testing.assert_allclose(ops.convert_to_numpy(slot), expected, rtol=1e-4)
