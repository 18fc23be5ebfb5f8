"""Weight normalisation: length and direction of a weight, trained apart.

    w = g · v / ‖v‖

with one g for each index of `axis`, and ‖v‖ over all other axes
(https://arxiv.org/abs/1602.07868). It begins at the present weight: v = w, g = ‖w‖.
"""

import math

from keras import ops

from kooler.core.types import Tensor
from kooler.layers.parametrization import Parametrization


class WeightNorm(Parametrization):
    """A weight as length times direction: w = g·v/‖v‖.

    Args:
        axis: The axis (or axes) whose entries have lengths of their own: -1 gives each output unit
            one, for kernels of Keras's layers. None: one length for the whole weight.

    Example:
        >>> reparametrize(model, "kernel$", WeightNorm())
    """

    def __init__(self, axis: int | tuple[int, ...] | None = -1) -> None:
        self.axis = axis

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Length times direction."""
        return g * (v / self._norm(v))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Length and direction; where the length is zero, any direction will do."""
        axes = self._other_axes(weight)
        squares = ops.sum(ops.square(weight), axis=axes, keepdims=True)
        side = 1 / math.sqrt(math.prod(weight.shape[axis] for axis in axes))
        return ops.sqrt(squares), ops.where(squares > 0, weight, ops.full_like(weight, side))

    def _norm(self, v: Tensor) -> Tensor:
        return ops.sqrt(ops.sum(ops.square(v), axis=self._other_axes(v), keepdims=True))

    def _other_axes(self, weight: Tensor) -> tuple[int, ...]:
        rank = len(weight.shape)
        own = () if self.axis is None else self.axis
        kept = {axis % rank for axis in (own if isinstance(own, tuple) else (own,))}
        return tuple(axis for axis in range(rank) if axis not in kept)
