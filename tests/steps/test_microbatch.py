"""Micro-batches against the whole batch."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from kooler.core.batch import report_weight
from kooler.steps import (
    FastGradient,
    GradientPenalty,
    Microbatch,
    SharpnessAware,
    VirtualAdversarial,
)
from tests.steps.small import (
    IDS,
    Y,
    check_same_as_keras,
    check_step,
    gradient,
    model,
    weights_of,
)
from tests.toys import TableDescent, Trail, Window

WEIGHTS = np.arange(12, dtype="float32") / 6
TOKENS = np.where(np.arange(3) < 1 + np.arange(12)[:, None] % 3, IDS + 1, 0)  # 1 … 3 words each


def tagger(**arguments: Any) -> keras.Model:
    """Padding is masked in the loss and in the metric."""
    keras.utils.set_random_seed(2)
    net = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(6, 2, mask_zero=True),
            keras.layers.Dense(4, activation="softmax", kernel_regularizer="l2"),
        ]
    )
    net.compile(keras.optimizers.SGD(0.5), metrics=["accuracy"], **arguments)
    return net


def two_headed(loss: Any) -> keras.Model:
    """Two outputs by name, of different shapes."""
    keras.utils.set_random_seed(2)
    ids = keras.Input((3,), dtype="int32")
    words = keras.layers.Embedding(5, 2)(ids)
    outputs = {
        "tags": keras.layers.Dense(1, name="tags")(words),
        "value": keras.layers.Dense(1, name="value")(keras.layers.Flatten()(words)),
    }
    net = keras.Model(ids, outputs)
    net.compile(keras.optimizers.SGD(0.5), loss=loss, metrics={"value": "mae"})
    return net


def regularized(reduction: str) -> keras.Model:
    keras.utils.set_random_seed(2)
    net = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh", kernel_regularizer="l2"),
            keras.layers.Dense(1, bias_regularizer="l1"),
        ]
    )
    net.compile(keras.optimizers.SGD(0.05), loss=keras.losses.MeanSquaredError(reduction))
    return net


SPARSE = keras.losses.SparseCategoricalCrossentropy
BY_WEIGHT = "mean_with_sample_weight"
CASES: dict[str, tuple[Callable[[], keras.Model], tuple[Any, ...]]] = {
    "a mean": (model, (IDS, Y)),
    "sample weights": (model, (IDS, Y, WEIGHTS)),
    "masked tokens": (lambda: tagger(loss=SPARSE()), (TOKENS, TOKENS % 4)),
    "divided by weights": (
        lambda: model(loss=keras.losses.MeanSquaredError(BY_WEIGHT)),
        (IDS, Y, WEIGHTS),
    ),
    "masked and weighted": (
        lambda: tagger(loss=SPARSE(reduction=BY_WEIGHT)),
        (TOKENS, TOKENS % 4, WEIGHTS[:, None] * [1.0, 0.5, 2.0]),
    ),
    "a sum": (lambda: regularized("sum"), (IDS.astype("float32"), Y)),
    "two outputs": (
        lambda: two_headed("mse"),
        (IDS, {"tags": IDS[..., None].astype("float32"), "value": Y}),
    ),
}
SLOW = {"a mean", "sample weights", "divided by weights", "masked and weighted", "two outputs"}


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if c in SLOW else c for c in CASES]
)
def test_it_equals_the_whole_batch(case: str) -> None:
    make, (x, y, *weight) = CASES[case]
    parts, whole = Microbatch(5).inject(make()), make()  # 2, 5 and 5 examples
    histories = [
        net.fit(x, y, batch_size=12, sample_weight=weight[0] if weight else None, verbose=0).history
        for net in (parts, whole)
    ]

    for ours, theirs in zip(weights_of(parts), weights_of(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert histories[0].keys() == histories[1].keys()
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, rtol=2e-6)


def test_it_descends_by_the_gradient_of_the_whole_batch() -> None:
    check_step(Microbatch(5).inject(model()), gradient)


@pytest.mark.parametrize("size", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_it_updates_once_a_batch_and_takes_a_short_last_one(size: int) -> None:
    parts, whole = Microbatch(size).inject(model()), model()
    for net in (parts, whole):
        net.fit(IDS, Y, batch_size=9, epochs=2, shuffle=False, verbose=0)  # 9 and 3 examples

    assert int(parts.optimizer.iterations) == 4
    for ours, theirs in zip(weights_of(parts), weights_of(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("size", [12, pytest.param("auto", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:Microbatch")
def test_a_batch_of_one_part_is_the_plain_step(size: Any) -> None:
    parts, whole = Microbatch(size).inject(model()), model()
    for net in (parts, whole):
        net.fit(IDS, Y, batch_size=12, epochs=2, shuffle=False, verbose=0)

    check_same_as_keras(parts.variables, whole.variables)


def test_removed_it_leaves_the_plain_model() -> None:
    net, technique = model(), Microbatch(4)
    technique.remove(technique.inject(net))

    assert not {"train_step", "fit", "make_train_function"} & set(vars(net))


@pytest.mark.slow
def test_dropout_draws_other_masks_for_each_part() -> None:
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5, seed=1)])
    net.add(keras.layers.Dense(1, use_bias=False))
    net.compile(keras.optimizers.SGD(0.1), loss="mse")
    Microbatch(4).inject(net).train_on_batch(IDS.astype("float32"), Y)

    (seed,) = (v for v in net.non_trainable_variables if "seed" in v.path)
    assert int(ops.convert_to_numpy(seed)[1]) == 3


def test_batch_statistics_are_warned_of() -> None:
    net = keras.Sequential(
        [keras.Input((3,)), keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1)]
    )
    net.compile("sgd", "mse")

    with pytest.warns(UserWarning, match=r"\['norm'\] of .* take their statistics from each part"):
        Microbatch(4).inject(net)


@pytest.mark.slow
def test_activity_regularizers_with_masks_are_warned_of() -> None:
    net = tagger(loss=SPARSE())
    net.layers[-1].activity_regularizer = keras.regularizers.L2(0.1)
    Microbatch(5).inject(net)

    with pytest.warns(UserWarning, match="activity regularizers count like the loss"):
        net.train_on_batch(TOKENS, TOKENS % 4)


def test_losses_with_different_denominators_are_refused() -> None:
    net = two_headed({"tags": keras.losses.MeanSquaredError("sum"), "value": "mse"})
    Microbatch(5).inject(net)

    with pytest.raises(ValueError, match="different denominators: 'tags' is a sum; 'value' is"):
        net.train_on_batch(IDS, {"tags": IDS[..., None].astype("float32"), "value": Y})


@keras.saving.register_keras_serializable("kooler_tests")
class Lengths(keras.Model):
    """Computes its loss itself, over tokens, and returns scalars beside its predictions."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.embedding = keras.layers.Embedding(6, 1)

    def call(self, ids: Any) -> Any:
        values = self.embedding(ids)[..., 0]
        return {"values": values, "scalar": ops.mean(values)}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any
    ) -> Any:
        mask = ops.cast(ops.not_equal(x, 0), "float32")
        report_weight(ops.sum(mask))
        return ops.sum(mask * (y_pred["values"] - 1.0) ** 2) / ops.sum(mask)


