"""The wrapper that does nothing, and what every wrapper inherits from it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.optimizers import (
    Accumulate,
    GradientTransform,
    Group,
    Lazy,
    LearningRateMultiplier,
    Lookahead,
    OptimizerWrapper,
    ParamGroups,
    ScheduleFreeAverage,
    Telemetry,
    WeightAverage,
    inject,
)
from tests.conftest import BACKEND
from tests.toys import Nothing, Trail, Window, serializable

SLOW = pytest.mark.slow
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(24, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")
INNER = {
    "sgd": lambda: keras.optimizers.SGD(
        0.1, momentum=0.9, nesterov=True, loss_scale_factor=8.0, clipvalue=0.5
    ),
    "adamw": lambda: keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(0.1, 20), weight_decay=0.1, global_clipnorm=1.0
    ),
    "accumulating": lambda: keras.optimizers.Adam(0.05, gradient_accumulation_steps=2),
}


def compiled(optimizer: Any, **arguments: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh", kernel_constraint="non_neg", name="first"),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile(optimizer, loss="mse", **arguments)
    return model


def trained(optimizer: Any, epochs: int = 2, **arguments: Any) -> keras.Model:
    model = compiled(optimizer, **arguments)
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return model


def arrays(variables: Any) -> list[np.ndarray]:
    """NumPy copies of variables."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


def assert_equal(one: Any, other: Any) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("inner", INNER)
def test_without_overrides_it_is_the_inner_optimizer_bit_for_bit(inner: str) -> None:
    model = trained(Nothing(INNER[inner]()))

    assert_equal(model.get_weights(), trained(INNER[inner]()).get_weights())


def test_the_gradient_of_a_table_is_a_tensor_like_any_other() -> None:
    @serializable
    class Half(OptimizerWrapper):
        def before_update(self, gradients: Any, variables: Any) -> Any:
            return [gradient / 2 for gradient in gradients]

    def with_table(optimizer: Any) -> keras.Model:
        keras.utils.set_random_seed(3)
        layers = [keras.layers.Embedding(9, 2), keras.layers.GlobalAveragePooling1D()]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile(optimizer, loss="mse")
        model.fit(np.arange(12).reshape(4, 3) % 9, np.ones((4, 2)), verbose=0)
        return model

    half = with_table(Half(keras.optimizers.SGD(1.0)))
    plain = with_table(keras.optimizers.SGD(0.5))
    scaled = with_table(Nothing(keras.optimizers.SGD(0.5, loss_scale_factor=4.0)))

    assert_equal(half.get_weights(), plain.get_weights())
    assert_equal(scaled.get_weights(), plain.get_weights())


def test_the_learning_rate_is_that_of_the_innermost() -> None:
    optimizer = Nothing(Nothing(keras.optimizers.Adam(0.5)))
    optimizer.learning_rate = 0.25

    assert float(optimizer.inner_optimizer.inner_optimizer.learning_rate) == 0.25
    assert float(optimizer.learning_rate) == 0.25


def test_callbacks_of_keras_set_the_learning_rate() -> None:
    model = compiled(Nothing("sgd"))
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    stop = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.0)
    model.fit(X, Y, verbose=0, callbacks=[stop])

    assert_equal(model.get_weights(), before)


def test_iterations_count_updates_and_calls_count_gradients() -> None:
    optimizer = trained(Nothing(Window(keras.optimizers.SGD(0.1), steps=3))).optimizer

    assert int(ops.convert_to_numpy(optimizer.iterations)) == 2  # 3 batches an epoch, 2 epochs
    assert int(ops.convert_to_numpy(optimizer.calls)) == 6


def test_all_that_the_inner_optimizer_remembers_is_among_the_variables() -> None:
    plain = trained(keras.optimizers.Nadam(0.1))  # keeps a number past `add_variable`
    wrapped = trained(Nothing(keras.optimizers.Nadam(0.1)))

    assert len(wrapped.optimizer.variables) == len(plain.optimizer.variables) + 1  # our counter
    assert_equal(arrays(wrapped.optimizer.variables[-1:]), arrays(plain.optimizer.variables[-1:]))
    assert_equal(wrapped.get_weights(), plain.get_weights())


def test_own_variables_are_saved_once(tmp_path: Path) -> None:
    import h5py

    model = trained(Trail(Nothing(keras.optimizers.SGD(0.1))))
    model.save(tmp_path / "model", zipped=False)

    with h5py.File(tmp_path / "model" / "model.weights.h5") as file:
        counts = {name: len(file[name]) for name in _groups(file["optimizer"])}
    assert counts == {
        "/optimizer/vars": 1 + 4,  # the counter, the averages
        "/optimizer/inner_optimizer/vars": 1,
        "/optimizer/inner_optimizer/inner_optimizer/vars": 2,
    }


