"""What Keras's own models cannot do, or do silently wrong, and that ours do it right.

Each test first shows Keras's result.  When one of these fails, Keras has mended it: then the pages
that tell of it need a new sentence, and the test may go.
"""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.models import Capture, LossModel, log
from tests.conftest import BACKEND

X = np.arange(6, dtype="float32").reshape(3, 2)
Y = np.ones((3, 1), "float32")


def doubling(name: str) -> Any:
    return layers.Rescaling(2.0, name=name)


class Measured(layers.Layer):
    """Reports the mean of its input: by a metric of Keras, or by `log`."""

    def __init__(self, by_metric: bool) -> None:
        super().__init__()
        self.metric = keras.metrics.Mean(name="size") if by_metric else None

    def call(self, x: Any) -> Any:
        if self.metric is None:
            log("size", x)
        else:
            self.metric.update_state(x)
        return x


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere a metric may be moved inside of `call`")
def test_a_a_metric_moved_inside_of_call_breaks_the_step() -> None:
    def trained(by_metric: bool) -> Any:
        inputs = keras.Input((2,))
        model = keras.Model(inputs, layers.Dense(1)(Measured(by_metric)(inputs)))
        model.compile("sgd", "mse")
        return model.fit(X, Y, verbose=0).history

    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
        trained(by_metric=True)

    assert trained(by_metric=False)["size"] == [2.5]


def test_b_a_loss_of_tensors_cannot_be_added_to_a_functional_model() -> None:
    x = keras.Input((2,))
    loss = ops.mean(doubling("twice")(x), axis=-1)
    with pytest.raises(NotImplementedError):
        keras.Model(x, loss).add_loss(loss)

    ours = LossModel(x, {"size": loss})
    ours.compile("sgd")
    assert ours.test_on_batch(X, return_dict=True) == {"loss": 5.0, "size": 5.0}


def test_c_a_model_must_have_outputs() -> None:
    x = keras.Input((2,))
    with pytest.raises(ValueError, match="outputs"):
        keras.Model(x, [])

    assert LossModel(x, {"size": ops.mean(x, axis=-1)}).output_names


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere Keras says that there is no loss")
def test_d_without_a_loss_it_trains_on_nothing() -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd")
    assert float(model.train_on_batch(X)) == 0.0

    with pytest.raises(ValueError, match="with one entry at least"):
        LossModel(keras.Input((2,)), {})


def test_e_a_metric_of_an_output_needs_a_label() -> None:
    x = keras.Input((2,))
    hidden = doubling("hidden")(x)
    model = keras.Model(x, {"head": ops.sum(hidden, -1, keepdims=True), "hidden": hidden})
    model.compile("sgd", loss={"head": "mse"}, metrics={"hidden": "mae"})
    with pytest.raises((KeyError, ValueError)):
        model.test_on_batch(X, {"head": Y})

    ours = LossModel(x, {"head": ops.mean(hidden, -1)}, metrics={"hidden": hidden})
    ours.compile("sgd")
    assert float(ours.test_on_batch(X, return_dict=True)["hidden"]) == 5.0


def nested() -> tuple[keras.Model, Any]:
    inner_input, outer_input = keras.Input((2,)), keras.Input((2,))
    twice = doubling("twice")
    inner = keras.Model(inner_input, twice(inner_input) + 1.0, name="inner")
    return keras.Model(outer_input, inner(outer_input)), twice


def test_f_the_output_of_a_layer_in_an_inner_model_is_not_connected() -> None:
    model, twice = nested()
    with pytest.raises(ValueError, match="not connected"):
        keras.Model(model.inputs, twice.output)

    found = Capture(model, "inner/twice").predict(X, verbose=0)["inner/twice"]
    np.testing.assert_array_equal(found, 2 * X)


def test_g_of_a_layer_that_is_called_twice_one_call_is_seen() -> None:
    x, twice = keras.Input((2,)), doubling("twice")
    model = keras.Model(x, twice(twice(x)))
    np.testing.assert_array_equal(keras.Model(x, twice.output).predict(X, verbose=0), 2 * X)

    found = Capture(model, "twice#*").predict(X, verbose=0)
    np.testing.assert_array_equal(found["twice"], 2 * X)
    np.testing.assert_array_equal(found["twice#1"], 4 * X)


def test_h_a_subclassed_model_has_no_inputs_to_build_upon() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.twice = doubling("twice")

        def call(self, x: Any) -> Any:
            return self.twice(x) + 1.0

    model = Own()
    model(X)
    with pytest.raises(AttributeError, match="inputs"):
        keras.Model(model.inputs, model.twice.output)

    found = Capture(model, "twice").predict(X, verbose=0)["twice"]
    np.testing.assert_array_equal(found, 2 * X)
