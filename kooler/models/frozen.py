"""Calling a model with weights that get no gradient, while the gradient by its input flows.

    y = f(x; stop(θ))            ∂y/∂x as ever,    ∂y/∂θ = 0

The generator of a GAN is judged in this way by the discriminator, within one loss that trains both;
so are a student by a teacher and a picture by a perceptual loss. Switching `model.trainable` does
not do it: it holds for the whole model and step, not for one of two calls in the same loss.

The call leaves no trace. BatchNorm normalises by the batch, dropout draws its masks, spectral
normalisation takes its step, all as in any call in training, and then everything that they would
have written is dropped. So a call of the model itself right after it starts from the same random
numbers: same masks, same outputs, and the statistics move once.

The values are replaced by tensors without gradients in a scope around the call, also on PyTorch.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.types import Tensor


@keras.saving.register_keras_serializable("kooler")
class Frozen(keras.layers.Layer):
    """A view of a model whose weights get no gradient, while the gradient by its input flows.

    The weights are shared, not copied, and stay among those of a model that contains the view. If
    nothing else trains them there, set `model.trainable = False` as well, so that no optimizer
    keeps slots for them.

    Args:
        model: A Keras model or layer.

    Raises:
        TypeError: `model` is neither.

    Example:
        >>> generator_loss = -ops.mean(Frozen(discriminator)(fake))
    """

    def __init__(self, model: Any, *, name: str | None = None, **arguments: Any) -> None:
        _check_layer("Frozen", model)
        super().__init__(name=name, **arguments)
        self.model = model

    def build(self, input_shape: Any) -> None:
        """Builds the model, if nobody has."""
        if not self.model.built:
            self.model.build(input_shape)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs of the model."""
        return call_frozen(self.model, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The model."""
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Makes the view, and the model unless the file that is being read has it already."""
        model = keras.saving.deserialize_keras_object(config["model"])
        return cls(**{**config, "model": model})


def call_frozen(model: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a model without gradients for its weights, and without a trace: see `Frozen`."""
    _keep_reads_before_updates()
    with compat.autocast(None):
        values = [(v, ops.stop_gradient(v.value)) for v in model.trainable_variables]
    return call_without_trace(model, *args, values=values, **kwargs)


def call_without_trace(
    model: Any, *args: Any, values: Sequence[tuple[Any, Tensor]] = (), **kwargs: Any
) -> Any:
    """Calls a model and drops what it would have written: statistics, seeds, added losses.

    Args:
        model: A layer or model. *args, **kwargs: Its inputs.
        values: Pairs of a variable and a tensor to use in its place.
    """
    with compat.autocast(None):  # else float32 values would pass through float16
        scope = compat.inheriting_scope(list(values))
    with scope, _random_numbers_kept():
        return model(*args, **kwargs)


def _keep_reads_before_updates() -> None:
    """Makes a compiled TensorFlow step read frozen weights before it changes them.

    Nothing that changes these weights depends on the values read, so only a control edge keeps the
    order. Keras sends all gradients of a step through one `IdentityN`; TensorFlow's graph optimizer
    takes the path through it for a reason to drop that edge, then drops the path, and the read may
    see the new weights. Without its pass for dependencies, in this process, the edge stays.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"dependency_optimization": False})


def _random_numbers_kept() -> AbstractContextManager[Any]:
    """On PyTorch, dropout without a seed draws from a generator that is no Keras variable."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    context: AbstractContextManager[Any] = torch.random.fork_rng(devices)
    return context


def _check_layer(who: str, model: Any) -> None:
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(
            f"{who} needs a Keras model or layer, received {model!r} of type "
            f"{type(model).__name__}."
        )
