"""Averages of the weights, beside a training that does not notice them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import averaged_weights
from kooler.optimizers import EMA, SWA, PowerEMA, WeightAverage, inject
from tests.conftest import BACKEND
from tests.toys import Window

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(24, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")
SGD = keras.optimizers.SGD
SLOW = pytest.mark.slow


def net(optimizer: Any, **arguments: Any) -> keras.Model:
    """A model with a constraint and BatchNorm."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, kernel_constraint="non_neg", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile(optimizer, loss="mse", **arguments)
    return model


def weights(model: Any) -> list[np.ndarray]:
    return [np.array(one) for one in model.get_weights()]


def averages(model: Any, name: str = "average") -> list[np.ndarray]:
    with averaged_weights(model, name):
        return weights(model)


def path_of(model: Any, steps: int = 6) -> list[list[np.ndarray]]:
    """All weights, before the first and after each of some steps."""
    history = [weights(model)]
    for step in range(steps):
        rows = slice(4 * (step % 6), 4 * (step % 6) + 4)
        model.train_on_batch(X[rows], Y[rows])
        history.append(weights(model))
    return history


def assert_close(ours: Any, expected: Any, tolerance: float = 1e-6) -> None:
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_all_weights_and_statistics_are_averaged() -> None:
    model = net(WeightAverage(SGD(0.1), {"ema": EMA(0.5), "swa": SWA(start=2)}))
    history = path_of(model)

    ema = history[0]
    for now in history[1:]:
        ema = [0.5 * a + 0.5 * b for a, b in zip(ema, now, strict=True)]
    assert_close(averages(model, "ema"), ema)
    assert_close(
        averages(model, "swa"), [np.mean(all_, 0) for all_ in zip(*history[3:], strict=True)]
    )


def test_by_hand() -> None:
    """From w = 1, gradient 1, w is 0, −1, −2; with decay ½ the average is ½, −¼, −1⅛."""
    optimizer = WeightAverage(SGD(1.0), EMA(0.5))
    variable = keras.Variable([1.0])
    seen = []
    for _ in range(3):
        optimizer.apply([ops.ones(1)], [variable])
        seen += ops.convert_to_numpy(optimizer.average_slots["average"][0]).tolist()

    assert seen == [0.5, -0.25, -1.125]


@pytest.mark.parametrize(
    "statistics", ["average", *(pytest.param(p, marks=SLOW) for p in ("copy", "recompute"))]
)
def test_the_training_is_the_same_bit_for_bit(statistics: str) -> None:
    wrapped = WeightAverage(
        keras.optimizers.Adam(0.1), {"a": EMA(0.9), "b": PowerEMA(0.1)}, batch_statistics=statistics
    )
    model, plain = net(wrapped), net(keras.optimizers.Adam(0.1))
    for one in (model, plain):
        one.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)

    for a, b in zip(weights(model), weights(plain), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("statistics", ["copy", pytest.param("recompute", marks=SLOW)])
def test_statistics_may_stay_those_of_the_training(statistics: str) -> None:
    model = net(WeightAverage(SGD(0.1), EMA(0.5), batch_statistics=statistics))
    path_of(model, steps=2)
    norm = model.get_layer("norm")

    inside = averages(model)
    assert model.optimizer.statistics == []
    np.testing.assert_array_equal(inside[4], ops.convert_to_numpy(norm.moving_mean))


def test_integers_and_seeds_are_never_touched() -> None:
    @keras.saving.register_keras_serializable("kooler_tests")
    class Counts(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), dtype="int32", trainable=False)
            self.built = True

        def call(self, x: Any) -> Any:
            return x

    model = keras.Sequential(
        [keras.Input((3,)), Counts(), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
    )
    model.compile(WeightAverage(SGD(0.1), EMA(0.5)), loss="mse")
    model.fit(X, Y, verbose=0)
    model.layers[0].count.assign(7)

    assert model.optimizer.statistics == []
    with averaged_weights(model):
        assert int(ops.convert_to_numpy(model.layers[0].count)) == 7


def test_updates_count_and_not_batches() -> None:
    nestings = [
        lambda inner: WeightAverage(Window(inner, 2), EMA(0.5), batch_statistics="copy"),
        lambda inner: Window(WeightAverage(inner, EMA(0.5), batch_statistics="copy"), 2),
    ]
    both = [net(nesting(SGD(0.1))) for nesting in nestings]
    histories = [path_of(model, steps=6) for model in both]

    expected = histories[0][0]
    for now in histories[0][2::2]:
        expected = [0.5 * a + 0.5 * b for a, b in zip(expected, now, strict=True)]
    trained = [0, 1, 2, 3, 6, 7]  # without the statistics
    for model in both:
        assert_close([averages(model)[i] for i in trained], [expected[i] for i in trained])


@SLOW
def test_a_window_that_the_epoch_cuts_short_is_an_update() -> None:
    model = net(WeightAverage(Window(SGD(0.1), 4), EMA(0.5)))
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)  # 6 batches

    assert int(ops.convert_to_numpy(model.optimizer.updates)) == 2


def test_evaluate_and_predict_do_not_advance_it() -> None:
    model = net(WeightAverage(SGD(0.1), EMA(0.5)))
    path_of(model, steps=2)
    before = averages(model)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)

    for a, b in zip(averages(model), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_float32_under_low_precision() -> None:
    variable = keras.Variable(np.ones(4), dtype="bfloat16")
    optimizer = WeightAverage(SGD(0.5), EMA(0.999))
    for _ in range(50):
        optimizer.apply([ops.ones(4, "bfloat16")], [variable])
    (slot,) = optimizer.average_slots["average"]

    expected = 1.0
    for step in range(1, 51):
        expected += 0.001 * (1 - 0.5 * step - expected)
    assert slot.dtype == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(slot), expected, rtol=1e-3)


