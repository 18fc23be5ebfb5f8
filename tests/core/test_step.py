"""The step: pure evaluations, techniques around them, the same on three backends."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.attach import register, unregister
from kooler.core.step import Step
from kooler.core.technique import Evaluate, Evaluation, Request, Technique
from tests.conftest import BACKEND
from tests.toys import Flat, Halves, Identity, Injected, Lookout, Nothing, Scanned, Thermometer

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(16, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")


def linear(optimizer: Any = None) -> keras.Model:
    """Outputs x·w, so that its steps can be computed by hand."""
    keras.utils.set_random_seed(6)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, name="w")])
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    return model


def rich(optimizer: Any = None) -> keras.Model:
    """All that a step must carry: BatchNorm, dropout, a regularizer, an added loss, metrics."""
    keras.utils.set_random_seed(6)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(5, activation="tanh", kernel_regularizer="l2", name="first"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3, seed=3),
            keras.layers.ActivityRegularization(0.1),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile(optimizer or keras.optimizers.Adam(0.1), loss="mse", metrics=["mae"])
    return model


def trained(model: keras.Model, epochs: int = 2) -> keras.Model:
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model


def kernel(model: keras.Model) -> np.ndarray:
    return np.array(model.get_weights()[0], "float64")


def gradient(w: np.ndarray, x: np.ndarray = X, y: np.ndarray = Y) -> np.ndarray:
    return 2 * x.T @ (x @ w - y) / len(x)


def test_our_step_is_that_of_keras_bit_for_bit() -> None:
    ours, plain = Identity().inject(rich()), rich()
    histories = [trained(model, epochs=1).history.history for model in (ours, plain)]

    assert histories[0] == histories[1]
    for a, b in zip(ours.variables, plain.variables, strict=True):  # statistics and seeds too
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def test_without_techniques_the_step_is_that_of_keras() -> None:
    model = rich()
    technique = Identity()
    technique.inject(model)
    technique.remove(model)

    assert "train_step" not in vars(model)
    assert model.train_step.__func__ is keras.Model.train_step


def test_a_step_of_two_evaluations() -> None:
    model = Lookout(0.05).inject(linear())
    w = kernel(model)
    model.train_on_batch(X, Y)

    expected = w - 0.1 * gradient(w + 0.05 * gradient(w))
    np.testing.assert_allclose(kernel(model), expected, atol=1e-6)


def test_a_technique_computes_with_the_gradient_of_a_table() -> None:
    def table(technique: Any) -> keras.Model:
        keras.utils.set_random_seed(6)
        layers = [keras.layers.Embedding(9, 2), keras.layers.GlobalAveragePooling1D()]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
        technique.inject(model).train_on_batch(np.arange(6).reshape(2, 3), np.ones((2, 2)))
        return model

    np.testing.assert_array_equal(kernel(table(Lookout(0.0))), kernel(table(Identity())))


def test_the_neutral_setting_is_the_plain_step() -> None:
    looked, plain = trained(Lookout(0.0).inject(linear())), trained(linear())

    np.testing.assert_array_equal(kernel(looked), kernel(plain))


def test_a_gradient_inside_of_the_loss() -> None:
    model = Flat("w/kernel", 0.02).inject(linear())
    w = kernel(model)
    hessian = 2 * X.T.astype("float64") @ X / len(X)
    model.train_on_batch(X, Y)

    expected = w - 0.1 * (gradient(w) + 0.02 * 2 * hessian @ gradient(w))
    np.testing.assert_allclose(kernel(model), expected, atol=1e-6)


@pytest.mark.parametrize("technique", [Halves(), Scanned(4)], ids=["halves", "scan"])
def test_parts_of_a_batch_give_its_gradient(technique: Any) -> None:
    parts, whole = technique.inject(linear()), linear()
    histories = [trained(model, epochs=1).history.history for model in (parts, whole)]

    np.testing.assert_allclose(kernel(parts), kernel(whole), atol=1e-6)
    for name in ("loss", "mae"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)


@pytest.mark.slow
def test_the_state_goes_from_part_to_part() -> None:
    model = Scanned(2).inject(rich())
    start = {v.path: ops.convert_to_numpy(v) + 0 for v in model.non_trainable_variables}
    model.train_on_batch(X, Y)

    seeds = [v for v in model.non_trainable_variables if "seed" in v.path]
    assert ops.convert_to_numpy(seeds[0])[1] == start[seeds[0].path][1] + 2  # two draws


@pytest.mark.parametrize("order", [(0, 1), pytest.param((1, 0), marks=pytest.mark.slow)], ids=str)
def test_techniques_compose_in_the_order_of_their_place(order: tuple[int, int]) -> None:
    model = linear()
    techniques = [Lookout(0.05), Halves()]
    for index in order:
        techniques[index].inject(model)
    w = kernel(model)
    model.train_on_batch(X, Y)

    expected = w - 0.1 * gradient(w + 0.05 * gradient(w))  # of the whole batch, both times
    np.testing.assert_allclose(kernel(model), expected, atol=1e-6)


@pytest.mark.slow
def test_three_techniques_and_a_wrapper() -> None:
    model = linear(Thermometer(Nothing(keras.optimizers.SGD(0.1))))
    for technique in (Scanned(2), Lookout(0.05), Identity()):
        technique.inject(model)
    w = kernel(model)
    history = model.fit(X, Y, batch_size=16, verbose=0).history

    there = gradient(w + 0.05 * gradient(w))
    np.testing.assert_allclose(kernel(model), w - 0.1 * there, atol=1e-6)
    np.testing.assert_allclose(history["gradient_norm"], [np.linalg.norm(there)], rtol=1e-5)


class Spy(Injected):
    """Runs a function inside of the step, and keeps what it returns."""

    def __init__(self, look: Any) -> None:
        self.look = look
        self.seen: list[Any] = []

    def evaluate(self, step: Step, request: Request, inner: Evaluate) -> Evaluation:
        result, evaluation = self.look(step, request, inner)
        self.seen.append(result)
        return evaluation


@pytest.mark.slow
def test_every_evaluation_sees_the_same_random_numbers() -> None:
    def twice(step: Step, request: Request, inner: Evaluate) -> Any:
        one, two = inner(request), inner(request)
        difference = sum(
            ops.max(ops.abs(a - b)) for a, b in zip(one.gradients, two.gradients, strict=True)
        )
        return None, one.with_gradients([g + difference * 1e6 for g in two.gradients])

    again, plain = Spy(twice).inject(rich()), rich()
    for model in (again, plain):
        model.train_on_batch(X, Y)

    np.testing.assert_allclose(again.get_weights()[0], plain.get_weights()[0], atol=1e-6)


def test_gradients_by_some_variables_only() -> None:
    def look(step: Step, request: Request, inner: Evaluate) -> Any:
        some = [v for v in step.trainable_variables if "last" in v.path]
        evaluation = inner(request)
        part = inner(request.of(variables=some))
        return len(part.gradients), evaluation

    spy = Spy(look)
    spy.inject(rich()).train_on_batch(X, Y)

    assert spy.seen[0] == 2


def test_later_values_replace_earlier_ones() -> None:
    a, b = keras.Variable(1.0), keras.Variable(1.0)
    request = Request(None).at([(a, 1), (b, 2)]).at([(a, 3)])

    assert [(variable is a, value) for variable, value in request.values] == [(False, 2), (True, 3)]


@pytest.mark.parametrize("scale", [None, 16.0])
def test_the_loss_scale_is_known(scale: float | None) -> None:
    model = linear(keras.optimizers.SGD(0.1, loss_scale_factor=scale))

    class Rescale(Injected):
        def evaluate(self, step: Step, request: Request, inner: Evaluate) -> Evaluation:
            one = inner(request)
            return one.with_gradients([g / step.loss_scale() for g in one.gradients])

    w = kernel(model)
    Rescale().inject(model).train_on_batch(X, Y)

    np.testing.assert_allclose(kernel(model), w - 0.1 * gradient(w) / (scale or 1.0), atol=1e-6)


def test_with_loss_scaling_outermost() -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 2.0**4)
    model = Identity().inject(linear(optimizer))
    w = kernel(model)
    model.train_on_batch(X, Y)

    np.testing.assert_allclose(kernel(model), w - 0.1 * gradient(w), atol=1e-6)


def test_gradients_outlive_the_step_on_torch_only() -> None:
    """There they keep their memory from being cleared anew; elsewhere they would be tracers."""
    model = Identity().inject(linear())
    w = kernel(model)
    model.train_on_batch(X, Y)
    kept = model.train_step.args[1].gradients

    assert len(kept) == (BACKEND == "torch")
    for one in kept:
        np.testing.assert_allclose(ops.convert_to_numpy(one), gradient(w), atol=1e-5)


def test_injecting_twice_or_too_early_is_an_error() -> None:
    technique, model = Identity(), linear()
    technique.inject(model)

    with pytest.raises(ValueError, match="This Identity is already part of the step of"):
        technique.inject(model)
    with pytest.raises(ValueError, match="Identity needs a compiled model, and 'raw' is not"):
        register(keras.Sequential(name="raw"), Identity())
    with pytest.raises(ValueError, match="This Identity is not part of the step of"):
        unregister(model, Identity())


def test_a_model_with_its_own_step_is_refused_and_left_as_it_was() -> None:
    class Own(keras.Model):
        def train_step(self, *arguments: Any) -> Any:
            return super().train_step(*arguments)

    model = Own()
    model.compile("sgd", "mse")

    with pytest.raises(ValueError, match="Own defines its own `train_step`, which Identity would"):
        Identity().inject(model)
    assert not {"train_step", "fit"} & set(vars(model))


def test_an_exception_inside_of_a_technique_leaves_the_model_usable() -> None:
    class Fails(Technique):
        def evaluate(self, step: Step, request: Request, inner: Evaluate) -> Evaluation:
            inner(request)
            raise KeyError("planned")

    model, technique = linear(), Fails()
    register(model, technique)
    with pytest.raises(KeyError, match="planned"):
        model.fit(X, Y, verbose=0)
    unregister(model, technique)

    assert np.isfinite(trained(model).evaluate(X, Y, verbose=0)).all()
