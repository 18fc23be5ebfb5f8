"""LossModel: losses without targets, exact averages, and everything an ordinary model can do."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.models import LossModel

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 3)).astype("float32")
Y = RANDOM.normal(size=(10, 2)).astype("float32")
BATCH = 4  # the last batch has two examples


def array(tensor: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def regression(**arguments: Any) -> tuple[LossModel, Any]:
    """Linear regression, its targets an input, with a second loss and a metric."""
    x, y = keras.Input((3,)), keras.Input((2,))
    dense = layers.Dense(2, kernel_regularizer=keras.regularizers.L2(0.01), name="dense")
    prediction = dense(x)
    losses = {
        "squared": ops.mean((prediction - y) ** 2, axis=-1),
        "size": ops.mean(ops.abs(prediction)),
    }
    model = LossModel(
        [x, y],
        losses,
        metrics={"bias": prediction - y},
        loss_weights={"size": 0.5},
        outputs=prediction,
        **arguments,
    )
    dense.kernel.assign(RANDOM.normal(size=(3, 2)))
    return model, dense


def by_hand(dense: Any, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    kernel, bias = (array(weight).astype("float64") for weight in dense.weights)
    prediction = x.astype("float64") @ kernel + bias
    values = {
        "squared": ((prediction - y) ** 2).mean(),
        "size": np.abs(prediction).mean(),
        "bias": (prediction - y).mean(),
    }
    return {
        **values,
        "loss": values["squared"] + 0.5 * values["size"] + 0.01 * (kernel**2).sum(),
    }


def test_what_is_reported_is_the_average_over_all_examples() -> None:
    model, dense = regression()
    model.compile(keras.optimizers.SGD(0.0))
    history = model.fit(
        [X, Y], batch_size=BATCH, validation_data=([X[:5], Y[:5]], None), verbose=0
    ).history
    evaluated = model.evaluate([X, Y], batch_size=BATCH, verbose=0, return_dict=True)

    assert set(history) == {
        *("loss", "squared", "size", "bias"),
        *("val_loss", "val_squared", "val_size", "val_bias"),
    }
    for name, value in by_hand(dense, X, Y).items():
        assert history[name][0] == pytest.approx(value, rel=1e-5)
        assert evaluated[name] == pytest.approx(value, rel=1e-5)
    for name, value in by_hand(dense, X[:5], Y[:5]).items():
        assert history[f"val_{name}"][0] == pytest.approx(value, rel=1e-5)


def test_a_step_is_the_step_of_the_sum() -> None:
    model, dense = regression()
    before = array(dense.kernel).astype("float64")
    model.compile(keras.optimizers.SGD(0.1))
    model.fit([X, Y], batch_size=10, verbose=0)

    prediction = X @ before
    by_prediction = (prediction - Y) * 2 / Y.size + 0.5 * np.sign(prediction) / Y.size
    gradient = X.T @ by_prediction + 0.02 * before
    np.testing.assert_allclose(array(dense.kernel), before - 0.1 * gradient, atol=1e-6)


def test_two_and_three_are_five() -> None:
    x = keras.Input((1,))
    y = layers.Rescaling(1.0)(x)
    model = LossModel(x, {"two": 2.0 * y, "three": 3.0 * y})
    model.compile("sgd")

    logs = model.evaluate(np.ones((4, 1)), verbose=0, return_dict=True)
    assert logs == {"loss": 5.0, "two": 2.0, "three": 3.0}


def test_predict_returns_the_outputs() -> None:
    model, dense = regression()
    predicted = model.predict([X, Y], batch_size=BATCH, verbose=0)

    np.testing.assert_allclose(predicted, array(dense(X)), atol=1e-6)
    np.testing.assert_allclose(model.predict_on_batch([X, Y]), predicted, atol=1e-6)


def test_without_outputs_it_returns_losses_and_metrics_of_each_example() -> None:
    x = keras.Input((3,))
    size = ops.sum(layers.Dense(2)(x) ** 2, axis=-1)
    values = LossModel(x, {"size": size}, metrics={"doubled": 2 * size}).predict(X, verbose=0)

    assert values["losses"]["size"].shape == (10,)
    np.testing.assert_allclose(values["metrics"]["doubled"], 2 * values["losses"]["size"])


def test_what_layers_add_is_counted() -> None:
    class Adds(layers.Layer):
        def call(self, x: Any) -> Any:
            self.add_loss(ops.mean(x) * 0.0 + 7.0)
            return x

    x = keras.Input((3,))
    model = LossModel(x, {"zero": 0.0 * layers.Dense(1)(Adds()(x))})
    model.compile("sgd")

    assert model.evaluate(X, verbose=0, return_dict=True) == {"loss": 7.0, "zero": 0.0}


def test_it_is_saved_and_goes_on_training(tmp_path: Path) -> None:
    model, _ = regression(name="saved")
    model.compile(keras.optimizers.Adam(0.1))
    model.fit([X, Y], batch_size=10, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit([X, Y], batch_size=10, shuffle=False, verbose=0)

    assert isinstance(loaded, LossModel)
    assert loaded.name == "saved"
    for one, two in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(
        model.predict([X, Y], verbose=0), loaded.predict([X, Y], verbose=0)
    )


def test_inputs_may_be_a_dictionary_and_data_a_generator() -> None:
    x, y = keras.Input((3,), name="x"), keras.Input((2,), name="y")
    error = ops.mean((layers.Dense(2)(x) - y) ** 2, -1)
    model = LossModel({"x": x, "y": y}, {"error": error})
    model.compile("sgd")

    def batches() -> Any:
        while True:
            yield ({"x": X, "y": Y},)

    history = model.fit(batches(), steps_per_epoch=2, epochs=2, shuffle=False, verbose=0).history
    assert history["error"][1] < history["error"][0]
    assert history["error"] == history["loss"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": {}}, "`losses` must be a dictionary, name → tensor, with one entry at least"),
        ({"losses": [1]}, r"received \[1\]. For one loss write"),
        ({"losses": {"loss": 1}}, "'loss' cannot be the name of a loss or metric"),
        ({"losses": {3: 1}}, "3 cannot be the name of a loss or metric"),
        ({"losses": {"a b": 1}}, "'a b' cannot be the name of a loss or metric"),
        ({"metrics": {"a": 1}}, "'a' is the name of a loss and of a metric"),
        (
            {"loss_weights": {"b": 1}},
            r"`loss_weights` has 'b', which is no loss. There are: \['a'\]",
        ),
    ],
)
def test_wrong_names(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossModel(keras.Input((3,)), **{"losses": {"a": 1}, **arguments})


def test_targets_and_losses_in_the_wrong_place() -> None:
    model, _ = regression()
    with pytest.raises(ValueError, match="A LossModel has its losses and metrics itself"):
        model.compile("sgd", loss="mse")
    with pytest.raises(TypeError, match=r"`metrics` must be a dictionary .* received a list"):
        LossModel(keras.Input((3,)), {"a": 1}, metrics=[1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"received \['mae'\]"):
        model.compile("sgd", metrics=["mae"])
    model.compile("sgd")
    with pytest.raises(ValueError, match="A LossModel has no targets, so `y` has no meaning"):
        model.fit([X, Y], Y, verbose=0)


@pytest.mark.parametrize("argument", ["sample_weight", "class_weight"])
def test_weights_that_keras_would_drop_are_refused(argument: str) -> None:
    model, _ = regression()
    model.compile("sgd")

    with pytest.raises(ValueError, match=f"LossModel has no targets, so .* drop `{argument}`"):
        model.fit([X, Y], verbose=0, **{argument: np.ones(len(X))})
    with pytest.raises(ValueError, match="Make the weights an input"):
        model.evaluate([X, Y], verbose=0, **{argument: np.ones(len(X))})


def test_weights_given_by_their_place_are_refused_as_well() -> None:
    model, _ = regression()
    model.compile("sgd")

    with pytest.raises(ValueError, match="would drop `sample_weight`"):
        model.evaluate([X, Y], None, None, 0, np.ones(len(X)))
