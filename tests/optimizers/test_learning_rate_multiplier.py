"""Learning rates by variable: the equation, the series' detour, what may change or is refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from kooler.optimizers import LearningRateMultiplier, inject
from tests.optimizers.cases import MULTIPLIER
from tests.optimizers.conformance import array, follow_oracle, fresh_variables, gradients
from tests.optimizers.oracles import AdamOracle
from tests.toys import Nothing, Window, serializable

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(24, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")


@serializable
def halving(update: Any) -> Any:
    return 0.5 ** ops.cast(update, "float32")


def compiled(optimizer: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Dense(4, activation="tanh", kernel_constraint="non_neg", name="first"),
        keras.layers.Dense(1, name="last"),
    ]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.compile(optimizer, loss="mse")
    return model


def trained(optimizer: Any) -> list[np.ndarray]:
    model = compiled(optimizer)
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    return model.get_weights()


def run(optimizer: Any, streams: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The weights after a stream of gradients."""
    variables = fresh_variables()
    for stream in streams:
        optimizer.apply([ops.convert_to_tensor(g) for g in stream], variables)
    return [array(variable) for variable in variables]


def test_the_equation() -> None:
    follow_oracle(MULTIPLIER, keras.optimizers.Adam(0.1), AdamOracle(0.1), 2e-5, flush_after=25)


def test_a_case_for_the_head() -> None:
    fast, slow = keras.Variable([1.0], name="fast"), keras.Variable([1.0], name="slow")
    optimizer = LearningRateMultiplier(keras.optimizers.SGD(0.5), {"fast": 2.0, "slow": 0.25})
    optimizer.apply([ops.ones(1), ops.ones(1)], [fast, slow])

    assert [array(fast).tolist(), array(slow).tolist()] == [[0.0], [0.875]]


INNER = {
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
    "nadam": keras.optimizers.Nadam,
    "lion": lambda rate: keras.optimizers.Lion(rate, weight_decay=0.1),
    "rmsprop": keras.optimizers.RMSprop,
    "nesterov": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "adafactor": keras.optimizers.Adafactor,
    "lamb": keras.optimizers.Lamb,
}


def test_it_is_the_inner_optimizer_with_another_learning_rate() -> None:
    same_as_another_rate("adamw")


@pytest.mark.slow
@pytest.mark.parametrize("name", INNER)
def test_every_inner_optimizer_with_another_learning_rate(name: str) -> None:
    same_as_another_rate(name)


def same_as_another_rate(name: str) -> None:
    """One step: later ones differ for optimizers that look at the weights, such as Lamb."""
    streams = list(gradients(steps=1))
    ours = run(LearningRateMultiplier(INNER[name](0.1), {"v": 0.25}), streams)

    for a, b in zip(ours, run(INNER[name](0.025), streams), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7)


@settings(max_examples=10)
@given(scale=st.floats(0.25, 4.0), adaptive=st.booleans())
def test_it_equals_the_reparametrisation_of_the_series(scale: float, adaptive: bool) -> None:
    """θ = λφ: training φ is training θ at λ² times the rate with momentum, λ times with Adam."""

    def inner() -> Any:
        if adaptive:
            return keras.optimizers.Adam(0.05, epsilon=1e-30)
        return keras.optimizers.SGD(0.02, momentum=0.9)

    start, target = np.array([1, -2], "float32"), np.array([0.5, 0.5], "float32")
    phi, theta = keras.Variable(start / scale, name="phi"), keras.Variable(start, name="theta")
    by_detour = inner()
    ours = LearningRateMultiplier(inner(), {"theta": scale if adaptive else scale**2})
    for _ in range(5):
        by_detour.apply([ops.array(scale * (scale * array(phi) - target))], [phi])
        ours.apply([ops.array(array(theta) - target)], [theta])

    np.testing.assert_allclose(array(theta), scale * array(phi), rtol=1e-5, atol=1e-5)


def test_one_is_the_inner_optimizer_bit_for_bit() -> None:
    ours = trained(LearningRateMultiplier(INNER["adamw"](0.1), {".": 1.0}))

    for a, b in zip(ours, trained(INNER["adamw"](0.1)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_zero_stands_still_bit_for_bit_even_for_an_infinite_step() -> None:
    weight = keras.Variable([-0.0, 1.5], name="weight")
    optimizer = LearningRateMultiplier(keras.optimizers.SGD(0.5), {"weight": 0.0})
    optimizer.apply([ops.array([np.inf, 1.0])], [weight])

    assert np.signbit(array(weight)).tolist() == [True, False]
    assert array(weight).tolist() == [0.0, 1.5]


def test_a_constraint_holds_after_a_larger_step() -> None:
    weight = keras.Variable([3.0], name="weight")
    weight.constraint = keras.constraints.NonNeg()
    optimizer = LearningRateMultiplier(keras.optimizers.SGD(1.0), {"weight": 2.0})
    optimizer.apply([ops.array([2.0])], [weight])

    assert array(weight).tolist() == [0.0]


def test_the_multiplier_may_change_while_training() -> None:
    model = compiled(LearningRateMultiplier(keras.optimizers.Adam(0.1), {"first": 1.0}))
    model.fit(X, Y, batch_size=8, verbose=0)
    before = model.get_weights()
    model.optimizer.set_multiplier("first", 0.0)
    model.fit(X, Y, batch_size=8, verbose=0)

    after = model.get_weights()
    assert model.optimizer.multiplier_of("first") == 0.0
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])
    assert abs(after[2] - before[2]).max() > 0.01


