"""Reparametrised weights: the right gradients, computed once, saved as plain ones, and merged."""

import copy
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.core import compat
from kooler.core.hooks import is_hooked
from kooler.layers import (
    LowRank,
    Orthogonal,
    Parametrization,
    Scale,
    SpectralNorm,
    WeightNorm,
    clone,
    merge,
    reparametrize,
)
from kooler.steps import Microbatch
from tests.conftest import BACKEND

RANDOM = np.random.default_rng(0)
W = RANDOM.normal(size=(6, 4)).astype("float32") * 2
X = RANDOM.normal(size=(8, 6)).astype("float32")
Y = RANDOM.normal(size=(8, 4)).astype("float32")
RATE = 0.1


class Cubed(Parametrization):
    """One of a user's own."""

    def forward(self, x: Any) -> Any:
        return x**3

    def right_inverse(self, w: Any) -> Any:
        return ops.sign(w) * ops.abs(w) ** (1 / 3)


class Doubling(Parametrization):
    """One with a state: the weight is the original times how often it was trained, plus one."""

    def forward(self, x: Any, count: Any) -> Any:
        return x * count

    def right_inverse(self, w: Any) -> Any:
        return w

    def initial_state(self, w: Any) -> Any:
        return {"count": ops.ones(())}

    def update(self, state: Any, *originals: Any, training: bool) -> Any:
        return {"count": state["count"] + (1.0 if training else 0.0)}


def array(tensor: Any) -> np.ndarray:
    return np.array(ops.convert_to_numpy(tensor))


def dense_model(**arguments: Any) -> tuple[keras.Model, Any]:
    dense = layers.Dense(4, name="dense", **arguments)
    model = keras.Sequential([keras.Input((6,)), dense])
    dense.kernel.assign(W)
    return model, dense


def train(model: keras.Model, optimizer: Any = None, epochs: int = 1) -> None:
    model.compile(optimizer or keras.optimizers.SGD(RATE), "mse")
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)


def gradient_of_plain(weight: np.ndarray) -> np.ndarray:
    x, y = X.astype("float64"), Y.astype("float64")
    return 2 * x.T @ (x @ weight - y) / Y.size


def originals(layer: Any) -> dict[str, np.ndarray]:
    """What is trained instead of the kernel."""
    return {
        name: array(variable)
        for name, variable in layer.kernel_parametrization.weight.sources().items()
    }


def layers_of_originals(model: keras.Model) -> list[Any]:
    return [one for one in compat.flat_layers(model) if type(one).__name__ == "Originals"]


def test_two_steps_of_weight_norm_equal_the_closed_form() -> None:
    model, dense = dense_model(use_bias=False)
    reparametrize(model, dense.kernel, WeightNorm())
    train(model, epochs=2)

    v = W.astype("float64")
    g = np.linalg.norm(v, axis=0, keepdims=True)
    for _ in range(2):
        length = np.linalg.norm(v, axis=0, keepdims=True)
        by_w = gradient_of_plain(g * v / length)
        by_g = (by_w * v / length).sum(0, keepdims=True)
        g, v = g - RATE * by_g, v - RATE * (g / length * by_w - g * by_g / length**2 * v)
    found = originals(dense)
    np.testing.assert_allclose(found["original_0"], g, atol=2e-6)
    np.testing.assert_allclose(found["original_1"], v, atol=2e-6)
    np.testing.assert_allclose(array(dense.kernel), g * v / np.linalg.norm(v, axis=0), atol=2e-6)


def test_twice_is_twice() -> None:
    model, dense = dense_model(use_bias=False)
    reparametrize(model, dense.kernel, Scale(2.0))

    np.testing.assert_array_equal(array(dense.kernel), W)
    np.testing.assert_array_equal(originals(dense)["original_0"], W / 2)
    train(model)
    np.testing.assert_allclose(array(dense.kernel), W - 4 * RATE * gradient_of_plain(W), atol=2e-6)


