"""Capture: any tensor of any layer, by name, as it is; and the model stays as it was."""

import threading
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.core import compat
from kooler.core.hooks import is_hooked
from kooler.models import Capture, tap
from tests.conftest import BACKEND
from tests.models.attending import LENGTH, WIDTH, ByHand, attending_model, examples

NAMES = ["first/attend.scores", "inner/second/attend.scores", "inner/second", "first/attend"]
X = examples()


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return attending_model()


def leftovers(model: keras.Model) -> list[str]:
    return [layer.name for layer in compat.flat_layers(model) if is_hooked(layer)]


def inner_of(outer: Any, shape: tuple[int, ...] = (LENGTH, WIDTH)) -> keras.Model:
    inputs = keras.Input(shape)
    return keras.Model(inputs, outer(inputs))


def test_every_tensor_equals_the_computation_by_hand(model: Any) -> None:
    wanted = [*NAMES, "probabilities", "probabilities#1", "doubled", "flat", "head"]
    values = Capture(model, wanted).predict(X, batch_size=2, verbose=0)

    by_hand = ByHand(model, X).values
    by_hand["probabilities"] = by_hand["first/attend.weights"]
    by_hand["probabilities#1"] = by_hand["inner/second/attend.weights"]
    assert set(values) == {"output", *wanted}
    for name, value in values.items():
        np.testing.assert_allclose(value, by_hand[name], atol=2e-6, err_msg=name)


def test_two_times_three_is_in_the_middle_of_a_model() -> None:
    class Doubles(layers.Layer):
        def call(self, x: Any) -> Any:
            doubled = 2.0 * x
            return doubled + 1.0

    values = Capture(inner_of(Doubles(name="d"), (1,)), "d.doubled").predict(
        np.full((1, 1), 3.0), verbose=0
    )

    assert {name: float(value[0, 0]) for name, value in values.items()} == {
        "output": 7.0,
        "d.doubled": 6.0,
    }


def test_the_model_is_the_same_to_the_last_bit_before_during_and_after(model: Any) -> None:
    before = model.predict(X, verbose=0)
    during = Capture(model, NAMES).predict(X, verbose=0)["output"]
    after = model.predict(X, verbose=0)

    np.testing.assert_array_equal(before, during)
    np.testing.assert_array_equal(before, after)
    assert leftovers(model) == []


def test_a_star_stands_for_a_part_of_a_path(model: Any) -> None:
    capture = Capture(model, ["*/attend.scores", "inner/*/*", "first/attend.w*"], output=False)

    assert set(capture.predict(X, verbose=0)) == {
        "first/attend.scores",
        "first/attend.weights",
        "inner/second/attend",
    }


def test_a_star_passes_over_what_is_no_tensor() -> None:
    class Counts(layers.Layer):
        def call(self, x: Any) -> Any:
            rank = len(x.shape)
            nothing = None
            moved = x + rank
            return moved if nothing is None else nothing

    values = Capture(inner_of(Counts(name="c")), "c.*").predict(X, verbose=0)

    assert set(values) == {"output", "c.moved"}


def test_calls_of_a_shared_layer_are_numbered() -> None:
    shared = layers.Lambda(lambda x: x * 2.0, name="twice")
    model = inner_of(lambda x: shared(shared(shared(x))))
    capture = Capture(model, ["twice#*", "twice#1"])

    values = capture.predict(X, verbose=0)

    assert set(values) == {"output", "twice", "twice#1", "twice#2"}
    np.testing.assert_array_equal(values["twice"], X * 2)
    np.testing.assert_array_equal(values["twice#1"], X * 4)


def test_an_operation_of_a_functional_model_has_a_name_too() -> None:
    model = inner_of(lambda x: x * 3.0)
    name = next(one.name for one in model.operations if "multiply" in one.name)

    np.testing.assert_array_equal(Capture(model, name).predict(X, verbose=0)[name], X * 3)


def test_a_tensor_may_get_a_name_of_ones_own(model: Any) -> None:
    capture = Capture(model, {"where": "probabilities#1", "what": "head"})
    values = capture.predict(X, verbose=0)

    assert set(values) == {"output", "where", "what"}
    np.testing.assert_array_equal(values["what"], values["output"])


