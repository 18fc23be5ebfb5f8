"""Averaged weights in, and the own ones back."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import AveragedWeights, averaged_weights, update_batch_statistics
from kooler.optimizers import EMA, SWA, WeightAverage
from tests.toys import Window

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0]], "float32")
SGD = keras.optimizers.SGD


def trained(optimizer: Any = None, **arguments: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    norm = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((3,)), norm, keras.layers.Dense(1)])
    model.compile(optimizer or WeightAverage(SGD(0.1), EMA(0.5)), loss="mse")
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, **arguments)
    return model


def arrays(model: Any) -> list[np.ndarray]:
    return [np.array(one) for one in model.get_weights()]


def assert_same(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


class Stop(keras.callbacks.Callback):
    """Fails in the middle of an evaluation or prediction."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        raise KeyError

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        raise KeyError


def test_validation_sees_the_averages() -> None:
    model = trained(validation_data=(X, Y), callbacks=[AveragedWeights()])
    validated = model.history.history["val_loss"][-1]
    with averaged_weights(model):
        expected = model.evaluate(X, Y, verbose=0)

    assert validated == pytest.approx(expected, rel=1e-6)
    assert validated != pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-3)


def test_evaluate_and_predict_see_them_too() -> None:
    model = trained()
    loss = model.evaluate(X, Y, verbose=0, callbacks=[AveragedWeights()])
    outputs = model.predict(X, verbose=0, callbacks=[AveragedWeights()])

    with averaged_weights(model):
        assert loss == model.evaluate(X, Y, verbose=0)
        np.testing.assert_array_equal(outputs, model.predict(X, verbose=0))


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_after_an_exception_the_weights_are_back(method: str) -> None:
    model = trained()
    before = arrays(model)
    data = (X, Y) if method == "evaluate" else (X,)
    with pytest.raises(KeyError):
        getattr(model, method)(*data, verbose=0, callbacks=[AveragedWeights(), Stop()])

    assert_same(arrays(model), before)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_after_an_exception_in_validation_the_weights_are_back() -> None:
    model, whole = (trained() for _ in range(2))
    callbacks = [AveragedWeights(), Stop()]
    with pytest.raises(KeyError):
        model.fit(X, Y, verbose=0, shuffle=False, validation_data=(X, Y), callbacks=callbacks)
    whole.fit(X, Y, verbose=0, shuffle=False)

    assert_same(arrays(model), arrays(whole))
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


def test_a_model_saved_in_the_block_is_its_average(tmp_path: Path) -> None:
    model = trained()
    with averaged_weights(model):
        averaged = arrays(model)
        model.save(tmp_path / "averaged.keras")
    loaded = keras.models.load_model(tmp_path / "averaged.keras", compile=False)

    assert_same(arrays(loaded), averaged)


def test_a_model_saved_outside_keeps_both(tmp_path: Path) -> None:
    model = trained()
    with averaged_weights(model):
        averaged = arrays(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert_same(arrays(loaded), arrays(model))
    with averaged_weights(loaded):
        assert_same(arrays(loaded), averaged)


def test_one_of_several_by_name() -> None:
    model = trained(WeightAverage(SGD(0.1), {"ema": EMA(0.5), "copy": EMA(0.0)}))
    own = arrays(model)

    with averaged_weights(model, "copy"):
        assert_same(arrays(model), own)
    with averaged_weights(model, "ema"), averaged_weights(model, "copy"):
        assert_same(arrays(model), own)
    assert_same(arrays(model), own)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["outside", "inside", "in loss scaling"])
def test_in_any_nesting(order: str) -> None:
    nestings = {
        "outside": lambda o: WeightAverage(Window(o, 2), SWA()),
        "inside": lambda o: Window(WeightAverage(o, SWA()), 2),
        "in loss scaling": lambda o: keras.optimizers.LossScaleOptimizer(
            Window(WeightAverage(o, SWA()), 2), 2.0**4
        ),
    }
    model = trained(
        nestings[order](SGD(0.1)), validation_data=(X, Y), callbacks=[AveragedWeights()]
    )
    plain = trained(nestings["outside"](SGD(0.1)))

    with averaged_weights(model), averaged_weights(plain):
        for ours, expected in zip(arrays(model), arrays(plain), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_statistics_are_computed_again_where_that_was_asked() -> None:
    optimizer = WeightAverage(SGD(0.1), EMA(0.5), batch_statistics="recompute")
    model = trained(optimizer, validation_data=(X, Y), callbacks=[AveragedWeights(data=X)])
    validated = model.history.history["val_loss"][-1]
    own = arrays(model)
    with averaged_weights(model):
        update_batch_statistics(model, X)
        expected = model.evaluate(X, Y, verbose=0)
        variance = ops.convert_to_numpy(model.layers[0].moving_variance)
        np.testing.assert_allclose(variance, X.var(0), rtol=1e-5)

    assert validated == pytest.approx(expected, rel=1e-5)
    assert_same(arrays(model), own)


def test_before_the_first_update_the_average_is_the_weights() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(WeightAverage(SGD(0.1), EMA(0.5)), loss="mse")
    own = arrays(model)

    with averaged_weights(model):
        assert_same(arrays(model), own)


def test_recomputing_without_data_is_told() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(WeightAverage("sgd", EMA(0.5), batch_statistics="recompute"), loss="mse")

    with pytest.raises(ValueError, match=r"needs the data .* Write AveragedWeights\(data=x\)"):
        model.fit(X, Y, verbose=0, callbacks=[AveragedWeights()])


def test_what_cannot_be_exchanged_is_told() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="net")
    with pytest.raises(ValueError, match=r"'net' is not compiled, so nothing averages"):
        averaged_weights(model).__enter__()
    model.compile(WeightAverage(SGD(0.1), {"slow": EMA(0.5)}), loss="mse")
    with pytest.raises(ValueError, match=r"no average called 'average'; it keeps: 'slow'"):
        averaged_weights(model).__enter__()
    with pytest.raises(ValueError, match=r"no average called 'average'"):
        model.fit(X, Y, verbose=0, callbacks=[AveragedWeights()])
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match=r"it keeps: none. Compile the model with WeightAverage"):
        model.evaluate(X, Y, verbose=0, callbacks=[AveragedWeights()])
    with pytest.raises(TypeError, match="need a Keras model, received 3 of type int"):
        averaged_weights(3).__enter__()
    unbuilt = keras.Sequential([keras.layers.Dense(1)], name="new")
    unbuilt.compile(WeightAverage(SGD(0.1), EMA(0.5)), loss="mse")
    with pytest.raises(ValueError, match="'new' is not built, so it has no weights"):
        averaged_weights(unbuilt).__enter__()


def test_two_averages_of_one_name_are_told() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(WeightAverage(WeightAverage(SGD(0.1), EMA(0.5)), EMA(0.9)), loss="mse")
    model.train_on_batch(X, Y)

    with pytest.raises(ValueError, match=r"Two wrappers .* called 'average'. Give them names"):
        averaged_weights(model).__enter__()