@pytest.mark.slow
def test_a_loss_of_the_models_own_says_its_weight() -> None:
    nets = []
    for size in (5, 12):
        keras.utils.set_random_seed(1)
        net = Lengths()
        net.compile(keras.optimizers.SGD(0.5))
        net(TOKENS)
        Microbatch(size).inject(net).fit(TOKENS, batch_size=12, verbose=0)
        nets.append(net)

    np.testing.assert_allclose(*(weights_of(net)[0] for net in nets), atol=1e-6)


COMPOSED: dict[str, Callable[[keras.Model], Any]] = {
    "sharpness aware": SharpnessAware(0.3).inject,
    "fast gradient": FastGradient("words", 0.5).inject,
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "wrappers": lambda: Trail(Window(keras.optimizers.Adam(0.1), 2)),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.5), 64.0),
    "rows": lambda: TableDescent(keras.optimizers.SGD(0.5), 0.5),
}


@pytest.mark.parametrize(
    ("optimizer", "technique"),
    [
        pytest.param("wrappers", None, marks=pytest.mark.slow),
        pytest.param("rows", None, marks=pytest.mark.slow),
        ("rows", "sharpness aware"),
        pytest.param("loss scale", None, marks=pytest.mark.slow),
        pytest.param("loss scale", "sharpness aware", marks=pytest.mark.slow),
        pytest.param("wrappers", "fast gradient", marks=pytest.mark.slow),
        pytest.param("rows", "fast gradient", marks=pytest.mark.slow),
    ],
)
def test_it_composes(optimizer: str, technique: str | None) -> None:
    nets = []
    for size in (4, None):
        net = model(OPTIMIZERS[optimizer]())
        if size:
            Microbatch(size).inject(net)
        if technique:
            COMPOSED[technique](net)
        net.fit(IDS, Y, batch_size=6, epochs=2, shuffle=False, verbose=0)
        nets.append(net)

    for ours, theirs in zip(*(weights_of(net) for net in nets), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-6)


