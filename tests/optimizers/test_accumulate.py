"""Accumulation: several batches are one batch, to rounding, whatever the inner optimizer is."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import kooler
from kooler.core.batch import Batch, applying
from kooler.optimizers import Accumulate, OptimizerWrapper
from tests.conftest import BACKEND
from tests.optimizers.conformance import array, fresh_variables, gradients

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, clipnorm=0.5),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipvalue=0.5),
    "adam": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 6)),
    "adamw": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1, global_clipnorm=1.0),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, momentum=0.9, centered=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "nadam": lambda: keras.optimizers.Nadam(0.1),
    "adamax": lambda: keras.optimizers.Adamax(0.1),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1, l1_regularization_strength=0.01),
    "lion": lambda: keras.optimizers.Lion(0.01),
    "lamb": lambda: keras.optimizers.Lamb(0.1),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "muon": lambda: keras.optimizers.Muon(0.1),
    "schedule free": lambda: keras.optimizers.ScheduleFreeAdamW(0.1),
    "ema": lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9),
}
RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(14, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")


def linear(optimizer: Any, **arguments: Any) -> keras.Model:
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(optimizer, loss="mse", **arguments)
    return model


def kernel(model: keras.Model) -> np.ndarray:
    return model.get_weights()[0]


def mean_of_x(optimizer: Any) -> keras.Model:
    """One weight, from 0; the gradient of a batch is the mean of its numbers."""
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer, loss=lambda y, prediction: prediction)
    return model


def count(variable: Any) -> int:
    return int(ops.convert_to_numpy(variable))


def test_ten_and_four_examples_are_one_batch_of_fourteen() -> None:
    model = linear(Accumulate(keras.optimizers.SGD(0.1), steps=2))
    model.fit(X, Y, batch_size=10, epochs=3, shuffle=False, verbose=0)

    weights = np.ones((3, 1))
    for _ in range(3):
        weights -= 0.1 * 2 * X.T.astype("float64") @ (X @ weights - Y) / 14
    np.testing.assert_allclose(kernel(model), weights, rtol=1e-6)


def test_one_two_three_four_is_two_and_a_half() -> None:
    weight = keras.Variable([0.0])
    optimizer = Accumulate(keras.optimizers.SGD(1.0), steps=4)
    seen = []
    for gradient in (1.0, 2.0, 3.0, 4.0):
        optimizer.apply([ops.convert_to_tensor([gradient])], [weight])
        seen.append(array(weight).item())

    assert seen == [0.0, 0.0, 0.0, -2.5]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_sees_one_big_batch_and_nothing_moves_before_it(name: str) -> None:
    ours, plain = Accumulate(OPTIMIZERS[name](), steps=3), OPTIMIZERS[name]()
    variables, others = constrained_variables(), constrained_variables()
    ours.build(variables)
    plain.build(others)
    weights, window = (5.0, 1.0, 10.0), []
    for step, gradient in enumerate(gradients(steps=12)):
        before = values([*variables, *ours.inner_optimizer.variables])
        window.append(gradient)
        with applying(Batch(examples=weights[step % 3])):
            ours.apply([ops.convert_to_tensor(g) for g in gradient], variables)
        if len(window) < 3:
            assert_equal(values([*variables, *ours.inner_optimizer.variables]), before)
            continue
        means = [np.average(one, axis=0, weights=weights) for one in zip(*window, strict=True)]
        plain.apply([ops.convert_to_tensor(m.astype("float32")) for m in means], others)
        window = []

    for one, other in zip(variables, others, strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=2e-5, atol=2e-6)
    assert count(ours.iterations) == 4


def constrained_variables() -> list[Any]:
    variables = fresh_variables()
    variables[2].constraint = keras.constraints.MaxNorm(1.0)
    return variables


def values(variables: list[Any]) -> list[np.ndarray]:
    return [array(variable) for variable in variables]


def assert_equal(ones: list[np.ndarray], others: list[np.ndarray]) -> None:
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("gradient_of_each", [1, 4], ids=["one batch", "four equal batches"])
def test_equal_gradients_are_the_inner_optimizer_bit_for_bit(gradient_of_each: int) -> None:
    ours = Accumulate(keras.optimizers.Adam(0.1), steps=gradient_of_each)
    plain = keras.optimizers.Adam(0.1)
    variables, others = fresh_variables(), fresh_variables()
    for gradient in gradients(steps=5):
        tensors = [ops.convert_to_tensor(g) for g in gradient]
        for weight in (3.0, 50.0, 7.0, 20.0)[:gradient_of_each]:
            with applying(Batch(examples=weight)):
                ours.apply(tensors, variables)
        plain.apply(tensors, others)

    assert_equal(values(variables), values(others))


def tokens(optimizer: Any, **arguments: Any) -> keras.Model:
    """A tagger: ids to a number each; padding is masked."""
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            keras.layers.Embedding(6, 2, mask_zero=True),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, **arguments)
    return model


IDS = np.array([[1, 2, 3, 4], [5, 0, 0, 0], [2, 2, 0, 0], [3, 0, 0, 0], [4, 1, 5, 0]])
TAGS = RANDOM.normal(size=(5, 4, 1)).astype("float32")
WEIGHTS = np.repeat(np.array([[1.0], [5.0], [0.5], [2.0], [0.0]], "float32"), 4, axis=1)
LOSSES: dict[str, tuple[Any, Any]] = {
    "masked tokens": ("mse", None),
    "masked tokens, weighted": (keras.losses.MeanSquaredError("mean_with_sample_weight"), WEIGHTS),
    "weighted examples": ("mse", WEIGHTS),
    "a sum": (keras.losses.MeanSquaredError("sum"), None),
}


SLOW_LOSSES = ("masked tokens", "a sum")


@pytest.mark.parametrize(
    "kind",
    [pytest.param(k, marks=[pytest.mark.slow] if k in SLOW_LOSSES else []) for k in LOSSES],
)
def test_batches_count_by_what_their_loss_was_divided_by(kind: str) -> None:
    loss, weights = LOSSES[kind]
    small = tokens(Accumulate(keras.optimizers.SGD(0.1), steps=3), loss=loss)
    small.fit(IDS, TAGS, sample_weight=weights, batch_size=2, shuffle=False, verbose=0)
    big = tokens(keras.optimizers.SGD(0.1), loss=loss)
    big.fit(IDS, TAGS, sample_weight=weights, batch_size=5, shuffle=False, verbose=0)

    for one, other in zip(small.get_weights(), big.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("on_partial", "expected"),
    [
        ("apply", [-1.5 - 3, 2 * (-1.5 - 3)]),  # (1 + 2)/2, 3 | (1 + 2)/2, 3
        ("carry", [-1.5, -1.5 - 2 - 2.5]),  # (1 + 2)/2 | (3 + 1)/2, (2 + 3)/2
        ("drop", [-1.5, -3.0]),
    ],
)
def test_the_window_that_an_epoch_cuts_short(on_partial: str, expected: list[float]) -> None:
    x = np.array([[1.0], [2.0], [3.0]], "float32")
    model = mean_of_x(Accumulate(keras.optimizers.SGD(1.0), steps=2, on_partial=on_partial))
    history = model.fit(
        x, x, batch_size=1, epochs=2, shuffle=False, verbose=0, validation_data=(x[:1], x[:1])
    ).history

    assert history["val_loss"] == expected  # validation sees the window that was applied
    assert kernel(model).item() == expected[-1]
    assert count(model.optimizer.waiting) == 0


def test_an_epoch_shorter_than_a_window_is_an_update() -> None:
    x = np.array([[1.0], [2.0], [6.0]], "float32")
    model = mean_of_x(Accumulate(keras.optimizers.SGD(1.0), steps=100))
    model.fit(x, x, batch_size=2, shuffle=False, verbose=0)

    assert kernel(model).item() == pytest.approx(-3.0, abs=1e-6)


@pytest.mark.parametrize("on_partial", ["apply", "carry", "drop"])
def test_flush_applies_what_waits_whatever_the_epoch_does(on_partial: str) -> None:
    model = mean_of_x(Accumulate(keras.optimizers.SGD(1.0), steps=3, on_partial=on_partial))
    model.train_on_batch(np.array([[4.0]]), np.ones((1, 1)))
    kooler.flush(model)
    kooler.flush(model)

    assert kernel(model).item() == -4.0
    assert count(model.optimizer.iterations) == 1


def test_steps_may_depend_on_the_updates_taken() -> None:
    def steps(update: Any) -> Any:
        return ops.where(update < 2, 1, 3)

    weight = keras.Variable([0.0])
    optimizer = Accumulate(keras.optimizers.SGD(1.0), steps)
    seen = []
    for gradient in (1.0, 1.0, 1.0, 2.0, 3.0, 7.0):
        optimizer.apply([ops.convert_to_tensor([gradient])], [weight])
        seen.append(array(weight).item())

    assert seen == [-1.0, -2.0, -2.0, -2.0, -4.0, -4.0]


def test_a_schedule_of_keras_gives_the_steps_and_is_saved() -> None:
    steps = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1, 2])
    optimizer = Accumulate(keras.optimizers.SGD(0.1), steps, on_partial="carry")

    copy = Accumulate.from_config(optimizer.get_config())

    assert copy.get_config() == optimizer.get_config()
    assert float(copy.steps(2)) == 2


def test_a_training_continues_in_the_middle_of_a_window(tmp_path: Path) -> None:
    def train(model: keras.Model, batches: range) -> None:
        for start in batches:
            model.train_on_batch(X[start : start + 2], Y[start : start + 2])

    whole = linear(Accumulate(keras.optimizers.Adam(0.1), steps=3))
    train(whole, range(0, 8, 2))
    whole.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for model in (whole, loaded):
        train(model, range(8, 14, 2))

    assert count(loaded.optimizer.waiting) == 1
    assert_equal(values(loaded.optimizer.variables), values(whole.optimizer.variables))
    assert_equal([kernel(loaded)], [kernel(whole)])


def test_a_batch_that_loss_scaling_skips_is_as_if_it_had_not_been() -> None:
    x = np.array([[1.0], [np.inf], [2.0], [6.0]], "float32")
    accumulate = Accumulate(keras.optimizers.SGD(1.0), steps=3)
    model = mean_of_x(keras.optimizers.LossScaleOptimizer(accumulate, initial_scale=4.0))
    model.fit(x, x, batch_size=1, shuffle=False, verbose=0)

    assert kernel(model).item() == pytest.approx(-3.0, abs=1e-6)


def test_a_missing_gradient_is_zero_on_each_backend() -> None:
    a, b = keras.Variable([0.0], name="a"), keras.Variable([0.0], name="b")
    optimizer = Accumulate(keras.optimizers.SGD(1.0), steps=2)
    optimizer.apply([ops.ones(1), ops.ones(1)], [a, b])
    with pytest.warns(UserWarning, match="No gradient was given"):
        optimizer.apply([ops.ones(1), None], [a, b])

    assert [array(a).item(), array(b).item()] == [-1.0, -0.5]


def test_half_precision_is_gathered_in_float32() -> None:
    weight = keras.Variable(np.zeros(1), dtype="bfloat16")
    optimizer = Accumulate(keras.optimizers.SGD(1.0), steps=512)
    for _ in range(512):
        optimizer.apply([ops.cast([1.0], "bfloat16")], [weight])

    assert optimizer.mean_gradients[0].dtype == "float32"
    assert float(ops.convert_to_numpy(ops.cast(weight, "float32"))[0]) == -1.0


def test_a_wrapper_inside_hears_what_the_window_weighs() -> None:
    heard = []

    class Listener(OptimizerWrapper):
        def before_update(self, gradients: list[Any], variables: Any) -> list[Any]:
            heard.append(float(self.batch_weight))
            return gradients

    weight = keras.Variable([0.0])
    optimizer = Accumulate(Listener(keras.optimizers.SGD(1.0)), steps=2)
    for size in (10.0, 4.0):
        with applying(Batch(examples=size)):
            optimizer.apply([ops.ones(1)], [weight])

    assert heard == [14.0]


def test_optax_agrees() -> None:
    import jax
    import optax

    ours = Accumulate(keras.optimizers.SGD(0.1, momentum=0.9), steps=3)
    variables = fresh_variables()
    theirs = optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 3)
    weights, update = values(variables), jax.jit(theirs.update)
    state = theirs.init(weights)
    for gradient in gradients(steps=10):
        ours.apply([ops.convert_to_tensor(g) for g in gradient], variables)
        updates, state = update(gradient, state)
        weights = [weight + np.asarray(u) for weight, u in zip(weights, updates, strict=True)]
        assert count(ours.waiting) == int(state.mini_step)
        assert count(ours.iterations) == int(state.gradient_step)
        for one, other in zip(values(variables), weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution > 1 on PyTorch")
def test_several_steps_per_execution() -> None:
    one, other = (
        linear(Accumulate(keras.optimizers.Adam(0.1), 2), steps_per_execution=several)
        for several in (1, 3)
    )
    for model in (one, other):
        model.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0)

    np.testing.assert_allclose(kernel(other), kernel(one), rtol=1e-6)


@pytest.mark.parametrize("steps", [0, -1, 2.0, True, "3", None], ids=str)
def test_steps_must_be_a_positive_number(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"`steps` must be a positive number.*received steps="):
        Accumulate("sgd", steps)


def test_the_policy_must_be_known() -> None:
    with pytest.raises(ValueError, match="one of apply, carry, drop, received on_partial='keep'"):
        Accumulate("sgd", 2, on_partial="keep")