def test_a_tensor_may_get_two_names(model: Any) -> None:
    values = Capture(model, {"one": "head", "two": "head"}).predict(X, verbose=0)

    np.testing.assert_array_equal(values["one"], values["two"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"output": "head"}, "'output' is the name of the model's own output, so 'head' cannot"),
        (
            {"heads": "head*"},
            "'head\\*' may be several tensors, which cannot all be called 'heads'",
        ),
    ],
)
def test_a_name_that_means_two_tensors(model: Any, names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Capture(model, names)


def test_the_name_of_a_layer_in_two_places_is_either_path() -> None:
    shared = layers.Dense(WIDTH, name="shared")
    parts = [
        keras.Sequential([keras.Input((LENGTH, WIDTH)), shared], name=name) for name in ("a", "b")
    ]
    model = inner_of(lambda x: parts[1](parts[0](x)))
    values = Capture(model, ["a/shared", "b/shared#1"]).predict(X, verbose=0)

    np.testing.assert_array_equal(values["b/shared#1"], values["output"])
    assert np.abs(values["a/shared"] - values["output"]).max() > 0.01


def test_a_subclassed_model_that_is_not_built_and_its_own_variables() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2, name="dense")

        def call(self, x: Any) -> Any:
            hidden = self.dense(x)
            return ops.relu(hidden)

    model = Own()
    values = Capture(model, [".hidden", "dense"]).predict(X, verbose=0)

    np.testing.assert_array_equal(values[".hidden"], values["dense"])
    np.testing.assert_array_equal(values["output"], np.maximum(values["dense"], 0.0))


def test_the_attention_of_keras_itself() -> None:
    inputs = keras.Input((LENGTH, WIDTH))
    attend = layers.MultiHeadAttention(2, 3, name="attend")
    model = keras.Model(inputs, attend(inputs, inputs))
    values = Capture(model, ["attend.attention_scores", "attend/query"]).predict(X, verbose=0)

    output, scores = attend(X, X, return_attention_scores=True)
    np.testing.assert_allclose(
        values["attend.attention_scores"], ops.convert_to_numpy(scores), atol=1e-6
    )
    np.testing.assert_allclose(values["output"], ops.convert_to_numpy(output), atol=1e-6)
    assert values["attend/query"].shape == (len(X), LENGTH, 2, 3)


def test_grouped_attention_shows_its_scores_too() -> None:
    inputs = keras.Input((LENGTH, WIDTH))
    attend = layers.GroupQueryAttention(3, 2, 1, name="attend")
    model = keras.Model(inputs, attend(inputs, inputs))
    scores = Capture(model, "attend.scores").predict(X, verbose=0)["attend.scores"]

    assert scores.shape == (len(X), 2, LENGTH, LENGTH)
    np.testing.assert_allclose(scores.sum(-1), 1.0, atol=1e-6)


# Replacing.


def test_a_patched_tensor_changes_what_comes_after_it_and_nothing_before(model: Any) -> None:
    def halved(scores: Any) -> Any:
        return scores * 0.5

    name = "inner/second/attend.scores"
    values = Capture(model, NAMES, patch={name: halved}).predict(X, verbose=0)

    by_hand = ByHand(model, X, halved).values
    for one, value in values.items():
        np.testing.assert_allclose(value, by_hand[one], atol=2e-6, err_msg=one)


def test_a_value_is_broadcast(model: Any) -> None:
    capture = Capture(model, "probabilities", patch={"probabilities#1": 0.0})
    values = capture.predict(X, verbose=0)

    first = ByHand(model, X).values["first"]
    kernel, bias = (ops.convert_to_numpy(w) for w in model.get_layer("head").weights)
    expected = (2 * first).reshape(len(X), -1) @ kernel + bias  # the second block adds nothing
    np.testing.assert_allclose(values["output"], expected, atol=2e-6)


def test_a_neutral_patch_changes_no_bit(model: Any) -> None:
    capture = Capture(model, [], patch={"*/attend.scores": lambda x: x, "head": lambda x: x})

    np.testing.assert_array_equal(
        capture.predict(X, verbose=0)["output"], model.predict(X, verbose=0)
    )


def test_what_one_input_gave_may_be_put_into_another_run(model: Any) -> None:
    clean = Capture(model, "inner").predict(X, verbose=0)
    patched = Capture(model, [], patch={"inner": clean["inner"]}).predict(X * 3, verbose=0)

    np.testing.assert_array_equal(patched["output"], clean["output"])


