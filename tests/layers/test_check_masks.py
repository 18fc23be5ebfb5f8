"""Where a model begins to read padding, and what repairing mends."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from kooler.core import compat
from kooler.core.hooks import is_hooked
from kooler.layers import Attention, MaskedBidirectional, check_masks, repair_masks
from tests.layers.gradients import array

IDS = np.array([[3, 4, 5, 0, 0, 0], [1, 2, 3, 4, 5, 6]])


def pool(**arguments: Any) -> Any:
    return layers.GlobalAveragePooling1D(name="pool", **arguments)


def model_of(function: Any, mask_zero: bool = True) -> Any:
    inputs = keras.Input((None,), dtype="int32")
    embedded = layers.Embedding(9, 8, mask_zero=mask_zero, name="embedding")(inputs)
    return keras.Model(inputs, function(embedded))


def nested(x: Any) -> Any:
    inputs = keras.Input((None, 8))
    return keras.Model(inputs, pool()(inputs * 2.0), name="inner")(x)


class Inside(layers.Layer):
    """An operator in its own `call`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.pool = pool()

    def build(self, shape: Any) -> None:
        self.pool.build(shape)

    def call(self, x: Any) -> Any:
        return self.pool(ops.relu(x))

    def compute_mask(self, x: Any, mask: Any) -> None:
        return None


SOUND = {
    "pooling": lambda e: pool()(e),
    "Add layer": lambda e: pool()(layers.Add()([e, layers.Dense(8)(e)])),
    "recurrences": lambda e: MaskedBidirectional(layers.SimpleRNN(2))(
        layers.SimpleRNN(3, return_sequences=True)(e)
    ),
    "Keras's bidirectional layer": lambda e: pool()(
        layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True))(e)
    ),
    "attention": lambda e: pool()(Attention(2, 3)(e)),
}
# function, where, who dropped the mask, whether repairing helps
BROKEN = {
    "times two": (lambda e: pool()(e * 2.0), "pool", "multiply", True),
    "relu": (lambda e: pool()(ops.relu(e)), "pool", "relu", True),
    "plus": (lambda e: pool()(e + layers.Dense(8)(e)), "pool", "add", True),
    "slice": (lambda e: pool()(e[:, 1:]), "pool", "get_item", True),
    "concatenation": (lambda e: pool()(ops.concatenate([e, e], -1)), "pool", "concatenate", True),
    "RMS norm": (lambda e: pool()(layers.RMSNormalization(name="r")(e)), "pool", "r", True),
    "in a model": (nested, "inner/pool", "inner/multiply", True),
    "convolution": (
        lambda e: pool()(layers.Conv1D(4, 3, padding="same", name="conv")(e)),
        "conv",
        "conv",
        False,
    ),
    "maximum": (lambda e: layers.GlobalMaxPooling1D(name="top")(e), "top", "top", False),
    "flip": (lambda e: pool()(ops.flip(e, 1)), "flip", "flip", False),
    "in a layer": (lambda e: Inside(name="inside")(e), "inside/pool", None, False),
}


@pytest.mark.compiles
@pytest.mark.parametrize("name", SOUND)
def test_a_model_that_does_not_read_padding(name: str) -> None:
    report = check_masks(model_of(SOUND[name]), IDS)

    assert report
    assert str(report) == "The results do not depend on padding."


@pytest.mark.compiles
def test_what_a_layer_turns_round_and_back_is_its_own_affair() -> None:
    turning = MaskedBidirectional(layers.SimpleRNN(2, return_sequences=True))

    assert check_masks(model_of(lambda e: turning(e)), IDS, left=True)


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking:UserWarning")
@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_does(name: str) -> None:
    function, where, loser, mendable = BROKEN[name]
    keras.backend.clear_session()  # operators are named anew
    model = model_of(function)
    before = array(model(IDS))
    report = check_masks(model, IDS)
    repaired = repair_masks(model)

    assert not report
    assert (report.where, report.difference > 1e-4) == (where, True)
    assert report.lost_at == ((loser,) if loser else ())
    assert where in str(report) and (loser or "no mask reached it") in str(report)
    assert bool(check_masks(model, IDS)) == mendable
    assert bool(repaired) == mendable
    assert repair_masks(model) == []
    full = slice(1, None)  # the row without padding
    if name != "slice":
        np.testing.assert_allclose(array(model(IDS))[full], before[full], rtol=1e-5, atol=1e-6)


def test_all_operators_on_the_way_are_named() -> None:
    keras.backend.clear_session()
    report = check_masks(model_of(lambda e: pool()(ops.gelu(e * 2.0) - e)), IDS)

    assert report.lost_at == ("multiply", "subtract")
    assert str(report).endswith("because 'multiply' and 'subtract' dropped the mask.")


def test_what_is_no_model() -> None:
    for call in (lambda: check_masks("model", IDS), lambda: repair_masks(3)):
        with pytest.raises(TypeError, match="`model` must be a Keras model, received"):
            call()


def test_without_any_mask() -> None:
    report = check_masks(model_of(lambda e: pool()(e), mask_zero=False), IDS)

    assert (report.where, report.lost_at) == ("pool", ())


