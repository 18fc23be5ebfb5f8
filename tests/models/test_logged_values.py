"""log: numbers from inside of layers, averaged over examples, in fit and evaluate only."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.models import Capture, log
from kooler.models.logged_values import ATTRIBUTE
from tests.conftest import BACKEND

X = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
Y = X[:, :1]
BATCH = 4  # the last batch has two examples


class Reports(layers.Layer):
    """Logs the size of what passes, and in training its mean."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dense = layers.Dense(4, name="dense")

    def build(self, shape: Any) -> None:
        self.dense.build(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        hidden = self.dense(x)
        log("size", ops.mean(hidden**2, axis=-1))
        if training:
            log("middle", hidden)
        return ops.relu(hidden)


class Subclassed(keras.Model):
    """A model that is built when it first sees data."""

    def __init__(self) -> None:
        super().__init__()
        self.reports = Reports(name="reports")
        self.head = layers.Dense(1)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.head(self.reports(x, training=training))


def functional() -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, layers.Dense(1)(Reports(name="reports")(inputs)))


def size(layer: Any, x: np.ndarray) -> float:
    return float((np.array(ops.convert_to_numpy(layer.dense(x)), "float64") ** 2).mean())


def test_logged_values_are_averages_over_all_examples() -> None:
    model = functional()
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=["mae"])
    history = model.fit(
        X, Y, batch_size=BATCH, epochs=2, validation_data=(X[:5], Y[:5]), verbose=0
    ).history
    evaluated = model.evaluate(X, Y, batch_size=BATCH, verbose=0, return_dict=True)

    reports = model.get_layer("reports")
    hidden = np.array(ops.convert_to_numpy(reports.dense(X)), "float64")
    assert history["size"] == pytest.approx([size(reports, X)] * 2, rel=1e-5)
    assert history["val_size"][0] == pytest.approx(size(reports, X[:5]), rel=1e-5)
    assert history["middle"][0] == pytest.approx(hidden.mean(), rel=1e-4)
    assert np.isnan(history["val_middle"][0])  # nothing was logged in validation
    assert evaluated["size"] == pytest.approx(size(reports, X), rel=1e-5)
    assert {"loss", "mae", "val_loss", "val_mae"} < set(history)


def test_logging_changes_nothing_else() -> None:
    def trained(with_log: bool) -> Any:
        keras.utils.set_random_seed(3)
        inputs = keras.Input((3,))
        dense = layers.Dense(1)
        outputs = dense(inputs)
        if with_log:
            outputs = layers.Lambda(lambda x: log("seen", x) * 1.0)(outputs)
        else:
            outputs = layers.Lambda(lambda x: x * 1.0)(outputs)
        model = keras.Model(inputs, outputs)
        model.compile("adam", "mse")
        history = model.fit(X, Y, verbose=0).history
        return ops.convert_to_numpy(dense.kernel), history

    (kernel, history), (other, plain) = trained(True), trained(False)

    np.testing.assert_array_equal(kernel, other)
    assert set(history) - set(plain) == {"seen"}
    assert history["loss"] == plain["loss"]


def test_a_model_that_is_built_by_its_data() -> None:
    model = Subclassed()
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=10, verbose=0).history

    assert set(history) == {"loss", "size", "middle"}
    assert history["size"][0] > 0


def test_outside_of_training_and_evaluation_it_does_nothing() -> None:
    model = functional()
    value = ops.ones((2,))

    assert log("anything", value) is value
    model.predict(X, verbose=0)
    model.compile("sgd", "mse")
    model.predict(X, verbose=0)
    model(X)
    logs = model.train_on_batch(X, Y, return_dict=True)
    assert set(logs) == {"loss", "size", "middle"}


def test_values_of_the_same_name_are_averaged() -> None:
    twice = layers.Lambda(lambda x: log("level", x) + 2.0)
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(twice(twice(inputs))))
    model.compile(keras.optimizers.SGD(0.0), "mse")

    assert model.fit(0 * X, Y, verbose=0).history["level"] == [1.0]


def test_a_model_in_a_model_reports_to_the_one_that_trains() -> None:
    inner = functional()
    inner.compile("sgd", "mse")
    inner.fit(X, Y, verbose=0)
    outer = Capture(inner, "reports")
    outer.compile("sgd", loss={"output": "mse", "reports": "mse"})
    history = outer.fit(X, {"output": Y, "reports": np.zeros((10, 4))}, verbose=0).history

    assert {"size", "middle"} < set(history)


def test_a_model_without_log_is_left_alone() -> None:
    functional()  # `log` has been called in this process
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)

    assert ATTRIBUTE not in model.__dict__
    assert not {"call", "compute_loss"} & set(model.__dict__)


def test_a_name_that_a_metric_has_is_refused() -> None:
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dense(1), layers.Lambda(lambda x: log("loss", x))]
    )
    model.compile("sgd", "mse")

    with pytest.raises(ValueError, match="has a metric 'loss' of its own"):
        model.fit(X, Y, verbose=0)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch has Python branches, which values leave")
def test_no_value_leaves_a_branch() -> None:
    class Branches(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.cond(ops.sum(x) > 0, lambda: log("inside", x * 2.0), lambda: x * 1.0)

    model = keras.Sequential([keras.Input((3,)), Branches(), layers.Dense(1)])
    model.compile("sgd", "mse")

    with pytest.raises(ValueError, match=r"`log\('inside', …\)` stands inside of a loop"):
        model.fit(X, Y, verbose=0)


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX must know the names before it compiles")
def test_a_name_met_too_late_is_a_warning_and_reported_from_the_next_fit_on() -> None:
    names = ["early"]
    several = layers.Lambda(lambda x: sum(log(name, x) for name in names))
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1), several])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    names.append("late")
    model.train_function = None
    with pytest.warns(UserWarning, match=r"`log\('late', …\)` was first met inside of a compiled"):
        first = model.fit(X, Y, verbose=0).history
    model.train_function = None
    second = model.fit(X, Y, verbose=0).history

    assert set(first) == {"loss", "early"}
    assert set(second) == {"loss", "early", "late"}
