"""Penalties on ∇D, against NumPy, and through the step of a GAN."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from kooler.models import GAN, DivergencePenalty, LipschitzPenalty, R1Penalty
from kooler.models.gradient_penalties import InputPenalty
from tests.models.players import (
    LATENT,
    REAL,
    Keeper,
    arrays,
    by_differences,
    gradients_of_step,
    players,
    relative,
)

WEIGHTS = np.array([[0.5], [-1.0], [2.0], [0.3]])
SQUARE = float((WEIGHTS**2).sum())


@pytest.mark.parametrize(
    ("penalty", "wanted"),
    [
        (LipschitzPenalty(10.0), 10.0 * (SQUARE**0.5 - 1) ** 2),
        (R1Penalty(10.0), 5.0 * SQUARE),
        (DivergencePenalty(2.0), 2 * SQUARE**3),
        (DivergencePenalty(2.0, power=2.0), 2 * SQUARE),
    ],
)
def test_for_a_line_it_is_a_function_of_the_slope(penalty: InputPenalty, wanted: float) -> None:
    line = layers.Dense(1, use_bias=False)
    line.build((None, 4))
    line.set_weights([WEIGHTS])
    seed = keras.random.SeedGenerator(1)

    found = penalty.of(line, penalty.points(ops.convert_to_tensor(REAL), ops.ones((8, 4)), seed))

    np.testing.assert_allclose(ops.convert_to_numpy(found), np.full(8, wanted), rtol=1e-5)


def test_points_lie_between_real_and_generated_examples() -> None:
    real, fake = ops.zeros((50, 2, 3)), ops.ones((50, 2, 3))

    (points,) = LipschitzPenalty().points(real, fake, keras.random.SeedGenerator(1))
    shares = ops.convert_to_numpy(points)

    assert (shares == shares[:, :1, :1]).all()
    assert 0 <= shares.min() < 0.2 < 0.8 < shares.max() <= 1


@pytest.mark.parametrize("penalty", [R1Penalty(3.0), DivergencePenalty(0.5, power=4.0)])
def test_the_discriminator_gets_its_gradient_and_the_generator_none(penalty: Any) -> None:
    def step(chosen: Any) -> Any:
        gan = GAN(*players(), "wgan", penalty=chosen)
        gan.compile(Keeper(keras.optimizers.SGD(0.1)), run_eagerly=True)
        weights = [w.astype("float64") for w in arrays(gan.discriminator.trainable_variables)]
        fake = gan.generator.predict(LATENT, verbose=0)
        return gradients_of_step(gan), weights, fake

    plain, _, _ = step(None)
    penalised, weights, fake = step(penalty)
    difference = [a - b for a, b in zip(penalised[0], plain[0], strict=True)]
    wanted = by_differences(lambda w: numpy_penalty(penalty, w, fake), weights)

    assert relative(difference, wanted) < 2e-5
    assert relative(penalised[1], plain[1]) == 0


def test_a_penalty_of_ones_own() -> None:
    class Both(InputPenalty):
        def points(self, real: Any, fake: Any, seed: Any) -> list[Any]:
            return [real]

        def value(self, squares: list[Any]) -> Any:
            return self.weight * squares[0]

    gan = GAN(*players(), penalty=Both(weight=2.0))
    gan.compile("sgd", run_eagerly=True)

    assert gan.train_on_batch(REAL, return_dict=True)["penalty"] > 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: R1Penalty(-1.0), "`weight` of R1Penalty must be a finite number above 0.*-1.0"),
        (lambda: R1Penalty(every=0), "`every` of R1Penalty must be a whole number of at least 1"),
        (lambda: DivergencePenalty(power=0), "`power` of DivergencePenalty must be"),
    ],
)
def test_wrong_numbers_are_refused(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def numpy_penalty(penalty: Any, weights: list[np.ndarray], fake: np.ndarray) -> float:
    kernel, bias, out, _ = weights

    def squares(x: np.ndarray) -> np.ndarray:
        slope = 1 - np.tanh(x.astype("float64") @ kernel + bias) ** 2
        return (((slope * out[:, 0]) @ kernel.T) ** 2).sum(axis=1)

    if isinstance(penalty, R1Penalty):
        return float(penalty.weight / 2 * squares(REAL).mean())
    half = penalty.power / 2
    return float(penalty.weight / 2 * (squares(REAL) ** half + squares(fake) ** half).mean())