def test_save_and_load_continue_bit_for_bit(tmp_path: Path) -> None:
    model = trained(Trail(Window(keras.optimizers.Adam(0.1), steps=2)), epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        one.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)

    assert isinstance(loaded.optimizer, Trail)
    assert_equal(arrays(loaded.optimizer.variables), arrays(model.optimizer.variables))
    assert_equal(loaded.get_weights(), model.get_weights())


def test_the_config_makes_the_same_nesting() -> None:
    optimizer = Trail(Nothing(keras.optimizers.SGD(0.1, loss_scale_factor=8.0)), decay=0.25)

    copy = Trail.from_config(optimizer.get_config())

    assert copy.get_config() == optimizer.get_config()
    assert copy.loss_scale_factor == 8.0


def test_a_checkpoint_of_another_nesting_is_an_error() -> None:
    optimizer = Nothing("sgd")
    optimizer.build([keras.Variable(1.0)])
    store = {"0": np.zeros(()), "1": np.zeros(())}

    with pytest.raises(
        ValueError, match=r"2 variables for the optimizer 'nothing.*another nesting.*before `comp"
    ):
        optimizer.load_own_variables(store)


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.parametrize("saved", [Nothing, Trail, lambda inner: inner], ids=["1", "5", "keras"])
def test_weights_may_be_loaded_after_compile(tmp_path: Path, saved: Any) -> None:
    """Where nothing was trained, training begins anew; as with Keras's own, with a warning."""
    first, then = trained(saved(keras.optimizers.SGD(0.1))), compiled(Trail("sgd"))
    first.save_weights(tmp_path / "a.weights.h5")

    with pytest.warns(UserWarning, match=r"'trail.* has no state yet.*build\(model.trainable_var"):
        then.load_weights(tmp_path / "a.weights.h5")

    assert_equal(then.get_weights(), first.get_weights())


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_a_keras_optimizer_does_not_take_our_state_for_its_own(tmp_path: Path) -> None:
    """Unbuilt it has two variables, and takes what it finds if that is two."""

    @serializable
    class Two(OptimizerWrapper):
        def build_slots(self, variables: Any) -> None:
            self.other = self.add_variable((3, 3), name="other")

    first, then = trained(Two(keras.optimizers.Adam(0.1))), compiled("adam")
    first.save_weights(tmp_path / "a.weights.h5")
    then.load_weights(tmp_path / "a.weights.h5")
    first.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")

    assert_equal(then.get_weights(), first.get_weights())
    assert_equal(arrays(loaded.optimizer.variables), arrays(first.optimizer.variables))


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_arrive_without_their_loss_scale(scale: float) -> None:
    @serializable
    class Clip(OptimizerWrapper):
        def before_update(self, gradients: list[Any], variables: Any) -> list[Any]:
            return [ops.clip(gradient, -0.5, 0.5) for gradient in gradients]

    clipped = trained(Clip(keras.optimizers.SGD(0.1, loss_scale_factor=scale)))

    assert_equal(
        clipped.get_weights(), trained(keras.optimizers.SGD(0.1, clipvalue=0.5)).get_weights()
    )


@pytest.mark.parametrize("wrap", [Nothing, Trail], ids=["nothing", "trail"])
def test_inside_of_loss_scaling(wrap: Any) -> None:
    scaled = keras.optimizers.LossScaleOptimizer(wrap(keras.optimizers.Adam(0.1)), 2.0**4)

    assert_equal(trained(scaled).get_weights(), trained(keras.optimizers.Adam(0.1)).get_weights())


def test_copies_start_at_the_first_update_that_is_not_skipped() -> None:
    model = compiled(keras.optimizers.LossScaleOptimizer(Trail(keras.optimizers.SGD(0.1)), 2.0**4))
    before = model.get_weights()
    model.fit(X * np.inf, Y, batch_size=8, verbose=0)  # every gradient is infinite: all skipped
    trail = model.optimizer.inner_optimizer
    model.fit(X, Y, batch_size=24, verbose=0)

    expected = [(a + b) / 2 for a, b in zip(before, model.get_weights(), strict=True)]
    for average, wanted in zip(arrays(trail.averages), expected, strict=True):
        np.testing.assert_allclose(average, wanted, atol=1e-7)


def test_copies_start_at_weights_that_were_loaded_after_the_build() -> None:
    model = compiled(Trail(keras.optimizers.SGD(0.0)))
    model.optimizer.build(model.trainable_variables)
    model.set_weights([abs(weights) + 1 for weights in model.get_weights()])
    model.fit(X, Y, verbose=0)

    assert_equal(arrays(model.optimizer.averages), model.get_weights())


