"""Layer normalisation whose scale and shift depend on a condition.

    y = (x − mean) / √(variance + ε) · (γ + W_γ c) + (β + W_β c),

with mean and variance over the last axis of x, and c a vector for each row (a class, an encoded
source, a style) or for each step.  W_γ and W_β begin as zeros, so that the layer begins as plain
layer normalisation and learns how much to listen.  With `hidden_dim`, c first goes through a dense
layer of that width, which saves weights when c is wide.

Su Jianlin: https://kexue.fm/archives/7124; in bert4keras `LayerNormalization(conditional=True)`.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.layers.layer import Layer


@keras.saving.register_keras_serializable("kooler")
class ConditionalLayerNormalization(Layer):
    """Layer normalisation conditioned on a second input.

    Args:
        hidden_dim: The width of a dense layer before W_γ and W_β; None has none.
        hidden_activation: Its activation.
        hidden_initializer: Of its kernel.
        epsilon: ε above.
        **arguments: As for `keras.layers.Layer`.
    """

    def __init__(
        self,
        hidden_dim: int | None = None,
        *,
        hidden_activation: Any = None,
        hidden_initializer: Any = "glorot_uniform",
        epsilon: float = 1e-3,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        if hidden_dim is not None and hidden_dim < 1:
            raise ValueError(
                f"`hidden_dim` must be None or a positive integer, received {hidden_dim!r}."
            )
        self.hidden_dim = hidden_dim
        self.hidden_activation = keras.activations.get(hidden_activation)
        self.hidden_initializer = keras.initializers.get(hidden_initializer)
        self.epsilon = epsilon
        self.supports_masking = True

    def call(self, x: Tensor, condition: Tensor) -> Tensor:
        """Normalises.

        Args:
            x: [batch, …, width].
            condition: [batch, …, condition width], with as many axes as x or fewer: those that
                are missing are filled in after the batch.
        """
        missing = len(x.shape) - len(condition.shape)
        if missing < 0:
            raise ValueError(
                "`condition` must not have more axes than x, received the shapes "
                f"{tuple(condition.shape)} and {tuple(x.shape)}."
            )
        condition = ops.expand_dims(condition, tuple(range(1, missing + 1)))
        if self.hidden_dim is not None:
            condition = self.sub("hidden", self._hidden)(condition)
        width = x.shape[-1]
        scale = self.sub("scale", lambda: self._dense(width, "ones"))(condition)
        shift = self.sub("shift", lambda: self._dense(width, "zeros"))(condition)
        normal = ops.layer_normalization(x, axis=-1, epsilon=self.epsilon)
        return ops.cast(normal, self.compute_dtype) * scale + shift

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "hidden_dim": self.hidden_dim,
            "hidden_activation": keras.activations.serialize(self.hidden_activation),
            "hidden_initializer": keras.initializers.serialize(self.hidden_initializer),
            "epsilon": self.epsilon,
        }

    def _hidden(self) -> Any:
        return keras.layers.Dense(
            self.hidden_dim,
            activation=self.hidden_activation,
            use_bias=False,
            kernel_initializer=self.hidden_initializer,
            dtype=self.dtype_policy,
        )

    def _dense(self, width: int, start: str) -> Any:
        """γ + W_γ c or β + W_β c: the bias is γ or β."""
        return keras.layers.Dense(
            width, kernel_initializer="zeros", bias_initializer=start, dtype=self.dtype_policy
        )
