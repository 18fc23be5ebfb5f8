"""Layers made of layers: whatever their structure, weights exist, are saved and are loaded."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kooler.layers import Layer
from tests.layers.gradients import array

serializable = keras.saving.register_keras_serializable("kooler_tests")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 5, 6)).astype("float32")
IDS = np.array([[1, 2, 3, 0], [4, 0, 0, 0]])


@serializable
class Block(Layer):
    """Sub-layers in `__init__` and in `call`, some for training and some for masks only."""

    def __init__(self, width: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.width = width
        self.supports_masking = True
        self.first = keras.layers.Dense(width, "relu")

    def call(self, x: Any, mask: Any = None, training: Any = None) -> Any:
        h = self.first(x)
        if training:
            h = h + self.sub("auxiliary", lambda: keras.layers.Dense(self.width))(h)
        if mask is not None:
            h = self.sub("masked", lambda: keras.layers.Dense(self.width))(h)
        return x + self.sub("last", lambda: keras.layers.Dense(x.shape[-1]))(h)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


@serializable
class Twice(Layer):
    """A layer in a layer in a layer, and one that is used twice."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.supports_masking = True

    def call(self, x: Any) -> Any:
        for _ in range(2):
            x = self.sub("block", lambda: Block(3))(x)
        return x


@serializable
class Nested(Layer, keras.Model):
    """A subclassed model with two arguments, one of them nested."""

    def call(self, x: Any, others: Any, training: Any = False) -> Any:
        first = self.sub("block", lambda: Block(4))(x)
        return first + self.sub("dense", lambda: keras.layers.Dense(6))(others["list"][0])