@pytest.mark.parametrize("load", ["weights", pytest.param("nothing", marks=SLOW)])
def test_it_starts_at_what_was_loaded_after_the_build(load: str) -> None:
    model = net(WeightAverage(SGD(0.0), EMA(0.5)))
    model.optimizer.build(model.trainable_variables)
    if load == "weights":
        model.set_weights([abs(one) + 1 for one in weights(model)])
    history = path_of(model, steps=1)

    trained, moving = [0, 1, 2, 3, 6, 7], [4, 5]
    ours = averages(model)
    for i in trained:
        np.testing.assert_allclose(ours[i], (history[0][i] + history[1][i]) / 2, rtol=1e-6)
    for i in moving:  # the statistics of the build would be those of other weights
        now = history[1][i]
        expected = now if load == "weights" else (history[0][i] + now) / 2
        np.testing.assert_allclose(ours[i], expected, rtol=1e-6)


def test_save_and_load_go_on_with_the_averages(tmp_path: Path) -> None:
    model = net(WeightAverage(keras.optimizers.Adam(0.1), {"a": EMA(0.5), "b": SWA()}))
    path_of(model, steps=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(X, Y, batch_size=8, shuffle=False, verbose=0)

    for name in "ab":
        for ours, expected in zip(averages(loaded, name), averages(model, name), strict=True):
            np.testing.assert_array_equal(ours, expected)


@SLOW
def test_inside_of_loss_scaling() -> None:
    scaled = keras.optimizers.LossScaleOptimizer(WeightAverage(SGD(0.1), EMA(0.5)), 2.0**4)
    model, plain = net(scaled), net(WeightAverage(SGD(0.1), EMA(0.5)))
    path_of(model, steps=3), path_of(plain, steps=3)

    assert_close(averages(model), averages(plain), 1e-5)


def test_inject_begins_at_the_weights_of_now() -> None:
    model = net(SGD(0.1))
    path_of(model, steps=2)
    before = weights(model)
    inject(model, WeightAverage, averages=EMA(0.5))
    after = path_of(model, steps=1)[1]

    assert_close(averages(model), [(a + b) / 2 for a, b in zip(before, after, strict=True)])


@SLOW
def test_parts_of_a_model_may_have_averages_of_their_own() -> None:
    def wrap(optimizer: Any) -> Any:
        return WeightAverage(optimizer, EMA(0.5))

    both = keras.optimizers.OptimizerMap(wrap(SGD(0.1)), {"last.*": wrap(SGD(0.1))})
    model, plain = net(keras.optimizers.MultiOptimizer(both)), net(wrap(SGD(0.1)))
    path_of(model, steps=3), path_of(plain, steps=3)

    assert_close(averages(model), averages(plain))


@pytest.mark.skipif(BACKEND != "torch", reason="a reference of PyTorch's")
@pytest.mark.parametrize("law", ["ema", "swa"])
def test_torch_agrees(law: str) -> None:
    """PyTorch starts at the weights *after* the first update, we before: equal from there on."""
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    weight = keras.Variable(np.ones(3, "float32"))
    module = torch.nn.Linear(3, 1, bias=False)
    theirs = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9) if law == "ema" else None)
    optimizer = WeightAverage(SGD(0.1), EMA(0.9) if law == "ema" else SWA())
    gradients = RANDOM.normal(size=(10, 3)).astype("float32")
    with torch.no_grad():
        if law == "ema":
            module.weight[0] = torch.ones(3)
            theirs.update_parameters(module)
        for gradient in gradients:
            optimizer.apply([ops.convert_to_tensor(gradient)], [weight])
            module.weight[0] = weight.value
            theirs.update_parameters(module)
    (ours,) = optimizer.average_slots["average"]

    np.testing.assert_allclose(
        ops.convert_to_numpy(ours), theirs.module.weight[0].detach().numpy(), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("averages", "error", "message"),
    [
        (0.9, TypeError, r"`averages` must be EMA\(…\), PowerEMA\(…\), SWA\(…\) or a dictionary"),
        ({}, TypeError, r"received averages=\{\}"),
        ({"a/b": EMA(0.9)}, ValueError, "a text without '/', .* received the name 'a/b'"),
        ({3: EMA(0.9)}, ValueError, "received the name 3"),
        ({"slow": 0.9}, TypeError, "The average 'slow' must be EMA"),
    ],
)
def test_wrong_averages_are_told(averages: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        WeightAverage("sgd", averages)


def test_a_wrong_policy_is_told() -> None:
    with pytest.raises(ValueError, match=r"one of average, copy, recompute, received .*='mean'"):
        WeightAverage("sgd", EMA(0.9), batch_statistics="mean")


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere statistics are variables like others")
def test_statistics_that_a_step_hides_are_told() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.norm = keras.layers.BatchNormalization()

        def call(self, x: Any, training: bool = False) -> Any:
            return self.norm(x, training=training)

        def train_step(self, state: Any, data: Any) -> Any:
            return super().train_step(state, data)

    model = Own()
    model.compile(WeightAverage(SGD(0.1), EMA(0.5)), loss="mse")

    with pytest.raises(ValueError, match=r"cannot see the BatchNorm statistics .* of Own"):
        model.train_on_batch(X, X)
