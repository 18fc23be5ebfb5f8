"""The layers of a Transformer encoder–decoder, for whole streams and for one cached step.

    attend(q, k, v)  =  softmax(q kᵀ / √d + mask) v
    post-norm        x ← LN(x + dropout(f(x)))          (the original)
    pre-norm         x ← x + dropout(f(LN(x)))

Axes: B sentences, R rows of a sentence (orders in training, hypotheses in a search), Q queries, K
keys, S source tokens, H heads, d width of a head, D = H·d.  The keys and values of the source are
computed once per sentence and never repeated over its rows: the R·Q queries of a sentence meet them
in one product.

Sub-layers run through `layer.call`, not `layer(...)`: shapes, masks and dtypes are settled here,
and on PyTorch, where nothing compiles Keras's bookkeeping away, that is most of the time of a
decoding step.

Vaswani et al., "Attention Is All You Need", 2017, https://arxiv.org/abs/1706.03762
"""

import functools
import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from kooler.core.placing import placed
from kooler.core.types import Tensor

MASKED = -1e9  # added to what must not be seen; finite, so that a row without any key stays finite


class Source(NamedTuple):
    """What a decoder layer sees of the source."""

    keys: Tensor  # [B, H, d, S]
    values: Tensor  # [B, H, S, d]
    mask: Tensor  # bool [B, 1, 1, S]


class Cache(NamedTuple):
    """Keys and values of the steps so far; slots that are not written yet are masked by time.

    Keys lie in columns, as the product with the queries reads them: in rows, all of them would be
    turned anew at every step.
    """

    keys: Tensor  # [B·R, H, d, slots]
    values: Tensor  # [B·R, H, slots, d]

    @property
    def slots(self) -> int:
        """How many slots there is room for."""
        return int(self.values.shape[2])

    def written(self, slot: Tensor, key: Tensor, value: Tensor) -> "Cache":
        """With keys [B·R, H, d, Q] and values [B·R, H, Q, d] from number `slot` on."""
        return Cache(
            placed(self.keys, key, slot, 3),
            placed(self.values, value, slot, 2),
        )

    def grown(self, slots: int) -> "Cache":
        """With room for `slots` slots."""
        missing = (0, slots - self.slots)
        return Cache(
            ops.pad(self.keys, ((0, 0), (0, 0), (0, 0), missing)),
            ops.pad(self.values, ((0, 0), (0, 0), missing, (0, 0))),
        )


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention.

    Args:
        query: [N, H, Q, d].
        key: [N, H, d, K], in columns.
        value: [N, H, K, d].
        mask: bool, broadcast to [N, H, Q, K]; true where the query may look.

    Returns:
        The attended values [N, H, Q, d] and the attention weights [N, H, Q, K].
    """
    scores = ops.matmul(query / math.sqrt(query.shape[-1]), key)
    weights = ops.softmax(ops.where(mask, scores, ops.cast(MASKED, scores.dtype)), axis=-1)
    return ops.matmul(weights, value), weights


@functools.cache  # on PyTorch every step of a search asks for it
def sinusoids(positions: int, width: int) -> np.ndarray:
    """The position table [positions, width]: sines, then cosines, of falling frequencies."""
    half = width // 2
    frequency = np.exp(np.arange(half) * -(math.log(10000.0) / max(half - 1, 1)))
    angle = np.arange(positions)[:, None] * frequency[None]
    table = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    return np.pad(table, ((0, 0), (0, width - 2 * half))).astype("float32")


class Block(keras.layers.Layer):
    """What encoder and decoder layers share: projections, residual connections, the feed-forward
    part.

    Args:
        width: D, the width of the stream.
        heads: H, the number of attention heads; divides `width`.
        feedforward: The width of the hidden layer of the feed-forward part.
        dropout: The rate of dropout on the output of every part.
        norm: "post" or "pre".
    """

    def __init__(
        self, width: int, heads: int, feedforward: int, dropout: float, norm: str, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.width, self.heads, self.norm = width, heads, norm
        self.self_projection = keras.layers.Dense(3 * width, name="self_projection")
        self.self_output = keras.layers.Dense(width, name="self_output")
        self.self_norm = layer_norm("self_norm")
        self.feedforward_hidden = keras.layers.Dense(feedforward, "relu", name="feedforward_hidden")
        self.feedforward_output = keras.layers.Dense(width, name="feedforward_output")
        self.feedforward_norm = layer_norm("feedforward_norm")
        self.dropout = keras.layers.Dropout(dropout)

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights here, under this layer's name: PyTorch needs every path to differ."""
        for layer in (self.self_projection, self.self_output, self.self_norm):
            layer.build((None, self.width))
        self.feedforward_hidden.build((None, self.width))
        self.feedforward_output.build((None, self.feedforward_hidden.units))
        self.feedforward_norm.build((None, self.width))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and values [N, H, Q, d], and keys [N, H, d, Q], of the stream [N, Q, D]."""
        projected = self.self_projection.call(self._before(x, self.self_norm))
        parts = self._in_heads(projected, 3)
        return parts[0], ops.swapaxes(parts[1], -1, -2), parts[2]

    def attend_to_self(
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, training: bool
    ) -> Tensor:
        """The self-attention part: the stream [N, Q, D] after it."""
        attended = self._merged(attend(query, key, value, mask)[0], ops.shape(x))
        return self._after(x, self.self_output.call(attended), self.self_norm, training)

    def feed_forward(self, x: Tensor, training: bool) -> Tensor:
        """The feed-forward part: the stream [N, Q, D] after it."""
        hidden = self.feedforward_hidden.call(self._before(x, self.feedforward_norm))
        return self._after(x, self.feedforward_output.call(hidden), self.feedforward_norm, training)

    def _before(self, x: Tensor, norm: keras.layers.LayerNormalization) -> Tensor:
        return norm.call(x) if self.norm == "pre" else x

    def _after(
        self, x: Tensor, y: Tensor, norm: keras.layers.LayerNormalization, training: bool
    ) -> Tensor:
        x = x + self.dropout.call(y, training=training)
        return norm.call(x) if self.norm == "post" else x

    def _in_heads(self, projected: Tensor, parts: int) -> Tensor:
        """[N, Q, parts·D] as [parts, N, H, Q, d]."""
        shape = (*ops.shape(projected)[:2], parts, self.heads, self.width // self.heads)
        return ops.transpose(ops.reshape(projected, shape), (2, 0, 3, 1, 4))

    def _merged(self, heads: Tensor, shape: tuple[int, ...]) -> Tensor:
        """[N, H, Q, d] back to the stream's shape."""
        return ops.reshape(ops.transpose(heads, (0, 2, 1, 3)), shape)