def test_one_of_a_users_own_has_the_gradient_of_finite_differences() -> None:
    model, dense = dense_model(use_bias=False)
    reparametrize(model, "kernel$", Cubed())
    before = originals(dense)["original_0"].astype("float64")
    train(model)

    moved = (before - originals(dense)["original_0"]) / RATE
    np.testing.assert_allclose(moved, gradient_of_plain(before**3) * 3 * before**2, atol=1e-5)


def test_a_neutral_parametrization_changes_no_bit() -> None:
    (plain, _), (model, _) = dense_model(), dense_model()
    for bias in (plain, model):
        bias.layers[-1].bias.assign([1.0, 2.0, 3.0, 4.0])
    reparametrize(model, ".", Scale(1.0))
    train(plain, "adam", epochs=3)
    train(model, "adam", epochs=3)

    np.testing.assert_array_equal(model.predict(X, verbose=0), plain.predict(X, verbose=0))


def build(kind: str) -> tuple[keras.Model, Any, str]:
    """A model, the layer in it that owns a weight, and the name of the weight."""
    ids = kind == "Embedding"
    image = "Conv" in kind
    inputs = (
        keras.Input((5,), dtype="int32") if ids else keras.Input((5, 5, 3) if image else (5, 4))
    )
    made: Any = {
        "Dense": lambda: layers.Dense(4),
        "Conv2D": lambda: layers.Conv2D(4, 3),
        "Conv2DTranspose": lambda: layers.Conv2DTranspose(4, 3),
        "SeparableConv2D": lambda: layers.SeparableConv2D(4, 3),
        "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3),
        "Embedding": lambda: layers.Embedding(7, 4),
        "LSTM": lambda: layers.LSTM(4),
        "SimpleRNN": lambda: layers.SimpleRNN(4),
        "GRU": lambda: layers.GRU(4),
        "Bidirectional": lambda: layers.Bidirectional(layers.SimpleRNN(4)),
        "MultiHeadAttention": lambda: layers.MultiHeadAttention(2, 3),
        "LayerNormalization": lambda: layers.LayerNormalization(),
    }[kind]()
    outputs = made(inputs, inputs) if kind == "MultiHeadAttention" else made(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="head")(layers.Flatten()(outputs)))
    for number, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape) / 2)
    owner, name = {
        "Embedding": lambda: (made, "embeddings"),
        "SeparableConv2D": lambda: (made, "pointwise_kernel"),
        "LSTM": lambda: (made.cell, "recurrent_kernel"),
        "SimpleRNN": lambda: (made.cell, "recurrent_kernel"),
        "GRU": lambda: (made.cell, "recurrent_kernel"),
        "Bidirectional": lambda: (made.backward_layer.cell, "recurrent_kernel"),
        "MultiHeadAttention": lambda: (
            next(one for one in compat.flat_layers(made) if one.name == "query"),
            "kernel",
        ),
        "LayerNormalization": lambda: (made, "gamma"),
    }.get(kind, lambda: (made, "kernel"))()
    return model, owner, name


def examples(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    shape = (6, *model.input_shape[1:])
    random = np.random.default_rng(5)
    if "int" in str(model.inputs[0].dtype):
        return random.integers(0, 7, shape), np.ones((6, 1), "float32")
    return random.normal(size=shape).astype("float32"), np.ones((6, 1), "float32")


FAST = ["Dense"]
SLOW = [
    *(
        "LSTM",
        "Embedding",
        "Conv2D",
        "Conv2DTranspose",
        "SeparableConv2D",
        "DepthwiseConv2D",
        "GRU",
    ),
    *("Bidirectional", "MultiHeadAttention", "LayerNormalization"),
]
KINDS = [*FAST, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW)]


