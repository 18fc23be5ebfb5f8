"""How techniques reach their model: `compile` is enough, and a plain model is never touched."""

import copy
import gc
import pickle
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from keras import ops

import kooler
from kooler.core.attach import ATTRIBUTE, _Part, attach, attachment_of, flush, wrappers_in
from kooler.core.batch import Batch, report_weight
from kooler.optimizers import OptimizerWrapper
from tests.conftest import BACKEND
from tests.core.children import printed_by
from tests.core.plain import plain_model, trained
from tests.toys import Identity, Nothing, TableDescent, Thermometer, Trail, Window, serializable

RANDOM = np.random.default_rng(2)
SLOW = pytest.mark.slow
X = RANDOM.normal(size=(20, 3)).astype("float32")
Y = (X @ [[1.0], [2.0], [-1.0]]).astype("float32")


@serializable
class Diary(OptimizerWrapper):
    """Writes down what it is told between the steps."""

    def __init__(self, inner_optimizer: Any, *, name: str | None = None) -> None:
        super().__init__(inner_optimizer, name=name)
        self.__dict__["entries"] = []

    def release(self, reason: str, variables: Sequence[Any]) -> None:
        self.entries.append((reason, int(ops.convert_to_numpy(self.iterations))))


@serializable
class Scale(OptimizerWrapper):
    """Multiplies the gradients by the weight of their batch, which the update shows."""

    needs_batch: ClassVar[bool] = True

    def before_update(self, gradients: list[Any], variables: Sequence[Any]) -> list[Any]:
        return [gradient * self.batch_weight for gradient in gradients]


@serializable
class Subclassed(keras.Model):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.inner = keras.Sequential([keras.layers.Dense(4, activation="tanh")])
        self.head = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.inner(x))


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(1)])


def deferred() -> keras.Model:
    return keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)])


def functional() -> keras.Model:
    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.layers.Dense(4, activation="tanh")], name="nested")
    return keras.Model(inputs, keras.layers.Dense(1)(inner(inputs)))


MODELS = {
    "sequential": sequential,
    "deferred": deferred,
    "functional": functional,
    "subclassed": Subclassed,
}


def compiled(optimizer: Any, make: Any = sequential, **arguments: Any) -> keras.Model:
    keras.utils.set_random_seed(5)
    model = make()
    model.compile(optimizer, **{"loss": "mse", **arguments})
    return model


def fitted(model: keras.Model, **arguments: Any) -> keras.Model:
    model.fit(X, Y, **{"batch_size": 8, "shuffle": False, "verbose": 0, **arguments})
    return model


def assert_close(one: keras.Model, other: keras.Model, atol: float = 0.0) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


# A plain model.


def test_a_plain_model_is_never_touched() -> None:
    Nothing("sgd")  # from here on models are looked at
    before = set(vars(compiled("adam")))
    model = fitted(compiled("adam"))

    assert ATTRIBUTE not in before
    assert not {"fit", "train_step", ATTRIBUTE} & set(vars(model))


@SLOW
def test_a_plain_model_trains_as_where_kooler_is_not_imported_bit_for_bit() -> None:
    model = plain_model()
    attach(model)

    assert trained(model) == printed_by("tests.core.plain")


def test_a_wrapper_without_needs_keeps_the_step_of_keras() -> None:
    model = compiled(Nothing("sgd"))

    assert "train_step" not in vars(model)
    assert model.train_step.__func__ is keras.Model.train_step


def test_compiling_with_a_plain_optimizer_takes_everything_away() -> None:
    model = compiled(Scale("sgd"))
    assert {"fit", "train_step"} <= set(vars(model))
    model.compile("sgd", "mse")

    assert not {"fit", "train_step", ATTRIBUTE} & set(vars(model))


# compile is enough.


@pytest.mark.parametrize(
    "name",
    [
        "deferred",
        "functional",
        *(pytest.param(n, marks=SLOW) for n in ("sequential", "subclassed")),
    ],
)
def test_every_kind_of_model_knows_its_batches(name: str) -> None:
    make = MODELS[name]
    model = compiled(Window(keras.optimizers.SGD(0.1), steps=2), make)
    model.fit(X[:14], Y[:14], batch_size=10, shuffle=False, verbose=0)  # 10 + 4 examples
    whole = compiled(keras.optimizers.SGD(0.1), make)
    whole.fit(X[:14], Y[:14], batch_size=14, shuffle=False, verbose=0)

    assert_close(model, whole, atol=1e-7)


