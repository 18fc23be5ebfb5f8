"""The parts of the recurrent network: what reads the source, and what writes one direction.

    encoder layer   LN, then a bidirectional LSTM
    decoder         conditional LN, LSTM, …, conditional LN         c: the maximum of the source
    top             y = LeakyReLU(W [h; source]),   source = attend(h, keys, values of the source)

Conditional layer normalisation, LN(x) ⊙ (γ + W_γ c) + (β + W_β c), is how the decoder learns what
the source says as a whole: no state is handed over.

Where the two decoders meet, each looks at the other's states before it writes,

    y = LeakyReLU(W [h; source; other]),   otherₜ = attend(hₜ, states ≤ t of the other direction),

with projections of its own.  The states know nothing of each other, so a state that was computed
once can be looked at by any partner.

Axes: B sentences, P rows of one direction, L steps, C directions, S source tokens, D the width, H
heads of d numbers.

Su Jianlin's title generator: https://kexue.fm/archives/5861 and https://kexue.fm/archives/6877
(there the right decoder looks at what the left one has made of both; here both do the same).
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from kooler.core.types import Tensor
from kooler.layers import ConditionalLayerNormalization, reverse_sequence
from kooler.seq2seq.lstm import LSTMs
from kooler.seq2seq.transformer import Source, attend, layer_norm


class Read(NamedTuple):
    """What the decoders know of the sources."""

    summary: Tensor  # [B, D], the maximum over the tokens of each
    sources: list[Source]  # keys and values for each direction


class BothWays(keras.layers.Layer):
    """An encoder layer: half of the width is read from the left, half from the right.

    Args:
        width: D, even.
    """

    def __init__(self, width: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.width = width
        self.norm = layer_norm("norm")
        self.lstms = LSTMs(width // 2, 2, name="lstms")

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights here, under this layer's name: PyTorch needs every path to differ."""
        self.norm.build((None, None, self.width))
        self.lstms.build((None, None, 2, self.width))

    def call(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The source stream [B, S, D] after this layer; lengths: int32 [B]."""
        x = self.norm.call(x)
        # reversed up to its length, so that reading from the right does not begin in the padding
        states = self.lstms.call(ops.stack([x, reverse_sequence(x, lengths)], axis=2))
        backward = reverse_sequence(states[:, :, 1], lengths)
        return ops.concatenate([states[:, :, 0], backward], axis=-1)


class Direction(keras.layers.Layer):
    """What one direction has of its own beside its LSTMs.

    Args:
        width: D.
        heads: H.
        layers: Number of LSTMs, each of which has a normalisation before it, and one behind all.
        meets: Whether it looks at the other direction.
    """

    def __init__(self, width: int, heads: int, layers: int, meets: bool, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.width, self.heads, self.meets = width, heads, meets
        self.norms = [
            ConditionalLayerNormalization(
                max(width // 4, 1), hidden_activation="relu", epsilon=1e-5, name=f"norm_{index}"
            )
            for index in range(layers + 1)
        ]
        self.source_query = keras.layers.Dense(width, name="source_query")
        self.source_projection = keras.layers.Dense(2 * width, name="source_projection")
        self.output_layer = keras.layers.Dense(width, name="output")
        if meets:
            self.other_query = keras.layers.Dense(width, name="other_query")
            self.other_projection = keras.layers.Dense(2 * width, name="other_projection")

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights here, under this layer's name."""
        state = keras.KerasTensor((None, None, self.width), self.compute_dtype)
        summary = keras.KerasTensor((None, self.width), self.compute_dtype)
        for norm in self.norms:
            norm(state, summary)
        self.source_query.build((None, self.width))
        self.source_projection.build((None, self.width))
        self.output_layer.build((None, (3 if self.meets else 2) * self.width))
        if self.meets:
            self.other_query.build((None, self.width))
            self.other_projection.build((None, self.width))

    def source(self, encoded: Tensor, mask: Tensor) -> Source:
        """Keys and values of the encoded source [B, S, D]; mask: bool [B, 1, 1, S]."""
        keys, values = self._keys_and_values(self.source_projection.call(encoded))
        return Source(ops.swapaxes(keys, -1, -2), values, mask)

    def look_at_source(self, states: Tensor, source: Source) -> tuple[Tensor, Tensor]:
        """What the states [B, P, L, D] find in the source, as many, and the weights
        [B, H, P·L, S].
        """
        shape = ops.shape(states)
        query = ops.reshape(self.source_query.call(states), (shape[0], -1, self.width))
        found, weights = attend(self._in_heads(query), source.keys, source.values, source.mask)
        return ops.reshape(self._out_of_heads(found), shape), weights

    def shows(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [..., H, L, d] that this direction makes of the *other* one's states
        [..., L, D], to look at.
        """
        return self._keys_and_values(self.other_projection.call(states))

    def look_at_other(self, states: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        """What the states [..., L, D] find among keys [..., H, K, d]; zeros where nothing is seen.

        Args:
            states: Of this direction.
            keys: What the other direction shows.
            values: The same.
            seen: bool, broadcast to [..., H, L, K].
        """
        query = self._in_heads(self.other_query.call(states))
        found = attend(query, ops.swapaxes(keys, -1, -2), values, seen)[0]
        found = self._out_of_heads(found)
        anything = ops.any(seen, axis=-1)[..., 0, :, None]
        return ops.where(anything, found, ops.zeros_like(found))

    def write(self, *parts: Tensor) -> Tensor:
        """What the state and what it has found come to, [..., D]."""
        features = ops.concatenate(parts, axis=-1)
        return ops.leaky_relu(self.output_layer.call(features), negative_slope=0.2)

    def _keys_and_values(self, projected: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = ops.split(projected, 2, axis=-1)
        return self._in_heads(keys), self._in_heads(values)

    def _in_heads(self, x: Tensor) -> Tensor:
        """[..., L, D] → [..., H, L, d]."""
        shape = (*ops.shape(x)[:-1], self.heads, self.width // self.heads)
        return ops.swapaxes(ops.reshape(x, shape), -3, -2)

    def _out_of_heads(self, x: Tensor) -> Tensor:
        """[..., H, L, d] → [..., L, D]."""
        x = ops.swapaxes(x, -3, -2)
        return ops.reshape(x, (*ops.shape(x)[:-2], self.width))
