"""What the techniques of the step have in common, and how they stand beside each other."""

import contextlib

import keras
import numpy as np
import pytest

from kooler.core.attach import attachment_of
from kooler.steps import (
    FastGradient,
    GradientPenalty,
    Heun,
    Microbatch,
    ProjectedGradient,
    SharpnessAware,
    VirtualAdversarial,
)
from kooler.steps.step_technique import StepTechnique
from tests.steps.small import (
    IDS,
    LABELS,
    RATE,
    Weights,
    Y,
    check_same_as_keras,
    check_step,
    gradient,
    model,
    norm,
    numeric_gradient,
    on_table,
    plus,
    rich,
    squared_error,
    trained_plainly,
)

ALL = [
    lambda: FastGradient("words"),
    lambda: GradientPenalty("words"),
    Heun,
    lambda: Microbatch(4),
    lambda: ProjectedGradient("words"),
    SharpnessAware,
    lambda: VirtualAdversarial("words"),
]


def test_switched_off_all_together_they_are_plain_training() -> None:
    net = rich()
    for technique in (
        FastGradient("words", 0.0),
        GradientPenalty("words", 0.0),
        SharpnessAware(0.0),
        VirtualAdversarial("words", 0.0),
    ):
        technique.inject(net)
    logs = net.train_on_batch(IDS, LABELS, return_dict=True)
    plain, plain_logs = trained_plainly()

    assert logs == plain_logs
    check_same_as_keras(net.variables, plain.variables)


@pytest.mark.parametrize("make", ALL)
def test_inject_and_remove_return_the_model_and_leave_nothing(make: type[StepTechnique]) -> None:
    net, technique = rich(), make()
    warned = isinstance(technique, Microbatch)
    with pytest.warns(UserWarning) if warned else contextlib.nullcontext():
        assert technique.inject(net) is net
    assert attachment_of(net).techniques == [technique]
    assert technique.remove(net) is net

    assert not {"train_step", "fit", "make_train_function"} & set(vars(net))


def test_compiling_again_keeps_the_technique() -> None:
    net = SharpnessAware(0.1).inject(model())
    net.compile(keras.optimizers.SGD(0.1), loss="mae")

    assert len(attachment_of(net).techniques) == 1


def worst(weights: Weights, rho: float, of: object) -> Weights:
    here = of(weights)
    return plus(weights, here, rho / norm(here))


@pytest.mark.slow
def test_sharpness_of_the_adversarial_loss() -> None:
    """SharpnessAware stands outside: it takes adversarial gradients, at w and uphill of w."""

    def adversarial(weights: Weights) -> Weights:
        table = gradient(weights)[0]
        return gradient(plus(weights, on_table(0.7 * table / norm([table]), weights)))

    net = SharpnessAware(0.3).inject(FastGradient("words", 0.7).inject(model()))

    check_step(net, lambda weights: adversarial(worst(weights, 0.3, adversarial)))


@pytest.mark.slow
def test_heun_of_a_penalized_loss() -> None:
    """The penalty stands inside: each of the two gradients is one of the penalized loss."""

    def penalized(weights: Weights) -> Weights:
        def whole(at: Weights) -> float:
            return squared_error(at) + 0.8 * norm(gradient(at)[:1]) ** 2

        return numeric_gradient(whole, weights)

    def expected(weights: Weights) -> Weights:
        here = penalized(weights)
        there = penalized(plus(weights, here, -RATE))
        return [(one + two) / 2 for one, two in zip(here, there, strict=True)]

    check_step(GradientPenalty("words", 0.8).inject(Heun().inject(model())), expected)


def test_what_has_no_meaning_together_is_refused() -> None:
    net = FastGradient("words").inject(model())

    with pytest.raises(
        ValueError,
        match=r"ProjectedGradient cannot be combined with the FastGradient that .*: both choose",
    ):
        ProjectedGradient("words").inject(net)
    assert len(attachment_of(net).techniques) == 1


def test_a_model_that_is_not_compiled_is_refused() -> None:
    with pytest.raises(ValueError, match="SharpnessAware needs a compiled model, and 'raw' is not"):
        SharpnessAware().inject(keras.Sequential(name="raw"))
    with pytest.raises(ValueError, match="SharpnessAware needs a compiled model, and 'raw' is not"):
        SharpnessAware().inject("raw")


def test_numbers_of_numpy_are_numbers() -> None:
    assert SharpnessAware(np.float32(0.5)).rho == 0.5
    assert ProjectedGradient("words", iterations=np.int64(3)).iterations == 3
    assert Microbatch(np.int32(4)).size == 4
    with pytest.raises(ValueError, match=r"must be a whole number of at least 1, received .*True"):
        ProjectedGradient("words", iterations=True)


def test_a_loss_that_depends_on_nothing_chosen_is_refused() -> None:
    if keras.backend.backend() == "jax":
        pytest.skip("JAX gives zeros for a weight that is not used, and a zero vector stays zero")
    inputs = keras.Input((3,), dtype="int32")
    words = keras.layers.Embedding(5, 2)(inputs)
    unused = keras.layers.Dense(2, name="unused")(words)
    heads = [keras.layers.Flatten()(words), keras.layers.Flatten()(unused)]
    net = keras.Model(inputs, [keras.layers.Dense(1)(heads[0]), heads[1]])
    net.compile("sgd", loss=["mse", None])
    FastGradient("unused").inject(net)

    with pytest.raises(ValueError, match=r"The loss depends on none of the variables \['unused"):
        net.train_on_batch(IDS, Y)
