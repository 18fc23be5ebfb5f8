"""The usual way to train a GAN, as the examples of Keras write it: for `benchmarks/gan.py`.

A `train_step` of its own for each backend, two optimizers, and in each step two generated batches:
one for the discriminator's update and, after it, one for the generator's.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def discriminator_loss(real: Any, fake: Any) -> Any:
    """The non-saturating loss."""
    return ops.mean(ops.softplus(-real) + ops.softplus(fake))


def generator_loss(fake: Any) -> Any:
    """The same for the generator."""
    return ops.mean(ops.softplus(-fake))


class AlternatingGAN(keras.Model):
    """Trains the discriminator, then the generator.

    Args:
        generator, discriminator: Built models.
        make_optimizer: Called twice.
    """

    def __init__(
        self, generator: Any, discriminator: Any, make_optimizer: Callable[[], Any]
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.seeds = keras.random.SeedGenerator()
        self.latent_shape = generator.input_shape[1:]
        self.second = make_optimizer()
        self.second.build(discriminator.trainable_variables)
        self.built = True
        self.compile(make_optimizer())
        self.optimizer.build(generator.trainable_variables)

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Keras's JAX trainer hands on the variables of one optimizer only."""
        return [*super().non_trainable_variables, *self.second.variables]

    def latent(self, images: Any) -> Any:
        """Random numbers for as many examples."""
        return keras.random.normal((ops.shape(images)[0], *self.latent_shape), seed=self.seeds)

    def train_step(self, *arguments: Any) -> Any:
        """A step of each player."""
        return STEPS[keras.backend.backend()](self, *arguments)


def by_torch(gan: AlternatingGAN, data: Any) -> dict[str, Any]:
    """With backward."""
    import torch

    (images,) = data if isinstance(data, tuple) else (data,)
    fake = gan.generator(gan.latent(images), training=True).detach()
    real_scores = gan.discriminator(images, training=True)
    first = discriminator_loss(real_scores, gan.discriminator(fake, training=True))
    gan.zero_grad()
    first.backward()
    _apply_by_torch(gan.second, gan.discriminator)
    fake = gan.generator(gan.latent(images), training=True)
    second = generator_loss(gan.discriminator(fake, training=True))
    gan.zero_grad()
    second.backward()
    _apply_by_torch(gan.optimizer, gan.generator)
    with torch.no_grad():
        return {"discriminator_loss": first.detach(), "generator_loss": second.detach()}


def _apply_by_torch(optimizer: Any, player: Any) -> None:
    import torch

    variables = player.trainable_variables
    with torch.no_grad():
        optimizer.apply([variable.value.grad for variable in variables], variables)


def by_tensorflow(gan: AlternatingGAN, data: Any) -> dict[str, Any]:
    """With tapes."""
    import tensorflow as tf

    (images,) = data if isinstance(data, tuple) else (data,)
    fake = gan.generator(gan.latent(images), training=True)
    with tf.GradientTape() as tape:
        real_scores = gan.discriminator(images, training=True)
        first = discriminator_loss(real_scores, gan.discriminator(fake, training=True))
    variables = gan.discriminator.trainable_weights
    gan.second.apply(tape.gradient(first, [v.value for v in variables]), variables)
    with tf.GradientTape() as tape:
        fake = gan.generator(gan.latent(images), training=True)
        second = generator_loss(gan.discriminator(fake, training=True))
    variables = gan.generator.trainable_weights
    gan.optimizer.apply(tape.gradient(second, [v.value for v in variables]), variables)
    return {"discriminator_loss": first, "generator_loss": second}


def by_jax(gan: AlternatingGAN, state: Any, data: Any) -> Any:
    """With functions of all values."""
    import jax

    (images,) = data if isinstance(data, tuple) else (data,)
    groups = (
        gan.trainable_variables,
        gan.non_trainable_variables,
        gan.optimizer.variables,
        gan.metrics_variables,
    )
    values = {
        id(variable): value
        for variables, some in zip(groups, state, strict=True)
        for variable, value in zip(variables, some, strict=True)
    }

    def of(variables: Any) -> list[Any]:
        return [values[id(variable)] for variable in variables]

    def put(variables: Any, new: Any) -> None:
        values.update({id(v): value for v, value in zip(variables, new, strict=True)})

    def latent() -> Any:
        with keras.StatelessScope([(gan.seeds.state, values[id(gan.seeds.state)])]) as scope:
            drawn = gan.latent(images)
        put([gan.seeds.state], [scope.get_current_value(gan.seeds.state)])
        return drawn

    d, g = gan.discriminator, gan.generator

    def first_loss(weights: Any, fake: Any) -> Any:
        real, moved = d.stateless_call(
            weights, of(d.non_trainable_variables), images, training=True
        )
        seen, moved = d.stateless_call(weights, moved, fake, training=True)
        return discriminator_loss(real, seen), moved

    def second_loss(weights: Any, drawn: Any) -> Any:
        fake, g_moved = g.stateless_call(
            weights, of(g.non_trainable_variables), drawn, training=True
        )
        seen, d_moved = d.stateless_call(
            of(d.trainable_variables), of(d.non_trainable_variables), fake, training=True
        )
        return generator_loss(seen), (g_moved, d_moved)

    fake, moved = g.stateless_call(
        of(g.trainable_variables), of(g.non_trainable_variables), latent(), training=True
    )
    put(g.non_trainable_variables, moved)
    differentiate = jax.value_and_grad(first_loss, has_aux=True)
    (first, moved), gradients = differentiate(of(d.trainable_variables), fake)
    put(d.non_trainable_variables, moved)
    weights, slots = gan.second.stateless_apply(
        of(gan.second.variables), gradients, of(d.trainable_variables)
    )
    put([*d.trainable_variables, *gan.second.variables], [*weights, *slots])
    differentiate = jax.value_and_grad(second_loss, has_aux=True)
    (second, moved), gradients = differentiate(of(g.trainable_variables), latent())
    put([*g.non_trainable_variables, *d.non_trainable_variables], [*moved[0], *moved[1]])
    weights, slots = gan.optimizer.stateless_apply(
        of(gan.optimizer.variables), gradients, of(g.trainable_variables)
    )
    put([*g.trainable_variables, *gan.optimizer.variables], [*weights, *slots])
    logs = {"discriminator_loss": first, "generator_loss": second}
    return logs, tuple(of(variables) for variables in groups)


STEPS: dict[str, Callable[..., Any]] = {
    "jax": by_jax,
    "torch": by_torch,
    "tensorflow": by_tensorflow,
}
