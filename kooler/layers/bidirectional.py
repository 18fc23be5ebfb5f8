"""A recurrence in both directions that never reads padding.

The valid steps of each row are pushed together to the left; one copy of the layer reads them from
the first to the last, the other from the last to the first:

    a · b c        →   a b c ·     forwards:  a b c      backwards:  c b a
                                   state after c         state after a

and what belongs to a step goes back to where the step was; at padding the outputs are zero.  So
outputs and states are those of each row alone, without its padding, wherever that lies: for
`return_sequences`, `return_state`, and for only the last output, where the two ends are the last
*valid* step forwards and the first backwards.  The mask is carried on by this layer itself.

Su Jianlin's `OurBidirectional` (https://kexue.fm/archives/6810) reversed the valid part; for
only the last output it took the state after the padding, and reversed the units of the other.
"""

from typing import Any

import keras
from keras import ops

from kooler.core import compat
from kooler.core.types import Tensor
from kooler.layers.alignment import left_order, reverse_sequence, steps_mask, take_steps

MERGE_MODES = ("concat", "sum", "mul", "ave", None)


@keras.saving.register_keras_serializable("kooler")
class MaskedBidirectional(keras.layers.Layer):
    """Two copies of a recurrent layer, one for each direction.

    The weights are in the order of `keras.layers.Bidirectional`: forwards, then backwards.

    Args:
        layer: `LSTM`, `GRU`, `SimpleRNN` or `RNN`, forwards and not stateful.  Only its config is
            used, not its weights.
        merge_mode: How the two outputs become one: "concat", "sum", "mul", "ave", or None for both.
        **arguments: As for `keras.layers.Layer`.
    """

    def __init__(self, layer: Any, *, merge_mode: str | None = "concat", **arguments: Any) -> None:
        super().__init__(**arguments)
        _check(layer)
        if merge_mode not in MERGE_MODES:
            raise ValueError(f"`merge_mode` must be one of {MERGE_MODES}, received {merge_mode!r}.")
        self.forward_layer = _copy(layer, "forward_layer")
        self.backward_layer = _copy(layer, "backward_layer")
        self.merge_mode = merge_mode
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.supports_masking = True

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Makes the weights of both directions."""
        for layer in (self.forward_layer, self.backward_layer):
            layer.build(sequences_shape)

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Any:
        """Runs both directions.

        Args:
            sequences: [batch, steps, width].
            initial_state: The states of the forward layer, then those of the backward layer.
            mask: True where a step is valid, [batch, steps].
            training: Whether to drop out.

        Returns:
            The merged outputs; with `return_state` followed by the states, as in `initial_state`.
        """
        if mask is None:  # Keras fills it in for a single tensor only, not beside an initial state
            mask = compat.mask_of(sequences)
        steps = None if mask is None else _Steps(sequences, mask)
        reverse = _flipped if steps is None else steps.reversed
        sequences = sequences if steps is None else steps.packed(sequences)
        inside = None if steps is None else steps.inside
        middle = 0 if initial_state is None else len(initial_state) // 2
        first, second = (initial_state[:middle], initial_state[middle:]) if middle else (None, None)
        arguments = {"mask": inside, "training": training}

        forward, states = self._outputs(self.forward_layer(sequences, first, **arguments))
        backward, more = self._outputs(self.backward_layer(reverse(sequences), second, **arguments))

        if self.return_sequences:
            backward = reverse(backward)
        if self.return_sequences and steps is not None:
            forward, backward = steps.unpacked(forward), steps.unpacked(backward)
        outputs = self._merged(forward, backward)
        if not self.return_state:
            return outputs
        both = outputs if self.merge_mode is None else (outputs,)
        return (*both, *states, *more)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the outputs; states have none."""
        mask = previous_mask if self.return_sequences else None
        return [mask, mask] if self.merge_mode is None else mask

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        layer = keras.saving.serialize_keras_object(self.forward_layer)
        return {**super().get_config(), "layer": layer, "merge_mode": self.merge_mode}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MaskedBidirectional":
        """The layer that `get_config` described."""
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})

    def _outputs(self, result: Any) -> tuple[Any, tuple[Any, ...]]:
        if not self.return_state:
            return ops.cast(result, self.compute_dtype), ()
        return ops.cast(result[0], self.compute_dtype), tuple(result[1:])

    def _merged(self, forward: Tensor, backward: Tensor) -> Any:
        if self.merge_mode is None:
            return forward, backward
        if self.merge_mode == "concat":
            return ops.concatenate([forward, backward], axis=-1)
        if self.merge_mode == "mul":
            return forward * backward
        return (forward + backward) * (0.5 if self.merge_mode == "ave" else 1.0)


class _Steps:
    """Where the valid steps of a batch are, and the way to the left and back."""

    def __init__(self, sequences: Tensor, mask: Tensor) -> None:
        self.valid = steps_mask(sequences, mask)
        self.order = left_order(self.valid)
        self.inside = take_steps(self.valid, self.order)
        self.lengths = ops.sum(ops.cast(self.valid, "int32"), axis=1)

    def packed(self, x: Tensor) -> Tensor:
        """The valid steps first, then zeros: what stands in the padding is not even multiplied."""
        return _zero_outside(take_steps(x, self.order), self.inside)

    def reversed(self, x: Tensor) -> Tensor:
        """Packed steps, the valid ones in opposite order."""
        return reverse_sequence(x, self.lengths)

    def unpacked(self, x: Tensor) -> Tensor:
        """Packed steps where they came from, and zeros at the padding."""
        return _zero_outside(take_steps(x, ops.argsort(self.order, axis=1)), self.valid)


def _zero_outside(x: Tensor, valid: Tensor) -> Tensor:
    valid = ops.expand_dims(valid, tuple(range(2, len(x.shape))))
    return ops.where(valid, x, ops.zeros_like(x))


def _flipped(x: Tensor) -> Tensor:
    return ops.flip(x, axis=1)


def _copy(layer: Any, name: str) -> Any:
    copy = type(layer).from_config({**layer.get_config(), "name": name})
    if hasattr(layer, "use_cudnn"):
        copy.use_cudnn = layer.use_cudnn  # Keras does not write it into the config
    copy.supports_masking = True  # Keras 3.16 warns that it drops the mask, which we carry
    return copy


def _check(layer: Any) -> None:
    if not isinstance(layer, keras.layers.RNN):
        raise ValueError(
            f"`layer` must be a recurrent layer (LSTM, GRU, SimpleRNN or RNN), received {layer!r}."
        )
    if layer.go_backwards or layer.stateful:
        raise ValueError(
            "`layer` must have go_backwards=False and stateful=False: both directions are made "
            "here, and a backward state has no next batch. Received "
            f"go_backwards={layer.go_backwards}, stateful={layer.stateful}."
        )
