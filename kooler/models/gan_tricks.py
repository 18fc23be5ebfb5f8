"""One loss whose gradient is that of both players at once: three ways to write it.

Let ℓ_D(r, f) and ℓ_G(r, f) be the losses of scores r = D(x), f = D(x̂) for x̂ = G(z), and sg the
function that stops gradients. Wanted is a loss L with ∂L/∂θ_D = ∂ℓ_D/∂θ_D and ∂L/∂θ_G = ∂ℓ_G/∂θ_G.

    frozen      L = ℓ_D(r, D(sg x̂)) + ℓ_G(sg r, D̄(x̂))          D̄: D with sg θ_D
    subtract    L = ℓ_D(r, D(sg x̂)) + ℓ_G(r, D(x̂)) − ℓ_G(r, D(sg x̂))
    reverse     L = ℓ_D(r, D(x̂ with its gradient reversed))        only if ℓ_D + ℓ_G is free of f

`frozen` is exact for every D. The pass of D̄ comes first and leaves no trace, so that the pass of D
after it draws the same dropout masks and moves the statistics of BatchNorm once: D sees one batch
of real and one of generated examples, as if trained alone.

`subtract` (Su Jianlin, https://kexue.fm/archives/6387) relies on the last two terms having one and
the same gradient by θ_D. With dropout they do not: their masks differ, and D gets the difference.
Statistics see the generated examples twice.

`reverse` (gradient reversal, https://arxiv.org/abs/1409.7495) needs one pass less, and serves
zero-sum losses only: here minimax and wgan.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras import ops

from kooler.core.types import Tensor
from kooler.layers.gradients import reverse_gradient
from kooler.models.frozen import call_frozen
from kooler.models.gan_losses import PlayerLosses

Losses = tuple[Tensor, Tensor]


@dataclasses.dataclass(frozen=True)
class Judge:
    """The discriminator within one step, and the losses that its scores are put into.

    Args:
        discriminator: The model. losses: Of both players. training: As of the step; it is passed on
            by hand, since within `fit` on JAX no surrounding call has set it.
    """

    discriminator: Any
    losses: PlayerLosses
    training: bool | None

    def scores(self, examples: Tensor) -> Tensor:
        """The scores, with all that a pass moves."""
        return self.discriminator(examples, training=self.training)

    def frozen_scores(self, examples: Tensor) -> Tensor:
        """The scores without gradients for the weights, and without a trace."""
        return call_frozen(self.discriminator, examples, training=self.training)


def by_frozen(judge: Judge, real_scores: Tensor, real: Tensor, fake: Tensor) -> Losses:
    """The losses of discriminator and generator, [batch] each."""
    held = ops.stop_gradient(fake)
    judged = judge.frozen_scores(fake)  # before the pass that moves the state
    seen = judge.scores(held)
    return (
        judge.losses.of_discriminator((real_scores, seen), real, held),
        judge.losses.of_generator((ops.stop_gradient(real_scores), judged), real, fake),
    )


def by_subtract(judge: Judge, real_scores: Tensor, real: Tensor, fake: Tensor) -> Losses:
    """The same; the second with a gradient by the discriminator that should be zero."""
    held = ops.stop_gradient(fake)
    judged, seen = judge.scores(fake), judge.scores(held)
    loss = judge.losses.of_generator((real_scores, seen), real, held)
    difference = judge.losses.of_generator((real_scores, judged), real, fake) - loss
    return (
        judge.losses.of_discriminator((real_scores, seen), real, held),
        ops.stop_gradient(loss) + difference,
    )


def by_reverse(judge: Judge, real_scores: Tensor, real: Tensor, fake: Tensor) -> Losses:
    """The same; the generator's gradient is in the first."""
    fake = reverse_gradient(fake)
    scores = real_scores, judge.scores(fake)
    loss = judge.losses.of_generator(scores, real, fake)
    return judge.losses.of_discriminator(scores, real, fake), ops.stop_gradient(loss)


TRICKS: dict[str, Callable[..., Losses]] = {
    "frozen": by_frozen,
    "subtract": by_subtract,
    "reverse": by_reverse,
}


def trick_named(trick: Any, losses: PlayerLosses) -> Callable[..., Losses]:
    """The function of that name.

    Raises:
        ValueError: There is none, or the losses are not what it needs.
    """
    if trick not in TRICKS:
        raise ValueError(f"`trick` must be one of {', '.join(TRICKS)}, received trick={trick!r}.")
    if trick == "reverse" and not losses.is_zero_sum():
        raise ValueError(
            "trick='reverse' gives the generator the opposite of the discriminator's gradient, "
            f"which is right for zero-sum losses only (minimax, wgan); {losses.name or 'this pair'}"
            " is none. Use trick='frozen'."
        )
    return TRICKS[trick]
