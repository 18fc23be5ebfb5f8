"""Penalties on the gradient of a discriminator D by its input, added to its loss.

With x real, x̂ generated, x̃ = u·x + (1−u)·x̂ for u uniform in [0, 1] per example:

    wgan_gp    λ · (‖∇D(x̃)‖ − 1)²                  λ = 10         https://arxiv.org/abs/1704.00028
    r1         γ/2 · ‖∇D(x)‖²                      γ = 10         https://arxiv.org/abs/1801.04406
    wgan_div   k/2 · (‖∇D(x)‖ᵖ + ‖∇D(x̂)‖ᵖ)         k = 2, p = 6   https://arxiv.org/abs/1712.01026

each the mean over the batch. A penalty takes two more passes of D, so it may be computed lazily,
as in StyleGAN2 (https://arxiv.org/abs/1912.04958): in one of `every` steps, `every` times as
strong. Generated examples count as given here: nothing of this reaches the generator. With
BatchNorm in D, ∇D(x) is the gradient of the whole batch's sum by each example.

A penalty of one's own overrides `points` and `value`.
"""

import dataclasses
from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.models.input_gradient import input_gradient

SMALL = 1e-12  # under the root, whose slope at zero is infinite


@dataclasses.dataclass(frozen=True)
class InputPenalty:
    """A function of the norms of ∇D at some points.

    Args:
        weight: Its factor. every: In one of how many steps it is computed, as many times as strong.
    """

    weight: float = 10.0
    every: int = 1

    def __post_init__(self) -> None:
        """Checks the numbers."""
        check = _Checked(self)
        check.number("weight")
        check.count("every")

    def points(self, real: Tensor, fake: Tensor, seed: Any) -> list[Tensor]:
        """Where the gradients are taken: tensors like `real`; random numbers come from `seed`."""
        raise NotImplementedError

    def value(self, squares: list[Tensor]) -> Tensor:
        """The penalty: [batch], from the squared norm of the gradient at each of the points."""
        raise NotImplementedError

    def of(
        self, discriminator: Any, points: list[Tensor], *, training: bool | None = None
    ) -> Tensor:
        """The penalty at the points: float32 [batch], differentiable by the weights."""
        gradients = [input_gradient(discriminator, x, training=training) for x in points]
        return self.value([_squared_norm(gradient) for gradient in gradients])

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Makes the penalty."""
        return cls(**config)


@keras.saving.register_keras_serializable("kooler")
@dataclasses.dataclass(frozen=True)
class LipschitzPenalty(InputPenalty):
    """WGAN-GP: gradients of norm 1 between real and generated examples."""

    def points(self, real: Tensor, fake: Tensor, seed: Any) -> list[Tensor]:
        """One random point between each pair."""
        shape = (ops.shape(real)[0],) + (1,) * (len(real.shape) - 1)
        share = keras.random.uniform(shape, dtype=real.dtype, seed=seed)
        return [share * real + (1.0 - share) * fake]

    def value(self, squares: list[Tensor]) -> Tensor:
        """λ (‖∇‖ − 1)²."""
        return self.weight * ops.square(ops.sqrt(squares[0] + SMALL) - 1.0)


@keras.saving.register_keras_serializable("kooler")
@dataclasses.dataclass(frozen=True)
class R1Penalty(InputPenalty):
    """R1: small gradients at real examples; usually with `every=16`."""

    def points(self, real: Tensor, fake: Tensor, seed: Any) -> list[Tensor]:
        """The real examples."""
        return [real]

    def value(self, squares: list[Tensor]) -> Tensor:
        """γ/2 ‖∇‖²."""
        return 0.5 * self.weight * squares[0]


@keras.saving.register_keras_serializable("kooler")
@dataclasses.dataclass(frozen=True)
class DivergencePenalty(InputPenalty):
    """WGAN-div: a power of the gradients at real and at generated examples.

    Args:
        weight: k. every: As for the others. power: p.
    """

    weight: float = 2.0
    power: float = 6.0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        super().__post_init__()
        _Checked(self).number("power")

    def points(self, real: Tensor, fake: Tensor, seed: Any) -> list[Tensor]:
        """Both."""
        return [real, fake]

    def value(self, squares: list[Tensor]) -> Tensor:
        """k/2 (‖∇‖ᵖ + ‖∇‖ᵖ)."""
        half = self.power / 2.0
        return 0.5 * self.weight * (squares[0] ** half + squares[1] ** half)


PENALTIES: dict[str, type[InputPenalty]] = {
    "wgan_gp": LipschitzPenalty,
    "r1": R1Penalty,
    "wgan_div": DivergencePenalty,
}


def input_penalty(penalty: Any) -> InputPenalty | None:
    """The penalty for a name, an `InputPenalty`, or None.

    Raises:
        ValueError: It is none of these.
    """
    if penalty is None or isinstance(penalty, InputPenalty):
        return penalty
    name = penalty.lower().replace("-", "_") if isinstance(penalty, str) else None
    if name not in PENALTIES:
        raise ValueError(
            f"`penalty` must be None, one of {', '.join(PENALTIES)}, or an InputPenalty such as "
            f"R1Penalty(weight=10.0, every=16), received penalty={penalty!r}."
        )
    return PENALTIES[name]()


def _squared_norm(gradient: Tensor) -> Tensor:
    squares = ops.square(ops.cast(gradient, "float32"))
    return ops.sum(squares, axis=tuple(range(1, len(squares.shape))))


class _Checked:
    """The fields of a penalty, or an error that names them."""

    def __init__(self, penalty: InputPenalty) -> None:
        self.penalty = penalty

    def number(self, name: str) -> None:
        value = getattr(self.penalty, name)
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not 0 < value < float("inf"):
            self._refuse(name, value, "a finite number above 0")

    def count(self, name: str) -> None:
        value = getattr(self.penalty, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self._refuse(name, value, "a whole number of at least 1")

    def _refuse(self, name: str, value: Any, rule: str) -> None:
        raise ValueError(
            f"`{name}` of {type(self.penalty).__name__} must be {rule}, received {name}={value!r}."
        )
