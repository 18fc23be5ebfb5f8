"""One optimizer for both players of a GAN: rates of their own, and turns.

An optimizer that treats each variable by itself, as nearly all do, is two optimizers already: one
step of it on the weights of both players equals, bit for bit, a step of two on the weights of each.
What is not so is either arranged here or refused:

- **Learning rates** of their own are factors of the step (`LearningRateMultiplier`). Scaling the
  generator's loss instead does nothing under Adam and RMSprop, which divide it out.
- **Turns** (`n_critic`): the generator moves in every n-th step only. A gradient of zero in the
  others would let Adam's moments decay and its weights with them, so the generator has an optimizer
  of its own, a copy, which is not called meanwhile: `Turns`.
- **`global_clipnorm`** takes one norm over both players, so each would clip the other. It is
  refused.

Both are placed inside of all wrappers: `WeightAverage(Accumulate(Adam()))` accumulates first, and
averages what comes of it.
"""

from collections.abc import Iterator, Sequence
from numbers import Real
from typing import Any

import keras
from keras import ops

from kooler.core.attach import inner_optimizers
from kooler.core.conditional import run_if
from kooler.core.types import Tensor
from kooler.optimizers import Group, LearningRateMultiplier, ParamGroups
from kooler.optimizers.wrapper import OptimizerWrapper

PLAYERS = ("generator", "discriminator")


@keras.saving.register_keras_serializable("kooler")
class Turns(ParamGroups):
    """Parameter groups of which the named ones move in every n-th update only.

    Args:
        groups: Those that wait: see `ParamGroups`.
        default: The optimizer of all other variables.
        every: n. In the updates between, weights and slots of the groups stay as they are.
        strict, name: As for `ParamGroups`.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        default: Any,
        *,
        every: int = 1,
        strict: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(groups, default, strict=strict, name=name)
        self.every = every

    def update(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> None:
        """Lets the others step, and then those whose turn it is."""
        waiting = {id(v) for members in self._members[:-1] for v in members}
        pairs = list(zip(gradients, variables, strict=True))
        others = [pair for pair in pairs if id(pair[1]) not in waiting]
        rest = [pair for pair in pairs if id(pair[1]) in waiting]
        self._step(others)
        due = ops.equal((ops.convert_to_tensor(self.calls) + 1) % self.every, 0)
        slots = [slot for optimizer in self.group_optimizers for slot in optimizer.variables]
        run_if(due, lambda: self._step(rest), [*(v for _, v in rest), *slots])

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "every": self.every}

    def _step(self, pairs: list[tuple[Tensor, Any]]) -> None:
        super().update([g for g, _ in pairs], [v for _, v in pairs])


def for_players(
    optimizer: Any, generator: Any, discriminator: Any, n_critic: int, rates: Any
) -> Any:
    """The optimizer that trains both players.

    Args:
        optimizer: A Keras optimizer, a wrapper, or the name of a Keras optimizer.
        generator, discriminator: The models.
        n_critic: In one of how many updates the generator moves.
        rates: The factors of the learning rates of both, or None.

    Raises:
        ValueError: The optimizer has `global_clipnorm`.
    """
    optimizer = keras.optimizers.get(optimizer)
    _check_uncoupled(optimizer)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or (
        isinstance(optimizer, OptimizerWrapper) and not isinstance(optimizer, ParamGroups)
    ):
        inner = optimizer.inner_optimizer
        optimizer.inner_optimizer = for_players(inner, generator, discriminator, n_critic, rates)
        return optimizer
    if n_critic > 1:
        optimizer = Turns([Group(generator)], optimizer, every=n_critic)
    if rates is not None:
        factors = zip((generator, discriminator), rates, strict=True)
        optimizer = LearningRateMultiplier(optimizer, list(factors))
    return optimizer


def player_rates(rates: Any) -> tuple[float, float] | None:
    """The factors of the generator's and the discriminator's learning rate; None for none.

    Args:
        rates: None, a pair in this order, or a dictionary with one or both of the names.

    Raises:
        ValueError: It is something else, or a factor is negative.
    """
    if rates is None:
        return None
    if isinstance(rates, dict) and rates and set(rates) <= set(PLAYERS):
        rates = [rates.get(player, 1.0) for player in PLAYERS]
    fits = isinstance(rates, tuple | list) and len(rates) == 2 and all(map(_is_factor, rates))
    if not fits:
        raise ValueError(
            "`learning_rates` must be a pair of numbers ≥ 0, for generator and discriminator, or a "
            "dictionary with these names: the factors by which the optimizer's learning rate is "
            f"multiplied for each. Received learning_rates={rates!r}."
        )
    return float(rates[0]), float(rates[1])


def _is_factor(value: Any) -> bool:
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and 0 <= float(value) < float("inf")


def _check_uncoupled(optimizer: Any) -> None:
    for norm in _global_norms(optimizer):
        raise ValueError(
            f"The optimizer has global_clipnorm={norm}, one norm over generator and discriminator, "
            "so that each would clip the other's gradients. Use clipnorm, or one norm for each: "
            "GradientTransform(optimizer, [only(generator, clip_by_global_norm(1.0)), "
            "only(discriminator, clip_by_global_norm(1.0))])."
        )


def _global_norms(optimizer: Any) -> Iterator[float]:
    """Those that are taken over all variables."""
    own = getattr(optimizer, "global_clipnorm", None)
    if isinstance(optimizer, ParamGroups):
        own = optimizer.get_config()["default"]["config"].get("global_clipnorm")
    if own is not None:
        yield own
    if not hasattr(optimizer, "optimizers"):  # those of Keras's MultiOptimizer have parts each
        for inner in inner_optimizers(optimizer):
            yield from _global_norms(inner)
