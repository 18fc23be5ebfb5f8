"""Pooling, convolution and normalisation along the steps that do not read padding.

For a sequence of L valid steps, each gives on those steps what it gives for the L steps alone, and
zeros elsewhere, and carries the mask that its outputs have:

    layer                          which windows are valid
    MaskedGlobalAveragePooling1D   (no steps are left)
    MaskedGlobalMaxPooling1D       (no steps are left)
    MaskedAveragePooling1D         "valid": those inside of the sequence, "same": those that begin
    MaskedMaxPooling1D             in it
    MaskedConv1D                   "valid": those inside of the sequence, "same", "causal": those
                                   whose middle, or last, step is in it
    MaskedGroupNormalization       (each step stays as it is)

What needs no counterpart here: LayerNormalization, RMSNormalization and Dense treat each step by
itself, and Keras's BatchNormalization counts valid steps only.
"""

from typing import Any

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.layers.alignment import steps_mask
from kooler.layers.masks import lowest_like, masked_max, masked_mean

serializable = keras.saving.register_keras_serializable("kooler")


class _GlobalPooling(keras.layers.Layer):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Nothing to make."""

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """No steps are left."""
        return None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, steps, …] → [batch, …]."""
        return (input_shape[0], *input_shape[2:])


@serializable
class MaskedGlobalAveragePooling1D(_GlobalPooling):
    """The mean over the valid steps; zeros for a row without any, where Keras gives NaN."""

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, steps, …] → [batch, …]."""
        return masked_mean(x, mask)


@serializable
class MaskedGlobalMaxPooling1D(_GlobalPooling):
    """The maximum over the valid steps; zeros for a row without any.  Keras's ignores masks."""

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, steps, …] → [batch, …]."""
        return masked_max(x, mask)


class _Pooling(keras.layers.Layer):
    """Windows of `pool_size` steps, one every `strides`, the first at the first step."""

    def __init__(
        self, pool_size: int, strides: int | None = None, padding: str = "valid", **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        if padding not in ("valid", "same"):
            raise ValueError(f'`padding` must be "valid" or "same", received {padding!r}.')
        self.pool_size = pool_size
        self.strides = pool_size if strides is None else strides
        self.padding = padding
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Nothing to make."""

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Which windows are valid."""
        if previous_mask is None:
            return None
        return ops.squeeze(self._windows(_numbers(inputs, previous_mask)), -1) > 0

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, steps, width] → [batch, windows, width]."""
        valid = _numbers(x, mask)  # [batch, steps, 1]
        windows = self._windows(valid)
        pooled = self._pooled(x, valid)
        return ops.where(windows > 0, pooled, ops.zeros_like(pooled))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }

    def _windows(self, valid: Tensor) -> Tensor:
        """1 for each window that counts: all its steps ("valid") or one of them."""
        if self.padding == "same":
            return self._max(valid)
        return 1.0 - self._max(1.0 - valid)

    def _max(self, x: Tensor) -> Tensor:
        return ops.max_pool(self._extended(x, x), self.pool_size, self.strides)

    def _extended(self, x: Tensor, like: Tensor, fill: Any = 0.0) -> Tensor:
        """With more steps behind, so that the windows that have begun can end."""
        if self.padding == "valid":
            return x
        more = ops.zeros_like(like[:, :1]) + ops.cast(fill, like.dtype)
        return ops.concatenate([x, *[more] * (self.pool_size - 1)], axis=1)

    def _pooled(self, x: Tensor, valid: Tensor) -> Tensor:
        raise NotImplementedError


@serializable
class MaskedAveragePooling1D(_Pooling):
    """Means over the valid steps of windows.

    Args:
        pool_size: Steps in a window.
        strides: Steps from one window to the next; None is `pool_size`.
        padding: "valid" leaves out windows that reach beyond the end, "same" pools what is there.
        **arguments: As for `keras.layers.Layer`.
    """

    def _pooled(self, x: Tensor, valid: Tensor) -> Tensor:
        data = ops.where(valid > 0, x, ops.zeros_like(x))
        sums = ops.average_pool(self._extended(data, data), self.pool_size, self.strides)
        counts = ops.average_pool(self._extended(valid, valid), self.pool_size, self.strides)
        return sums / ops.maximum(counts, 0.5 / self.pool_size)