def test_slots_may_have_another_type() -> None:
    optimizer = trained(Trail(keras.optimizers.SGD(0.1))).optimizer

    assert {slot.dtype for slot in optimizer.averages} == {"float32"}
    assert [tuple(slot.shape) for slot in optimizer.averages] == [(3, 4), (4,), (4, 1), (1,)]
    assert optimizer.averages[0].path.endswith("first_kernel_average")


def test_mixed_float16_wraps_the_wrapper() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = trained(Trail(keras.optimizers.SGD(0.1)))
    finally:
        keras.config.set_dtype_policy("float32")

    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert {slot.dtype for slot in model.optimizer.inner_optimizer.averages} == {"float32"}
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch.compile warns about torch
@pytest.mark.parametrize("arguments", [{"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_compiled_and_eager_agree(arguments: dict[str, Any]) -> None:
    ours = trained(Trail(Window(keras.optimizers.Adam(0.1), 2)), **arguments)
    plain = trained(Trail(Window(keras.optimizers.Adam(0.1), 2)))

    for a, b in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution > 1 on PyTorch")
def test_several_steps_per_execution() -> None:
    several = trained(Trail(Window(keras.optimizers.Adam(0.1), 2)), steps_per_execution=2)
    plain = trained(Trail(Window(keras.optimizers.Adam(0.1), 2)))

    for a, b in zip(several.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_inside_and_outside_of_a_multi_optimizer() -> None:
    def groups(wrap: Any) -> Any:
        pick = {"last.*": wrap(keras.optimizers.SGD(0.2))}
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(wrap(keras.optimizers.SGD(0.1)), pick)
        )

    plain = trained(groups(lambda optimizer: optimizer)).get_weights()

    assert_equal(trained(groups(Nothing)).get_weights(), plain)
    assert_equal(trained(Nothing(groups(lambda optimizer: optimizer))).get_weights(), plain)


def test_a_value_for_a_gradient_is_written_at_once() -> None:
    scale = keras.Variable([1.0, 1.0])
    scale.overwrite_with_gradient = True
    weight = keras.Variable([1.0])
    optimizer = Window(keras.optimizers.SGD(1.0), steps=2)
    optimizer.apply([ops.ones(2) * 5, ops.ones(1)], [scale, weight])

    assert arrays([scale, weight])[0].tolist() == [5.0, 5.0]
    assert arrays([weight])[0].tolist() == [1.0]


def test_a_missing_gradient_is_told() -> None:
    a, b = keras.Variable([1.0], name="a"), keras.Variable([1.0], name="b")
    optimizer = Nothing(keras.optimizers.SGD(1.0))

    with pytest.warns(UserWarning, match=r"No gradient was given for the variables \['b'\]"):
        optimizer.apply([ops.ones(1), None], [a, b])
    with pytest.raises(ValueError, match=r"No gradient was given for any of the variables"):
        optimizer.apply([None, None], [a, b])
    assert [array.tolist() for array in arrays([a, b])] == [[0.0], [1.0]]


def test_gradients_of_other_variables_are_an_error() -> None:
    a, b = keras.Variable([1.0], name="a"), keras.Variable([1.0], name="b")
    optimizer = Nothing(keras.optimizers.SGD(1.0))
    optimizer.apply([ops.ones(1)], [a])

    with pytest.raises(ValueError, match=r"was built for other variables than \['b'\]"):
        optimizer.apply([ops.ones(1)], [b])
    with pytest.raises(ValueError, match="2 gradients for 1 variables"):
        optimizer.apply([ops.ones(1), ops.ones(1)], [a])
    with pytest.raises(ValueError, match=r"before it was built. Call `optimizer.build"):
        Nothing("sgd").apply([ops.ones(1)])


@pytest.mark.parametrize("wrong", [3, None, "no such optimizer", keras.layers.Dense(1)], ids=str)
def test_only_optimizers_can_be_wrapped(wrong: Any) -> None:
    with pytest.raises(TypeError, match="Nothing wraps a Keras optimizer, received"):
        Nothing(wrong)


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere it may stand inside")
def test_loss_scaling_inside_of_a_wrapper_is_an_error_on_jax() -> None:
    model = compiled(Nothing(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())))

    with pytest.raises(ValueError, match=r"must be the outermost .* LossScaleOptimizer\(Nothing"):
        model.fit(X, Y, verbose=0)


@pytest.mark.skipif(BACKEND == "jax", reason="an error there, see above")
def test_loss_scaling_may_stand_inside() -> None:
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 2.0**4)
    model = trained(Nothing(scaled), epochs=1)

    assert_equal(model.get_weights(), trained(keras.optimizers.SGD(0.1), epochs=1).get_weights())


def test_inject_keeps_the_state_of_the_optimizer() -> None:
    model, plain = trained(keras.optimizers.Adam(0.1)), trained(keras.optimizers.Adam(0.1))
    assert inject(model, Trail, decay=0.25) is model
    for one in (model, plain):
        one.fit(X, Y, batch_size=8, shuffle=False, verbose=0)

    assert model.optimizer.decay == 0.25
    assert_equal(model.get_weights(), plain.get_weights())


def test_an_injected_wrapper_is_saved_with_the_model(tmp_path: Path) -> None:
    inject(trained(keras.optimizers.Adam(0.1)), Trail).save(tmp_path / "model.keras")

    assert isinstance(keras.models.load_model(tmp_path / "model.keras").optimizer, Trail)


def test_inject_goes_inside_of_loss_scaling() -> None:
    model = compiled(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)))
    inject(model, Nothing)
    model.fit(X, Y, verbose=0)

    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(model.optimizer.inner_optimizer, Nothing)
    assert math.isfinite(model.evaluate(X, Y, verbose=0))