@SLOW
def test_inside_of_loss_scaling_it_is_found() -> None:
    optimizer = keras.optimizers.LossScaleOptimizer(Window(keras.optimizers.SGD(0.1), 2), 2.0**4)
    model = compiled(optimizer)
    model.fit(X[:14], Y[:14], batch_size=10, shuffle=False, verbose=0)
    whole = compiled(keras.optimizers.SGD(0.1))
    whole.fit(X[:14], Y[:14], batch_size=14, shuffle=False, verbose=0)

    assert_close(model, whole, atol=1e-7)


def test_all_wrappers_are_found_through_whatever_lies_around_them() -> None:
    inside = keras.optimizers.LossScaleOptimizer(Trail(Window(Nothing("sgd"), 2)))
    groups = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(), {"a": Diary("sgd")})
    )

    assert [type(one) for one in wrappers_in(inside)] == [Trail, Window, Nothing]
    assert [type(one) for one in wrappers_in(Nothing(groups))] == [Nothing, Diary]
    assert list(wrappers_in(None)) == []


def test_after_load_model_it_is_found(tmp_path: Path) -> None:
    fitted(compiled(Window("sgd", 2), Subclassed)).save(tmp_path / "model.keras")

    model = keras.models.load_model(tmp_path / "model.keras")

    assert [type(one) for one in attachment_of(model).wrappers] == [Window]
    assert {"fit", "train_step"} <= set(vars(model))
    fitted(model)


@pytest.mark.parametrize(
    "duplicate",
    [
        pytest.param(copy.deepcopy, marks=SLOW),
        pytest.param(lambda m: pickle.loads(pickle.dumps(m)), marks=SLOW),
    ],
    ids=["deepcopy", "pickle"],
)
def test_a_copy_is_attached_to_itself(duplicate: Any) -> None:
    model = fitted(compiled(Window("sgd", 2)))
    other = duplicate(model)
    before = model.get_weights()
    fitted(other)

    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not all((a == b).all() for a, b in zip(other.get_weights(), before, strict=True))


def test_a_model_can_be_collected() -> None:
    reference = weakref.ref(compiled(Window("sgd", 2)))
    keras.backend.clear_session()
    gc.collect()

    assert reference() is None


@SLOW
def test_sample_weights_count_where_keras_divides_by_them() -> None:
    weights = RANDOM.random(20).astype("float32")
    loss = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    model = compiled(Window(keras.optimizers.SGD(0.1), 3), loss=loss)
    fitted(model, sample_weight=weights)
    whole = compiled(keras.optimizers.SGD(0.1), loss=loss)
    fitted(whole, sample_weight=weights, batch_size=20)

    assert_close(model, whole, atol=1e-7)