def test_a_patch_of_another_shape_is_refused(model: Any) -> None:
    capture = Capture(model, [], patch={"head": lambda x: x[:, :0]})

    with pytest.raises(ValueError, match=r"'head' has the shape .*, 1\), and `patch` puts one of"):
        capture.predict(X, verbose=0)


@pytest.mark.parametrize(
    ("patch", "error", "message"),
    [
        (
            np.zeros(7),
            ValueError,
            r"'head' has the shape .*, to which a patch of shape \(7,\) cannot",
        ),
        ("zeros", TypeError, r"`patch` for 'head' must be a number, an array or a .* 'zeros'"),
    ],
    ids=["shape", "text"],
)
def test_a_value_that_cannot_be_broadcast(model: Any, patch: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        Capture(model, [], patch={"head": patch}).predict(X, verbose=0)


def test_a_value_in_the_place_of_two_tensors() -> None:
    rnn = layers.GRU(2, return_state=True, name="gru")
    with pytest.raises(ValueError, match="'gru' is no single tensor, so no value can stand"):
        Capture(inner_of(lambda x: rnn(x)[0]), [], patch={"gru": 0.0}).predict(X, verbose=0)


# Training on inner tensors.


def test_losses_on_inner_tensors_train_the_shared_weights() -> None:
    model = attending_model()
    capture = Capture(model, "first/attend.scores")
    capture.compile(
        keras.optimizers.SGD(0.1),
        loss={"first/attend.scores": "mse", "output": "mse"},
        loss_weights={"first/attend.scores": 1.0, "output": 0.0},
    )
    kernel = model.get_layer("first").attend.query.kernel
    before = ops.convert_to_numpy(kernel).astype("float64")
    scores, target = ByHand(model, X).values["first/attend.scores"], np.ones((len(X), 3, 3))
    history = capture.fit(
        X,
        {"output": np.zeros((len(X), 1)), "first/attend.scores": target},
        batch_size=len(X),
        verbose=0,
    )

    error = 2 * (scores - target) / scores.size
    assert history.history["loss"][0] == pytest.approx(((scores - target) ** 2).mean(), rel=1e-5)
    keys = ByHand(attending_model(), X).values["first/attend/key"]
    gradient = np.einsum("nti,nts,nsk->ik", X, error * 0.5, keys)
    np.testing.assert_allclose(ops.convert_to_numpy(kernel), before - 0.1 * gradient, atol=1e-6)
    evaluated = capture.evaluate(
        X,
        {"output": np.zeros((len(X), 1)), "first/attend.scores": target},
        verbose=0,
        return_dict=True,
    )
    assert evaluated["loss"] < history.history["loss"][0]


def test_the_names_of_losses_must_please_tensorflow(model: Any) -> None:
    capture = Capture(model, "probabilities#1")
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match=r"takes no '#' in .*names=\{'second': 'prob"):
            capture.compile("sgd", loss={"probabilities#1": "mse"})
    else:
        capture.compile("sgd", loss={"probabilities#1": "mse"})


# Gradients.


def test_gradients_by_inner_tensors_equal_finite_differences(model: Any) -> None:
    names = ["first/attend.scores", "inner/second/attend.scores"]
    capture = Capture(model, names)
    gradients = capture.gradients(X, lambda values: values["output"][:, 0] ** 2, batch_size=2)

    def loss(moved: np.ndarray) -> np.ndarray:
        return ByHand(model, X, lambda scores: scores + moved).values["output"][:, 0] ** 2

    differences = np.zeros((len(X), LENGTH, LENGTH))
    for i, j in np.ndindex(LENGTH, LENGTH):
        step = np.zeros((LENGTH, LENGTH))
        step[i, j] = 1e-6
        differences[:, i, j] = (loss(step) - loss(-step)) / 2e-6
    np.testing.assert_allclose(gradients[names[1]], differences, rtol=1e-4, atol=1e-6)
    assert gradients[names[0]].shape == differences.shape
    assert np.abs(gradients[names[0]]).max() > 1e-4  # the first is not cut off by the second


def test_a_tensor_that_does_not_matter_has_the_gradient_zero(model: Any) -> None:
    capture = Capture(model, ["first", "head"])
    gradients = capture.gradients(X, lambda values: ops.sum(values["first"]))

    np.testing.assert_array_equal(gradients["head"], 0.0)
    np.testing.assert_array_equal(gradients["first"], 1.0)