class EncoderLayer(Block):
    """Self-attention over the source, then the feed-forward part."""

    def call(self, x: Tensor, mask: Tensor, training: bool = False) -> Tensor:
        """The source stream [B, S, D] after this layer; mask: bool [B, 1, 1, S]."""
        x = self.attend_to_self(x, *self.project(x), mask, training)
        return self.feed_forward(x, training)


class DecoderLayer(Block):
    """Self-attention over the target, attention to the source, then the feed-forward part."""

    def __init__(self, width: int, heads: int, *parts: Any, **arguments: Any) -> None:
        super().__init__(width, heads, *parts, **arguments)
        self.source_query = keras.layers.Dense(width, name="source_query")
        self.source_projection = keras.layers.Dense(2 * width, name="source_projection")
        self.source_output = keras.layers.Dense(width, name="source_output")
        self.source_norm = layer_norm("source_norm")

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights of `Block` and those of the attention to the source."""
        super().build(input_shape)
        for layer in (self.source_query, self.source_projection, self.source_output):
            layer.build((None, self.width))
        self.source_norm.build((None, self.width))

    def source(self, encoded: Tensor, mask: Tensor) -> Source:
        """Keys and values of the encoded source [B, S, D]; mask: bool [B, 1, 1, S]."""
        parts = self._in_heads(self.source_projection.call(encoded), 2)
        return Source(ops.swapaxes(parts[0], -1, -2), parts[1], mask)

    def attend_to_source(self, x: Tensor, source: Source, training: bool) -> tuple[Tensor, Tensor]:
        """The stream [B·R, Q, D] after attention to the source, and the weights [B, H, R·Q, S]."""
        query = self.source_query.call(self._before(x, self.source_norm))
        sentences = ops.shape(source.keys)[0]
        grouped = (sentences, -1, self.heads, self.width // self.heads)
        query = ops.transpose(ops.reshape(query, grouped), (0, 2, 1, 3))
        attended, weights = attend(query, source.keys, source.values, source.mask)
        y = self.source_output.call(self._merged(attended, ops.shape(x)))
        return self._after(x, y, self.source_norm, training), weights

    def call(
        self, x: Tensor, mask: Tensor, source: Source, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """A whole stream [B·R, Q, D] after this layer, and its attention to the source."""
        x = self.attend_to_self(x, *self.project(x), mask, training)
        x, weights = self.attend_to_source(x, source, training)
        return self.feed_forward(x, training), weights

    def step(
        self, x: Tensor, cache: Cache, slot: Tensor, seen: Any, source: Source
    ) -> tuple[Tensor, Cache, Tensor]:
        """One step, of as many slots as `x` [B·R, Q, D] has, the first of them number `slot`; it
        looks at the slots that are `seen`, a mask.  With its attention to the source.
        """
        query, key, value = self.project(x)
        cache = cache.written(slot, key, value)
        x = self.attend_to_self(x, query, cache.keys, cache.values, seen, False)
        x, weights = self.attend_to_source(x, source, False)
        return self.feed_forward(x, False), cache, weights


def layer_norm(name: str) -> keras.layers.LayerNormalization:
    """Layer normalisation with the ε of the common implementations."""
    return keras.layers.LayerNormalization(epsilon=1e-5, name=name)
