"""Training both players of a GAN in one step, with plain `fit`.

A generator G makes examples of random numbers z, a discriminator D gives scores, and each minimises
its own loss:

    θ_D ← θ_D − η ∂ℓ_D(D(x), D(G(z)))/∂θ_D,    θ_G ← θ_G − η ∂ℓ_G(D(x), D(G(z)))/∂θ_G,

both gradients taken at the weights of now: simultaneous descent. The usual recipe, alternating,
takes two steps, each with its own optimizer, its own generated examples and its own passes. Here
one batch goes through G once, and one loss has exactly these two gradients (`gan_tricks.py`). So
the model is an ordinary one: every optimizer and wrapper, callback and backend works with it.

    gan = GAN(generator, discriminator, "hinge")
    gan.compile(keras.optimizers.Adam(2e-4, beta_1=0.5))
    gan.fit(images, batch_size=64)
    gan.generate(16)

What each pass of D leaves behind: that on real examples comes first, then that on generated ones,
and both move its statistics; what serves the generator and the penalty leaves no trace.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.models.gan_checks import check_players, latent_shape
from kooler.models.gan_losses import player_losses
from kooler.models.gan_tricks import Judge, trick_named
from kooler.models.gradient_penalties import input_penalty
from kooler.models.no_targets import without_targets
from kooler.models.players import for_players, player_rates
from kooler.steps.step_technique import check_count


@keras.saving.register_keras_serializable("kooler")
@without_targets
class GAN(keras.Model):
    """Trains a generator and a discriminator, both in each step of `fit`.

    `fit` and `evaluate` take real examples only; the generator's inputs are drawn from a standard
    normal distribution. To choose them, pass the pair `(real, latent)`.

    Args:
        generator: A model from latent tensors to examples, with a known input shape.
        discriminator: A model from examples to scores, high for real: [batch, 1], or more of them
            for each example, as of patches.
        loss: "hinge", "non_saturating", "minimax", "wgan", "lsgan", "rsgan", "gan_qp", or a pair of
            functions (discriminator, generator) of the real and the fake scores.
        penalty: None, "wgan_gp", "r1", "wgan_div", or one with settings: R1Penalty(10.0, every=16).
        n_critic: The generator moves in one of so many steps; in the others its weights and all
            that the optimizer remembers of it stay as they are.
        learning_rates: Factors of the optimizer's learning rate, (generator, discriminator), or
            a dictionary with these names; right under Adam, too.
        trick: How one loss trains both. "frozen" is always exact; "subtract" not with dropout in
            the discriminator; "reverse" is cheaper, for "minimax" and "wgan".
        name: The name of the model.

    Raises:
        TypeError, ValueError: Models or settings do not fit each other.

    Example:
        >>> gan = GAN(generator, discriminator, "hinge", learning_rates=(0.5, 2.0))
        >>> gan.compile(keras.optimizers.Adam(2e-4, beta_1=0.5))
        >>> gan.fit(images, batch_size=64, callbacks=[SampleImages(generator, "samples")])
    """

    def __init__(
        self,
        generator: Any,
        discriminator: Any,
        loss: Any = "hinge",
        *,
        penalty: Any = None,
        n_critic: int = 1,
        learning_rates: Any = None,
        trick: str = "frozen",
        name: str | None = None,
    ) -> None:
        check_players(generator, discriminator, trick)
        super().__init__(name=name)
        self.generator = generator
        self.discriminator = discriminator
        self.latent_shape = latent_shape(generator)
        self.n_critic = check_count(self, "n_critic", n_critic)
        self.learning_rates = player_rates(learning_rates)
        self.penalty = input_penalty(penalty)
        self.trick = trick
        self._given_loss = loss
        self._player_losses = player_losses(loss)
        self._trick = trick_named(trick, self._player_losses)
        self._seeds = keras.random.SeedGenerator()
        self._steps = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="steps"
        )
        self._means = {entry: keras.metrics.Mean(name=entry) for entry in self._entries()}
        self.built = True

    @property
    def excluded_techniques(self) -> dict[str, str]:
        """Techniques of the step that this model excludes, with the reason."""
        if self.penalty is None or self.penalty.every == 1:
            return {}
        reason = (
            f"its penalty is computed in one of {self.penalty.every} passes, which would be parts "
            "of a batch then. Use a penalty with every=1."
        )
        return {"Microbatch": reason}

    def compile(self, optimizer: Any = "rmsprop", **arguments: Any) -> None:
        """Compiles with one optimizer for both players.

        Args:
            optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
            **arguments: Of `keras.Model.compile`, except losses and metrics.

        Raises:
            ValueError: A loss or metrics are given, or the optimizer has `global_clipnorm`.
        """
        for argument in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if arguments.get(argument) is not None:
                raise ValueError(
                    f"A GAN has its own losses and metrics, received "
                    f"{argument}={arguments[argument]!r}. Losses are chosen by GAN(…, loss=…); "
                    "metrics of examples belong into a callback."
                )
        players = self.generator, self.discriminator
        optimizer = for_players(optimizer, *players, self.n_critic, self.learning_rates)
        super().compile(optimizer, **arguments)

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        """Lets the players play one batch.

        Args:
            inputs: Real examples, or a pair of these and of latent tensors.
            training: Whether this is a step of training.

        Returns:
            The losses and scores by name, one number per example: [batch] each.
        """
        real, latent = self._batch(inputs)
        fake = self.generator(latent, training=training)
        penalty = self._penalty_at(real, ops.stop_gradient(fake), training)
        judge = Judge(self.discriminator, self._player_losses, training)
        losses = self._trick(judge, judge.scores(real), real, fake)
        if training:
            self._steps.assign(self._steps + 1)
        return {"discriminator_loss": losses[0], "generator_loss": losses[1], **penalty}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The sum of both losses, the penalty, and what layers have added."""
        if y is not None or sample_weight is not None:
            raise ValueError(
                "A GAN is trained on examples without targets or sample weights. Call fit(images), "
                "or fit((images, latent)) to choose the latent tensors as well; a data set yields "
                "((images, latent),)."
            )
        total = sum(self.losses)
        for entry, mean in self._means.items():
            values = ops.cast(y_pred[entry], "float32")
            mean.update_state(values)
            total = total + ops.mean(values)
        return total

    def generate(self, n: int, *, batch_size: int = 64, seed: int | None = None) -> Any:
        """Makes examples.

        Args:
            n: How many. batch_size: How many at a time. seed: For the same ones again.

        Returns:
            A NumPy array [n, …].
        """
        check_count(self, "n", n)
        latent = keras.random.normal((n, *self.latent_shape), seed=seed)
        latent = ops.convert_to_numpy(latent)
        return self.generator.predict(latent, batch_size=batch_size, verbose=0)

    def save_own_variables(self, store: Any) -> None:
        """The count of steps and the state of the random numbers, with which a run goes on."""
        for index, variable in enumerate((self._steps, self._seeds.state)):
            store[str(index)] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` wrote."""
        for index, variable in enumerate((self._steps, self._seeds.state)):
            variable.assign(store[str(index)])

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model, whose optimizer has been arranged for both players already."""
        super().compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """The players and the settings."""
        write = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "generator": write(self.generator),
            "discriminator": write(self.discriminator),
            "loss": write(self._given_loss),
            "penalty": None if self.penalty is None else write(self.penalty),
            "n_critic": self.n_critic,
            "learning_rates": self.learning_rates,
            "trick": self.trick,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Makes the players and the model."""
        made = {
            key: keras.saving.deserialize_keras_object(config[key], custom_objects)
            for key in ("generator", "discriminator", "loss", "penalty")
        }
        return cls(**{**config, **made})

    def _entries(self) -> tuple[str, ...]:
        players = ("discriminator_loss", "generator_loss")
        return players if self.penalty is None else (*players, "penalty")

    def _batch(self, inputs: Any) -> tuple[Tensor, Tensor]:
        if isinstance(inputs, tuple | list) and len(inputs) == 2:
            real, latent = inputs
            return real, latent
        if not hasattr(inputs, "shape"):
            raise ValueError(
                "A GAN takes real examples, one tensor, or the pair (real, latent); it received a "
                f"{type(inputs).__name__} of {len(inputs)}. Pass fit(images) or fit((images, "
                "latent))."
            )
        shape = (ops.shape(inputs)[0], *self.latent_shape)
        return inputs, keras.random.normal(shape, seed=self._seeds)

    def _penalty_at(self, real: Tensor, fake: Tensor, training: bool | None) -> dict[str, Tensor]:
        if self.penalty is None:
            return {}
        penalty, lazy = self.penalty, training and self.penalty.every > 1
        points = penalty.points(real, fake, self._seeds)

        def now() -> Tensor:
            return penalty.of(self.discriminator, points, training=training)

        if not lazy:
            return {"penalty": now()}
        values = ops.cond(
            ops.equal(ops.convert_to_tensor(self._steps) % penalty.every, 0),
            lambda: float(penalty.every) * now(),
            lambda: ops.zeros((ops.shape(real)[0],), "float32"),
        )
        return {"penalty": values}