@pytest.mark.parametrize("kind", KINDS)
def test_any_weight_is_computed_trained_saved_and_merged(kind: str, tmp_path: Path) -> None:
    model, owner, name = build(kind)
    x, y = examples(model)
    paths = [variable.path for variable in model.weights]
    before = model.predict(x, verbose=0)
    reparametrize(model, getattr(owner, name), WeightNorm())
    at_first = model.predict(x, verbose=0)
    model.compile(keras.optimizers.SGD(0.05), "mse")
    model.fit(x, y, epochs=2, batch_size=6, verbose=0)
    after = model.predict(x, verbose=0)
    model.save_weights(tmp_path / "parametrised.weights.h5")

    np.testing.assert_allclose(at_first, before, rtol=1e-5, atol=1e-6)
    assert np.abs(after - before).max() > 1e-3

    plain, plain_owner, _ = build(kind)
    plain.load_weights(tmp_path / "parametrised.weights.h5")  # into a plain model
    np.testing.assert_allclose(plain.predict(x, verbose=0), after, rtol=1e-5, atol=1e-6)

    plain.save_weights(tmp_path / "plain.weights.h5")
    other, other_owner, _ = build(kind)
    reparametrize(other, getattr(other_owner, name), WeightNorm())
    other.load_weights(tmp_path / "plain.weights.h5")  # and back
    np.testing.assert_allclose(other.predict(x, verbose=0), after, rtol=1e-5, atol=1e-6)

    other.load_weights(tmp_path / "parametrised.weights.h5")  # and exactly
    for one, two in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(array(one), array(two))

    merge(model)
    np.testing.assert_allclose(model.predict(x, verbose=0), after, rtol=1e-5, atol=1e-6)
    assert [variable.path for variable in model.weights] == paths
    assert not any(is_hooked(layer) for layer in compat.flat_layers(model))
    assert "save_own_variables" not in owner.__dict__
    assert getattr(plain_owner, name).shape == getattr(owner, name).shape


# State.


def test_state_moves_once_in_each_call_of_training_and_only_there() -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, Doubling())
    train(model, epochs=3)
    model.predict(X, verbose=0)
    model.evaluate(X, Y, verbose=0)
    array(dense.kernel)

    assert float(originals(dense)["count"]) == 4.0


def test_a_shared_layer_moves_its_state_once_in_each_call() -> None:
    shared = layers.Dense(6)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, shared(shared(inputs))[:, :4])
    reparametrize(model, shared.kernel, Doubling())
    train(model, keras.optimizers.SGD(0.0))

    assert float(originals(shared)["count"]) == 3.0


@pytest.mark.compiles
def test_the_state_of_a_cell_moves_once_a_call_and_not_in_each_step() -> None:
    model, cell, _ = build("SimpleRNN")
    reparametrize(model, cell.recurrent_kernel, Doubling())
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(*examples(model), batch_size=6, verbose=0)  # five steps of the cell

    state = cell.recurrent_kernel_parametrization.weight.sources()["count"]
    assert float(array(state)) == 2.0


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX shows its program")
def test_the_weight_of_a_cell_is_computed_once_and_outside_of_the_loop() -> None:
    import jax

    model, cell, _ = build("LSTM")
    reparametrize(model, cell.recurrent_kernel, WeightNorm())
    groups = (model.trainable_variables, model.non_trainable_variables)
    values = [[variable.value for variable in group] for group in groups]
    program = jax.make_jaxpr(lambda x: model.stateless_call(*values, x)[0])(examples(model)[0])
    roots = [
        "in the loop" if "sqrt" in str(one.params) else "outside"
        for one in program.jaxpr.eqns
        if "sqrt" in str(one)
    ]

    assert roots == ["outside"]


# Chains.


def test_a_second_parametrization_is_applied_to_the_first() -> None:
    model, dense = dense_model(use_bias=False)
    reparametrize(model, dense, SpectralNorm(exact=True))
    reparametrize(model, [dense], Scale(3.0))
    train(model)

    assert np.linalg.svd(array(dense.kernel), compute_uv=False)[0] == pytest.approx(3.0, rel=1e-5)
    assert [variable.name for variable in dense.weights] == ["kernel"]


def test_a_chain_assigns_through_all_its_parts_and_keeps_their_states_apart() -> None:
    model, dense = dense_model(use_bias=False)
    for part in (Doubling(), Scale(2.0), Doubling()):
        reparametrize(model, "kernel", part)
    train(model, keras.optimizers.SGD(0.0))

    sources = originals(dense)
    assert (float(sources["count"]), float(sources["count_2"])) == (2.0, 2.0)
    np.testing.assert_allclose(array(dense.kernel), 4 * W, rtol=1e-6)
    dense.kernel.assign(W)
    np.testing.assert_allclose(array(dense.kernel), W, rtol=1e-6)