def test_masked_positions_do_not_count() -> None:
    ids = RANDOM.integers(0, 4, (12, 5)) * (np.arange(5) < RANDOM.integers(1, 6, (12, 1)))
    targets = RANDOM.integers(0, 3, (12, 5))

    def tagger() -> keras.Model:
        return keras.Sequential(
            [
                keras.Input((5,), dtype="int32"),
                keras.layers.Embedding(4, 6, mask_zero=True),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )

    weights = {}
    for size, optimizer in {5: Window(keras.optimizers.SGD(1.0), 3), 12: "whole"}.items():
        optimizer = keras.optimizers.SGD(1.0) if optimizer == "whole" else optimizer
        model = compiled(optimizer, tagger, loss="sparse_categorical_crossentropy")
        model.fit(ids, targets, batch_size=size, shuffle=False, verbose=0)
        weights[size] = model

    assert_close(weights[5], weights[12], atol=1e-6)


@serializable
class OwnLoss(keras.Model):
    """Sums over the positive targets, and says so."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.head = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # type: ignore
        chosen = ops.cast(y > 0, "float32")
        report_weight(ops.sum(chosen))
        return ops.sum(chosen * ops.square(y - y_pred)) / ops.sum(chosen)


@serializable
class OwnStep(OwnLoss):
    def train_step(self, *arguments: Any) -> Any:
        return super().train_step(*arguments)


@pytest.mark.parametrize("make", [pytest.param(OwnLoss, marks=SLOW), OwnStep])
def test_a_model_that_computes_its_loss_reports_its_weight(make: Any) -> None:
    model = fitted(compiled(Window(keras.optimizers.SGD(0.1), 3), make, loss=None))
    whole = fitted(compiled(keras.optimizers.SGD(0.1), make, loss=None), batch_size=20)

    assert_close(model, whole, atol=1e-7)


def test_on_torch_a_step_that_is_only_watched_is_keras_own() -> None:
    model = compiled(Scale("sgd"))
    plan = getattr(model.train_step, "args", ())

    assert bool(plan) == (BACKEND != "torch")


def test_the_losses_of_the_very_first_batch_are_seen() -> None:
    """Its weight is 3 of 4 positions, also where the compiled loss is not built before."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.scale = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
            self.masking = keras.layers.Masking()

        def call(self, x: Any) -> Any:
            return self.scale(self.masking(x))

        def train_step(self, *arguments: Any) -> Any:
            return super().train_step(*arguments)

    x = np.array([[[1.0], [2.0], [3.0], [0.0]]], "float32")
    model = compiled(Scale(keras.optimizers.SGD(1.0)), Own, jit_compile=False)
    model.train_on_batch(x, np.zeros((1, 4, 1)))

    kernel = float(ops.convert_to_numpy(model.scale.kernel)[0, 0])
    assert kernel == pytest.approx(1 - 3 * 2 * (1 + 4 + 9) / 3, rel=1e-5)


def test_different_denominators_are_an_error_that_names_them() -> None:
    def two_heads() -> keras.Model:
        inputs = keras.Input((3,))
        outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("mean", "sum")}
        return keras.Model(inputs, outputs)

    losses = {"mean": "mse", "sum": keras.losses.MeanSquaredError(reduction="sum")}
    model = compiled(Window("sgd", 2), two_heads, loss=losses)

    with pytest.raises(ValueError, match="'mean' is a mean over the examples; 'sum' is a sum"):
        model.fit(X, {"mean": Y, "sum": Y}, verbose=0)


# The end of an epoch, and of fit.


def test_the_end_of_an_epoch_comes_before_validation_and_before_others() -> None:
    model = compiled(Diary("sgd"))
    seen: list[Any] = []

    class Watch(keras.callbacks.Callback):
        def on_test_begin(self, logs: Any = None) -> None:
            seen.append(("test", len(model.optimizer.entries)))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(("epoch", len(model.optimizer.entries)))

    fitted(model, epochs=2, validation_data=(X, Y), validation_freq=2, callbacks=Watch())

    assert model.optimizer.entries == [("epoch", 3), ("epoch", 6), ("fit", 6)]
    assert seen == [("epoch", 1), ("test", 2), ("epoch", 2)]


def test_a_callback_list_of_keras_is_accepted() -> None:
    model = compiled(Diary("sgd"))
    callbacks = keras.callbacks.CallbackList([], add_history=True, model=model, epochs=1, steps=3)
    for _ in range(2):
        fitted(model, callbacks=callbacks)

    assert [reason for reason, _ in model.optimizer.entries] == ["epoch", "fit"] * 2


def test_evaluate_and_predict_change_nothing() -> None:
    model = compiled(Window("sgd", 4))
    model.train_on_batch(X, Y)
    before = [np.array(ops.convert_to_numpy(v)) for v in model.optimizer.variables]
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)

    for variable, old in zip(model.optimizer.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), old)


@SLOW
def test_what_waits_is_applied_at_the_end_of_an_epoch() -> None:
    model = fitted(compiled(Window(keras.optimizers.SGD(0.1), 100)), epochs=2)
    whole = fitted(compiled(keras.optimizers.SGD(0.1)), epochs=2, batch_size=20)

    assert_close(model, whole, atol=1e-7)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 2


def test_outer_wrappers_hear_of_an_update_that_was_waiting() -> None:
    model = compiled(Trail(Window(keras.optimizers.SGD(0.1), 100)))
    before = model.get_weights()
    fitted(model)

    for average, old, new in zip(
        model.optimizer.averages, before, model.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ops.convert_to_numpy(average), (old + new) / 2, atol=1e-6)


