"""The gradient of a model by its input, which can be differentiated once more.

    g(x) = ∂ Σ f(x) / ∂x

Where the outputs for one example depend on that example alone, row i of g is the gradient of the
output for example i. It serves in `call` or in a loss: gradient penalties, saliency, Sobolev
training, energies whose force is learned. Keras has no operation for it.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.differentiate import differentiate
from kooler.core.types import Tensor
from kooler.models.frozen import call_without_trace


def input_gradient(model: Any, x: Tensor, *, training: bool | None = None) -> Tensor:
    """The gradient of the sum of a model's outputs by its input.

    The call leaves no trace (statistics of BatchNorm, states of random numbers).

    Args:
        model: A Keras model or layer with one input and one output.
        x: Floating-point tensor [batch, …], or a symbolic one of a functional model.
        training: Whether the call is one of training; None: what the surrounding call says. In the
            `call` of a model of your own pass on what that got: within `fit` on JAX nothing
            surrounds it.

    Returns:
        Of the shape of `x`; itself differentiable by `x` and by the weights of the model.

    Raises:
        TypeError: `model` is no Keras model or layer, or `x` is not of a floating-point type.

    Example:
        >>> input_gradient(keras.layers.Activation("square"), ops.array([[3.0]]))
        array([[6.]])
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(
            f"`input_gradient` needs a Keras model or layer, received {model!r} of type "
            f"{type(model).__name__}."
        )
    if isinstance(x, keras.KerasTensor):
        return InputGradient(model)(x, training=training)
    x = ops.convert_to_tensor(x)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
        raise TypeError(
            f"`input_gradient` needs an input of a floating-point type, received {x.dtype}. Take "
            "the gradient by what an embedding makes of it."
        )

    # An explicit None would hide what the surrounding call says.
    mode: dict[str, Any] = {} if training is None else {"training": training}

    def total(inputs: list[Tensor]) -> tuple[Tensor, None]:
        return ops.sum(call_without_trace(model, inputs[0], **mode)), None

    return differentiate(total, [x], again=True)[1][0]


@keras.saving.register_keras_serializable("kooler")
class InputGradient(keras.layers.Layer):
    """`input_gradient` as a layer of a functional model."""

    def __init__(self, model: Any, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.model = model

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """The gradient at `x`."""
        return input_gradient(self.model, x, training=training)

    def compute_output_spec(self, x: Any, training: bool | None = None) -> Any:
        """Like the input."""
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self) -> dict[str, Any]:
        """The model."""
        return {**super().get_config(), "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Makes the layer, and the model unless the file that is being read has it already."""
        model = keras.saving.deserialize_keras_object(config["model"])
        return cls(**{**config, "model": model})