def test_what_has_several_originals_must_come_first() -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, Scale(2.0))

    with pytest.raises(ValueError, match="WeightNorm has 2 originals, so it must be the first"):
        reparametrize(model, ["bias", dense.kernel], WeightNorm())
    assert [one.name for one in layers_of_originals(model)] == ["kernel_parametrization"]
    np.testing.assert_array_equal(originals(dense)["original_0"], W / 2)  # the first one stays


# What else lives with a weight.


def test_assign_goes_through_the_right_inverse() -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, WeightNorm())
    dense.kernel.assign(-3 * W)

    np.testing.assert_allclose(array(dense.kernel), -3 * W, rtol=1e-6)
    np.testing.assert_allclose(
        originals(dense)["original_0"][0], np.linalg.norm(3 * W, axis=0), rtol=1e-6
    )
    with pytest.raises(ValueError, match=r"has the shape \(6, 4\), so no value of shape \(2, 2\)"):
        dense.kernel.assign(np.ones((2, 2)))


def test_the_slots_of_an_optimizer_stay_with_their_weights() -> None:
    model, dense = dense_model(use_bias=False)
    train(model, keras.optimizers.SGD(RATE, momentum=0.9))
    velocity = -RATE * gradient_of_plain(W)
    reparametrize(model, dense.kernel, Scale(-1.0))
    model.fit(X, Y, batch_size=8, verbose=0)

    first = -(W + velocity)  # the original is minus the weight, the old slot goes on
    gradient = -gradient_of_plain(-first)
    expected = first + 0.9 * velocity - RATE * gradient
    np.testing.assert_allclose(originals(dense)["original_0"], expected, atol=1e-5)


def test_a_regularizer_still_means_the_weight() -> None:
    model, dense = dense_model(kernel_regularizer=keras.regularizers.L2(0.5))
    reparametrize(model, dense.kernel, Scale(10.0))
    with_it = [float(array(loss)) for loss in model.losses]
    train(model)
    merge(model)

    assert with_it == [pytest.approx(0.5 * (W.astype("float64") ** 2).sum(), rel=1e-5)]
    assert len(model.losses) == 1


def test_a_frozen_layer_stays_frozen() -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, WeightNorm())
    dense.trainable = False

    assert model.trainable_variables == []
    assert not dense.kernel.trainable


def test_mixed_precision_computes_the_weight_in_full() -> None:
    model, dense = dense_model(dtype="mixed_bfloat16", use_bias=False)
    reparametrize(model, dense.kernel, WeightNorm())
    output = model(X)
    train(model)

    assert keras.backend.standardize_dtype(output.dtype) == "bfloat16"
    assert {keras.backend.standardize_dtype(one.dtype) for one in dense.weights} == {"float32"}
    rounded = array(ops.cast(ops.cast(W, "bfloat16"), "float32"))
    expected = array(ops.cast(ops.cast(X, "bfloat16"), "float32")) @ rounded
    np.testing.assert_allclose(array(ops.cast(output, "float32")), expected, atol=0.1, rtol=0.02)


def test_a_keras_file_is_the_plain_model(tmp_path: Path) -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, SpectralNorm())
    train(model)
    model.save(tmp_path / "model.keras")
    plain = keras.models.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(plain.predict(X, verbose=0), model.predict(X, verbose=0))
    assert [variable.name for variable in plain.trainable_variables] == ["kernel", "bias"]


def test_a_clone_is_the_plain_model() -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, LowRank(4))
    reparametrize(model, dense.bias, WeightNorm())
    dense.kernel.assign(2 * W)
    model.compile("adam", "mse")
    plain = clone(model)

    assert [variable.name for variable in plain.weights] == ["kernel", "bias"]
    np.testing.assert_array_equal(plain.predict(X, verbose=0), model.predict(X, verbose=0))


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_is_the_plain_model_too(way: str) -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, Scale(2.0))
    dense.kernel.assign(-W)
    plain = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))

    np.testing.assert_array_equal(plain.predict(X, verbose=0), model.predict(X, verbose=0))
    assert layers_of_originals(plain) == [] and len(layers_of_originals(model)) == 1