@serializable
class MaskedMaxPooling1D(_Pooling):
    """Maxima over the valid steps of windows.

    Args:
        pool_size: Steps in a window.
        strides: Steps from one window to the next; None is `pool_size`.
        padding: "valid" leaves out windows that reach beyond the end, "same" pools what is there.
        **arguments: As for `keras.layers.Layer`.
    """

    def _pooled(self, x: Tensor, valid: Tensor) -> Tensor:
        lowest = lowest_like(x)
        data = ops.where(valid > 0, x, lowest)
        return ops.max_pool(self._extended(data, data, lowest), self.pool_size, self.strides)


@serializable
class MaskedConv1D(keras.layers.Conv1D):
    """Keras's Conv1D over sequences whose padding is zero before and after.

    Args:
        *args: As for `keras.layers.Conv1D`.
        **arguments: As for `keras.layers.Conv1D`.  With strides, `padding="same"` is refused: where
            its windows begin depends on how much padding there is.
    """

    def __init__(self, *args: Any, **arguments: Any) -> None:
        super().__init__(*args, **arguments)
        if self.data_format != "channels_last":
            raise ValueError('`data_format` must be "channels_last", received "channels_first".')
        if self.padding == "same" and self.strides[0] > 1:
            raise ValueError(
                '`padding` must be "valid" or "causal" with strides: where the windows of "same" '
                f"begin depends on the padding. Received strides={self.strides[0]}."
            )
        self.supports_masking = True

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, steps, channels] → [batch, windows, filters]."""
        if mask is None:
            return super().call(x)
        outputs = super().call(ops.where(_numbers(x, mask) > 0, x, ops.zeros_like(x)))
        valid = ops.expand_dims(self.compute_mask(x, mask), -1)
        return ops.where(valid, outputs, ops.zeros_like(outputs))

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Which windows are valid."""
        if previous_mask is None:
            return None
        valid = _numbers(inputs, previous_mask)
        reach = (self.kernel_size[0] - 1) * self.dilation_rate[0] + 1
        if self.padding == "valid":
            valid = 1.0 - ops.max_pool(1.0 - valid, reach, self.strides[0])
        else:
            valid = valid[:, :: self.strides[0]]
        return ops.squeeze(valid, -1) > 0


@serializable
class MaskedGroupNormalization(keras.layers.Layer):
    """Each sequence normalised over its valid steps, in groups of features.

    For each row and group, with mean and variance over the valid steps and the group's features,
    y = (x − mean) / √(variance + ε) · γ + β; γ and β have one number a feature.

    Args:
        groups: 1 normalises a whole sequence, −1 each feature by itself (instance normalisation).
        epsilon: ε above.
        **arguments: As for `keras.layers.Layer`.
    """

    def __init__(self, groups: int = 1, *, epsilon: float = 1e-3, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.groups = groups
        self.epsilon = epsilon
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes γ and β."""
        width = input_shape[-1]
        self.group_count = width if self.groups == -1 else self.groups
        if self.group_count < 1 or width % self.group_count:
            raise ValueError(
                f"`groups` must be -1 or divide the width of the input, {width}, received "
                f"{self.groups}."
            )
        self.gamma = self.add_weight(shape=(width,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(width,), initializer="zeros", name="beta")

    def call(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, steps, width] → the same, with zeros at the padding."""
        width = x.shape[-1]
        wide = ops.cast(x, "float32") if self.compute_dtype != "float64" else x
        groups = ops.reshape(wide, (*_open(x), self.group_count, width // self.group_count))
        valid = ops.expand_dims(_numbers(x, mask) > 0, -1)  # [batch, steps, 1, 1]
        mean = ops.expand_dims(masked_mean(groups, valid, (1, 3)), (1, 3))
        centred = ops.where(valid, groups - mean, ops.zeros_like(groups))
        variance = ops.expand_dims(masked_mean(ops.square(centred), valid, (1, 3)), (1, 3))
        normal = ops.reshape(centred * ops.rsqrt(variance + self.epsilon), (*_open(x), width))
        outputs = ops.cast(normal, self.compute_dtype) * self.gamma + self.beta
        return ops.where(_numbers(x, mask) > 0, outputs, ops.zeros_like(outputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "groups": self.groups, "epsilon": self.epsilon}


def _numbers(x: Tensor, mask: Tensor | None) -> Tensor:
    """1 where a step is valid, else 0: [batch, steps, 1]."""
    if mask is None:
        return ops.ones_like(x[:, :, :1])
    return ops.expand_dims(ops.cast(steps_mask(x, mask), x.dtype), -1)


def _open(x: Tensor) -> tuple[Any, Any]:
    """The sizes of batch and steps, which may be unknown."""
    shape = ops.shape(x)
    return shape[0], shape[1]
