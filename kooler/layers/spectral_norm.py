"""Spectral normalisation: a weight divided by its largest singular value.

    w = x / σ(x),    σ(x) = uᵀ·X·v

The layer then stretches no vector by more than 1 (https://arxiv.org/abs/1802.05957). X is the
weight as the matrix from its inputs to its outputs: [all other axes, output]. For a convolution
that is the reshaped kernel, as everywhere, and not the operator. For a transposed convolution the
output is the axis before the last; an `EinsumDense`, as in attention, says by its equation which
axes are inputs. u and v come from power iteration: they begin exact, each call takes `iterations`
steps (some more to predict) from where the last call in training ended, and no gradient goes
through them. So the gradient is that of σ itself,

    ∂L/∂x = (G − ⟨G, w⟩·u·vᵀ) / σ,    G = ∂L/∂w.

Keras's own `SpectralNormalization` assigns to the kernel in `call`: on JAX the assignment is lost
and the model predicts with a kernel that was never normalised; on PyTorch and TensorFlow the
kernel is projected instead, and the gradient is that of neither. Here predicting divides by σ, too.
"""

import math
from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.layers.parametrization import Parametrization

STEPS_TO_PREDICT = 10
"""Between the last update of the vectors and a prediction the weight has moved by one step."""


class SpectralNorm(Parametrization):
    """A weight divided by its largest singular value.

    Args:
        iterations: Steps of the power iteration in each call.
        exact: Whether each call computes the singular vectors themselves, without a memory. It
            costs a singular value decomposition; take it for small matrices, or where several
            singular values are about equal, as for an orthogonal recurrent kernel.

    Example:
        >>> reparametrize(discriminator, "kernel$", SpectralNorm())
    """

    def __init__(self, iterations: int = 1, *, exact: bool = False) -> None:
        if iterations != int(iterations) or iterations < 1:
            raise ValueError(
                f"`iterations` must be an integer ≥ 1, received {iterations!r}. "
                "For singular vectors that are exact in each call, set `exact=True`."
            )
        self.iterations = iterations
        self.exact = exact
        self._inputs: tuple[int, ...] | None = None  # the axes that are inputs

    def for_variable(self, layer: Any, variable: Any) -> "SpectralNorm":
        """The same, knowing which axes of the kernel of this layer are inputs."""
        new = SpectralNorm(self.iterations, exact=self.exact)
        new._inputs = _input_axes(layer, variable)
        return new

    def forward(self, x: Tensor, **state: Tensor) -> Tensor:
        """The original over its largest singular value."""
        matrix = self._matrix(x)
        if self.exact:
            state = _leading_vectors(ops.stop_gradient(matrix))
        sigma = ops.sum(state["left"] * ops.matmul(matrix, state["right"]))
        return x / ops.where(sigma > 0, sigma, 1.0)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Itself; its length does not matter."""
        return weight

    def initial_state(self, weight: Tensor) -> dict[str, Tensor]:
        """The singular vectors."""
        return {} if self.exact else _leading_vectors(self._matrix(weight))

    def update(
        self, state: dict[str, Tensor], *originals: Tensor, training: bool
    ) -> dict[str, Tensor]:
        """A few steps of the power iteration."""
        if self.exact:
            return {}
        matrix = self._matrix(originals[0])
        left, right = state["left"], state["right"]
        steps = self.iterations if training else max(self.iterations, STEPS_TO_PREDICT)
        for _ in range(steps):
            left = _unit(ops.matmul(matrix, right))
            right = _unit(ops.matmul(left, matrix))
        return {"left": left, "right": right}

    def _matrix(self, x: Tensor) -> Tensor:
        rank = len(x.shape)
        inputs = tuple(range(rank - 1)) if self._inputs is None else self._inputs
        outputs = [axis for axis in range(rank) if axis not in inputs]
        rows = math.prod(x.shape[axis] for axis in inputs)
        return ops.reshape(ops.transpose(x, [*inputs, *outputs]), (rows, -1))


def _leading_vectors(matrix: Tensor) -> dict[str, Tensor]:
    left, _, right = ops.svd(matrix, full_matrices=False)
    return {"left": left[:, 0], "right": right[0]}


def _unit(vector: Tensor) -> Tensor:
    length = ops.sqrt(ops.sum(ops.square(vector)))
    return vector / ops.where(length > 0, length, 1.0)


def _input_axes(layer: Any, variable: Any) -> tuple[int, ...]:
    rank = len(variable.shape)
    transposed = (
        keras.layers.Conv1DTranspose,
        keras.layers.Conv2DTranspose,
        keras.layers.Conv3DTranspose,
    )
    if isinstance(layer, transposed) and rank > 2:
        return (*range(rank - 2), rank - 1)
    if isinstance(layer, keras.layers.EinsumDense) and rank > 1 and variable.name == "kernel":
        kernel = layer.equation.split("->")[0].split(",")[1]
        return tuple(
            i for i, axis in enumerate(kernel) if axis not in layer.equation.split("->")[1]
        )
    return tuple(range(rank - 1))