@pytest.mark.slow
def test_training_goes_on_after_loading(tmp_path: Path) -> None:
    def parametrised() -> keras.Model:
        model, dense = dense_model()
        reparametrize(model, dense.kernel, SpectralNorm())
        model.compile(keras.optimizers.SGD(RATE), "mse")
        return model

    once, twice = parametrised(), parametrised()
    for model in (once, twice):
        model.fit(X, Y, batch_size=8, verbose=0)
    once.save_weights(tmp_path / "halfway.weights.h5")
    twice.fit(X, Y, batch_size=8, verbose=0)
    resumed = parametrised()
    resumed.load_weights(tmp_path / "halfway.weights.h5")
    for found, saved in zip(resumed.weights, once.weights, strict=True):
        np.testing.assert_array_equal(array(found), array(saved))
    resumed.fit(X, Y, batch_size=8, verbose=0)

    # PyTorch's sums round by where in memory an array happens to lie.
    tolerance = 1e-6 if BACKEND == "torch" else 0
    np.testing.assert_allclose(
        resumed.predict(X, verbose=0), twice.predict(X, verbose=0), rtol=0, atol=tolerance
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `native_serialization` parameter")  # Keras's export on JAX
def test_an_exported_model_computes_the_same(tmp_path: Path) -> None:
    model, dense = dense_model()
    reparametrize(model, dense.kernel, WeightNorm())
    expected = model.predict(X, verbose=0)
    if BACKEND == "torch":
        import torch

        program = torch.export.export(model, (torch.as_tensor(X),))
        found = program.module()(torch.as_tensor(X)).detach().numpy()
    else:
        tf = pytest.importorskip("tensorflow")
        model.export(tmp_path / "model", verbose=False)
        loaded = tf.saved_model.load(tmp_path / "model")  # its variables go when it goes
        found = loaded.serve(X).numpy()

    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_layer_counts_as_a_model_and_a_list_as_a_selector() -> None:
    lstm = layers.LSTM(3)
    lstm.build((None, 5, 4))
    reparametrize(lstm, ["recurrent_kernel", lstm.cell.kernel], Scale(2.0))
    inside = [type(one).__name__ for one in compat.flat_layers(lstm)]
    merge(lstm)

    assert inside.count("Originals") == 2
    assert [variable.name for variable in lstm.weights] == ["kernel", "recurrent_kernel", "bias"]


def test_a_tied_weight_is_computed_in_both_places() -> None:
    class Tied(layers.Layer):
        def __init__(self, table: Any) -> None:
            super().__init__()
            self.table = table

        def build(self, shape: Any) -> None:
            self.kernel = self.table.embeddings

        def call(self, x: Any) -> Any:
            return ops.matmul(x, ops.transpose(self.kernel))

    table = layers.Embedding(7, 4)
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, Tied(table)(table(inputs)))
    ids = np.arange(10).reshape(2, 5) % 7
    reparametrize(model, table.embeddings, Cubed())
    weight = array(table.embeddings)

    np.testing.assert_allclose(model.predict(ids, verbose=0), weight[ids] @ weight.T, atol=1e-6)


# Errors.


def test_what_is_no_parametrization() -> None:
    model, _ = dense_model()
    with pytest.raises(TypeError, match=r"<class '.*WeightNorm'> .* is no parametrization"):
        reparametrize(model, "kernel", WeightNorm)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="Parametrization must define `right_inverse"):
        reparametrize(model, "kernel", Parametrization())


def test_what_is_no_model() -> None:
    for call in (lambda: reparametrize("kernel", dense_model()[0], Scale(2.0)), lambda: merge("x")):
        with pytest.raises(TypeError, match="first argument must be a Keras model or layer, rece"):
            call()