def test_there_is_no_gradient_by_integers() -> None:
    model = inner_of(layers.Lambda(lambda x: ops.cast(x, "int32"), name="whole"))

    with pytest.raises(ValueError, match="'whole' is no single tensor of floating point"):
        Capture(model, "whole").gradients(X, lambda values: values["whole"])


# Loops, branches, recomputation.


@pytest.mark.parametrize(
    "kind",
    [
        "LSTM",
        pytest.param("GRU", marks=pytest.mark.slow),
        pytest.param("RNN", marks=pytest.mark.slow),
    ],
)
def test_the_gates_of_every_step_of_an_rnn(kind: str) -> None:
    cell = layers.LSTMCell(2, name="cell")
    rnn = layers.RNN(cell, name="rnn") if kind == "RNN" else getattr(layers, kind)(2, name="rnn")
    model = inner_of(layers.Bidirectional(rnn, name="both") if kind == "GRU" else rnn)
    path = "both/forward_rnn/gru_cell.z" if kind == "GRU" else f"rnn/{rnn.cell.name}.o"
    values = Capture(model, f"{path}#*").predict(X, verbose=0)

    np.testing.assert_allclose(values["output"], model.predict(X, verbose=0), atol=1e-6)
    assert set(values) == {"output", path, *(f"{path}#{step}" for step in range(1, LENGTH))}
    assert not rnn.unroll
    gates = np.stack([values[name] for name in values if name != "output"])
    assert gates.shape == (LENGTH, len(X), 2)
    assert (gates > 0).all()
    assert (gates < 1).all()


@pytest.mark.compiles
def test_what_goes_into_all_gates_of_an_lstm() -> None:
    model = inner_of(layers.LSTM(2, name="lstm"))
    values = Capture(model, ["lstm/lstm_cell.z#*", "lstm/lstm_cell.c#*"]).predict(X, verbose=0)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    carry = 0.0
    for step in range(LENGTH):
        into, forget, new, _ = values[f"lstm/lstm_cell.z#{4 * step + 3}"]
        carry = sigmoid(forget) * carry + sigmoid(into) * np.tanh(new)
        name = f"lstm/lstm_cell.c#{step}" if step else "lstm/lstm_cell.c"
        np.testing.assert_allclose(values[name], carry, atol=1e-6)


