"""What the two players of a GAN minimise, as functions of the discriminator's scores.

With r the score of a real and f that of a generated example (high means "real"), s(x) = log(1+eˣ)
and d the mean absolute difference of the two examples:

    name            discriminator                    generator
    hinge           max(0, 1−r) + max(0, 1+f)        −f          https://arxiv.org/abs/1705.02894
    non_saturating  s(−r) + s(f)                     s(−f)       https://arxiv.org/abs/1406.2661
    minimax         s(−r) + s(f)                     −s(f)       the same paper
    wgan            f − r                            −f          https://arxiv.org/abs/1701.07875
    lsgan           (r−1)² + f²                      (f−1)²      https://arxiv.org/abs/1611.04076
    rsgan           s(f−r)                           s(r−f)      https://arxiv.org/abs/1807.00734
    gan_qp          (f−r) + (f−r)² / (20·d)          r − f       https://arxiv.org/abs/1811.07296

A loss of one's own is a pair of functions, the discriminator's first. Each takes (r, f), or
(r, f, d), and returns one number an example, or more: their mean counts.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from kooler.core.types import Tensor

SCALE_OF_DISTANCE = 10.0  # λ of GAN-QP


class PlayerLosses:
    """The losses of both players.

    Args:
        name: As given, or None for a pair of functions.
        discriminator: `f(real_scores, fake_scores[, distance])`. generator: The same.
    """

    def __init__(
        self, name: str | None, discriminator: Callable[..., Any], generator: Callable[..., Any]
    ) -> None:
        self.name = name
        self.functions = discriminator, generator

    def of_discriminator(self, scores: tuple[Tensor, Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """What the discriminator minimises: [batch]; `scores` are those of `real` and `fake`."""
        return _losses(self.functions[0], scores, real, fake)

    def of_generator(self, scores: tuple[Tensor, Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """What the generator minimises: [batch]."""
        return _losses(self.functions[1], scores, real, fake)

    def is_zero_sum(self) -> bool:
        """Whether what the discriminator loses by a generated example the generator wins.

        Found out by trying: for a given r, the sum of both losses must not depend on f.
        """
        scores = np.array([-2.3, -0.7, 0.4, 1.9], "float32")
        pairs = (
            ops.convert_to_tensor(np.repeat(scores, 4)),
            ops.convert_to_tensor(np.tile(scores, 4)),
        )
        columns = [ops.reshape(one, (-1, 1)) for one in pairs]
        ones = ops.ones((16, 1))
        total = _losses(self.functions[0], columns, ones, 0 * ones)
        total = total + _losses(self.functions[1], columns, ones, 0 * ones)
        by_real = ops.convert_to_numpy(total).reshape(4, 4)
        return bool(np.ptp(by_real, axis=1).max() < 1e-4)


def player_losses(loss: Any) -> PlayerLosses:
    """The losses for a name or a pair of functions.

    Args:
        loss: One of the names above (also as "WGAN" or "GAN-QP"), or a pair of functions.

    Raises:
        ValueError: There is no such name. TypeError: It is neither a name nor a pair of functions.
    """
    if isinstance(loss, str):
        name = loss.lower().replace("-", "_")
        if name not in LOSSES:
            raise ValueError(
                f"`loss` must be one of {', '.join(LOSSES)}, or a pair of functions "
                f"(discriminator, generator) of the scores, received loss={loss!r}."
            )
        return PlayerLosses(name, *LOSSES[name])
    if isinstance(loss, tuple | list) and len(loss) == 2 and all(callable(one) for one in loss):
        return PlayerLosses(None, *loss)
    raise TypeError(
        f"`loss` must be one of {', '.join(LOSSES)}, or a pair of functions (discriminator, "
        f"generator) of the scores, received loss={loss!r}."
    )


def _losses(function: Callable[..., Any], scores: Any, real: Tensor, fake: Tensor) -> Tensor:
    arguments = [ops.cast(one, "float32") for one in scores]
    if len(inspect.signature(function).parameters) > 2:
        arguments.append(_distance(real, fake, len(arguments[1].shape)))
    return per_example(function(*arguments))


def per_example(values: Tensor) -> Tensor:
    """The mean over all but the first axis: [batch]."""
    values = ops.cast(values, "float32")
    return ops.mean(values, axis=tuple(range(1, len(values.shape))))


def _distance(real: Tensor, fake: Tensor, rank: int) -> Tensor:
    means = per_example(ops.abs(ops.cast(real, "float32") - ops.cast(fake, "float32")))
    return ops.reshape(means, (-1,) + (1,) * (rank - 1))


def _hinge(r: Tensor, f: Tensor) -> Tensor:
    return ops.relu(1.0 - r) + ops.relu(1.0 + f)


def _logistic(r: Tensor, f: Tensor) -> Tensor:
    return ops.softplus(-r) + ops.softplus(f)


def _quadratic_potential(r: Tensor, f: Tensor, distance: Tensor) -> Tensor:
    return (f - r) + ops.square(f - r) / (2.0 * SCALE_OF_DISTANCE * ops.maximum(distance, 1e-7))


LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "hinge": (_hinge, lambda r, f: -f),
    "non_saturating": (_logistic, lambda r, f: ops.softplus(-f)),
    "minimax": (_logistic, lambda r, f: -ops.softplus(f)),
    "wgan": (lambda r, f: f - r, lambda r, f: -f),
    "lsgan": (lambda r, f: ops.square(r - 1.0) + ops.square(f), lambda r, f: ops.square(f - 1.0)),
    "rsgan": (lambda r, f: ops.softplus(f - r), lambda r, f: ops.softplus(r - f)),
    "gan_qp": (_quadratic_potential, lambda r, f: r - f),
}