def test_a_callback_may_change_it() -> None:
    optimizer = LearningRateMultiplier(keras.optimizers.SGD(0.1), {"first": 1.0})
    model = compiled(optimizer)
    seen: list[np.ndarray] = []

    def after(epoch: int, logs: Any) -> None:
        seen.append(model.get_weights()[0].copy())
        optimizer.set_multiplier("first", 0.0)

    model.fit(
        X, Y, epochs=3, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=after)]
    )

    np.testing.assert_array_equal(seen[1], seen[0])
    np.testing.assert_array_equal(seen[2], seen[0])


def test_a_function_is_given_the_number_of_updates() -> None:
    weight = keras.Variable([0.0], name="weight")
    inner = Window(keras.optimizers.SGD(1.0), steps=2)
    optimizer = LearningRateMultiplier(inner, {"weight": halving})
    moves = []
    for _ in range(6):
        before = array(weight)
        optimizer.apply([ops.ones(1)], [weight])
        moves.append(float((before - array(weight))[0]))

    assert moves == [0.0, 1.0, 0.0, 0.5, 0.0, 0.25]


def test_what_waits_inside_is_scaled_as_well() -> None:
    weight = keras.Variable([0.0], name="weight")
    inner = Window(keras.optimizers.SGD(1.0), steps=2)
    optimizer = LearningRateMultiplier(inner, {"weight": 0.25})
    optimizer.settle("flush")  # not built: nothing waits
    optimizer.apply([ops.ones(1)], [weight])
    optimizer.settle("flush")

    assert array(weight).tolist() == [-0.25]


def test_a_layer_and_a_schedule_are_saved(tmp_path: Path) -> None:
    model = compiled("sgd")
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    rules = [(model.get_layer("first"), schedule), (["last/bias"], 2), ("last/k", halving)]
    inject(model, LearningRateMultiplier, multipliers=rules)
    model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    model.optimizer.set_multiplier(["last/bias"], 3.0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(X, Y, batch_size=8, shuffle=False, verbose=0)

    assert loaded.optimizer.multiplier_of(["last/bias"]) == 3.0
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_lambda_cannot_be_saved() -> None:
    optimizer = LearningRateMultiplier("sgd", {"head": lambda update: 1.0})

    with pytest.raises(ValueError, match=r"multiplier of 'head' is a lambda, which cannot be save"):
        optimizer.get_config()


def test_a_checkpoint_of_other_multipliers_is_an_error() -> None:
    optimizer = LearningRateMultiplier("sgd", {"v1": 1.0, "v2": 1.0})
    optimizer.build(fresh_variables())

    with pytest.raises(
        ValueError, match=r"2 variables for the optimizer .* which has 3: it was wr"
    ):
        optimizer.load_own_variables({"0": np.zeros(()), "1": np.ones(())})


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        ("head", r"must be a dictionary or a list of pairs .*received 'head'"),
        (0.5, r"must be a dictionary or a list of pairs .*received 0.5"),
        ([0.5], r"whose entries are no pairs"),
        ({}, r"`multipliers` is empty: received {}"),
        ({"head": -1.0}, r"multiplier of 'head' must be a number ≥ 0 or a func.*received -1.0"),
        ({"head": float("nan")}, r"must be a number ≥ 0 or a function .*received nan"),
        ({"head": True}, r"must be a number ≥ 0 or a function .*received True"),
        ({"head": "fast"}, r"must be a number ≥ 0 or a function .*received 'fast'"),
    ],
    ids=str,
)
def test_wrong_multipliers_are_an_error_at_the_door(multipliers: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        LearningRateMultiplier("sgd", multipliers)


def test_selectors_are_checked_when_the_variables_are_known() -> None:
    with pytest.raises(ValueError, match=r"The selector 'v9' matches none of the 4 variables"):
        LearningRateMultiplier("sgd", {"v9": 0.5}).build(fresh_variables())
    with pytest.raises(
        ValueError, match=r"The selectors 'v1' and 'v' both match the variable 'v1'"
    ):
        LearningRateMultiplier("sgd", {"v1": 0.5, "v": 0.1}).build(fresh_variables())


def test_an_unknown_selector_cannot_be_set() -> None:
    optimizer = LearningRateMultiplier("sgd", {"head": 0.5, "tail": halving})

    with pytest.raises(ValueError, match=r"no multiplier for 'haed'; there are those for 'head', "):
        optimizer.set_multiplier("haed", 1.0)
    with pytest.raises(ValueError, match=r"Only a number can be exchanged for a number, .*'tail'"):
        optimizer.set_multiplier("tail", 1.0)
    with pytest.raises(ValueError, match=r"must be a number ≥ 0 .* received -2"):
        optimizer.set_multiplier("head", -2)
    assert optimizer.multiplier_of("head") == 0.5


@pytest.mark.parametrize(
    "inner",
    [keras.optimizers.SGD(0.1, use_ema=True), Nothing(keras.optimizers.ScheduleFreeAdamW(0.1))],
    ids=["use_ema", "schedule free"],
)
def test_an_optimizer_with_weights_of_its_own_is_an_error(inner: Any) -> None:
    with pytest.raises(ValueError, match=r"LearningRateMultiplier cannot scale .*, which keeps a"):
        LearningRateMultiplier(inner, {"head": 0.5})


def test_tables_taken_by_rows_are_an_error() -> None:
    from tests.toys import TableDescent

    table = keras.layers.Embedding(4, 2, name="table")
    model = keras.Sequential([keras.Input((1,)), table, keras.layers.Dense(1)])
    inner = TableDescent(keras.optimizers.SGD(0.1), rate=0.1)
    model.compile(LearningRateMultiplier(inner, {"table": 0.5}), loss="mse")

    with pytest.raises(ValueError, match=r"of \['.*table/embeddings'\] are taken by rows"):
        model.fit(np.zeros((2, 1)), np.zeros((2, 1, 1)), verbose=0)