def test_flush_applies_what_waits_and_then_nothing() -> None:
    model = compiled(Window(keras.optimizers.SGD(0.1), 100))
    model.train_on_batch(X, Y)
    kooler.flush(model)
    kooler.flush(model)
    whole = compiled(keras.optimizers.SGD(0.1))
    whole.train_on_batch(X, Y)

    assert_close(model, whole, atol=1e-7)
    model.train_on_batch(X, Y)  # on JAX, no two variables share a buffer


def test_flush_leaves_plain_and_untrained_models_alone() -> None:
    for model in (sequential(), compiled("sgd"), compiled(Window("sgd", 2))):
        before = model.get_weights()
        kooler.flush(model)
        for a, b in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(a, b)


def test_after_an_exception_in_fit_the_model_is_usable() -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                raise KeyError("stop")

    model = compiled(Window(keras.optimizers.SGD(0.1), 3))
    with pytest.raises(KeyError):
        fitted(model, callbacks=[Stop()])

    assert int(ops.convert_to_numpy(model.optimizer.waiting)) == 2  # not lost, not applied
    fitted(model)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))


class Trap(OptimizerWrapper):
    """Raises once, at one place."""

    needs_batch: ClassVar[bool] = True
    reports: ClassVar[bool] = True

    def __init__(self, inner_optimizer: Any, place: str) -> None:
        super().__init__(inner_optimizer)
        self.place = place

    def pass_by(self, place: str) -> None:
        if self.place == place:
            self.place = "none"
            raise KeyError(place)

    def before_update(self, gradients: list[Any], variables: Sequence[Any]) -> list[Any]:
        self.pass_by("gradients")
        return gradients

    def after_update(self, variables: Sequence[Any], moved: Any) -> None:
        self.pass_by("weights")

    def report(self) -> dict[str, Any]:
        self.pass_by("logs")
        return {"calls": ops.cast(self.calls, "float32")}

    def release(self, reason: str, variables: Sequence[Any]) -> None:
        self.pass_by(reason)


@SLOW
@pytest.mark.parametrize("place", ["gradients", "weights", "logs", "epoch", "fit"])
def test_after_an_exception_anywhere_the_model_trains_on(place: str) -> None:
    model = compiled(Trap(Window(keras.optimizers.SGD(0.1), 2), place), jit_compile=False)
    with pytest.raises(KeyError, match=place):
        fitted(model)
    before = model.get_weights()
    history = fitted(model).history.history

    assert history["calls"][0] >= 3
    assert all(np.isfinite(history["loss"]))
    assert not all((a == b).all() for a, b in zip(model.get_weights(), before, strict=True))
    assert np.isfinite(model.predict(X, verbose=0)).all()


def test_reports_stand_in_the_history() -> None:
    model = compiled(Thermometer(keras.optimizers.SGD(0.0)), metrics=["mae"])
    history = model.fit(X, Y, batch_size=20, epochs=2, verbose=0).history

    assert sorted(history) == ["gradient_norm", "loss", "mae"]
    assert history["gradient_norm"][0] == pytest.approx(history["gradient_norm"][1], rel=1e-5)
    assert history["gradient_norm"][0] > 0


@SLOW
def test_reports_of_a_model_with_its_own_step() -> None:
    model = compiled(Thermometer(keras.optimizers.SGD(0.1)), OwnStep, loss=None)

    assert fitted(model).history.history["gradient_norm"][0] > 0


# Loops of one's own.


def test_weights_in_a_hand_written_loop() -> None:
    model = compiled(Window(keras.optimizers.SGD(1.0), 2))
    attachment = kooler.attach(model)
    variables = model.trainable_variables
    start = model.get_weights()
    model.optimizer.build(variables)
    for weight, size in ((10, 1.0), (30, 2.0)):
        with attachment.weigh(weight):
            model.optimizer.apply([ops.full(v.shape, size) for v in variables], variables)

    for new, old in zip(model.get_weights(), start, strict=True):
        np.testing.assert_allclose(new, old - (10 * 1.0 + 30 * 2.0) / 40, atol=1e-6)


def test_attach_is_the_same_every_time() -> None:
    model = compiled("sgd")
    model.optimizer = Window("sgd", 2)

    assert attach(model) is attach(model)
    assert {"fit", "train_step"} <= set(vars(model))


