"""Orthogonal weights: orthonormal columns, or rows, all through training.

    W = Q·(I − A/2)⁻¹·(I + A/2)        A skew-symmetric, from the lower triangle of x

The Cayley transform of a skew matrix is orthogonal, so no step leaves the orthogonal matrices, and
plain gradient descent on x is descent on them (https://arxiv.org/abs/1901.08428; Q, where training
begins, is https://arxiv.org/abs/1909.09501). A tall matrix has orthonormal columns, a wide one
orthonormal rows; more axes are flattened into the rows, as for a convolution. It begins at the
present weight if that is orthogonal, and else at the orthogonal factor of its QR decomposition.
"""

import math

from keras import ops

from kooler.core.types import Tensor
from kooler.layers.parametrization import Parametrization


class Orthogonal(Parametrization):
    """A weight with orthonormal columns (or rows, if it has more columns than rows).

    Example:
        >>> reparametrize(model, lstm.cell.recurrent_kernel, Orthogonal())
    """

    def forward(self, x: Tensor, base: Tensor) -> Tensor:
        """The Cayley transform, times where training began."""
        tall = _tall(x)
        rows, columns = tall.shape
        lower = ops.pad(ops.tril(tall, -1), ((0, 0), (0, rows - columns)))
        skew = lower - ops.transpose(lower)
        identity = ops.eye(rows, dtype=x.dtype)
        turn = ops.solve(identity - skew / 2, identity + skew / 2)
        weight = ops.matmul(base, turn)[:, :columns]
        return ops.reshape(_turned(weight, x), x.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """No turn from where training begins."""
        if len(weight.shape) < 2:
            raise ValueError(
                f"`Orthogonal` needs a matrix, received a weight of shape {tuple(weight.shape)}. "
                "Select kernels only, for instance by 'kernel$'."
            )
        return ops.zeros_like(weight)

    def initial_state(self, weight: Tensor) -> dict[str, Tensor]:
        """A square orthogonal matrix whose first columns are the weight's, made orthogonal."""
        tall = _tall(weight)
        base, triangle = ops.qr(tall, mode="complete")  # [rows, rows], [rows, columns]
        signs = ops.where(ops.diagonal(triangle) < 0, -1.0, 1.0)
        rows, columns = tall.shape
        signs = ops.pad(ops.cast(signs, base.dtype), ((0, rows - columns),), constant_values=1.0)
        return {"base": base * signs}


def _tall(x: Tensor) -> Tensor:
    matrix = ops.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    return _turned(matrix, x)


def _turned(matrix: Tensor, x: Tensor) -> Tensor:
    return ops.transpose(matrix) if math.prod(x.shape[:-1]) < x.shape[-1] else matrix