@pytest.mark.parametrize("other", [GradientPenalty("words"), VirtualAdversarial("words")])
def test_penalties_that_do_not_add_up_are_refused_in_both_orders(other: Any) -> None:
    net = other.inject(model(loss="binary_crossentropy", activation="sigmoid"))
    name = type(other).__name__

    with pytest.raises(ValueError, match=f"Microbatch cannot be combined with the {name} that"):
        Microbatch(4).inject(net)
    other.remove(net)
    with pytest.raises(ValueError, match=f"{name} cannot be combined with the Microbatch that"):
        other.inject(Microbatch(4).inject(net))


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "half"])
def test_a_wrong_size_is_refused(size: Any) -> None:
    with pytest.raises(ValueError, match="must be a number of examples, 1 or more, or 'auto'"):
        Microbatch(size)


class Memory(keras.layers.Layer):
    """Runs out of memory, as the backends say it, when trained with too many examples."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def call(self, x: Any, training: bool = False) -> Any:
        if training and x.shape[0] > self.limit:
            raise RuntimeError(f"RESOURCE_EXHAUSTED: {x.shape[0]} examples are too many")
        return x


def limited(limit: int) -> keras.Model:
    keras.utils.set_random_seed(3)
    net = keras.Sequential([keras.Input((3,)), Memory(limit), keras.layers.Dense(1)])
    net.compile(keras.optimizers.SGD(0.01), loss="mse")
    return net


@pytest.mark.filterwarnings("ignore:Microbatch.*found no GPU")
def test_auto_halves_until_it_fits_and_trains_on_every_batch_once() -> None:
    halved, whole, technique = limited(3), limited(12), Microbatch("auto")
    technique.inject(halved)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for net in (halved, whole):
            for _ in range(2):
                net.train_on_batch(IDS.astype("float32"), Y)

    assert technique.size == 3
    assert [str(one.message) for one in said if "out of memory" in str(one.message)] == [
        "Microbatch('auto') ran out of memory with 12 examples at a time, and goes on with 6.",
        "Microbatch('auto') ran out of memory with 6 examples at a time, and goes on with 3.",
    ]
    assert int(halved.optimizer.iterations) == 2
    for ours, theirs in zip(weights_of(halved), weights_of(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.filterwarnings("ignore:Microbatch")
def test_one_example_that_does_not_fit_is_an_error() -> None:
    net = Microbatch("auto").inject(limited(0))

    with pytest.raises(Exception, match="RESOURCE_EXHAUSTED: 1 examples are too many"):
        net.train_on_batch(IDS[:2].astype("float32"), Y[:2])


def test_without_a_gpu_auto_says_what_it_does() -> None:
    with pytest.warns(UserWarning, match="found no GPU: it takes whole batches, and smaller parts"):
        Microbatch("auto").inject(model())
