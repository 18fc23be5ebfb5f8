"""Lookahead: slow weights, what becomes of the inner slots, and how to evaluate at them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.callbacks import AveragedWeights, averaged_weights
from kooler.optimizers import Accumulate, Lookahead
from tests.conftest import BACKEND
from tests.optimizers.conformance import Case, array, follow_oracle, fresh_variables, gradients
from tests.optimizers.oracles import AdamOracle, LookaheadOracle, MomentumOracle

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(24, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")


def compiled(optimizer: Any) -> keras.Model:
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(1)]
    )
    model.compile(optimizer, loss="mse")
    return model


def trained(optimizer: Any, epochs: int = 1) -> keras.Model:
    model = compiled(optimizer)
    model.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    return model


def values(variables: Any) -> list[np.ndarray]:
    return [array(variable) for variable in variables]


def assert_equal(ones: Any, others: Any) -> None:
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("on_sync", ["keep", "reset", "pullback"])
@pytest.mark.parametrize("inner", ["momentum", "adam"])
def test_every_step_is_that_of_the_equations(inner: str, on_sync: str) -> None:
    optimizer, oracle, tolerance = {
        "momentum": (keras.optimizers.SGD(0.1, momentum=0.9), MomentumOracle(0.1), 2e-5),
        "adam": (keras.optimizers.Adam(0.1), AdamOracle(0.1), 5e-5),
    }[inner]
    case = Case(
        f"{on_sync} of {inner}",
        lambda one: Lookahead(one, 3, 0.4, on_sync=on_sync),
        lambda one: LookaheadOracle(one, 3, 0.4, on_sync),
        state=("slow",),
    )

    follow_oracle(case, optimizer, oracle, tolerance, flush_after=50)


def test_three_steps_down_one_back() -> None:
    weight, seen = keras.Variable([3.0]), []
    optimizer = Lookahead(keras.optimizers.SGD(1.0), sync_period=3, slow_step_size=1 / 3)
    for _ in range(6):
        optimizer.apply([ops.ones(1)], [weight])
        seen.append(round(array(weight).item(), 6))

    assert seen == [2.0, 1.0, 2.0, 1.0, 0.0, 1.0]


SLOWLY = [pytest.param(policy, marks=pytest.mark.slow) for policy in ("keep", "reset")]


@pytest.mark.parametrize("on_sync", ["pullback", *SLOWLY[:1]])
def test_a_whole_step_is_the_inner_optimizer_bit_for_bit(on_sync: str) -> None:
    ours = trained(Lookahead(keras.optimizers.Adam(0.1), 2, 1.0, on_sync=on_sync), epochs=2)

    assert_equal(ours.get_weights(), trained(keras.optimizers.Adam(0.1), epochs=2).get_weights())


def test_no_step_comes_back_to_the_first_weights_bit_for_bit() -> None:
    before = compiled("sgd").get_weights()

    assert_equal(trained(Lookahead(keras.optimizers.Adam(0.1), 3, 0.0)).get_weights(), before)


@pytest.mark.parametrize(
    ("period", "size", "reset"), [(1, 0.5, False), (3, 0.3, False), (5, 0.7, False), (3, 0.5, True)]
)
def test_optax_agrees(period: int, size: float, reset: bool) -> None:
    import jax
    import optax

    inner = keras.optimizers.SGD(0.1, momentum=0.9)
    ours = Lookahead(inner, period, size, on_sync="reset" if reset else "keep")
    variables = fresh_variables()
    theirs = optax.lookahead(optax.sgd(0.1, momentum=0.9), period, size, reset_state=reset)
    params = optax.LookaheadParams.init_synced(values(variables))
    state, update = theirs.init(params), jax.jit(theirs.update)
    for gradient in gradients(steps=8):
        ours.apply([ops.convert_to_tensor(g) for g in gradient], variables)
        updates, state = update(gradient, state, params)
        params = jax.tree.map(lambda weight, change: np.asarray(weight + change), params, updates)
        for one, other in zip(values(variables), params.fast, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)
        for one, other in zip(values(ours.slow), params.slow, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


def test_slow_weights_start_at_what_was_loaded_after_the_build() -> None:
    model = compiled(Lookahead(keras.optimizers.SGD(0.0)))
    model.optimizer.build(model.trainable_variables)
    model.set_weights([abs(weights) + 1 for weights in model.get_weights()])
    loaded = model.get_weights()
    model.fit(X, Y, batch_size=3, verbose=0)

    assert_equal(model.get_weights(), loaded)


def test_slow_weights_start_after_the_updates_that_loss_scaling_skips() -> None:
    model = compiled(keras.optimizers.LossScaleOptimizer(Lookahead("sgd", 2, 0.5), 4.0))
    before = model.get_weights()
    model.fit(X * np.inf, Y, batch_size=4, verbose=0)
    model.fit(X[:4], Y[:4], verbose=0)

    assert_equal(values(model.optimizer.inner_optimizer.slow), before)


def test_updates_count_not_batches() -> None:
    weight, seen = keras.Variable([0.0]), []
    optimizer = Lookahead(Accumulate(keras.optimizers.SGD(1.0), steps=2), 2, 0.5)
    for _ in range(8):
        optimizer.apply([ops.ones(1)], [weight])
        seen.append(array(weight).item())

    assert seen == [0.0, -1.0, -1.0, -1.0, -1.0, -2.0, -2.0, -2.0]


INNER = {
    "momentum": (lambda: keras.optimizers.SGD(0.1, momentum=0.9), 0.0),
    "adagrad": (lambda: keras.optimizers.Adagrad(0.1), 0.1),
    "adafactor": (lambda: keras.optimizers.Adafactor(0.1), 0.0),
    "muon": (lambda: keras.optimizers.Muon(0.1, exclude_layers=["v2"]), 0.0),
    "ema": (lambda: keras.optimizers.Adam(0.1, use_ema=True, amsgrad=True), 0.0),
}


@pytest.mark.parametrize("name", INNER)
def test_a_reset_slot_is_what_it_was_before_the_first_update(name: str) -> None:
    make, start = INNER[name]
    optimizer = Lookahead(make(), sync_period=2, on_sync="reset")
    variables = fresh_variables()
    for gradient in gradients(steps=2):
        optimizer.apply([ops.convert_to_tensor(g) for g in gradient], variables)

    assert optimizer.memory
    for slot in values(optimizer.memory):
        np.testing.assert_array_equal(slot, np.full_like(slot, start))
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 2


def test_nadams_product_of_momenta_is_reset_to_one() -> None:
    optimizer = Lookahead(keras.optimizers.Nadam(0.1), sync_period=1, on_sync="reset")
    optimizer.apply([ops.ones(1)], [keras.Variable([1.0])])

    assert sorted(float(slot.sum()) for slot in values(optimizer.memory)) == [0.0, 0.0, 1.0]


def test_a_slot_that_starts_as_the_weight_is_reset_to_the_weight() -> None:
    weights = fresh_variables()
    optimizer = Lookahead(keras.optimizers.ScheduleFreeAdamW(0.1), 2, 0.5, on_sync="reset")
    for gradient in gradients(steps=2):
        optimizer.apply([ops.convert_to_tensor(g) for g in gradient], weights)

    momenta = optimizer.memory[0::2]
    assert_equal(values(momenta), values(weights))
    assert all((velocity == 0).all() for velocity in values(optimizer.memory[1::2]))


def test_a_reset_reaches_every_optimizer_of_a_group() -> None:
    groups = keras.optimizers.OptimizerMap(
        keras.optimizers.Adagrad(0.1), {"v1": keras.optimizers.SGD(0.1, momentum=0.9)}
    )
    optimizer = Lookahead(keras.optimizers.MultiOptimizer(groups), 1, on_sync="reset")
    for gradient in gradients(steps=1):
        optimizer.apply([ops.convert_to_tensor(g) for g in gradient], fresh_variables())

    found = sorted({float(number) for slot in values(optimizer.memory) for number in slot.flat})
    assert found == [0.0, pytest.approx(0.1)]


def test_constraints_hold_after_a_pull() -> None:
    weight = keras.Variable([[3.0], [4.0]])
    weight.constraint = keras.constraints.UnitNorm()
    optimizer = Lookahead(keras.optimizers.SGD(1.0), 2, 0.5)
    for gradient in ([[0.0], [0.0]], [[9.0], [0.0]]):
        optimizer.apply([ops.convert_to_tensor(gradient)], [weight])

    assert np.linalg.norm(array(weight)) == pytest.approx(1.0, abs=1e-5)


def test_weights_that_are_loaded_later_need_a_restart() -> None:
    model = trained(Lookahead(keras.optimizers.SGD(0.0), sync_period=4))
    loaded = [weights + 1 for weights in model.get_weights()]
    model.set_weights(loaded)
    model.optimizer.restart()
    model.fit(X, Y, batch_size=4, verbose=0)

    assert_equal(model.get_weights(), loaded)


def test_the_slow_weights_are_offered_for_evaluation() -> None:
    model = compiled(Lookahead(keras.optimizers.Adam(0.1), sync_period=4))
    assert model.optimizer.alternatives() == {"slow": []}
    model.fit(X, Y, batch_size=4, verbose=0)
    (pairs,) = model.optimizer.alternatives().values()

    assert [id(weight) for weight, _ in pairs] == [id(v) for v in model.trainable_variables]
    assert_equal(values(slow for _, slow in pairs), values(model.optimizer.slow))


def test_evaluation_at_the_slow_weights_changes_nothing() -> None:
    model = trained(Lookahead(keras.optimizers.Adam(0.1), sync_period=4), epochs=1)
    fast, slow = model.get_weights(), values(model.optimizer.slow)
    with averaged_weights(model, "slow"):
        assert_equal(model.get_weights(), slow)
    assert_equal(model.get_weights(), fast)
    with pytest.raises(KeyError), averaged_weights(model, "slow"):
        raise KeyError
    assert_equal(model.get_weights(), fast)

    history = model.fit(
        X, Y, verbose=0, validation_data=(X, Y), callbacks=[AveragedWeights("slow")]
    ).history
    with averaged_weights(model, "slow"):
        assert model.evaluate(X, Y, verbose=0) == pytest.approx(history["val_loss"][0], rel=1e-6)


@pytest.mark.parametrize("on_sync", ["pullback", *SLOWLY])
def test_save_and_load_continue_bit_for_bit(on_sync: str, tmp_path: Path) -> None:
    model = trained(Lookahead(keras.optimizers.Adam(0.1), 4, on_sync=on_sync))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)

    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert_equal(values(loaded.optimizer.variables), values(model.optimizer.variables))
    assert_equal(loaded.get_weights(), model.get_weights())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sync_period": 0}, "`sync_period` must be a positive number of updates, received 0"),
        ({"sync_period": 2.5}, "`sync_period` must be a positive number of updates, received 2.5"),
        ({"sync_period": True}, "`sync_period` must be .* received True"),
        ({"slow_step_size": 1.5}, r"`slow_step_size` must be a number from 0 .* received 1\.5"),
        ({"slow_step_size": "1"}, "`slow_step_size` must be a number from 0 .* received '1'"),
        ({"on_sync": "none"}, "`on_sync` must be one of keep, reset, pullback, received on_sync="),
    ],
)
def test_bad_settings(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lookahead("sgd", **arguments)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution > 1 on PyTorch")
def test_several_steps_per_execution() -> None:
    results = []
    for several in (1, 3):
        model = compiled("sgd")
        optimizer = Lookahead(keras.optimizers.Adam(0.1), 4)
        model.compile(optimizer, loss="mse", steps_per_execution=several)
        model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        results.append(model.get_weights())

    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