class Branches(layers.Layer):
    """A layer inside of a branch."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.dense = layers.Dense(WIDTH, name="dense")

    def build(self, shape: Any) -> None:
        self.dense.build(shape)

    def call(self, x: Any) -> Any:
        return ops.cond(ops.sum(x) > -1e9, lambda: self.dense(x), lambda: x)


class Loops(Branches):
    """The same in a loop."""

    def call(self, x: Any) -> Any:
        def step(carry: Any, one: Any) -> Any:
            moved = self.dense(one)
            return carry + moved, moved

        return ops.scan(step, ops.zeros_like(x[:, 0]), ops.swapaxes(x, 0, 1))[0]


@pytest.mark.parametrize("kind", [Branches, Loops])
def test_no_value_leaves_a_loop_or_a_branch_of_a_compiled_program(kind: Any) -> None:
    model = inner_of(kind(name="inside"))
    capture = Capture(model, "inside/dense")
    if BACKEND == "torch":  # which knows neither: Python loops and branches
        assert capture.predict(X, verbose=0)["inside/dense"].shape[-1] == WIDTH
        return

    with pytest.raises(ValueError, match=r"'inside/dense' is computed inside of a loop"):
        capture.predict(X, verbose=0)
    assert leftovers(model) == []


def test_no_value_leaves_what_is_recomputed() -> None:
    with keras.RematScope(mode="full"):
        dense = layers.Dense(2, name="dense")
    model = inner_of(dense)

    with pytest.raises(ValueError, match="'dense' is computed inside of 'dense', a layer that is"):
        Capture(model, "dense")


# Errors, exceptions, threads.


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("first/attned", r"Nothing in the model is called 'first/attned'. .*'first/attend'"),
        ("first#1", r"'first#1' was not computed; there were only \['first'\]"),
        ("probabilities#2", r"there were only \['probabilities', 'probabilities#1'\]"),
        ("first/attend.score", r"names no local variable .* It assigns: 'scores', 'weights'"),
        ([], r"`names` is empty and nothing is patched"),
    ],
)
def test_names_that_nothing_has(model: Any, names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Capture(model, names).predict(X, verbose=0)
    assert leftovers(model) == []


def test_a_layer_that_is_never_called() -> None:
    class Idle(layers.Layer):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.unused = layers.Identity(name="unused")

        def call(self, x: Any) -> Any:
            return x

    capture = Capture(inner_of(Idle(name="idle")), "idle/unused")
    with pytest.raises(ValueError, match="The layer 'idle/unused' was not called"):
        capture.predict(X, verbose=0)


def test_siblings_with_the_same_name() -> None:
    class Twins(layers.Layer):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.twins = [layers.Identity(name="twin") for _ in range(2)]

        def call(self, x: Any) -> Any:
            return self.twins[1](self.twins[0](x))

    with pytest.raises(ValueError, match="2 layers have the path 'twins/twin'"):
        Capture(inner_of(Twins(name="twins")), "twins/twin")


def test_what_is_no_tensor_cannot_be_captured() -> None:
    class Counts(layers.Layer):
        def call(self, x: Any) -> Any:
            rank = len(x.shape)
            return x + rank

    with pytest.raises(ValueError, match=r"The value of 'c.rank' is 3, not a tensor"):
        Capture(inner_of(Counts(name="c")), "c.rank").predict(X, verbose=0)


def test_what_is_no_model_and_what_is_no_name(model: Any) -> None:
    with pytest.raises(TypeError, match="`Capture` needs a Keras model, received 3"):
        Capture(3, "x")
    with pytest.raises(TypeError, match=r"A tensor name is a string such as .* received 3"):
        Capture(model, [3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"A tensor name is a string such as .* received 3"):
        Capture(model, 3)  # type: ignore[arg-type]


def test_a_capture_says_what_to_save_in_its_place(model: Any, tmp_path: Any) -> None:
    with pytest.raises(NotImplementedError, match=r"is not saved: .* Save `capture.model`"):
        capture = Capture(model, "head")
        capture.predict(X, verbose=0)
        capture.save(tmp_path / "capture.keras")


def test_after_an_exception_nothing_is_left(model: Any) -> None:
    def fails(tensor: Any) -> Any:
        raise KeyError("in the middle")

    before = model.predict(X, verbose=0)
    with pytest.raises(KeyError, match="in the middle"):
        Capture(model, NAMES, patch={"inner/second": fails}).predict(X, verbose=0)

    assert leftovers(model) == []
    np.testing.assert_array_equal(model.predict(X, verbose=0), before)


def test_another_thread_sees_nothing_of_it(model: Any) -> None:
    before = ops.convert_to_numpy(model(X))
    entered, leave = threading.Event(), threading.Event()

    def waits(tensor: Any) -> Any:
        entered.set()
        leave.wait(10)
        return tensor * 0.0

    capture = Capture(model, [], patch={"first/attend.scores": waits})
    thread = threading.Thread(target=lambda: capture(X))
    thread.start()
    entered.wait(10)
    meanwhile = ops.convert_to_numpy(model(X))
    leave.set()
    thread.join()

    np.testing.assert_array_equal(meanwhile, before)
    assert leftovers(model) == []


def test_captures_nest(model: Any) -> None:
    inner = Capture(model, "first", patch={"probabilities": lambda p: p * 0.0})
    name = inner.model.name
    values = Capture(inner, [f"{name}/first/attend", "probabilities"]).predict(X, verbose=0)

    np.testing.assert_array_equal(values["probabilities"], 0.0)
    np.testing.assert_array_equal(values[f"{name}/first/attend"], 0.0)


def test_tap_alone_does_nothing() -> None:
    tensor = ops.ones((2,))

    assert tap(tensor, "anything") is tensor


# Cost.


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX tells how many operations a program has")
def test_what_nobody_uses_is_not_computed() -> None:
    import jax

    model = keras.Sequential([keras.Input((64,)), *(layers.Dense(64) for _ in range(8))])
    first = model.layers[0].name
    x = np.zeros((16, 64), "float32")

    def operations(called: Any) -> float:
        values = [variable.value for variable in called.variables]
        run = jax.jit(lambda v, x: called.stateless_call(v, [], x)[0])
        return run.lower(values, x).compile().cost_analysis()["flops"]

    whole, plain = Capture(model, first), operations(model)
    part = Capture(model, first, output=False)
    whole(x), part(x)
    assert operations(whole) == pytest.approx(plain, rel=0.01)
    assert operations(part) == pytest.approx(plain / 8, rel=0.02)
