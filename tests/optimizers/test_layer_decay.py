"""Layer-wise decay: the law as numbers, what counts as a layer, what is refused."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import LearningRateMultiplier, layer_decay
from tests.optimizers.conformance import array

# What timm's `param_groups_layer_decay` gives a ViT of 12 blocks at 0.75: the embeddings, the
# blocks, and norm and head together, 0.75¹³ … 0.75⁰.
VIT_AT_075 = [
    0.023757264, 0.031676352, 0.042235136, 0.056313515, 0.075084686, 0.100112915, 0.133483887,
    0.177978516, 0.237304688, 0.316406250, 0.421875000, 0.562500000, 0.750000000, 1.0,
]  # fmt: skip


def small_model(**frozen: bool) -> keras.Model:
    body = keras.Sequential(
        [keras.layers.Dense(2, name="one"), keras.layers.Dense(2, name="two")], name="body"
    )
    inputs = keras.Input((2,))
    hidden = keras.layers.Dropout(0.1)(body(inputs))
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(hidden))


def table(multipliers: Any) -> dict[str, float]:
    return {getattr(layer, "name", str(layer)): rate for layer, rate in multipliers}


def test_the_table_of_timm_for_twelve_blocks() -> None:
    blocks = [f"blocks/{i}/" for i in range(12)]
    stages: list[Any] = [["patch_embed", "pos_embed"], *blocks, ["norm", "head"]]

    rates = [rate for _, rate in layer_decay(stages, 0.75)]

    np.testing.assert_allclose(rates, VIT_AT_075, rtol=1e-6)


def test_inner_models_are_opened_and_layers_without_weights_do_not_count() -> None:
    assert table(layer_decay(small_model(), 0.5)) == {"one": 0.25, "two": 0.5, "head": 1.0}


def test_a_layer_made_of_layers_counts_as_one() -> None:
    block = keras.layers.MultiHeadAttention(1, 2, name="block")
    inputs = keras.Input((3, 2))
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(block(inputs, inputs)))

    assert table(layer_decay(model, 0.5)) == {"block": 0.5, "head": 1.0}


def test_frozen_layers_count_but_have_no_rate() -> None:
    model = small_model()
    model.get_layer("body").layers[0].trainable = False
    model.get_layer("head").trainable = False

    assert table(layer_decay(model, 0.5)) == {"two": 0.5}


def test_a_shared_layer_counts_where_it_comes_first() -> None:
    shared = keras.layers.Dense(2, name="shared")
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(shared(shared(inputs))))

    assert table(layer_decay(model, 0.5)) == {"shared": 0.5, "head": 1.0}


def test_a_shared_weight_counts_where_it_comes_first() -> None:
    class Tied(keras.layers.Layer):
        """The transpose of another layer's kernel, and a bias of its own."""

        def __init__(self, other: Any) -> None:
            super().__init__(name="tied")
            self.kernel = other.kernel
            self.bias = self.add_weight(shape=(2,), name="bias")

        def call(self, inputs: Any) -> Any:
            return inputs @ ops.transpose(self.kernel) + self.bias

    first = keras.layers.Dense(2, name="first")
    inputs = keras.Input((2,))
    hidden = first(inputs)
    tied = Tied(first)
    model = keras.Model(inputs, tied(hidden))

    (layer, low), (rest, full) = layer_decay(model, 0.5)

    assert (layer, low, full) == (first, 0.5, 1.0)
    assert [id(variable) for variable in rest] == [id(tied.bias)]


def test_it_changes_how_far_the_layers_move() -> None:
    model = small_model()
    model.compile(
        LearningRateMultiplier(keras.optimizers.SGD(1.0), layer_decay(model, 0.5)), loss="mse"
    )
    variables = model.trainable_variables
    before = [array(variable) for variable in variables]
    model.optimizer.apply([ops.ones(variable.shape) for variable in variables], variables)

    moves = [start - array(v) for start, v in zip(before, variables, strict=True)]
    assert [round(float(move.mean()), 5) for move in moves] == [0.25, 0.25, 0.5, 0.5, 1.0, 1.0]


def test_one_gives_every_layer_the_full_rate() -> None:
    assert set(table(layer_decay(small_model(), 1)).values()) == {1.0}


@pytest.mark.parametrize("factor", [0, -0.5, 1.5, float("nan"), "0.75", None, True], ids=str)
def test_the_factor_has_a_range(factor: Any) -> None:
    with pytest.raises(ValueError, match=r"`factor` must be above 0 and at most 1, received fac"):
        layer_decay(small_model(), factor)


def test_an_unbuilt_or_frozen_model_is_an_error() -> None:
    unbuilt = keras.Sequential([keras.layers.Dense(1)], name="net")
    frozen = small_model()
    frozen.trainable = False

    with pytest.raises(ValueError, match=r"model 'net' has no weights yet, so its layers cannot"):
        layer_decay(unbuilt, 0.5)
    with pytest.raises(ValueError, match=r"Every layer of the model .* is frozen"):
        layer_decay(frozen, 0.5)


@pytest.mark.parametrize("model", [None, "net", [], keras.layers.Dense(1)], ids=str)
def test_something_else_than_a_model_is_an_error(model: Any) -> None:
    with pytest.raises(TypeError, match=r"needs a model, or a list of selectors from input to"):
        layer_decay(model, 0.5)