def test_attach_and_flush_need_a_model() -> None:
    with pytest.raises(TypeError, match="`attach` needs a Keras model, received 3 of type int"):
        attach(3)
    with pytest.raises(ValueError, match=r"has no optimizer to connect with. Call `model.compile"):
        attach(sequential())
    with pytest.raises(TypeError, match="`flush` needs a Keras model, received 3 of type int"):
        flush(3)


def test_a_fit_without_callbacks_is_an_error() -> None:
    class Closed(keras.Model):
        def fit(self, x: Any, y: Any) -> Any:
            return super().fit(x, y)

    with pytest.raises(ValueError, match="`fit` of the model class Closed takes no `callbacks`"):
        Closed().compile(Nothing("sgd"))


def test_a_fit_with_other_arguments_is_kept() -> None:
    class Open(OwnLoss):
        def fit(self, x: Any, **arguments: Any) -> Any:
            return super().fit(x, Y, **arguments)

    model = compiled(Diary("sgd"), Open, loss=None)
    model.fit(X, verbose=0)
    model.fit(X, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])

    assert [reason for reason, _ in model.optimizer.entries] == ["epoch", "fit"] * 2


# Rows of embeddings.


def embedder() -> keras.Model:
    inputs = keras.Input((5,), dtype="int32")
    table = keras.layers.Embedding(9, 4, mask_zero=True, name="table")
    pooled = keras.layers.GlobalAveragePooling1D()
    both = keras.layers.Concatenate()([pooled(table(inputs)), pooled(table(inputs + 1))])
    return keras.Model(inputs, keras.layers.Dense(1)(both))


@pytest.mark.parametrize(
    "scaled", [pytest.param(False, marks=SLOW), True], ids=["", "loss scaling"]
)
def test_the_rows_that_an_embedding_looked_up(scaled: bool) -> None:
    ids = RANDOM.integers(0, 8, (20, 5))
    optimizer: Any = TableDescent(keras.optimizers.SGD(0.5), rate=0.5)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 2.0**4)
    ours = compiled(optimizer, embedder)
    plain = compiled(keras.optimizers.SGD(0.5), embedder)
    for model in (ours, plain):
        model.fit(ids, Y, batch_size=5, shuffle=False, verbose=0)

    assert_close(ours, plain, atol=1e-6)


def test_rows_in_a_model_with_its_own_step_are_an_error() -> None:
    @serializable
    class Embedder(OwnStep):
        def __init__(self) -> None:
            super().__init__()
            self.table = keras.layers.Embedding(3, 2)

    with pytest.raises(ValueError, match="Embedder defines its own `train_step`, which a gradient"):
        compiled(TableDescent("sgd", 0.1), Embedder, loss=None)


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution > 1 on PyTorch")
@SLOW
def test_several_steps_per_execution_know_their_batches() -> None:
    arguments = {"steps_per_execution": 3}
    model = fitted(compiled(Window(keras.optimizers.SGD(0.1), 3), **arguments))
    whole = fitted(compiled(keras.optimizers.SGD(0.1)), batch_size=20)

    assert_close(model, whole, atol=1e-7)


def test_a_technique_survives_a_new_compile() -> None:
    model = compiled("sgd")
    technique = Identity()
    technique.inject(model)
    model.compile("adam", "mse")

    assert attachment_of(model).techniques == [technique]
    assert "train_step" in vars(model)


@SLOW
@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_two_replicas_train_as_one() -> None:
    for case, (one, two) in printed_by("tests.core.replicas").items():
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6, err_msg=case)


@SLOW
@pytest.mark.skipif(BACKEND != "jax", reason="Keras distributes arrays on JAX only")
def test_two_devices_train_as_one() -> None:
    found = printed_by("tests.core.devices")
    for case, (one, data_parallel, model_parallel) in found["weights"].items():
        for a, b, c in zip(one, data_parallel, model_parallel, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6, err_msg=case)
            np.testing.assert_allclose(a, c, atol=1e-6, err_msg=case)
    assert found["sharded"] == {"kernel": [None, "model"], "slot": "same"}


def test_parts_of_a_batch_in_a_step_of_ones_own_cannot_be_weighed() -> None:
    facts = vars(Batch(examples=3))

    assert vars(_Part(**facts, model="Own")).items() >= facts.items()
    with pytest.raises(ValueError, match="The model class Own defines its own `train_step`, so w"):
        _Part(**facts, model="Own").weight  # noqa: B018
