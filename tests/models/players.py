"""Two small players, and what each would do if it were trained by itself."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import layers, ops

from kooler.core.differentiate import differentiate
from kooler.optimizers import OptimizerWrapper

RANDOM = np.random.default_rng(5)
REAL = (RANDOM.normal(size=(8, 4)) + 1.0).astype("float32")
LATENT = RANDOM.normal(size=(8, 3)).astype("float32")

Losses = tuple[Callable[..., Any], Callable[..., Any]]


def softplus(x: Any) -> Any:
    return np.log1p(np.exp(x)) if isinstance(x, np.ndarray) else ops.softplus(x)


def relu(x: Any) -> Any:
    return np.maximum(x, 0.0) if isinstance(x, np.ndarray) else ops.relu(x)


# The losses once more, of NumPy arrays and of tensors: r and f are scores, d is the distance.
ORACLES: dict[str, Losses] = {
    "hinge": (lambda r, f, d: relu(1 - r) + relu(1 + f), lambda r, f, d: -f),
    "non_saturating": (
        lambda r, f, d: softplus(-r) + softplus(f),
        lambda r, f, d: softplus(-f),
    ),
    "minimax": (lambda r, f, d: softplus(-r) + softplus(f), lambda r, f, d: -softplus(f)),
    "wgan": (lambda r, f, d: f - r, lambda r, f, d: -f),
    "lsgan": (lambda r, f, d: (r - 1) ** 2 + f**2, lambda r, f, d: (f - 1) ** 2),
    "rsgan": (lambda r, f, d: softplus(f - r), lambda r, f, d: softplus(r - f)),
    "gan_qp": (lambda r, f, d: f - r + (f - r) ** 2 / (20 * d), lambda r, f, d: r - f),
}


class Keeper(OptimizerWrapper):
    """Keeps the gradients of the last step."""

    needs_batch: ClassVar[bool] = False

    def build_slots(self, variables: Sequence[Any]) -> None:
        self.kept = self.add_slots(variables, "kept")

    def before_update(self, gradients: list[Any], variables: Sequence[Any]) -> Sequence[Any]:
        for slot, gradient in zip(self.slots_of(self.kept, variables), gradients, strict=True):
            self.assign(slot, gradient)
        return gradients


def players(*, norm: bool = False, dropout: float = 0.0) -> tuple[keras.Model, keras.Model]:
    """A generator and a discriminator, the same ones each time."""
    keras.utils.set_random_seed(2)
    between: list[Any] = [layers.BatchNormalization()] if norm else []
    between.append(layers.Activation("tanh"))
    between += [layers.Dropout(dropout, seed=7)] if dropout else []
    generator = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="g_out")], name="g")
    discriminator = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, name="d_in"), *between, layers.Dense(1, name="d_out")],
        name="d",
    )
    return generator, discriminator


def separate_gradients(
    generator: keras.Model, discriminator: keras.Model, losses: Losses
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradients of discriminator and generator, each of its own loss alone.

    The discriminator's state goes from the pass on real examples to that on generated ones.
    """
    d, g, d_state, g_state = (
        [ops.convert_to_tensor(ops.convert_to_numpy(v)) for v in variables]
        for variables in (
            discriminator.trainable_variables,
            generator.trainable_variables,
            discriminator.non_trainable_variables,
            generator.non_trainable_variables,
        )
    )

    def loss(function: Any, d_weights: Any, g_weights: Any) -> Any:
        fake, _ = generator.stateless_call(g_weights, g_state, LATENT, training=True)
        real = ops.convert_to_tensor(REAL)
        r, state = discriminator.stateless_call(d_weights, d_state, real, training=True)
        f, _ = discriminator.stateless_call(d_weights, state, fake, training=True)
        distance = ops.mean(ops.abs(fake - real), axis=1, keepdims=True)
        return ops.mean(function(r, f, distance)), None

    return (
        arrays(differentiate(lambda weights: loss(losses[0], weights, g), d)[1]),
        arrays(differentiate(lambda weights: loss(losses[1], d, weights), g)[1]),
    )


def gradients_of_step(gan: Any, data: Any = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradients that one step hands to the optimizer: of discriminator and generator."""
    keeper = gan.optimizer
    gan.train_on_batch((REAL, LATENT) if data is None else data)
    return tuple(
        arrays(keeper.slots_of(keeper.kept, player.trainable_variables))
        for player in (gan.discriminator, gan.generator)
    )


def by_differences(function: Any, weights: list[np.ndarray]) -> list[np.ndarray]:
    """The gradient of a function of float64 arrays, one entry at a time."""
    gradients = [np.zeros_like(one) for one in weights]
    for one, gradient in zip(weights, gradients, strict=True):
        for place in np.ndindex(one.shape):
            middle = one[place]
            one[place] = middle + 1e-6
            above = function(weights)
            one[place] = middle - 1e-6
            gradient[place] = (above - function(weights)) / 2e-6
            one[place] = middle
    return gradients


def arrays(tensors: Any) -> list[np.ndarray]:
    """Copies, as NumPy arrays."""
    return [np.array(ops.convert_to_numpy(one)) for one in tensors]


def relative(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """The largest deviation, by the largest entry."""
    largest = max(np.abs(one).max() for one in wanted)
    return max(np.abs(a - b).max() for a, b in zip(found, wanted, strict=True)) / largest
