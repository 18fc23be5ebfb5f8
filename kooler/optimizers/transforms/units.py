"""Output units: along which axes of a weight lies what one unit of its layer sums over.

Keras's layouts differ from those of PyTorch, for which centralisation and adaptive clipping were
written: there the first axis is the unit, here it depends on the layer.

    Dense, LSTM, GRU            [in, out]                       0
    convolution                 [height, width, in, out]        0, 1, 2
    transposed convolution      [height, width, out, in]        0, 1, 3
    depthwise convolution       [height, width, in, multiplier] 0, 1
    EinsumDense, attention      as the equation says            those that are summed over
    Embedding                   [words, dimensions]             1: a word is a unit
    biases, scales, vectors                                     none

Without a model only the shape and the name of a variable are known: then all but the last axis of
whatever is no bias, scale or embedding.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from kooler.core import compat
from kooler.core.types import Tensor
from kooler.optimizers.transforms.transform import Transform

VECTORS = ("bias", "beta", "gamma")
EMBEDDINGS = "embeddings"

Axes = tuple[int, ...]


class PerUnit(Transform):
    """A transform that treats each gradient alone, by the units of its weight.

    Args:
        name: The public function that makes it. arguments: What to call that function with.
        treat: Called as `treat(gradient, variable, axes)`; `axes` are those that one unit sums
            over, none for what has no units, such as a bias.
    """

    def __init__(
        self, name: str, arguments: dict[str, Any], treat: Callable[[Tensor, Any, Axes], Tensor]
    ) -> None:
        super().__init__(name, arguments, self._treat_each)
        self._treat = treat
        self._model: Any = None
        self._axes: dict[int, Axes] | None = None

    def bind(self, model: Any) -> None:
        """From now on the layers of this model say what a variable is."""
        self._model = weakref.ref(model)
        self._axes = None

    def axes(self, variable: Any) -> Axes:
        """The axes that one unit of a variable sums over."""
        model = self._model() if self._model is not None else None
        if model is None:
            return by_name(variable)
        if self._axes is None:
            self._axes = {id(kernel): axes for kernel, axes in _kernels(model)}
        return self._axes.get(id(variable), by_name(variable))

    def _treat_each(self, gradients: Sequence[Tensor], variables: Sequence[Any]) -> list[Tensor]:
        pairs = zip(gradients, variables, strict=True)
        return [self._treat(gradient, v, self.axes(v)) for gradient, v in pairs]


def by_name(variable: Any) -> Axes:
    """What can be said without the layer."""
    rank = len(variable.shape)
    name = getattr(variable, "name", "")
    if rank < 2 or name in VECTORS:
        return ()
    if name == EMBEDDINGS:
        return (1,)
    if name == "depthwise_kernel":
        return tuple(range(rank - 2))
    return tuple(range(rank - 1))


def _kernels(model: Any) -> Iterator[tuple[Any, Axes]]:
    """The weights whose name says too little, with their axes."""
    layers = keras.layers
    for layer in compat.flat_layers(model):
        kernel = getattr(layer, "kernel", None)
        if not isinstance(kernel, keras.Variable):
            continue
        rank = len(kernel.shape)
        if isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
            yield kernel, tuple(range(rank - 2))
        elif isinstance(
            layer, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose
        ):
            yield kernel, (*range(rank - 2), rank - 1)
        elif isinstance(layer, layers.EinsumDense):
            yield kernel, _summed(layer.equation)


def _summed(equation: str) -> Axes:
    """The axes of the second operand that the result lacks: "abc,cde->abde" gives 0."""
    operands, result = equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1]
    return tuple(axis for axis, letter in enumerate(kernel) if letter not in result)
