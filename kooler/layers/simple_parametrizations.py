"""Parametrizations that are an equation each.

UnitNorm     w = x/‖x‖ along an axis
Scale        w = λ·x: by gradient descent as a learning rate of λ², by Adam of λ
LowRank      w = a·b
Positive     w = log(1 + eˣ)
Symmetric    w = the upper triangle of x, mirrored
"""

import math

from keras import ops

from kooler.core.types import Tensor
from kooler.layers.parametrization import Parametrization


class UnitNorm(Parametrization):
    """A weight whose vectors along an axis have length 1.

    Args:
        axis: Along which axis (or axes): 0 gives each output unit of a dense layer weights of
            length 1, as Keras's constraint of this name does after each step.
    """

    def __init__(self, axis: int | tuple[int, ...] = 0) -> None:
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Each vector over its length; one of zeros stays."""
        squares = ops.sum(ops.square(x), axis=self.axis, keepdims=True)
        return x / ops.sqrt(ops.where(squares > 0, squares, 1.0))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Itself; the length is lost."""
        return weight


class Scale(Parametrization):
    """A weight as λ times what is trained: the layer-wise learning rate of the series.

    The step of the weight is λ² times as long under gradient descent and λ times under Adam
    (https://kexue.fm/archives/6418).

    Args:
        factor: λ, not 0.
    """

    def __init__(self, factor: float) -> None:
        if not math.isfinite(factor) or factor == 0:
            raise ValueError(
                f"`factor` must be a number other than 0, received {factor!r}. "
                "To keep a weight as it is, set `layer.trainable = False`."
            )
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Times λ."""
        return x * self.factor

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Over λ."""
        return weight / self.factor


class LowRank(Parametrization):
    """A weight as the product of a tall and a wide matrix.

    It begins at the best approximation of the present weight (its singular value decomposition).

    Args:
        rank: How many columns the one has, and rows the other.
    """

    def __init__(self, rank: int) -> None:
        if rank != int(rank) or rank < 1:
            raise ValueError(f"`rank` must be an integer ≥ 1, received {rank!r}.")
        self.rank = rank

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """The product."""
        return ops.tensordot(a, b, axes=1)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The leading singular vectors, each with the root of its singular value."""
        rows, columns = math.prod(weight.shape[:-1]), weight.shape[-1]
        if len(weight.shape) < 2 or self.rank > min(rows, columns):
            raise ValueError(
                f"A weight of shape {tuple(weight.shape)} has no rank {self.rank}: the rank can be "
                f"at most {min(rows, columns) if len(weight.shape) > 1 else 0}."
            )
        left, sigma, right = ops.svd(ops.reshape(weight, (rows, columns)), full_matrices=False)
        roots = ops.sqrt(sigma[: self.rank])
        a = ops.reshape(left[:, : self.rank] * roots, (*weight.shape[:-1], self.rank))
        return a, ops.expand_dims(roots, -1) * right[: self.rank]


class Positive(Parametrization):
    """A weight that is positive everywhere.

    It begins at the absolute values of the present weight.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The softplus."""
        return ops.softplus(x)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The inverse of the softplus, log(eʷ − 1), written so that no exponential overflows."""
        size = ops.maximum(ops.abs(weight), 1e-7)
        return size + ops.log(-ops.expm1(-size))


class Symmetric(Parametrization):
    """A square matrix equal to its transpose.

    It begins at the symmetric part of the present weight.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The upper triangle, and its mirror image below."""
        return ops.triu(x) + ops.transpose(ops.triu(x, 1))

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The upper triangle of the mean of the matrix and its transpose."""
        if len(weight.shape) != 2 or weight.shape[0] != weight.shape[1]:
            raise ValueError(
                f"`Symmetric` needs a square matrix, received the shape {tuple(weight.shape)}."
            )
        return ops.triu((weight + ops.transpose(weight)) / 2)
