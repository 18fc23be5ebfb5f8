"""Every private use of Keras, one test each: the name of the failing test names the use.

When a Keras release breaks one of these, `kooler/core/compat/` is the only place to change.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core import compat
from kooler.core.batch import Data
from kooler.core.compat import feed as feeding
from kooler.core.compat import observers as lists
from tests.conftest import BACKEND

X = np.arange(12, dtype="float32").reshape(4, 3)
Y = np.ones((4, 1), "float32")


def small_model(**arguments: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="dense")])
    model.compile("sgd", loss="mse", **arguments)
    return model


@pytest.fixture
def observers() -> Iterator[list[Any]]:
    before = list(lists._compile_observers)
    yield lists._compile_observers
    lists._compile_observers[:] = before


def test_observe_compile(observers: list[Any]) -> None:
    seen: list[Any] = []
    compat.observe_compile(seen.append)

    class Own(keras.Model):
        def compile(self, *args: Any, **kwargs: Any) -> None:
            super().compile(*args, **kwargs)

    sequential, own = small_model(), Own()
    own.compile("sgd", "mse")
    loaded = keras.models.model_from_json(sequential.to_json())  # compiles, as every loading does

    assert [id(model) for model in seen] == [id(sequential), id(own), id(loaded)]


def test_observe_compile_replaces_the_method_once(observers: list[Any]) -> None:
    compat.observe_compile(lambda model: None)
    first = keras.Model.compile
    compat.observe_compile(lambda model: None)

    assert keras.Model.compile is first
    assert first.__wrapped__ is not first


def test_has_own() -> None:
    class Own(keras.Model):
        def train_step(self, *args: Any) -> Any:
            return super().train_step(*args)

    assert compat.has_own(Own(), "train_step")
    assert not compat.has_own(small_model(), "train_step")
    assert not compat.has_own(small_model(), "compute_loss")


def test_untracked() -> None:
    model = keras.Model()
    with compat.untracked():
        model.hidden = keras.layers.Dense(2)
    model.seen = keras.layers.Dense(2)

    assert [layer.name for layer in model.layers] == [model.seen.name]


def test_tracked() -> None:
    model = keras.Model()
    with compat.untracked():
        with compat.tracked():
            model.seen = keras.layers.Dense(2)
        model.hidden = keras.layers.Dense(2)

    assert [layer.name for layer in model.layers] == [model.seen.name]


def test_momenta_of() -> None:
    weights = [keras.Variable([1.0, 2.0]), keras.Variable(1.0)]
    optimizer = keras.optimizers.Nadam(0.1, use_ema=True)
    optimizer.build(weights)

    assert [tuple(slot.shape) for slot in compat.momenta_of(optimizer)] == [
        *[(2,), (2,), (), ()],  # momentum and velocity of each weight
        (),  # the product of momenta
    ]


def test_built_for() -> None:
    weights = [keras.Variable(1.0), keras.Variable(2.0)]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(weights)

    assert [id(one) for one in compat.built_for(optimizer)] == [id(one) for one in weights]


def test_duplicate() -> None:
    shared = keras.layers.Dense(3, name="shared")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.TimeDistributed(shared)(shared(inputs)[:, None]))
    copy = compat.duplicate(model)

    assert len(copy.weights) == len(model.weights) == 2
    assert copy.get_layer("shared") is not shared


def test_call_counter() -> None:
    optimizer = keras.optimizers.SGD(0.1)
    variable = keras.Variable([1.0])
    optimizer.apply([ops.ones(1)], [variable])

    assert int(compat.call_counter(optimizer)) == 1


def test_forget_learning_rate() -> None:
    optimizer = keras.optimizers.Optimizer(learning_rate=0.5)
    compat.forget_learning_rate(optimizer)

    assert [variable.name for variable in optimizer.variables] == ["iteration"]


def test_exchange_optimizer() -> None:
    model = small_model()
    new = keras.optimizers.Adam(0.25)
    compat.exchange_optimizer(model, model.optimizer, new)

    assert model.optimizer is new
    assert model.get_compile_config()["optimizer"]["config"]["learning_rate"] == 0.25


def test_exchange_optimizer_inside_of_loss_scaling() -> None:
    model = small_model()
    old, new = keras.optimizers.SGD(0.5), keras.optimizers.Adam(0.25)
    scaled = keras.optimizers.LossScaleOptimizer(old)
    model.compile(scaled, "mse")
    compat.exchange_optimizer(model, old, new)

    assert model.optimizer is scaled
    assert scaled.inner_optimizer is new


def test_track() -> None:
    optimizer, variable = keras.optimizers.SGD(0.1), keras.Variable(1.0)
    compat.track(optimizer, variable)

    assert optimizer.variables[-1] is variable


def test_own_learning_rate() -> None:
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)

    assert compat.own_learning_rate(keras.optimizers.SGD(schedule)) is schedule
    assert isinstance(compat.own_learning_rate(keras.optimizers.SGD(0.1)), keras.Variable)


def test_clipped_by_global_norm() -> None:
    gradients = [ops.array([3.0]), ops.array([4.0])]

    found = compat.clipped_by_global_norm(gradients, 1.0)

    np.testing.assert_allclose(np.ravel([ops.convert_to_numpy(g) for g in found]), [0.6, 0.8])


def test_update_counter() -> None:
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=2)
    variable = keras.Variable([1.0])
    for _ in range(5):
        optimizer.apply([ops.ones(1)], [variable])
    counter, calls = compat.update_counter(optimizer)

    assert (int(counter), calls) == (5, 2)
    assert int(optimizer.iterations) == 2


def test_running_values_and_model_of() -> None:
    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            model = compat.model_of(self)
            counter, _ = compat.update_counter(model.optimizer)
            seen.append(int(compat.running_values(model, [counter])[0]))

    seen: list[int] = []
    model = small_model()
    model.fit(X, Y, batch_size=2, verbose=0, callbacks=[Look()])

    assert seen == list(range(-(-len(X) // 2)))


def test_copy_decay_exclusions() -> None:
    old, new = (keras.optimizers.SGD(0.1, weight_decay=5.0) for _ in range(2))
    bias, kernel = keras.Variable([1.0], name="bias"), keras.Variable([2.0], name="kernel")
    old.exclude_from_weight_decay(var_names=["bias"])
    compat.copy_decay_exclusions(old, new)
    new.apply([ops.zeros(1), ops.zeros(1)], [bias, kernel])

    assert ops.convert_to_numpy(bias).tolist() == [1.0]
    assert ops.convert_to_numpy(kernel).tolist() == [1.0]


def test_decays() -> None:
    optimizer = keras.optimizers.SGD(0.1, weight_decay=5.0)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    bias, kernel = keras.Variable([1.0], name="bias"), keras.Variable([2.0], name="kernel")
    optimizer.build([bias, kernel])

    table = keras.Variable([3.0], name="table")

    assert not compat.decays(optimizer, bias)
    assert compat.decays(optimizer, kernel)
    assert compat.decays(optimizer, table)  # which the optimizer was not built for


def test_fast_points() -> None:
    weight = keras.Variable([3.0])
    optimizer = keras.optimizers.ScheduleFreeAdamW(0.5)
    optimizer.build([weight])
    optimizer.apply([ops.ones((1,))], [weight])
    ((variable, fast),) = compat.fast_points(optimizer)

    assert variable is weight
    assert ops.convert_to_numpy(fast).tolist() == pytest.approx([2.5])


def test_must_be_finite() -> None:
    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), 4.0)
    optimizer.build([variable])

    def new_weight() -> float:
        if BACKEND == "jax":
            slots = [slot.value for slot in optimizer.variables]
            values, _ = optimizer.stateless_apply(slots, [ops.ones((1,))], [variable.value])
            return float(values[0][0])
        optimizer.apply([ops.ones((1,))], [variable])
        return float(ops.convert_to_numpy(variable)[0])

    with compat.must_be_finite(optimizer, [ops.ones((2, 3)) / 0.0]):
        assert new_weight() == 1.0
    assert new_weight() < 1.0


def test_layout_of() -> None:
    assert compat.layout_of(keras.Variable([1.0])) is None


@pytest.mark.skipif(BACKEND != "torch", reason="a kernel of PyTorch's")
def test_move_by_torch() -> None:
    a, b = keras.Variable([1.0]), keras.Variable([3.0])
    compat.move_by_torch([a, b], [ops.ones(1) * 2, ops.cast(ops.ones(1) * 5, "bfloat16")], 0.5)

    assert [ops.convert_to_numpy(v).tolist() for v in (a, b)] == [[1.5], [4.0]]


def test_scope_value() -> None:
    a, b, c = (keras.Variable([float(i)]) for i in range(3))
    with keras.StatelessScope([(a, ops.ones(1) * 7)]), keras.StatelessScope([(b, ops.ones(1) * 8)]):
        found = [ops.convert_to_numpy(compat.scope_value(v))[0] for v in (a, b, c)]

    assert found == [7.0, 8.0, 2.0]


def test_inheriting_scope() -> None:
    a, b, c = (keras.Variable([float(i)]) for i in range(3))
    outer = keras.StatelessScope([(a, ops.ones(1) * 7), (b, ops.ones(1) * 7)])
    with outer, compat.inheriting_scope([(b, ops.ones(1) * 8)]) as inner:
        found = [ops.convert_to_numpy(v)[0] for v in (a, b, c)]
        c.assign([9.0])

    assert found == [7.0, 8.0, 2.0]
    assert float(inner.get_current_value(c)[0]) == 9.0
    assert outer.get_current_value(c) is None


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX donates buffers")
def test_separate_buffers() -> None:
    a, b = keras.Variable([1.0]), keras.Variable([2.0])
    b.assign(a)
    shared = a.value.unsafe_buffer_pointer() == b.value.unsafe_buffer_pointer()
    compat.separate_buffers([a, b])

    assert shared
    assert a.value.unsafe_buffer_pointer() != b.value.unsafe_buffer_pointer()
    assert float(b.value[0]) == 1.0


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX takes the values out of the variables")
def test_kept_values() -> None:
    model = small_model()
    model.train_on_batch(X, Y)
    before = model.get_weights()
    with pytest.raises(KeyError), compat.kept_values(model):
        for variable in model.variables:
            variable._value = None
        raise KeyError

    assert [a.tolist() for a in model.get_weights()] == [a.tolist() for a in before]


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX takes the values out of the variables")
def test_kept_values_are_those_of_the_last_step_where_the_old_were_donated() -> None:
    class Stop(keras.callbacks.Callback):
        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyError

    model = small_model()
    model.train_on_batch(X, Y)
    before = model.get_weights()
    with pytest.raises(KeyError), compat.kept_values(model):
        model.evaluate(X, Y, verbose=0, callbacks=[Stop()])
    model.jax_state_sync()  # nothing waits any more

    assert [a.tolist() for a in model.get_weights()] == [a.tolist() for a in before]


def test_mask_of() -> None:
    layer = keras.layers.Embedding(5, 2, mask_zero=True)
    outputs = layer(np.array([[1, 0]]))

    assert ops.convert_to_numpy(compat.mask_of(outputs)).tolist() == [[True, False]]
    assert compat.mask_of(ops.ones(2)) is None


def test_set_mask() -> None:
    tensor = ops.ones((1, 2))
    compat.set_mask(tensor, ops.convert_to_tensor([[True, False]]))

    assert ops.convert_to_numpy(compat.mask_of(tensor)).tolist() == [[True, False]]


def test_trace() -> None:
    layer = keras.layers.Dense(3)
    outputs = compat.trace(lambda x: layer(x) + 1.0, keras.KerasTensor((None, 2)))

    assert outputs.shape == (None, 3)
    assert layer.kernel.shape == (2, 3)
    assert float(ops.max(ops.abs(ops.stop_gradient(layer.kernel.value)))) > 0.0


def test_compute_loss() -> None:
    class WithoutTraining(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):  # type: ignore
            return ops.sum(y_pred) + ops.sum(y)

    model = WithoutTraining()
    model.compile("sgd")

    assert float(compat.compute_loss(model, Data(X, Y), ops.ones(2))) == 6.0


def test_call_model() -> None:
    class Plain(keras.Model):
        def call(self, x: Any) -> Any:
            return x + 1.0

    dropout = keras.Sequential([keras.layers.Dropout(0.5)])

    assert float(ops.min(compat.call_model(dropout, ops.ones((9, 9)), training=True))) == 0.0
    assert float(ops.min(compat.call_model(dropout, ops.ones((9, 9)), training=False))) == 1.0
    assert float(ops.min(compat.call_model(Plain(), ops.ones((9, 9)), training=True))) == 2.0


def test_track_loss() -> None:
    model = small_model()
    compat.track_loss(model, ops.ones(()) * 3, 4)
    compat.track_loss(model, ops.ones(()) * 9, 2)

    assert float(model.get_metrics_result()["loss"]) == 5.0


def test_unbuilt() -> None:
    model = small_model()
    before = compat.unbuilt(model)
    model.train_on_batch(X, Y)

    assert before
    assert not compat.unbuilt(model)


@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 0.0, 1.0], "float32")])
def test_noted_losses(weights: Any) -> None:
    model = small_model()
    model.train_on_batch(X, Y)
    outputs = ops.stop_gradient(model(X))
    expected = float(model.compute_loss(X, Y, outputs, weights))
    heard: list[Any] = []
    with compat.noted_losses(model, lambda *facts: heard.append(facts)):
        value = float(model.compute_loss(X, Y, outputs, weights))
    model.compute_loss(X, Y, outputs, weights)

    assert value == expected
    ((name, reduction, values, mask, given),) = heard
    assert (name, reduction, mask) == ("mse", "sum_over_batch_size", None)
    assert tuple(values.shape) == (4,)
    assert (given is None) == (weights is None)


def test_noted_losses_of_a_model_without_compiled_loss() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd")
    with compat.noted_losses(model, lambda *facts: None) as nothing:
        assert nothing is None


def test_flat_layers() -> None:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="deep")], name="inner")
    model = keras.Sequential([keras.Input((3,)), inner], name="outer")

    names = [layer.name for layer in compat.flat_layers(model)]

    assert names[0] == "outer"
    assert {"inner", "deep"} <= set(names)


def test_autocast() -> None:
    variable = keras.Variable([1.0, 2.0])
    count = keras.Variable([1, 2], dtype="int32", trainable=False)
    with compat.autocast("bfloat16"):
        product = variable * 1.0
        number = count + 1

    assert keras.backend.standardize_dtype(product.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(number.dtype) == "int32"
    assert keras.backend.standardize_dtype((variable * 1.0).dtype) == "float32"


def test_sublayers() -> None:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="deep")], name="inner")
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.Identity(name="last")])
    operation = keras.Operation()

    assert [layer.name for layer in compat.sublayers(model)][-2:] == ["inner", "last"]
    assert compat.sublayers(operation) == []


def test_is_recomputed() -> None:
    with keras.RematScope(mode="full"):
        inside = keras.layers.Dense(1)

    assert compat.is_recomputed(inside)
    assert not compat.is_recomputed(keras.layers.Dense(1))


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere variables hold their own values")
def test_visible_value() -> None:
    a, b = keras.Variable([1.0]), keras.Variable([2.0])
    with keras.StatelessScope([(a, ops.ones(1) * 7)]), keras.StatelessScope():
        inside = [compat.visible_value(variable) for variable in (a, b)]
    with compat.inheriting_scope([(a, ops.ones(1) * 7)]):
        outside_of_a_step = compat.visible_value(b)

    assert float(inside[0][0]) == 7.0
    assert inside[1] is None
    assert float(outside_of_a_step[0]) == 2.0
    assert float(compat.visible_value(b)[0]) == 2.0


def test_moving_state() -> None:
    norm = keras.layers.BatchNormalization()
    frozen = keras.layers.Dense(2)
    inner = keras.Sequential([keras.Input((2,)), frozen, norm, keras.layers.Dropout(0.5), norm])
    model = keras.Sequential([keras.Input((2,)), inner, inner])
    frozen.trainable = False

    assert [id(v) for v in compat.moving_state(model)] == [
        id(norm.moving_mean),
        id(norm.moving_variance),
    ]


@pytest.mark.parametrize("kind", ["array", "pair", "dictionary", "data set", "generator"])
def test_batches_of(kind: str) -> None:
    class Pairs(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return x[2 * index : 2 * index + 2], None

    x = np.arange(4.0)[:, None]
    data = {
        "array": x,
        "pair": (x, x + 1),
        "dictionary": {"a": x},
        "data set": Pairs(),
        "generator": ((x[i : i + 2], x[i : i + 2]) for i in (0, 2)),
    }[kind]
    batches = [keras.tree.flatten(batch)[0] for batch in compat.batches_of(data, 2)]

    assert [np.asarray(batch).ravel().tolist() for batch in batches] == [[0, 1], [2, 3]]


def built_dense() -> Any:
    dense = keras.layers.Dense(2, name="dense")
    dense.build((None, 3))
    return dense


def test_own_variables_and_made_trainable() -> None:
    normalization = keras.layers.BatchNormalization()
    normalization.build((None, 2))
    normalization.trainable = False

    assert [one.name for one in compat.made_trainable(normalization)] == ["gamma", "beta"]
    assert [one.name for one in compat.own_variables(normalization)] == [
        *("gamma", "beta", "moving_mean", "moving_variance")
    ]
    assert compat.own_variables(keras.Sequential([keras.Input((3,)), built_dense()])) == []


@pytest.mark.parametrize(("replace", "names"), [(True, ["x", "bias"]), (False, ["x", "kernel"])])
def test_listed(replace: bool, names: list[str]) -> None:
    dense = built_dense()
    with compat.listed(dense, 0, keras.Variable([1.0], name="x"), replace=replace):
        inside = [one.name for one in compat.own_variables(dense)]

    assert inside[:2] == names
    assert [one.name for one in compat.own_variables(dense)] == ["kernel", "bias"]


def test_untrack_variable_and_track_variable() -> None:
    dense = built_dense()
    kernel = dense.kernel
    compat.untrack_variable(dense, kernel)
    without = list(dense.weights)
    compat.track_variable(dense, kernel, 0)

    assert without == [dense.bias]
    assert dense.weights[0] is kernel


def test_add_sublayer_and_remove_sublayer() -> None:
    dense, below = built_dense(), built_dense()
    compat.add_sublayer(dense, "below", below)
    inside = len(dense.weights)
    compat.remove_sublayer(dense, "below")

    assert (inside, len(dense.weights)) == (4, 2)
    assert compat.sublayers(dense) == []


def test_is_training() -> None:
    seen: list[bool] = []

    class Asks(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            seen.append(compat.is_training())
            return x

    asks = Asks()
    for training in (True, False, None):
        asks(X, training=training)

    assert seen == [True, False, False]
    assert not compat.is_training()


def test_derived_variable() -> None:
    kernel = keras.Variable([[1.0, 2.0]], name="kernel")
    taken: list[Any] = []
    derived = compat.DerivedVariable(kernel, lambda: kernel.value * 3.0, taken.append, [kernel])
    derived.assign([[5.0, 6.0]])
    derived.trainable = False
    with compat.autocast("bfloat16"):
        low = keras.backend.standardize_dtype((derived * 1.0).dtype)

    assert (derived.name, tuple(derived.shape), derived.dtype) == ("kernel", (1, 2), "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(derived), [[3.0, 6.0]])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.matmul(derived, [[1.0], [1.0]])), [[9.0]]
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(taken[0]), [[5.0, 6.0]])
    assert not kernel.trainable
    assert low == "bfloat16"
    with pytest.raises(ValueError, match=r"has the shape \(1, 2\), so no value of shape \(1,\)"):
        derived.assign([1.0])


def test_outermost_layer() -> None:
    seen: list[Any] = []

    class Asks(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            seen.append(compat.outermost_layer())
            return x

    model = keras.Sequential([Asks(name="asks")])
    model(X)

    assert seen[-1] is model
    assert compat.outermost_layer() is None


def test_add_metric() -> None:
    model = small_model()
    model(X)
    metric = keras.metrics.Mean(name="mean")
    compat.add_metric(model, metric)

    assert model.metrics[-1] is metric
    assert len(model.metrics_variables) >= len(metric.variables)


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX's trainer begins with it")
@pytest.mark.parametrize("built", [True, False])
def test_observe_building(built: bool) -> None:
    shapes: list[Any] = []
    observers = list(lists._building_observers)
    compat.observe_building(lambda model, inputs: shapes.append(inputs().shape[1:]))
    model = small_model() if built else keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    try:
        model.fit(X, Y, verbose=0)
        model.evaluate(X, Y, verbose=0)
        model.train_on_batch(X, Y)
    finally:
        lists._building_observers[:] = observers

    assert shapes == [(3,)] * 3


def test_run_symbolically() -> None:
    seen: list[Any] = []

    class Sees(keras.layers.Layer):
        def call(self, x: Any, training: bool = False) -> Any:
            seen.append(training)
            return x

    model = keras.Sequential([keras.Input((3,)), Sees()])
    seen.clear()
    compat.run_symbolically(model, keras.KerasTensor((None, 3)), True)

    assert set(seen) == {True}


# Data.


class Asked(compat.Feed):
    """Notes what each pass was asked for."""

    num_batches = 3

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[tuple[str, bool]] = []

    def batches(self, purpose: str, endless: bool) -> Iterator[Any]:
        self.passes.append((purpose, endless))
        yield from [[X, Y]] * (30 if endless else 3)

    def batches_left(self, purpose: str) -> int:
        return 3

    def examples(self) -> list[Any]:
        return [(X, Y)]


def test_feed_hears_what_a_trainer_wants() -> None:
    feed, model = Asked(), small_model()
    feed.batches_left("train")
    model.train_on_batch(X, Y)  # so that no trainer looks at a batch first

    model.fit(feed, epochs=2, validation_data=feed, verbose=0)
    model.fit(feed, steps_per_epoch=2, verbose=0)
    model.evaluate(feed, verbose=0)
    model.predict(feed, verbose=0)

    assert feed.passes == [
        *[("train", False), ("read", False)] * 2,
        ("train", True),
        ("read", False),
        ("read", False),
    ]


@pytest.mark.skipif(BACKEND == "tensorflow", reason="its trainer builds while it traces")
def test_feed_hears_that_a_batch_is_looked_at_only() -> None:
    feed = Asked()

    small_model().fit(feed, verbose=0)

    assert feed.passes == [("build", False), ("train", False)]


def test_feed_called_by_no_trainer_is_read() -> None:
    feed = Asked()

    batches = list(compat.batches_of(feed, 1))

    assert feed.passes == [("read", False)]
    assert len(batches) == 3


@pytest.mark.skipif(BACKEND != "jax", reason="only its trainer asks for several batches as one")
def test_feed_hands_over_several_batches_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def pairs(batches: Iterator[Any], size: int) -> Iterator[Any]:  # Keras 3.16 has one of its own
        return zip(*[batches] * size, strict=False)

    monkeypatch.setattr(feeding.data_adapter_utils, "super_batch_iterator", pairs, raising=False)
    feed = Asked()

    assert len(list(feed.get_jax_iterator())) == 3
    assert [len(batch) for batch in feed.get_jax_iterator(super_batch=2)] == [2]