@serializable
class Own(Layer):
    """Weights of its own beside those of sub-layers."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="scale")
        super().build(input_shape)

    def call(self, x: Any) -> Any:
        return self.sub("dense", lambda: keras.layers.Dense(2))(x * self.scale)


@serializable
class Forgetful(Layer):
    """Its structure depends on what its config does not say."""

    def __init__(self, depth: int = 1, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.depth = depth

    def call(self, x: Any) -> Any:
        for i in range(self.depth):
            x = self.sub(f"dense_{i}", lambda: keras.layers.Dense(6))(x)
        return x

    def get_config(self) -> dict[str, Any]:
        return Layer.get_config(self)


def functional(layer: Any, masked: bool = False) -> Any:
    inputs = keras.Input((None, 6))
    model = keras.Model(inputs, layer(keras.layers.Masking()(inputs) if masked else inputs))
    model.compile("adam", "mse")
    return model


def test_the_same_numbers_as_by_hand() -> None:
    block = Block(3)
    found = array(block(X))

    kernel, bias = (array(w).astype("float64") for w in block.first.weights)
    hidden = np.maximum(X @ kernel + bias, 0)
    kernel, bias = (array(w).astype("float64") for w in block.last.weights)
    np.testing.assert_allclose(found, X + hidden @ kernel + bias, rtol=1e-5, atol=1e-6)


def test_all_weights_exist_after_build_with_stable_paths() -> None:
    model = functional(Twice(name="twice"))

    made_in_call = {"last/kernel", "last/bias", "auxiliary/kernel", "auxiliary/bias"}
    assert {f"twice/block/{name}" for name in made_in_call} <= {w.path for w in model.weights}
    assert len(model.weights) == 6
    assert all(array(w).std() > 0 for w in model.weights if w.name == "kernel")


def test_build_by_a_shape_alone() -> None:
    layer = Twice()
    layer.build((None, 5, 6))

    assert len(layer.weights) == 6


@pytest.mark.parametrize("masked", [False, True])
def test_saved_loaded_and_trained_on(masked: bool, tmp_path: Path) -> None:
    model = functional(Twice(), masked)
    model.fit(X, X[::-1], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert len(model.weights) == (8 if masked else 6)
    np.testing.assert_array_equal(array(loaded(X)), array(model(X)))
    for one in (model, loaded):
        one.fit(X, X[::-1], shuffle=False, verbose=0)
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_weights_alone_go_into_a_new_model(tmp_path: Path) -> None:
    model, other = functional(Twice()), functional(Twice())
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")

    np.testing.assert_array_equal(array(other(X)), array(model(X)))


def test_keras_loads_random_weights_where_we_load_the_saved_ones(tmp_path: Path) -> None:
    """A subclassed model with two arguments: Keras warns, and leaves it untrained."""
    model = Nested()
    others = {"list": [X * 2], "flag": None}
    before = array(model(X, others))
    model.save(tmp_path / "model.keras")

    loaded = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(array(loaded(X, others)), before)


def test_a_structure_that_the_config_does_not_tell_is_an_error(tmp_path: Path) -> None:
    model = functional(Forgetful(depth=2, name="deep"))
    model.compile()
    model.save(tmp_path / "model.keras")

    with pytest.raises(ValueError, match="Layer 'deep' was saved with weights of the shapes"):
        keras.models.load_model(tmp_path / "model.keras")


def test_loading_into_a_layer_that_was_never_built_is_an_error(tmp_path: Path) -> None:
    model = functional(Twice())
    model.save_weights(tmp_path / "model.weights.h5")
    empty = keras.Sequential([Twice(name="twice")])
    empty.built = True

    with pytest.raises(ValueError, match="'twice' was never built, so there is nothing to load"):
        empty.load_weights(tmp_path / "model.weights.h5")


def test_weights_of_its_own(tmp_path: Path) -> None:
    model = functional(Own(name="own"))
    model.fit(X, X[..., :2], verbose=0)
    model.layers[-1].scale.assign(np.arange(6.0))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert len(model.weights) == 3
    np.testing.assert_array_equal(array(loaded(X)), array(model(X)))


def test_a_layer_given_from_outside_is_shared() -> None:
    shared = keras.layers.Dense(6, name="shared")
    shared.build((None, 6))

    class Sharing(Layer):
        def call(self, x: Any) -> Any:
            return self.sub("dense", lambda: shared)(x)

    one, other = Sharing(), Sharing()
    model = keras.Model(inputs := keras.Input((6,)), other(one(inputs)))

    assert len(model.weights) == 2
    assert one.dense is other.dense is shared
    assert shared.name == "shared"


def test_random_numbers_dropout_and_losses_of_sub_layers_count() -> None:
    class Noisy(Layer):
        def call(self, x: Any) -> Any:
            x = self.sub("drop", lambda: keras.layers.Dropout(0.5))(x)
            return self.sub("dense", lambda: keras.layers.Dense(2, activity_regularizer="l2"))(x)

    model = functional(Noisy())
    one, other = (array(model(X, training=True)) for _ in range(2))

    assert np.abs(one - other).max() > 0
    assert len(model.losses) == 1


def test_a_sub_layer_that_no_trace_reached_is_an_error() -> None:
    class Moody(Layer):
        mood = False

        def call(self, x: Any) -> Any:
            return self.sub("late", lambda: keras.layers.Dense(2))(x) if self.mood else x

    layer = Moody(name="moody")
    layer(X)
    layer.mood = True

    with pytest.raises(ValueError, match="'moody' is built, and now its `call` asks for a new"):
        layer(X)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("two words", "`name` of a sub-layer must be a Python name, received 'two words'"),
        ("weights", "must not be an attribute that layer 'named' has already, received 'weights'"),
    ],
)
def test_a_name_that_cannot_be_an_attribute_is_an_error(name: str, text: str) -> None:
    class Named(Layer):
        def call(self, x: Any) -> Any:
            return self.sub(name, lambda: keras.layers.Dense(2))(x)

    with pytest.raises(ValueError, match=text):
        Named(name="named").build((None, 6))


def test_mixed_precision_reaches_the_trace() -> None:
    layer = Own(dtype="mixed_bfloat16")
    outputs = layer(X)

    assert keras.backend.standardize_dtype(outputs.dtype) in ("bfloat16", "float32")
    assert keras.backend.standardize_dtype(layer.scale.dtype) == "float32"


def test_a_model_cut_in_the_middle_gives_the_same() -> None:
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(3, name="middle")(Block(4)(inputs))
    model = keras.Model(inputs, Block(2)(hidden))
    middle = model.get_layer("middle").output
    lower, upper = keras.Model(model.input, middle), keras.Model(middle, model.output)

    np.testing.assert_array_equal(array(upper(lower(X[:, 0]))), array(model(X[:, 0])))


def test_a_sub_layer_that_is_none_is_an_error() -> None:
    class Wrong(Layer):
        def call(self, x: Any) -> Any:
            return self.sub("dense", lambda: 3)(x)

    with pytest.raises(
        TypeError, match="`make` of the sub-layer 'dense' of layer 'wrong' must ret"
    ):
        Wrong(name="wrong").build((None, 6))