def test_inject_makes_the_wrapper_by_its_own_rule() -> None:
    class Backwards(Nothing):
        @classmethod
        def around(cls, optimizer: Any, **arguments: Any) -> Any:
            wrapper = cls(optimizer)
            wrapper.given = arguments
            return wrapper

    assert inject(compiled("sgd"), Backwards, colour="red").optimizer.given == {"colour": "red"}


REFUSED: dict[str, Callable[[Any], Any]] = {
    "accumulate": lambda inner: Accumulate(inner, 0),
    "lookahead": lambda inner: Lookahead(inner, 0),
    "multiplier": lambda inner: LearningRateMultiplier(inner, {"v": -1.0}),
    "transform": lambda inner: GradientTransform(inner, 3),
    "average": lambda inner: WeightAverage(inner, 0.9),
    "schedule free": ScheduleFreeAverage,
    "telemetry": lambda inner: Telemetry(inner, []),
    "lazy": lambda inner: Lazy(inner, "table", untouched="no"),
    "groups": lambda inner: ParamGroups([Group("a", optimizer=scaled())], inner),
}


def scaled() -> Any:
    return keras.optimizers.SGD(0.1, loss_scale_factor=8.0, global_clipnorm=1.0)


@pytest.mark.parametrize("name", REFUSED)
def test_where_a_wrapper_is_refused_the_optimizer_is_left_as_it_was(name: str) -> None:
    optimizer = scaled()

    with pytest.raises((TypeError, ValueError)):
        REFUSED[name](optimizer)
    assert (optimizer.loss_scale_factor, optimizer.global_clipnorm) == (8.0, 1.0)


@pytest.mark.parametrize("place", [pytest.param("arguments", marks=SLOW), "selectors"])
def test_where_inject_fails_the_model_trains_as_before(place: str) -> None:
    wrong: dict[str, tuple[Any, dict[str, Any]]] = {
        "arguments": (Lookahead, {"sync_period": -1}),
        "selectors": (LearningRateMultiplier, {"multipliers": {"no such": 2.0}}),
    }
    model, other = compiled(scaled()), compiled(scaled())
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)

    with pytest.raises(ValueError, match=r"received -1|matches none"):
        inject(model, wrong[place][0], **wrong[place][1])
    assert model.optimizer is optimizer
    assert (optimizer.loss_scale_factor, optimizer.global_clipnorm) == (8.0, 1.0)
    for one in (model, other):
        one.train_on_batch(X, Y)
    assert_equal(model.get_weights(), other.get_weights())


def test_inject_needs_a_class_and_a_compiled_model() -> None:
    with pytest.raises(TypeError, match="needs the class of a wrapper, received 'Trail'"):
        inject(compiled("sgd"), "Trail")
    with pytest.raises(TypeError, match="`inject` needs a Keras model, received 3 of type int"):
        inject(3, Trail)
    with pytest.raises(ValueError, match="`inject` needs a compiled model, and 'net' is not"):
        inject(keras.Sequential([keras.layers.Dense(1)], name="net"), Trail)


def _groups(group: Any, path: str = "/optimizer") -> list[str]:
    found = []
    for name, member in group.items():
        if name == "vars":
            found += [f"{path}/vars"] if len(member) else []
        elif hasattr(member, "items"):
            found += _groups(member, f"{path}/{name}")
    return found