@pytest.mark.filterwarnings("ignore:Layer .* does not support masking:UserWarning")
def test_a_maximum_that_happens_to_lie_elsewhere_is_found_by_stress_only() -> None:
    model = model_of(lambda e: layers.GlobalMaxPooling1D(name="top")(e))
    table = model.get_layer("embedding").embeddings
    table.assign(np.abs(array(table)) * np.array([0] + [1] * 8)[:, None])  # padding is lowest

    assert check_masks(model, IDS, stress=False)
    assert check_masks(model, IDS).where == "top"


def test_padding_on_the_left() -> None:
    model = model_of(lambda e: layers.SimpleRNN(3)(e))
    inputs = keras.Input((None,), dtype="int32")
    # On TensorFlow, Keras adds [1, n, 1] to [1, n, n] along the wrong axis: let none be 7 steps.
    hidden = layers.Embedding(9, 7, mask_zero=True)(inputs)
    steps = ops.cumsum(ops.ones_like(inputs, "float32"), axis=1)
    absolute = keras.Model(inputs, hidden + steps[..., None])

    assert check_masks(model, IDS, left=True)
    assert check_masks(absolute, IDS)
    assert not check_masks(absolute, IDS, left=True)


@pytest.mark.compiles
def test_several_inputs() -> None:
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in "ab"}
    embedding = layers.Embedding(9, 4, mask_zero=True)
    outputs = Attention(1, 4)(embedding(inputs["a"]), embedding(inputs["b"]))
    model = keras.Model(inputs, pool()(outputs))

    assert check_masks(model, {"a": IDS, "b": IDS[::-1].copy()})


def test_repaired_models_train_predict_and_keep_their_weights() -> None:
    model = model_of(lambda e: pool()(ops.gelu(e * 2.0) - e))
    model.compile("adam", "mse")
    model.predict(IDS, verbose=0)
    weights = [array(w) for w in model.weights]
    repair_masks(model)
    padded = model.predict(np.pad(IDS[:1, :3], ((0, 0), (0, 4))), verbose=0)

    np.testing.assert_allclose(padded, model.predict(IDS[:1, :3], verbose=0), atol=1e-6)
    assert all(np.array_equal(a, array(w)) for a, w in zip(weights, model.weights, strict=True))
    model.fit(IDS, np.ones((2, 8)), verbose=0)


def test_a_recurrence_that_stops_masks_is_repaired() -> None:
    """What the next Keras will do: recurrences do not pass the mask on."""
    rnn = layers.SimpleRNN(3, return_sequences=True)
    rnn.supports_masking = False
    with pytest.warns(UserWarning, match="does not support masking"):
        model = model_of(lambda e: pool()(rnn(e)))
        assert not check_masks(model, IDS)

    assert repair_masks(model) == [rnn.name]
    assert check_masks(model, IDS)


def test_repairing_combines_the_masks() -> None:
    left, right = (layers.Embedding(9, 2, mask_zero=True) for _ in range(2))
    inputs = [keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")]
    model = keras.Model(inputs, left(inputs[0]) * right(inputs[1]))
    repair_masks(model)
    outputs = model([np.array([[1, 1, 0]]), np.array([[1, 0, 1]])])

    assert array(compat.mask_of(outputs)).tolist() == [[True, False, False]]


@pytest.mark.compiles
@pytest.mark.filterwarnings("ignore:Layer .* does not support masking:UserWarning")
@settings(max_examples=6)
@given(st.lists(st.sampled_from(["dense", "times", "norm", "conv", "plus"]), max_size=3))
def test_watching_changes_no_model(parts: list[str]) -> None:
    made = {
        "dense": lambda x: layers.Dense(8, "relu")(x),
        "times": lambda x: x * 2.0,
        "norm": lambda x: layers.LayerNormalization()(x),
        "conv": lambda x: layers.Conv1D(8, 2, padding="causal")(x),
        "plus": lambda x: x + layers.Dense(8)(x),
    }

    def stack(x: Any) -> Any:
        for part in parts:
            x = made[part](x)
        return pool()(x)

    model = model_of(stack)
    before = array(model(IDS))
    check_masks(model, IDS)

    np.testing.assert_array_equal(array(model(IDS)), before)
    assert not any(is_hooked(operation) for operation in model.operations)


@pytest.mark.parametrize(
    ("ids", "arguments", "text"),
    [
        (np.ones((2, 3)), {}, r"`ids` must be integers \[rows, steps\] with zeros for padding"),
        (np.array([1, 2]), {}, r"`ids` must be integers \[rows, steps\] with zeros for padding"),
        (np.array([[0, 0]]), {}, "`ids` must not have a row of only zeros"),
        (IDS, {"padding": 0}, "`padding` must be at least 1, received 0"),
    ],
)
def test_wrong_arguments_are_errors(ids: Any, arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        check_masks(model_of(SOUND["pooling"]), ids, **arguments)


def test_a_model_of_fixed_length_is_an_error() -> None:
    model = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(9, 2), pool()])

    with pytest.raises(ValueError, match="`model` takes sequences of exactly 6 steps"):
        check_masks(model, IDS)