def test_nothing_is_selected() -> None:
    with pytest.raises(ValueError, match="The selector 'kernal' matches none of the 2 variables"):
        reparametrize(dense_model()[0], "kernal", WeightNorm())


def test_a_weight_of_another_shape_is_refused_and_nothing_happens() -> None:
    class Cut(Parametrization):
        def forward(self, x: Any) -> Any:
            return x[:1]

        def right_inverse(self, w: Any) -> Any:
            return w

    model, dense = dense_model()
    with pytest.raises(
        ValueError, match=r"gives a weight of shape \(1, 4\); its layer needs \(6, 4\)"
    ):
        reparametrize(model, "kernel", Cut())
    np.testing.assert_array_equal(array(dense.kernel), W)


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize` method")
def test_constraints_quantised_layers_and_lora_are_refused() -> None:
    model, _ = dense_model(kernel_constraint="non_neg")
    with pytest.raises(ValueError, match=r"'.*kernel' has a constraint, which would act on the"):
        reparametrize(model, "kernel", WeightNorm())

    model, dense = dense_model()
    dense.enable_lora(2)
    with pytest.raises(ValueError, match="has LoRA, which keeps"):
        reparametrize(model, "/kernel$", WeightNorm())

    model, dense = dense_model()
    reparametrize(model, "kernel", WeightNorm())
    with pytest.raises(ValueError, match=r"cannot be quantised. Call `kooler.layers.merge"):
        dense.quantize("int8")
    with pytest.raises(ValueError, match=r"'dense.*' has reparametrised weights, which cannot be"):
        model.quantize("int8")
    merge(model)
    dense.quantize("int8")
    for selector in ("bias", "kernel$", dense.kernel, dense, [dense.bias]):
        with pytest.raises(
            ValueError, match=r"The layer 'dense' is quantised, so '.*dense/.*' can"
        ):
            reparametrize(model, selector, WeightNorm())


def test_lora_on_a_reparametrised_kernel_trains_only_lora() -> None:
    model, dense = dense_model(use_bias=False)
    reparametrize(model, "kernel", WeightNorm())
    before = originals(dense)
    dense.enable_lora(2)
    train(model)

    for name, value in originals(dense).items():
        np.testing.assert_array_equal(value, before[name])
    assert np.abs(array(dense.lora_kernel_b)).max() > 0


def test_a_weight_in_a_list_cannot_be_reached() -> None:
    class Listed(layers.Layer):
        def build(self, shape: Any) -> None:
            self.parts = [self.add_weight((4,), name="part")]

        def call(self, x: Any) -> Any:
            return x * self.parts[0]

    layer = Listed(name="listed")
    layer.build((None, 4))
    with pytest.raises(ValueError, match="The layer 'listed' does not hold 'listed/part' as an"):
        reparametrize(layer, "part", Scale(2.0))


def test_low_rank_takes_the_plain_variable_away_and_merge_gives_it_back() -> None:
    model, dense = dense_model()
    kernel = dense.kernel
    reparametrize(model, kernel, LowRank(2))
    names = [variable.name for variable in model.trainable_variables]
    merge(model)

    assert names == ["bias", "original_0", "original_1"]
    assert model.trainable_variables[0] is kernel
    assert np.linalg.matrix_rank(array(kernel), tol=1e-4) == 2


def test_orthogonal_needs_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"needs a matrix, received a weight of shape \(4,\)"):
        reparametrize(dense_model()[0], "bias", Orthogonal())


def test_a_technique_of_the_step_trains_a_reparametrised_model():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, use_bias=False)])
    reparametrize(model, "kernel$", Scale(2.0))
    model.compile(keras.optimizers.SGD(RATE), loss="mse")
    Microbatch(2).inject(model)

    before = array(model.layers[0].kernel)
    model.fit(X, Y, batch_size=8, verbose=0)

    gradient = 2 * X.T @ (X @ before - Y) / Y.size
    np.testing.assert_allclose(
        array(model.layers[0].kernel), before - RATE * 2**2 * gradient, rtol=1e-5, atol=1e-6
    )
